"""What each mechanism does to the whole model: its part of the drift and of the parted answers.

The engine runs the model under A's rules, then with a mechanism turned to B's at the nodes where it
was found, for every set of mechanisms: Shapley values share out what they take away together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chipdrift.diagnose.case import Case
from chipdrift.diagnose.distance import BEYOND
from chipdrift.diagnose.drift import Drift, Feed
from chipdrift.diagnose.mechanisms import Tables, Variation, altered
from chipdrift.diagnose.shapley import shapley
from chipdrift.errors import ModelError
from chipdrift.findings import Attribution, Explanation, Own
from chipdrift.graph.program import Program, parse_program
from chipdrift.numerics.profile import Fallback, Override, Profile, Rules
from chipdrift.targets.sim.plan import IntegerUnit, make_plan
from chipdrift.targets.sim.session import SimSession

Array = np.ndarray[Any, Any]

_MOST = 5
# The engine must be this near to A in the whole model, as a part of the distance from A to B.
_FAITHFUL = 0.5


def at_nodes(
    own: Sequence[Own], explanations: Sequence[Explanation]
) -> tuple[list[Attribution], float | None]:
    """Share the noise power that nodes add themselves out among the mechanisms found in them.

    A node's power is relative to its own signal; mechanisms share it as the experiment there says.
    """
    power = {
        o.node: 10 ** (-o.distance.sqnr_db / 10)
        for o in own
        if o.distance is not None and o.distance.sqnr_db is not None
    }
    whole = sum(power.values())
    if not whole:
        return [], None
    parts: dict[str, float] = {}
    nodes: dict[str, list[str]] = {}
    for explanation in explanations:
        for mechanism in explanation.mechanisms:
            name = mechanism.mechanism
            weight = power.get(explanation.node, 0.0) / whole
            parts[name] = parts.get(name, 0.0) + weight * mechanism.closes
            nodes.setdefault(name, []).append(explanation.node)
    shares = [
        Attribution(mechanism=name, nodes=tuple(nodes[name]), drift=part, at="nodes")
        for name, part in parts.items()
    ]
    shares.sort(key=lambda share: -share.drift)
    return shares, 1 - sum(parts.values())


def attribute(
    case: Case,
    drift: Drift,
    feeds: Sequence[Feed],
    found: Mapping[str, tuple[tuple[Variation, ...], Profile]],
    own: Sequence[Own],
    explanations: Sequence[Explanation],
) -> tuple[list[Attribution], float | None]:
    """Share the drift of the model's output out among the mechanisms; None where none is known.

    ``found`` maps a node to its variations and the profile that stands for A there. Distances are
    mean absolute ones between the model's outputs and B's. Where the engine is not near A's outputs
    in the whole model, :func:`at_nodes` stands in.
    """
    if not found:
        return [], None
    program = parse_program(case.model)
    inner = {o.node: o.nodes for o in own}
    basis = max(
        (profile for _, profile in found.values()),
        key=lambda p: sum(other == p for _, other in found.values()),
    )
    turned: dict[str, dict[str, list[Variation]]] = {}
    for node, (variations, profile) in found.items():
        if profile == basis:
            for variation in variations:
                turned.setdefault(variation.mechanism, {}).setdefault(node, []).append(variation)
    names = sorted(turned, key=lambda name: -len(turned[name]))[:_MOST]
    resolved = rules_of(program, basis)
    if resolved is None:
        return [], None
    outputs: dict[frozenset[int], list[list[Array]] | None] = {}

    def answers(members: frozenset[int]) -> list[list[Array]] | None:
        if members not in outputs:
            chosen = [turned[names[i]] for i in sorted(members)]
            changed = with_variations(basis, resolved, chosen, inner)
            outputs[members] = _run(program, changed, feeds)
        return outputs[members]

    start = answers(frozenset())
    apart = _distance(drift.finals_a, drift.finals_b)
    if start is None or _distance(start, drift.finals_a) > _FAITHFUL * apart:
        return at_nodes(own, explanations)

    def distance(members: frozenset[int]) -> float:
        return _distance(answers(members) or start, drift.finals_b)

    def parted(members: frozenset[int]) -> float:
        return _parted(answers(members) or start, drift.finals_b)

    everyone = frozenset(range(len(names)))
    whole = distance(frozenset())
    if whole == 0:
        return [], None
    parts = [-part / whole for part in shapley(len(names), distance)]
    answered: list[float | None] = [None] * len(names)
    if parted(frozenset()) > 0:
        answered = [-p / parted(frozenset()) for p in shapley(len(names), parted)]
    shares = [
        Attribution(mechanism=name, nodes=tuple(turned[name]), drift=part, answers=share)
        for name, part, share in zip(names, parts, answered, strict=True)
    ]
    shares.sort(key=lambda a: -a.drift)
    return shares, distance(everyone) / whole


def rules_of(program: Program, basis: Profile) -> dict[str, Rules] | None:
    """The rules of every node that runs in integers."""
    try:
        units = make_plan(program, basis).units
    except ModelError:
        return None
    return {u.step.name: u.spec.rules for u in units if isinstance(u, IntegerUnit)}


def with_variations(
    basis: Profile,
    resolved: Mapping[str, Rules],
    chosen: Sequence[Mapping[str, Sequence[Variation]]],
    inner: Mapping[str, Sequence[str]],
) -> Profile:
    """``basis`` with variations at their nodes.

    ``resolved`` are the rules of nodes that run in integers, ``inner`` all nodes of a piece by its
    name.
    """
    tables: dict[str, dict[str, Any]] = {}
    away: list[str] = []
    for mechanism in chosen:
        for node, variations in mechanism.items():
            for variation in variations:
                if variation.part == "fallback":
                    away.append(node)
                    continue
                mine = tables.setdefault(node, {})
                table = mine.get(variation.part)
                if table is None:
                    table = Tables.of(basis, resolved.get(node)).table(variation.part)
                made = None if table is None else altered(table, dict(variation.changes))
                if made is not None:
                    mine[variation.part] = made
    overrides = [
        Override.model_validate({"nodes": tuple(dict.fromkeys((node, *inner.get(node, ())))), **t})
        for node, t in tables.items()
        if t.keys() <= Override.model_fields.keys()
    ]
    return basis.model_copy(
        update={
            "rule": (*basis.rule, *overrides),
            "fallback": Fallback(ops=basis.fallback.ops, nodes=(*basis.fallback.nodes, *away)),
        }
    )


def _run(program: Program, profile: Profile, feeds: Sequence[Feed]) -> list[list[Array]] | None:
    try:
        session = SimSession(program, profile)
        return [session.run(feed) for feed in feeds]
    except (ModelError, ValueError):
        return None


def _distance(a: Sequence[Sequence[Array]], b: Sequence[Sequence[Array]]) -> float:
    total = count = 0.0
    for mine, theirs in zip(a, b, strict=True):
        for x, y in zip(mine, theirs, strict=True):
            with np.errstate(invalid="ignore"):
                apart = np.abs(x.astype(np.float64) - y.astype(np.float64))
            same = (x == y) | ((x != x) & (y != y))
            total += float(
                np.where(same, 0.0, np.nan_to_num(apart, nan=BEYOND, posinf=BEYOND)).sum()
            )
            count += x.size
    return total / max(1.0, count)


def _parted(a: Sequence[Sequence[Array]], b: Sequence[Sequence[Array]]) -> float:
    """The share of samples whose first output has its maximum elsewhere."""
    if not a or a[0][0].size < 2:
        return 0.0
    different = [
        int(np.argmax(x[0].reshape(-1)) != np.argmax(y[0].reshape(-1)))
        for x, y in zip(a, b, strict=True)
    ]
    return float(np.mean(different))
