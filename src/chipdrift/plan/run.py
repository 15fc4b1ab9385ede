"""Make a plan: part the data, search each group of chips, choose, confirm, write it down."""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from chipdrift.counts import counted
from chipdrift.errors import RunError
from chipdrift.matrix import run_matrix
from chipdrift.matrix.assemble import host
from chipdrift.matrix.run import DEFAULT_TIMEOUT
from chipdrift.matrix.schedule import Progress
from chipdrift.metrics import evaluate, info, sqnr_db
from chipdrift.plan.ask import SCHEMES, Asked, look_up
from chipdrift.plan.calibrated import calibrated
from chipdrift.plan.confirm import Confirmed, confirm, look
from chipdrift.plan.cover import choose_variants
from chipdrift.plan.desk import Desk
from chipdrift.plan.judge import Judge
from chipdrift.plan.options import try_options, tuned_side
from chipdrift.plan.pricing import Pricer
from chipdrift.plan.recipes import Recipes
from chipdrift.plan.records import Objective, Plan
from chipdrift.plan.search import GroupSearch, eight_bits, few_of, held_of
from chipdrift.plan.sides import Side, judged_by_target
from chipdrift.plan.told import Found, tell_plan
from chipdrift.schemes import Scheme
from chipdrift.store import digest_arrays

PLAN_FILE = "plan.json"
# Samples on which each chip's own target is tried before the search: whether a scheme runs at all,
# where its nodes run, and whether the engine answers as it does.
_AUDIT = 8
# The engine stands for a target where its difference is this far below the quantization noise.
_NEAR_DB = 10.0
# Costs that differ by less are one.
_SAME = 1e-6
# How many of each group's best are tried on the other groups' chips.
_SHARED = 12


