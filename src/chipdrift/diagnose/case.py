"""What a diagnosis is about: a run, a scheme, two of its targets, resolved and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from chipdrift.counts import agreeing, counted
from chipdrift.diagnose.agreeing import least_agreeing
from chipdrift.errors import ChipdriftError, RunError, UnknownNameError
from chipdrift.matrix import cell_outputs
from chipdrift.matrix.reopen import Reopened, reopen
from chipdrift.numerics.profile import Profile
from chipdrift.numerics.profiles import get_profile
from chipdrift.records import Cell, Matrix
from chipdrift.schemes import get_scheme
from chipdrift.targets import Target, get_target

# What B is called when it is the model before it was quantized.
FLOAT = "float"
# A scheme, A and B, and all pairs (scheme, A, B) that they were chosen from.
_Choice = tuple[str, str, str, Sequence[tuple[str, str, str]]]


@dataclass(frozen=True, eq=False)
class Case:
    """A scheme's model on A and B. ``b`` is None where B is the float model.

    ``among`` is the number of pairs from which this one was chosen as the worst, ``results`` that
    of the results in those pairs (a shared one is no further result): tests are corrected for
    them. ``profiles`` are those by which A and B are known to compute; a target without is absent.
    ``given`` are the profiles that the user gave in place of targets' own ("": none is known).
    """

    run: Reopened
    scheme: str
    a: Target
    b: Target | None
    model: bytes
    profiles: Mapping[str, Profile]
    among: int = 1
    results: int = 1
    given: Mapping[str, str] = field(default_factory=dict)

    @property
    def b_name(self) -> str:
        """B's name."""
        return FLOAT if self.b is None else self.b.name

    @property
    def outputs_only(self) -> bool:
        """Whether B holds answers of the whole model, and nothing more can be asked of it."""
        return self.b is not None and self.b.answers_only

    def by_chance(self, target: str) -> bool:
        """Whether a target is known to round by chance: its answers depend on more than values."""
        profile = self.profiles.get(target)
        return profile is not None and profile.stochastic

    def cell(self, target: str) -> Cell | None:
        """The cell of a target under the case's scheme."""
        cells = self.run.matrix.cells
        return next((c for c in cells if (c.scheme, c.target) == (self.scheme, target)), None)


def make_case(
    folder: str | Path,
    scheme: str | None,
    target: str | None,
    against: str | None,
    data: str | Path | None,
    profiles: Mapping[str, str],
) -> Case:
    """Open the run, and take its pair that agrees least where none is named.

    ``profiles`` maps a target's name to a profile, or to "" for one that is to be taken as unknown.
    Raises ChipdriftError.
    """
    run = reopen(folder, data)
    matrix = run.matrix
    scheme = _scheme_name(run, scheme)
    _check_names(matrix, scheme, target, against)
    scheme, a_name, b_name, pairs = _choose(matrix, scheme, target, against)
    a = get_target(a_name)
    b = None if b_name == FLOAT else get_target(b_name)
    known, given = {}, {}
    for side in filter(None, (a, b)):
        name = profiles.get(side.name, side.profile)
        if name:
            known[side.name] = get_profile(name)
        if name != side.profile:
            given[side.name] = name or ""
    unused = set(profiles) - {a_name, b_name}
    if unused:
        raise UnknownNameError.of(
            "target", min(unused), [a_name, b_name], "A profile is given for one of the two."
        )
    if a.answers_only:
        if b is None or b.answers_only:
            raise RunError(
                f"Target {a.name}: it holds outputs alone, and nothing can be asked of it. "
                "Diagnose a target that runs, --against this one; the report compares outputs."
            )
        a, b = b, a
    for side in filter(None, (a, b)):
        _check_same(run, scheme, side)
    return Case(
        run,
        scheme,
        a,
        b,
        _model(run, scheme),
        known,
        among=len(pairs),
        results=_results(matrix, pairs),
        given=given,
    )


def _results(matrix: Matrix, pairs: Sequence[tuple[str, str, str]]) -> int:
    """How many results of their own stand in ``pairs``, the float model's aside."""
    own = {(c.scheme, c.target): c.copied_from or c.target for c in matrix.cells}
    sides = {(scheme, name) for scheme, *names in pairs for name in names if name != FLOAT}
    return max(1, len({(scheme, own[scheme, name]) for scheme, name in sides}))


def _model(run: Reopened, scheme: str) -> bytes:
    """The scheme's model file, if it is still the one that was measured."""
    file = run.files.get(scheme)
    if file is None or not file.is_file():
        raise RunError(
            f"Run {run.folder}: its model file of {scheme} is gone. Run the same chipdrift matrix "
            "command again."
        )
    data = file.read_bytes()
    wanted = next(s.model_sha256 for s in run.matrix.schemes if s.name == scheme)
    if wanted is not None and hashlib.sha256(data).hexdigest() != wanted:
        raise RunError(
            f"Run {run.folder}: {file.name} is not the model that was measured under {scheme} (its "
            "sha256 is another). Delete it and run the same chipdrift matrix command again."
        )
    return data


