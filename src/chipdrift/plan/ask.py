"""What a plan is asked, looked up and checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from chipdrift.data import count_overlap, load_data, split_samples, take, write_part
from chipdrift.errors import ChipdriftError, DataError
from chipdrift.graph import is_quantized, load_model
from chipdrift.matrix.request import BASELINE_TARGET, Request, resolve
from chipdrift.matrix.run import claim
from chipdrift.plan.budget import default_metric, parse_budget
from chipdrift.plan.records import Budget, Cost, Objective
from chipdrift.plan.sides import Side, resolve_sides
from chipdrift.plan.times import read_times
from chipdrift.schemes import get_scheme
from chipdrift.store import Store

SCHEMES = ("w8a8", "w8a8_pc", "w8a16", "w8a16_pc", "w4a16_pc", "fp16")
# Fewer would leave nothing to tell apart on either part.
_LEAST = 8


@dataclass(frozen=True)
class Asked:
    """A plan's question: ``choosing`` and ``confirming`` are requests on disjoint samples.

    ``confirm_data`` is what names the confirming samples to every other verb; ``words`` are what
    each scheme was asked for by, its name or its file.
    """

    budget: Budget
    objective: Objective
    sides: tuple[Side, ...]
    choosing: Request
    confirming: Request
    confirm_data: str
    warnings: tuple[str, ...]
    times: Mapping[tuple[str, str], Cost]
    words: Mapping[str, str]


def look_up(
    model: str | Path,
    data: str | Path,
    *,
    chips: Sequence[str],
    budget: str,
    out: Path,
    objective: Objective = "latency",
    calibration: str | Path | None = None,
    schemes: Sequence[str] = SCHEMES,
    confirm: str | Path | None = None,
    share: float = 0.5,
    shapes: Mapping[str, Sequence[int]] | None = None,
    limit: int | None = None,
    output: str | None = None,
    times: str | Path | None = None,
) -> Asked:
    """Resolve every name and part the data; raises ChipdriftError for the first that is wrong.

    The parts are written to ``out`` as ``choose.part.json`` and ``confirm.part.json``, which every
    verb takes as data; with ``confirm`` all of ``data`` is for choosing.
    """
    if not 0 < share < 1:
        raise ChipdriftError(f"--choose {share:g}: a share between 0 and 1 is expected, as in 0.5.")
    sides = resolve_sides(list(dict.fromkeys(chips)))
    loaded = load_model(model, shapes)
    if is_quantized(loaded.proto):
        raise ChipdriftError(
            f"Model {loaded.info.name} is already quantized: there is nothing left to choose. Give "
            "the float model that it was made from."
        )
    samples = load_data(data, loaded.info.inputs, limit)
    classes = samples.labels is not None and samples.labels.dtype.kind in "iu"
    asked, metric = parse_budget(budget, default_metric(classes))
    request = resolve(
        loaded,
        samples,
        schemes=schemes,
        targets=[BASELINE_TARGET],
        metric=asked.metric,
        calibration=calibration,
        output=output,
    )
    wrong = [s.name for s in request.schemes if s.kind not in ("qdq", "float16")]
    if wrong:
        raise ChipdriftError(
            f"--scheme {', '.join(wrong)}: a plan chooses among quantized schemes and fp16; the "
            "float model itself is always kept as the safe variant. Leave it out."
        )
    if confirm is not None:
        second = load_data(confirm, loaded.info.inputs)
        overlap = count_overlap(second, samples)
        if overlap:
            raise DataError(
                f"--confirm {confirm}: {overlap} of its {len(second)} samples are also in --data. "
                "What was used to choose confirms nothing: give other samples, or leave --confirm "
                "out and one file is parted."
            )
        choosing, confirming = samples, second
        confirm_data = str(confirm)
    else:
        first, rest = split_samples(samples, share)
        confirm_data = str(out / "confirm.part.json")
        choosing, confirming = take(samples, first, "choose"), take(samples, rest, "confirm")
    for name, part in (("choose", choosing), ("confirm", confirming)):
        if len(part) < _LEAST:
            raise DataError(
                f"Data {data}: {len(part)} samples to {name} on are no evidence; at least {_LEAST} "
                "are needed, some hundreds are sensible."
            )
    timed = {}
    if times is not None:
        names = [side.chip.name for side in sides]
        timed = read_times(times, names, [scheme.name for scheme in request.schemes])
    for name in ("search", "confirm"):
        with Store.open(out / name) as store, store.understood():
            claim(store, request)  # another model's plan keeps its parts
    if confirm is None:
        write_part(out / "choose.part.json", str(data), samples, first, limit)
        write_part(Path(confirm_data), str(data), samples, rest, limit)
    warnings = [w for w in request.warnings if not w.endswith("may be seen that is there")]
    if request.calibration is not None:
        shared = count_overlap(request.calibration, confirming)
        if shared:
            warnings.append(
                f"{shared} calibration samples are also among those that confirm: the confirmed "
                "figures look better than they are"
            )
    if metric.kind == "proportion" and asked.kind == "drop":
        needed = _needed(asked.limit)
        if len(confirming) < needed:
            warnings.append(
                f"{len(confirming)} samples confirm; a drop of {100 * asked.limit:g}% can be "
                f"told from none with about {needed} or more, even where no answer changes: most "
                "figures will be within the budget and not shown to be"
            )
    return Asked(
        budget=asked,
        objective=objective,
        sides=tuple(sides),
        choosing=replace(request, samples=choosing, metric=metric),
        confirming=replace(request, samples=confirming, metric=metric),
        confirm_data=confirm_data,
        warnings=tuple(warnings),
        times=timed,
        words={get_scheme(word).name: word for word in schemes},
    )


def _needed(limit: float) -> int:
    """Samples at which Tango's interval around no change ends at ``limit``: Z^2 / (n + Z^2)."""
    z2 = 1.959963984540054**2
    return round(z2 / limit - z2) + 1 if limit > 0 else 1 << 30
