"""What each mechanism and each layer does to the whole model: to the drift, and to the answers.

The engine runs the model under A's rules, then with a mechanism turned to B's at the nodes where it
was found, for every set of mechanisms: Shapley values share out what they take away together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chipdrift.diagnose.case import Case
from chipdrift.diagnose.distance import BEYOND, noise_power
from chipdrift.diagnose.drift import Drift, Feed
from chipdrift.diagnose.mechanisms import CLOSES, Tables, Variation, altered
from chipdrift.diagnose.shapley import shapley
from chipdrift.diagnose.wording import titled
from chipdrift.errors import ModelError
from chipdrift.findings import Attribution, Explanation, LayerShare, Own
from chipdrift.graph.program import Program, parse_program
from chipdrift.numerics.profile import Fallback, Override, Profile, Rules
from chipdrift.targets.sim.plan import IntegerUnit, make_plan
from chipdrift.targets.sim.session import SimSession

Array = np.ndarray[Any, Any]

_MOST = 5
# The engine must be this near to A in the whole model, as a part of the distance from A to B.
_FAITHFUL = 0.5


# Layers that are players of their own; all others are one.
_LAYERS = 4


@dataclass(frozen=True, eq=False)
class Attributed:
    """Shares of mechanisms and of layers, worst first; ``unexplained`` None where none is known."""

    mechanisms: Sequence[Attribution] = ()
    layers: Sequence[LayerShare] = ()
    unexplained: float | None = None


def at_nodes(own: Sequence[Own], explanations: Sequence[Explanation]) -> Attributed:
    """Share the noise power that nodes add themselves out among the mechanisms found in them.

    A node's power is relative to its own signal; mechanisms share it as the experiment there says.
    """
    power = _power(own)
    whole = sum(power.values())
    if not whole:
        return Attributed()
    parts: dict[str, float] = {}
    nodes: dict[str, list[str]] = {}
    for explanation in explanations:
        for mechanism in explanation.mechanisms:
            name = mechanism.mechanism
            weight = power.get(explanation.node, 0.0) / whole
            parts[name] = parts.get(name, 0.0) + weight * mechanism.closes
            nodes.setdefault(name, []).append(explanation.node)
    told = _told(explanations)
    shares = [
        Attribution(
            mechanism=name,
            words=told[name][1],
            nodes=told[name][0] or tuple(nodes[name]),
            drift=part,
            at="nodes",
        )
        for name, part in parts.items()
    ]
    layers = [
        LayerShare(nodes=tuple(group), drift=sum(power[n] for n in group) / whole, at="nodes")
        for group in _groups(power, list(power))
    ]
    return Attributed(_worst(shares), layers, 1 - sum(parts.values()))


def _told(explanations: Sequence[Explanation]) -> dict[str, tuple[tuple[str, ...], str]]:
    """For each mechanism the nodes in which it counts, and what differs where it shows best."""
    found: dict[str, list[tuple[float, str, str]]] = {}
    for explanation in explanations:
        for mechanism in explanation.mechanisms:
            entry = (mechanism.closes, explanation.node, titled(mechanism))
            found.setdefault(mechanism.mechanism, []).append(entry)
    return {
        name: (
            tuple(node for closes, node, _ in entries if closes >= CLOSES),
            max(entries, key=lambda entry: round(entry[0], 3))[2],
        )
        for name, entries in found.items()
    }


def _power(own: Sequence[Own]) -> dict[str, float]:
    """The noise that a node adds, as a part of its signal, the largest first."""
    power = {o.node: noise for o in own if (noise := noise_power(o.distance))}
    return dict(sorted(power.items(), key=lambda entry: -entry[1]))


def _groups(power: Mapping[str, float], nodes: Sequence[str]) -> list[list[str]]:
    """The nodes that add most, each by itself, and the rest."""
    ordered = sorted(nodes, key=lambda node: -power.get(node, 0.0))
    single = _LAYERS + (len(ordered) == _LAYERS + 1)  # a rest of one has its name, too
    groups = [[node] for node in ordered[:single]]
    return [*groups, ordered[single:]] if ordered[single:] else groups


def _worst(shares: list[Attribution]) -> list[Attribution]:
    return sorted(shares, key=lambda share: -share.drift)


# Variations by node.
_Turned = Mapping[str, Sequence[Variation]]


def attribute(
    case: Case,
    drift: Drift,
    feeds: Sequence[Feed],
    found: Mapping[str, tuple[tuple[Variation, ...], Profile]],
    own: Sequence[Own],
    explanations: Sequence[Explanation],
) -> Attributed:
    """Share the drift of the model's output out among mechanisms, and among layers.

    ``found`` maps a node to its variations and the profile that stands for A there. Distances are
    mean absolute ones between the model's outputs and B's. Where the engine is not near A's outputs
    in the whole model, :func:`at_nodes` stands in.
    """
    if not found:
        return Attributed()
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
        return Attributed()

    def answers(chosen: Sequence[_Turned]) -> list[list[Array]] | None:
        return _run(program, with_variations(basis, resolved, chosen, inner), feeds)

    start = answers([])
    apart = _distance(drift.finals_a, drift.finals_b)
    if start is None or _distance(start, drift.finals_a) > _FAITHFUL * apart:
        return at_nodes(own, explanations)
    if _distance(start, drift.finals_b) == 0:
        return Attributed()
    told = _told(explanations)
    parts, answered, left = _shared([turned[name] for name in names], answers, start, drift)
    shares = [
        Attribution(
            mechanism=name,
            words=told[name][1],
            nodes=told[name][0] or tuple(turned[name]),
            drift=part,
            answers=share,
        )
        for name, part, share in zip(names, parts, answered, strict=True)
    ]
    by_node: dict[str, list[Variation]] = {}
    for name in names:
        for node, some in turned[name].items():
            by_node.setdefault(node, []).extend(some)
    groups = _groups(_power(own), list(by_node))
    players = [{node: by_node[node] for node in group} for group in groups]
    parts, answered, _ = _shared(players, answers, start, drift)
    layers = [
        LayerShare(nodes=tuple(group), drift=part, answers=share)
        for group, part, share in zip(groups, parts, answered, strict=True)
    ]
    layers.sort(key=lambda layer: (len(layer.nodes) > 1, -layer.drift))
    return Attributed(_worst(shares), layers, left)


def _shared(
    players: Sequence[_Turned],
    answers: Callable[[Sequence[_Turned]], list[list[Array]] | None],
    start: list[list[Array]],
    drift: Drift,
) -> tuple[list[float], list[float | None], float]:
    """Each player's share of the drift and of the parted answers, and what is left of the drift."""
    outputs: dict[frozenset[int], list[list[Array]]] = {frozenset(): start}

    def made(members: frozenset[int]) -> list[list[Array]]:
        if members not in outputs:
            outputs[members] = answers([players[i] for i in sorted(members)]) or start
        return outputs[members]

    def distance(members: frozenset[int]) -> float:
        return _distance(made(members), drift.finals_b)

    def parted(members: frozenset[int]) -> float:
        return _parted(made(members), drift.finals_b)

    whole = distance(frozenset())
    parts = [-part / whole for part in shapley(len(players), distance)]
    answered: list[float | None] = [None] * len(players)
    before = parted(frozenset())
    if before > 0:
        answered = [-part / before for part in shapley(len(players), parted)]
    return parts, answered, distance(frozenset(range(len(players)))) / whole


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
                    held = replace(Tables.of(basis, resolved.get(node)), halves=True)
                    table = held.table(variation.part)
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
