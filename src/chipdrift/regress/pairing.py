"""Which cell of run A is set against which of run B."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from chipdrift.errors import ChipdriftError, RunError, UnknownNameError
from chipdrift.records import Cell, Matrix

# What a target's versions tell beside versions: the host's processor.
_HOST = frozenset({"machine", "isa"})

Pairs = list[tuple[Cell, Cell]]


def pair_cells(
    a: Matrix,
    b: Matrix,
    same_run: bool,
    target: str | None = None,
    against: str | None = None,
    schemes: Sequence[str] = (),
) -> Pairs:
    """The cells to compare, scheme by scheme, in the order of run A.

    ``target`` of A is set against ``against`` of B, or the one of the same name. Without them, two
    runs are paired by the targets' names, then by what stands before the ``@``; one run by the
    releases of a chip, each against the next. Raises RunError where nothing can be compared.
    """
    if target is not None or against is not None:
        sides = [_named(a, b, same_run, target, against)]
    else:
        sides = _releases(a) if same_run else _alike(a, b)
    held_a, held_b = _by_name(a), _by_name(b)
    names = [s.name for s in a.schemes]
    for scheme in schemes:
        if scheme not in names:
            raise UnknownNameError.of("scheme", scheme, names, "The run has these.")
    wanted = [name for name in names if not schemes or name in schemes]
    found = [
        (held_a[scheme, left], held_b[scheme, right])
        for left, right in sides
        for scheme in wanted
        if (scheme, left) in held_a and (scheme, right) in held_b
    ]
    if found:
        return found
    if same_run:
        raise RunError(
            f"The run holds no chip under two releases (its targets: {', '.join(a.targets)}). "
            "Name two targets with --target and --against, or two runs."
        )
    raise RunError(
        "The two runs have no scheme on a target in common (targets: "
        f"{', '.join(a.targets)}; and {', '.join(b.targets)}). Name one of each with --target and "
        "--against."
    )


def versions_apart(
    a: Mapping[str, str], b: Mapping[str, str]
) -> dict[str, tuple[str | None, str | None]]:
    """What the two do not have in common, by name."""
    return {
        name: (a.get(name), b.get(name))
        for name in dict.fromkeys([*a, *b])
        if a.get(name) != b.get(name)
    }


def _named(
    a: Matrix, b: Matrix, same_run: bool, target: str | None, against: str | None
) -> tuple[str, str]:
    if target is None or (same_run and against is None):
        missing = "--against" if against is None else "--target"
        raise ChipdriftError(
            f"{missing} is needed: --target names what was, --against what it is compared with now."
        )
    sides = (target, target if against is None else against)
    for matrix, name in zip((a, b), sides, strict=True):
        if name not in matrix.targets:
            raise UnknownNameError.of("target", name, matrix.targets, "The run has these.")
    if same_run and sides[0] == sides[1]:
        raise ChipdriftError(f"--target and --against are both {target}: name two targets.")
    return sides


def _alike(a: Matrix, b: Matrix) -> list[tuple[str, str]]:
    """Targets by name; one that only A has by the only one of the same chip that only B has."""
    pairs = []
    for name in a.targets:
        new = [t for t in b.targets if t not in a.targets and _chip(t) == _chip(name)]
        if name in b.targets:
            pairs.append((name, name))
        elif len(new) == 1:
            pairs.append((name, new[0]))
    return pairs


def _releases(matrix: Matrix) -> list[tuple[str, str]]:
    """Each chip's releases, the oldest first, one against the next."""
    chips: dict[str, list[tuple[Any, str]]] = defaultdict(list)
    told = {cell.target: cell.versions for cell in matrix.cells}
    for name in matrix.targets:
        versions = {k: v for k, v in told.get(name, {}).items() if k not in _HOST}
        release = sorted((k, [int(n) for n in re.findall(r"\d+", v)]) for k, v in versions.items())
        if release not in [known for known, _ in chips[_chip(name)]]:
            chips[_chip(name)].append((release, name))
    pairs = []
    for held in chips.values():
        names = [name for _, name in sorted(held)]
        pairs += list(itertools.pairwise(names))
    return pairs


def _chip(target: str) -> str:
    return target.partition("@")[0]


def _by_name(matrix: Matrix) -> dict[tuple[str, str], Cell]:
    return {(cell.scheme, cell.target): cell for cell in matrix.cells}