def run_plan(
    model: str | Path,
    data: str | Path,
    *,
    chips: Sequence[str],
    budget: str,
    out: str | Path,
    calibration: str | Path | None = None,
    objective: Objective = "latency",
    max_variants: int | None = None,
    schemes: Sequence[str] = SCHEMES,
    confirm_data: str | Path | None = None,
    share: float = 0.5,
    shapes: Mapping[str, Sequence[int]] | None = None,
    limit: int | None = None,
    output: str | None = None,
    jobs: int | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    times: str | Path | None = None,
    thorough: bool = False,
    calibrate: bool = True,
    progress: Callable[[Progress], None] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Find for each chip the cheapest variant that holds ``budget`` and write the folder ``out``.

    ``chips`` are names of the catalogue (their simulator confirms) or targets such as
    ``adb:SERIAL``. ``share`` of the samples choose and the others confirm, or ``confirm_data``
    does. ``times`` is a CSV of milliseconds measured elsewhere (chip, scheme, ms). Chips of equal
    numerics are searched together by the engine where a profile of theirs comes with chipdrift and
    was seen to be near on this model, else on their own target. What ``out`` already holds is not
    measured again. Raises ChipdriftError.
    """
    started = time.monotonic()
    folder = Path(out)
    asked = look_up(
        model,
        data,
        chips=chips,
        budget=budget,
        out=folder,
        objective=objective,
        calibration=calibration,
        schemes=schemes,
        confirm=confirm_data,
        share=share,
        shapes=shapes,
        limit=limit,
        output=output,
        times=times,
    )
    with (
        _search(folder, asked, objective, jobs, timeout, progress, tell) as (desk, pricer),
        Judge(folder / "confirm", asked.confirming, jobs, timeout, progress) as judge,
    ):
        sides, runs, refused = _audit(desk, pricer, asked)
        groups = _groups(desk, sides, runs, thorough, calibrate)
        found = Found(asked, tuple(sides), desk, pricer, groups, refused=tuple(refused))
        for group in groups.values():
            group.run()
        confirmed = _confirmed(found, judge, max_variants)
        single = _single(found, judge)
        base = judge.baseline(judge.every)
        found.baseline = evaluate(judge.metric, base)
        found.metric = info(judge.metric, base)
        for side in sides:
            done = confirmed[side.chip.name]
            if done.scheme is not None:
                pricer.saw(done.scheme, side, done.figures)
        files = _copy_models(folder, judge, confirmed)
    shown = {c.scheme.name: c.scheme for c in confirmed.values() if c.scheme is not None}
    if single is not None:
        shown.setdefault(single.name, single)
    if shown:
        run_matrix(
            model,
            asked.confirm_data,
            schemes=[desk.recipes.place(scheme) for scheme in shown.values()],
            targets=[side.target for side in sides],
            out=folder / "confirm",
            metric=asked.budget.metric,
            calibration=calibration,
            shapes=shapes,
            output=output,
            jobs=jobs,
            timeout=timeout,
            progress=progress,
        )
    plan = tell_plan(
        found,
        confirmed,
        files,
        max_variants=max_variants,
        single=single,
        chipdrift=metadata.version("chipdrift"),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - started, 1),
        host=host(),
    )
    earlier = _models_of(folder)
    _write(folder / PLAN_FILE, plan.model_dump_json(indent=1).encode())
    for name in earlier - {Path(variant.file).name for variant in plan.variants}:
        with contextlib.suppress(OSError):
            (folder / "models" / name).unlink(missing_ok=True)
    return plan


def read_plan(folder: str | Path) -> Plan:
    """The plan that a folder holds; raises RunError where there is none, or a damaged one."""
    file = Path(folder) / PLAN_FILE
    if not file.is_file():
        raise RunError(
            f"Plan {folder}: no {PLAN_FILE} is there. Make one with chipdrift plan MODEL --data "
            f"DATA --calibration CAL --chips ... --budget ... -o {folder}."
        )
    try:
        return Plan.model_validate_json(file.read_bytes())
    except (ValueError, OSError) as error:
        raise RunError(
            f"Plan {folder}: its {PLAN_FILE} cannot be read, or another version of chipdrift wrote "
            "it. Run the same chipdrift plan command again; nothing is measured twice."
        ) from error


@contextlib.contextmanager
def _search(
    folder: Path,
    asked: Asked,
    objective: Objective,
    jobs: int | None,
    timeout: float,
    progress: Callable[[Progress], None] | None,
    tell: Callable[[str], None],
) -> Iterator[tuple[Desk, Pricer]]:
    with Judge(folder / "search", asked.choosing, jobs, timeout, progress) as judge:
        pricer = Pricer(judge, objective, {s.name: s for s in asked.choosing.schemes})
        pricer.timed.update(asked.times)
        recipes = Recipes(folder / "schemes", asked.words)
        desk = Desk(judge, recipes, asked.budget, pricer, tell, foresee=pricer.foreseen)
        yield desk, pricer


def _audit(
    desk: Desk, pricer: Pricer, asked: Asked
) -> tuple[list[Side], dict[str, tuple[Scheme, ...]], list[str]]:
    """Each chip's own target on a few samples: what runs, where, and whether the engine is near.

    The sentences say what does not run, and why.
    """
    few = few_of(asked.choosing.samples)[:_AUDIT]
    schemes = asked.choosing.schemes
    said = [counted(len(schemes), "scheme"), counted(len(asked.sides), "chip")]
    desk.tell(f"trying {' on '.join(said)}, {len(few)} samples each")
    pairs = [(scheme, side.target) for side in asked.sides for scheme in schemes]
    answered = dict(
        zip(
            [(side.chip.name, scheme.name) for side in asked.sides for scheme in schemes],
            desk.judge.measure(pairs, few),
            strict=True,
        )
    )
    sides, runs, refused = [], {}, []
    for side in asked.sides:
        ran = [s for s in schemes if answered[side.chip.name, s.name].error is None]
        for scheme in schemes:
            error = answered[side.chip.name, scheme.name].error
            if error is not None:
                refused.append(f"{scheme.name} does not run on {side.target.name}: {error}")
        for scheme in ran:
            pricer.saw(scheme, side, answered[side.chip.name, scheme.name])
        runs[side.chip.name] = tuple(ran)
        near = _near(desk, side, [s for s in ran if s.kind == "qdq"], few)
        sides.append(_apart(desk, near, ran, few))
    return _tuned(desk, asked, sides, runs), runs, refused


def _apart(desk: Desk, side: Side, schemes: Sequence[Scheme], few: Sequence[int]) -> Side:
    """The side grouped with those alone that gave the same bits wherever the target judges.

    SM8350 says that it runs float16 and computes it as float32 (docs/decisions/002).
    """
    own = [scheme for scheme in schemes if side.judge_of(scheme).name == side.target.name]
    outputs = [desk.judge.outputs(scheme, side.target, few) for scheme in own]
    bits = [digest_arrays(found.arrays.values())[:12] for found in outputs if found is not None]
    group = "|".join([side.chip.group, *bits])
    return replace(side, chip=side.chip.model_copy(update={"group": group}))


def _tuned(
    desk: Desk, asked: Asked, sides: Sequence[Side], runs: Mapping[str, tuple[Scheme, ...]]
) -> list[Side]:
    """Every chip with the runtime's option that helps the first of its group."""
    desk.tell("trying the runtimes' options")
    samples = asked.choosing.samples
    few, hold = few_of(samples), held_of(samples)
    given: dict[str, dict[str, str]] = {}
    for side in sides:
        if side.chip.group not in given:
            schemes = [s for s in runs[side.chip.name] if eight_bits(s)][-1:]
            given[side.chip.group] = try_options(desk, side, schemes, few[:_AUDIT], few, hold)
    return [tuned_side(side, given[side.chip.group]) for side in sides]


def _near(desk: Desk, side: Side, schemes: Sequence[Scheme], few: Sequence[int]) -> Side:
    """The side, judged by its target for those activations where the engine is not near it."""
    if side.searcher.name == side.target.name or not schemes:
        return side
    desk.judge.measure([(scheme, side.searcher) for scheme in schemes], few)
    base = desk.judge.baseline(few)
    far: dict[str, str] = {}
    for scheme in schemes:
        engine = desk.judge.outputs(scheme, side.searcher, few)
        real = desk.judge.outputs(scheme, side.target, few)
        if engine is None or real is None:
            far.setdefault(scheme.activations, f"the engine does not run {scheme.name}")
            continue
        apart, noise = sqnr_db(engine, real), sqnr_db(real, base)
        if apart is None or noise is None:
            continue  # the same bits, or no noise to hide a difference in
        if apart - noise < _NEAR_DB:
            below = f"{max(0.0, apart - noise):.0f} dB below the quantization noise"
            far.setdefault(
                scheme.activations,
                f"under {scheme.name} the engine's difference from it is {below}, and "
                f"{_NEAR_DB:g} are needed",
            )
    return judged_by_target(side, far)


def _groups(
    desk: Desk,
    sides: Sequence[Side],
    runs: Mapping[str, tuple[Scheme, ...]],
    thorough: bool,
    calibrate: bool,
) -> dict[str, GroupSearch]:
    """One search for each group of chips, on its first."""
    found: dict[str, GroupSearch] = {}
    for side in sides:
        if side.chip.group not in found:
            found[side.chip.group] = GroupSearch(
                desk,
                side,
                runs[side.chip.name],
                thorough,
                calibrated if calibrate else None,
                whole=thorough,
            )
    return found


def _share_finds(found: Found, most: int | None) -> None:
    """Try each group's best on the others: a variant that serves both need not be shipped twice.

    Without a cap no chip takes what costs more than what it has; then that is not asked about.
    """
    desk, finds = found.desk, dict[str, Scheme]()
    for group in found.groups.values():
        held = [n for n, figures in group.scores.items() if desk.holds(figures)]
        ranked = sorted(held, key=lambda n: desk.cost(desk.entries[n].scheme, group.side))
        finds.update({name: desk.entries[name].scheme for name in ranked[:_SHARED]})
    for name, group in found.groups.items():
        chips = [side for side in found.sides if side.chip.group == name]
        has = [min(found.costs(side).values(), default=float("inf")) for side in chips]
        limits = [(side, one * (1 + _SAME)) for side, one in zip(chips, has, strict=True)]
        group.score_on(
            [
                scheme
                for scheme in finds.values()
                if group.may_run(scheme)
                and (most or any(desk.cost(scheme, side) <= limit for side, limit in limits))
            ]
        )


def _confirmed(found: Found, judge: Judge, most: int | None) -> dict[str, Confirmed]:
    """Each chip's choice, confirmed; where it misses, the search goes on and the looks count on."""
    while True:
        _share_finds(found, most)
        allowed = _allowed(found, most)
        first = _chosen(found, found.sides, None) if allowed is None else {}
        choices: dict[str, Scheme | None] = {}
        for side in found.sides:
            # One at a time: where it misses, what comes next may not have been looked for yet.
            queue = found.queue(side, allowed, first.get(side.chip.name))
            choices[side.chip.name] = next(iter(queue), None)
        asked = sum(len(one) for one in found.seen.values())
        names = {name: {scheme.name for scheme, _ in tried} for name, tried in found.seen.items()}
        if any(s is not None and s.name not in names.get(c, ()) for c, s in choices.items()):
            found.desk.tell("confirming on data that was not used to choose")
        confirmed = confirm(judge, found.desk.budget, found.sides, choices, found.seen, allowed)
        missed = [
            side
            for side in found.sides
            if confirmed[side.chip.name].standing == "missed" and not found.spent(side)
        ]
        now = sum(len(one) for one in found.seen.values())
        broken = any(done.standing == "none" for done in confirmed.values())
        if now == asked or not (_go_on(found, missed, confirmed) or broken or most is not None):
            confirmed = _last_look(found, judge, _shared(found, judge, confirmed), most)
            found.alone = _chosen(found, found.sides, None)
            return confirmed


def _shared(found: Found, judge: Judge, confirmed: Mapping[str, Confirmed]) -> dict[str, Confirmed]:
    """The choices, where a chip with a look left may take another chip's variant that costs less.

    They are found in different searches: what one chip needed may serve another, too.
    """
    desk, after = found.desk, dict(confirmed)
    shipped = _holding(confirmed)
    for side in found.sides:
        own, may = confirmed[side.chip.name], found.costs(side)
        if own.scheme is None or found.spent(side):
            continue
        seen = {scheme.name for scheme, _ in found.seen[side.chip.name]}
        most = desk.cost(own.scheme, side) if own.standing != "missed" else float("inf")
        less = [n for n in shipped if n in may and n not in seen and may[n] < most * (1 - _SAME)]
        if less:
            scheme = shipped[min(less, key=lambda name: (may[name], name))]
            done = look(judge, desk.budget, side, scheme, found.seen)
            after[side.chip.name] = done or own
    return after


def _last_look(
    found: Found, judge: Judge, confirmed: Mapping[str, Confirmed], most: int | None
) -> dict[str, Confirmed]:
    """The choices, where a chip on which all its looks missed has one more, at the surest.

    Under a cap it is one of those that hold on other chips, where these are as many as may be.
    """
    after, budget = dict(confirmed), found.desk.budget
    missed = [side for side in found.sides if after[side.chip.name].standing == "missed"]
    if missed:
        _share_finds(found, most)
    for side in missed:
        holding = _holding(after)
        full = most is not None and len(holding) >= most
        scheme = found.surest(side, set(holding) if full else None)
        if scheme is None:
            continue
        found.desk.tell(f"{side.chip.name}: a last look, at {scheme.name}")
        done = look(judge, budget, side, scheme, found.seen)
        if done is not None:
            after[side.chip.name] = replace(done, last=True)
        else:  # the nearest of all that were asked about
            after |= confirm(judge, budget, [side], {}, found.seen)
    shipped = {done.scheme.name for done in after.values() if done.scheme is not None}
    if most is None or len(shipped) <= most:
        return after
    holding = _holding(after)
    if not holding:
        return dict(confirmed)
    # The cap is full: what holds on none of its chips gives way.
    rest = [side for side in missed if after[side.chip.name].standing == "missed"]
    first = next(iter(holding.values()))
    asked = {side.chip.name: first for side in rest}
    return after | confirm(judge, budget, rest, asked, found.seen, set(holding))


def _holding(confirmed: Mapping[str, Confirmed]) -> dict[str, Scheme]:
    """What holds the budget on a chip that gets it."""
    return {
        done.scheme.name: done.scheme
        for done in confirmed.values()
        if done.scheme is not None and done.standing in ("confirmed", "within")
    }


def _go_on(found: Found, missed: Sequence[Side], confirmed: Mapping[str, Confirmed]) -> bool:
    """Search on for groups with a chip that missed, by a margin; whether there was any such.

    The margin is what the candidate lost between the choosing and the confirming samples, as far as
    the float model itself is within the budget by it.
    """
    margins: dict[str, float] = {}
    for side in missed:
        done, group = confirmed[side.chip.name], found.group(side)
        if done.scheme is None:
            continue
        chosen = found.desk.excess(group.scores[done.scheme.name])
        lost = max(0.0, found.desk.excess(done.figures) - chosen)
        margins[side.chip.group] = max(margins.get(side.chip.group, 0.0), lost)
    for name, margin in margins.items():
        group = found.groups[name]
        found.desk.tell(f"{group.side.chip.name}: the choice misses; searching on")
        group.thorough = True
        group.margin = max(group.margin, min(margin, found.desk.room()))
        group.run_on()
    return bool(margins)


def _single(found: Found, judge: Judge) -> Scheme | None:
    """The cheapest simple scheme that holds the budget on every chip's confirming samples."""
    for scheme in found.singles():
        figures = judge.measure([(scheme, side.target) for side in found.sides])
        if all(found.desk.holds(one) for one in figures):
            return scheme
    return None


def _allowed(found: Found, most: int | None) -> set[str] | None:
    """The ``most`` candidates that are shipped; None without a cap.

    Those that hold the budget come first; what is left of the cap is for chips on which none does.
    """
    if most is None:
        return None
    chosen = {name for name in _chosen(found, found.sides, most).values() if name is not None}
    if len(chosen) < most:
        rest = [side for side in found.sides if not found.costs(side)]
        away = {
            side.chip.name: {n: max(0.0, d) for n, d in found.distances(side).items()}
            for side in rest
        }
        nearest = choose_variants(away, most - len(chosen))
        chosen |= {name for name in nearest.values() if name is not None}
    return chosen


def _chosen(found: Found, sides: Sequence[Side], most: int | None) -> dict[str, str | None]:
    """Each chip's candidate among those that hold the budget."""
    held = {side.chip.name: found.costs(side) for side in sides}
    return choose_variants(held, most, {side.chip.name: found.nearness(side) for side in sides})


def _models_of(folder: Path) -> set[str]:
    """The files of the variants of the plan that is in the folder already."""
    try:
        return {Path(variant.file).name for variant in read_plan(folder).variants}
    except RunError:
        return set()


def _copy_models(folder: Path, judge: Judge, confirmed: Mapping[str, Confirmed]) -> dict[str, Path]:
    """The model files of all variants, and of the safe one, under the plan's ``models``."""
    schemes = [c.scheme for c in confirmed.values() if c.scheme is not None]
    files: dict[str, Path] = {}
    for scheme in (*schemes, judge.request.baseline):
        if scheme.name in files:
            continue
        place = folder / "models" / f"{scheme.name}.onnx"
        _write(place, judge.file(scheme).read_bytes())
        files[scheme.name] = place
    return files


def _write(file: Path, data: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}.part")
        partial.write_bytes(data)
        partial.replace(file)
    except OSError as error:
        raise RunError(f"{file}: cannot be written ({error.strerror}). Give another -o.") from error
