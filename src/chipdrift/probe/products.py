"""How a target requantizes products: MatMul, Gemm and convolutions, 8 and 16 bit.

Three steps for every kind of op: ask random settings; search the rules; then ask what tells the
rules apart that explain everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chipdrift.numerics.profile import PLAIN, Accumulator, Requantize
from chipdrift.numerics.requantize import scales
from chipdrift.numerics.rounding import Rounding
from chipdrift.probe.ask import Asker, NoAnswerError
from chipdrift.probe.predict import Evidence, looks_stochastic
from chipdrift.probe.search import Found, find_requantize, refine
from chipdrift.probe.settings import Kind, Setting, Wish, answers, evidence_of, random_setting
from chipdrift.probe.settle import settle

Array = np.ndarray[Any, Any]

KINDS: tuple[Kind, ...] = (
    "gemm",
    "matmul",
    "pointwise",
    "plain",
    "depthwise",
    "depthwise_stride2",
)
_SETTINGS = 8


@dataclass
class Group:
    """Kinds of op that follow the same rules at one width.

    ``rivals`` are all rules that explain the answers equally well, the plainest first;
    ``explained`` of ``asked`` outputs. ``shares`` maps "field = value" to what the best rules with
    that value explain.
    """

    bits: int
    kinds: list[Kind]
    evidence: list[Evidence]
    rivals: list[Requantize]
    explained: int
    asked: int
    shares: dict[str, float]
    words: str = ""
    accumulator: Accumulator = PLAIN

    @property
    def complete(self) -> bool:
        """Whether the rules explain every output."""
        return self.explained == self.asked


@dataclass(frozen=True)
class Products:
    """What was found; ``refused`` maps (kind, bits) to the target's words."""

    groups: tuple[Group, ...]
    refused: dict[tuple[str, int], str]
    processors: dict[tuple[str, int], tuple[str, ...]]


def probe_products(
    asker: Asker,
    rng: np.random.Generator,
    kinds: Sequence[Kind] = KINDS,
    widths: Sequence[int] = (8, 16),
    tell: Callable[[str], None] = lambda words: None,
    accumulator: Accumulator | None = None,
) -> Products:
    """The rules of every kind at every width, kinds with the same rules together.

    ``accumulator`` is what was found of the target's: where sums that overflow in it explain the
    answers and exact sums do not, the kind gets it.
    """
    groups: list[Group] = []
    refused: dict[tuple[str, int], str] = {}
    processors: dict[tuple[str, int], tuple[str, ...]] = {}
    for bits in widths:
        here: list[Group] = []
        for kind in kinds:
            tell(f"requantization: {kind}, {bits} bit")
            try:
                settings = [
                    random_setting(rng, _wish(kind, bits, index)) for index in range(_SETTINGS)
                ]
                replies = [answers(asker, setting) for setting in settings]
            except NoAnswerError as error:
                refused[kind, bits] = str(error)
                continue
            nodes = asker.opened.nodes if asker.opened else ()
            processors[kind, bits] = tuple(sorted({n[0] for n in nodes if n[2] in _OPS}))
            sums = _sums_in(accumulator, settings, replies) if bits == 8 else PLAIN
            evidence = [
                evidence_of(setting, reply, sums)
                for setting, reply in zip(settings, replies, strict=True)
            ]
            _place(here, kind, bits, evidence, sums)
        _share_rules(here)
        for group in here:
            tell(f"requantization: {', '.join(group.kinds)}, {bits} bit: what is left open")
            _settle(asker, rng, group, refused)
        groups += here
    agree(groups)
    return Products(tuple(groups), refused, processors)


_OPS = ("MatMul", "Gemm", "Conv", "FusedConv", "FusedMatMul")