def _check_same(run: Reopened, scheme: str, target: Target) -> None:
    """Refuse a target that is another than the one that was measured: profile, SDK, runtime."""
    cells = run.matrix.cells
    cell = next((c for c in cells if (c.scheme, c.target) == (scheme, target.name)), None)
    if cell is None or cell.status != "ok":
        return
    then = {**cell.options, **cell.versions}
    now = {**target.options, **target.versions}
    changed = sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key))
    if changed:
        key = changed[0]
        raise RunError(
            f"Run {run.folder}: {target.name} is no longer what was measured ({key} was "
            f"{_brief(then.get(key))}, is {_brief(now.get(key))}). Run the same chipdrift matrix "
            "command again: it measures what changed."
        )


def _scheme_name(run: Reopened, scheme: str | None) -> str | None:
    """What the run calls a scheme that was given by its file.

    Raises RunError where the run was measured under another one of this name.
    """
    if scheme is None or not scheme.endswith(".toml"):
        return scheme
    found = get_scheme(scheme)
    place, digest = run.schemes.get(found.name, (scheme, found.sha256))
    if digest != found.sha256:
        raise RunError(
            f"Run {run.folder}: {scheme} is not the scheme {found.name} that was measured, which "
            f"was {place} with another text. Run chipdrift matrix with {scheme} into a new folder, "
            f"or give --scheme {found.name} for what was measured."
        )
    return found.name


def _brief(value: str | None) -> str:
    return "absent" if value is None else value if len(value) <= 24 else f"{value[:16]}..."


def _check_names(
    matrix: Matrix, scheme: str | None, target: str | None, against: str | None
) -> None:
    schemes = [s.name for s in matrix.schemes]
    if scheme is not None and scheme not in schemes:
        raise UnknownNameError.of("scheme", scheme, schemes, "The run has these.")
    for name in (target, against):
        if name is not None and name not in (*matrix.targets, FLOAT):
            raise UnknownNameError.of(
                "target", name, [*matrix.targets, FLOAT], "The run has these, and the float model."
            )
    if target == FLOAT:
        raise RunError("The float model can be B (--against float), not A.")
    if target is not None and target == against:
        raise RunError(f"A and B are both {target}: give another --against, or float.")


def _choose(matrix: Matrix, scheme: str | None, target: str | None, against: str | None) -> _Choice:
    """Scheme, A and B, and the pairs from which they were taken as those that agree least."""
    ran = {(c.scheme, c.target) for c in matrix.cells if c.status == "ok"}
    for name in filter(None, (target, against)):
        if scheme is not None and name != FLOAT and (scheme, name) not in ran:
            cell = next(c for c in matrix.cells if (c.scheme, c.target) == (scheme, name))
            raise RunError(f"Cell {scheme} on {name} is {cell.status}: {cell.reason}")
    if against == FLOAT or len({t for _, t in ran}) < 2:
        return _worst(matrix, scheme, target)
    pairs = [
        p
        for p in matrix.pairs
        if (scheme is None or p.scheme == scheme)
        and all(name in (p.a, p.b) for name in (target, against) if name is not None)
    ]
    if not pairs:
        raise RunError(
            "No two targets of this run answered under one scheme: "
            + (f"{target} and {against}. " if target and against else "")
            + "Name a --scheme that both ran, or --against float."
        )
    pair = least_agreeing(pairs) or pairs[0]  # inside, equal answers may differ all the same
    a, b = pair.a, pair.b
    if target == b or against == a:
        a, b = b, a
    return pair.scheme, a, b, [(p.scheme, p.a, p.b) for p in pairs]


def _worst(matrix: Matrix, scheme: str | None, target: str | None) -> _Choice:
    """The cell that agrees least with the float model, and those from which it was taken."""
    cells = [
        c
        for c in matrix.cells
        if c.status == "ok"
        and (scheme is None or c.scheme == scheme)
        and (target is None or c.target == target)
        and c.scheme != matrix.baseline.scheme
    ]
    if not cells:
        raise RunError("No cell of this run answered under such a scheme: nothing to compare.")
    worst = min(cells, key=lambda c: c.agreement if c.agreement is not None else 1.0)
    return worst.scheme, worst.target, FLOAT, [(c.scheme, c.target, FLOAT) for c in cells]


def choose_samples(case: Case, wanted: int) -> tuple[list[int], str | None]:
    """Which samples to look into, those on which A and B part first, and what must be said of it.

    They are the run's first ones; but where A and B answer alike on those and part on others, up to
    half of them give way to the first that part.
    """
    first = list(range(min(wanted, len(case.run.samples))))
    if case.b is None or wanted < 2:
        return first, None
    try:
        a, b = (
            cell_outputs(case.run.folder, case.scheme, name)[0]
            for name in (case.a.name, case.b.name)
        )
    except ChipdriftError:
        return first, None
    parted = np.zeros(len(case.run.samples), np.bool_)
    for name in a.keys() & b.keys():
        flat_a, flat_b = (x.reshape(len(x), -1) for x in (a[name], b[name]))
        same = (flat_a == flat_b) | ((flat_a != flat_a) & (flat_b != flat_b))
        parted |= ~same.all(axis=1)
    words = None
    if parted.any() and not parted[first].any():
        others = np.flatnonzero(parted)[: max(1, wanted // 2)].tolist()
        words = (
            f"the first {counted(len(first), 'sample')} {agreeing(len(first), 'is', 'are')} "
            f"answered alike, so {len(others)} of those on which the two part "
            f"({int(parted.sum())} of {len(parted)}) {agreeing(len(others), 'was', 'were')} taken "
            "in: shares are of this choice"
        )
        first = [*others, *first[: len(first) - len(others)]]
    return sorted(first, key=lambda index: (not parted[index], index)), words
