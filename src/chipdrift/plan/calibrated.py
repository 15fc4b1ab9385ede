"""Calibration on the target as a step of the search: made once, kept in the plan's store."""

from __future__ import annotations

from chipdrift.errors import ChipdriftError
from chipdrift.numerics.profiles import get_profile
from chipdrift.plan.calibrate import TECHNIQUES, Asked, Calibrated, Engine, Oracle, calibrate_on
from chipdrift.plan.desk import Desk, Entry
from chipdrift.plan.records import Tried
from chipdrift.plan.search import few_of, held_of
from chipdrift.plan.sides import Side
from chipdrift.probe.ask import Asker
from chipdrift.quantize import quantizer_versions
from chipdrift.schemes import Scheme, get_scheme
from chipdrift.store import content_key


def calibrated(desk: Desk, side: Side, base: Scheme) -> Entry | None:
    """``base`` calibrated on the side's ranker; None where nothing helped.

    Half of the choosing samples that rank layers tune, others decide what is kept. What was found
    is told in the desk's ``tried``.
    """
    judge, target = desk.judge, side.ranker
    samples = judge.request.samples
    tune, hold = few_of(samples), held_of(samples)
    name = f"{base.name}-on-{target.name.replace(':', '-').replace('/', '-')}"[:60]
    key = content_key(
        {
            "model": judge.request.model.info.sha256,
            "scheme": base.model_dump(mode="json"),
            "calibration": judge.request.calibration_info and judge.request.calibration_info.sha256,
            "samples": [samples.keys[i] for i in (*tune, *hold)],
            "target": [target.runtime, dict(target.options), dict(target.versions)],
            "techniques": TECHNIQUES,
            "versions": quantizer_versions(),
        }
    )
    kept = judge.store.fact(f"calibrated:{key}")
    file = desk.recipes.folder / f"{name}.toml"
    if kept is not None and (kept["sha256"] is None or _is(str(file), kept["sha256"])):
        tried = [Tried(**one) for one in kept["tried"]]
        scheme = None if kept["sha256"] is None else get_scheme(str(file))
    else:
        found = _calibrate(desk, side, base, name, tune, hold)
        tried, scheme = list(found.tried), found.scheme
        fact = {
            "sha256": None if scheme is None else scheme.sha256,
            "tried": [one.model_dump(mode="json") for one in tried],
        }
        judge.store.put_fact(f"calibrated:{key}", fact)
        judge.store.commit()
    desk.tried.extend(tried)
    if scheme is None:
        return None
    desk.recipes.made[scheme.name] = scheme
    techniques = tuple(one.technique for one in tried if one.kept)
    words = f"{base.name} calibrated on {target.name}: {', '.join(techniques)}"
    return Entry(scheme, "calibrated", words, base=base.name, techniques=techniques)


def _calibrate(
    desk: Desk,
    side: Side,
    base: Scheme,
    name: str,
    tune: tuple[int, ...],
    hold: tuple[int, ...],
) -> Calibrated:
    request, target = desk.judge.request, side.ranker
    assert request.calibration is not None
    feeds = request.calibration.feeds()
    tuning, holding = ([request.samples.feed(i) for i in part] for part in (tune, hold))

    def on(oracle: Oracle) -> Calibrated:
        return calibrate_on(
            oracle,
            request.model,
            base,
            feeds,
            tuning,
            holding,
            desk.recipes.folder,
            name=name,
            preparation=desk.judge.preparation,
            tell=lambda words: desk.tell(f"{side.chip.name}: {base.name}, {words}"),
        )

    if target.name.startswith("sim:"):
        return on(Engine(get_profile(target.options["profile"])))
    with Asker(target, desk.judge.timeout) as asker:
        return on(Asked(asker))


def _is(file: str, sha256: str) -> bool:
    try:
        return get_scheme(file).sha256 == sha256
    except ChipdriftError:
        return False