def _sums_in(
    accumulator: Accumulator | None, settings: Sequence[Setting], replies: Sequence[Array]
) -> Accumulator:
    """The accumulator by which these answers were made: the one that was found, or an exact one.

    Sums that overflow move outputs by many steps: what explains more outputs within two steps of
    exact requantization is taken, exact sums if it makes no difference.
    """
    if accumulator is None or accumulator == PLAIN:
        return PLAIN
    near = dict.fromkeys((PLAIN, accumulator), 0)
    for rules in near:
        for setting, reply in zip(settings, replies, strict=True):
            entry = evidence_of(setting, reply, rules)
            factors = scales(entry.x_scale, entry.w_scale, entry.y_scale, "exact")
            total = entry.products - entry.correction + (0 if entry.bias is None else entry.bias)
            real = total * np.array([float(f) for f in factors]) + entry.zero_point
            near[rules] += int((np.abs(np.clip(real, entry.low, entry.high) - reply) <= 2).sum())
    return max(near, key=lambda rules: near[rules])


def _place(
    groups: list[Group], kind: Kind, bits: int, evidence: list[Evidence], sums: Accumulator
) -> None:
    """Into the group whose rules, perhaps made finer, explain this kind too, or into a new one."""
    for group in groups:
        if not group.complete or group.words or group.accumulator != sums:
            continue
        together = [*group.evidence, *evidence]
        found = refine(together, group.rivals[:6])
        if found.explained == found.asked:
            group.kinds.append(kind)
            group.evidence = together
            _take(group, found)
            return
    if looks_stochastic(evidence):
        asked = sum(entry.answer.size for entry in evidence)
        words = "each output is one of its two neighbours, in proportion to the fraction"
        rules = Requantize(rounding=Rounding.STOCHASTIC)
        groups.append(Group(bits, [kind], evidence, [rules], asked, asked, {}, words, sums))
        return
    found = find_requantize(evidence, [group.rivals[0] for group in groups])
    group = Group(bits, [kind], evidence, [], 0, 0, {}, accumulator=sums)
    _take(group, found)
    groups.append(group)


def _share_rules(groups: list[Group]) -> None:
    """Kinds whose rules were not found get those of a kind whose rules were, where they explain."""
    for group in [g for g in groups if not g.complete]:
        for other in [g for g in groups if g.complete and not g.words]:
            if other.accumulator != group.accumulator:
                continue
            together = [*other.evidence, *group.evidence]
            found = refine(together, other.rivals[:6])
            if found.explained == found.asked:
                other.kinds += group.kinds
                other.evidence = together
                _take(other, found)
                groups.remove(group)
                break


def _take(group: Group, found: Found) -> None:
    group.rivals = [found.rules, *found.equal]
    group.explained, group.asked, group.shares = found.explained, found.asked, dict(found.others)


def _settle(
    asker: Asker, rng: np.random.Generator, group: Group, refused: dict[tuple[str, int], str]
) -> None:
    """Ask what tells the group's rivals apart."""
    if not group.complete or group.words:
        return
    found = Found(
        group.rivals[0], group.asked, group.explained, tuple(group.rivals[1:]),
        tuple(group.shares.items()),
    )  # fmt: skip
    found, words = settle(
        asker, rng, group.kinds, group.bits, group.accumulator, group.evidence, found
    )
    _take(group, found)
    if words is not None:
        refused[words[0], group.bits] = words[1]


def _wish(kind: Kind, bits: int, index: int) -> Wish:
    return Wish(
        kind=kind,
        bits=8 if bits == 8 else 16,
        bias=kind != "matmul" and index % 8 != 1,
        x_zero=index > 0,
        y_zero=index > 0,
        per_channel=index % 3 > 0,
        dyadic=index % 4 == 3,
    )


def agree(groups: Sequence[Group]) -> None:
    """Among each group's rivals, put the one first that is most like the other groups' rules."""
    for group in groups:
        votes: dict[tuple[str, str], int] = {}
        for other in groups:
            if other is not group:
                for name in Requantize.model_fields:
                    values = {str(getattr(rules, name)) for rules in other.rivals}
                    if len(values) == 1:
                        key = (name, values.pop())
                        votes[key] = votes.get(key, 0) + 1
        order = {rules: index for index, rules in enumerate(group.rivals)}
        group.rivals.sort(
            key=lambda r: (
                -sum(votes.get((name, str(getattr(r, name))), 0) for name in _SHARED),
                order[r],
            )
        )


# What a target's groups are likely to share.
_SHARED = ("scale", "rounding", "bias", "bias_rounding", "drop_rounding")
