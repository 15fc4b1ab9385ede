"""Which rules of element-wise ops and functions explain a target's answers best.

Every candidate is computed by the reference. The search runs on the outputs that tell most, those
nearest to a tie; what it finds is counted again on all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from chipdrift.numerics.ops import reference_ops
from chipdrift.numerics.profile import Elementwise, Function, Rules
from chipdrift.numerics.rounding import Rounding
from chipdrift.numerics.tensors import OpSpec

Array = np.ndarray[Any, Any]

ROUNDINGS = [Rounding.HALF_EVEN, Rounding.HALF_UP, Rounding.HALF_AWAY, Rounding.FLOOR]
ROUNDINGS += [Rounding.TOWARD_ZERO]
_SAMPLE = 500
_BEAM = 6
_AGAIN = 4
_SAID = ("arithmetic", "rounding", "zero_point", "reciprocal")  # at the ends of the words
_RIVALS = 16
_ROUNDS = 6


@dataclass(frozen=True, eq=False)
class Asked:
    """One setting: the op with its quantizers, all its operands, the target's integers.

    ``telling`` are the flat positions whose outputs the search looks at; empty where an output
    depends on more than the inputs at its own position.
    """

    words: str
    spec: OpSpec
    arrays: tuple[Array | None, ...]
    answer: Array
    telling: Array = field(default_factory=lambda: np.zeros(0, np.int64))

    def predict(self, rules: Rules, sample: bool = False) -> Array:
        """What the engine answers under ``rules``: all outputs, or the telling ones, flat."""
        spec = replace(self.spec, rules=rules)
        arrays: Sequence[Array | None] = self.arrays
        if sample and self.telling.size:
            arrays = [None if x is None else x.reshape(-1)[self.telling] for x in arrays]
        return np.asarray(reference_ops()[spec.op](spec, arrays)).reshape(-1)

    def score(self, rules: Rules, sample: bool = False) -> tuple[int, int]:
        """(explained, asked)."""
        answer = self.answer.reshape(-1)
        if sample and self.telling.size:
            answer = answer[self.telling]
        return int((self.predict(rules, sample) == answer).sum()), answer.size

    def thinned(self) -> Asked:
        """Some 4,000 of the outputs, evenly: for shares that are only shown."""
        step = self.answer.size // 4096
        if step < 2 or not self.telling.size:
            return self
        arrays = tuple(None if x is None else x.reshape(-1)[::step] for x in self.arrays)
        return replace(self, arrays=arrays, answer=self.answer.reshape(-1)[::step])


def telling(answer: Array, real: Array, bits: int, rng: np.random.Generator) -> Array:
    """Outputs nearest to a tie and some others, none at the end of the range unless all are."""
    inside = np.flatnonzero((answer.reshape(-1) > 0) & (answer.reshape(-1) < (1 << bits) - 1))
    if not inside.size:
        inside = np.arange(answer.size)
    value = real.reshape(-1)[inside]
    order = np.argsort(np.abs(value - np.floor(value) - 0.5), kind="stable")
    near = order[: 2 * _SAMPLE]
    near = rng.choice(near, min(_SAMPLE, near.size), replace=False)
    other = rng.integers(0, inside.size, _SAMPLE // 4)
    edge = rng.integers(0, answer.size, _SAMPLE // 8)  # a constant that wraps sends all there
    return np.unique(np.concatenate([inside[near], inside[other], edge]))


@dataclass
class Found:
    """The best rules, others that explain as much, and what the rest explain (share by words)."""

    rules: Rules
    explained: int
    asked: int
    equal: list[Rules]
    shares: dict[str, float]

    @property
    def share(self) -> float:
        """Of the outputs."""
        return self.explained / max(1, self.asked)


def find(asked: list[Asked], seeds: Sequence[Elementwise], search: bool = True) -> Found:
    """The rules that explain most, the plainest among equals; ``seeds`` are tried first.

    Without ``search`` they are tried alone, and where they do not explain everything only rules
    without fixed point. Outputs that the best rules miss become telling ones in ``asked``.
    """
    for _ in range(_AGAIN):
        found, complete = _find(asked, seeds, search)
        if found.explained == found.asked or not complete or not search:
            break
        for index, entry in enumerate(asked):
            missed = np.flatnonzero(entry.predict(found.rules) != entry.answer.reshape(-1))
            asked[index] = replace(entry, telling=np.union1d(entry.telling, missed[:_SAMPLE]))
        seeds = [*seeds, found.rules.elementwise, *(r.elementwise for r in found.equal[:6])]
    return found


def _find(asked: Sequence[Asked], seeds: Sequence[Elementwise], search: bool) -> tuple[Found, bool]:
    """What is found, and whether all telling outputs are explained."""
    scores: dict[Elementwise, int] = {}
    op = asked[0].spec.op

    def score(rules: Elementwise) -> int:
        if rules not in scores:
            made = Rules(elementwise=rules)
            scores[rules] = sum(entry.score(made, sample=True)[0] for entry in asked)
        return scores[rules]

    total = sum(entry.telling.size or entry.answer.size for entry in asked)
    first = [*(plain(s, op) for s in seeds), *simple()]
    for rules in first:
        score(rules)
    if max(scores.values()) < total and search:
        for rules in _coarse():
            score(plain(rules, op))
    if max(scores.values()) < total and not search:
        scores = {rules: scores[rules] for rules in simple()}
    best = _ranked(scores)[:_BEAM]
    for _ in range(_ROUNDS if search else 0):
        before = [(r, scores[r]) for r in best]
        # With everything explained only rivals are looked for, around the best one.
        complete = scores[best[0]] == total
        for rules in best[: 1 if complete else _BEAM]:
            for other in neighbours(rules):
                score(plain(other, op))
        best = _ranked(scores)[:_BEAM]
        if complete or [(r, scores[r]) for r in best] == before:
            break
    top = scores[best[0]]
    # More rivals than these are given up: counting again takes time.
    tied = [r for r in _ranked(scores) if scores[r] == top][:_RIVALS]
    full = {rules: sum(e.score(Rules(elementwise=rules))[0] for e in asked) for rules in tied}
    most = max(full.values())
    tied = [r for r in tied if full[r] == most]
    shares: dict[str, float] = {}
    few = [entry.thinned() for entry in asked]
    for rules in simple():
        if rules not in tied:
            done = sum(e.score(Rules(elementwise=rules))[0] for e in few)
            shares[in_words(rules)] = done / sum(e.answer.size for e in few)
    if not search and seeds:  # what explains everything elsewhere is likelier than what is plainer
        tied.sort(key=lambda rules: rules != seeds[0])
    held = [Rules(elementwise=rules) for rules in tied]
    found = Found(held[0], most, sum(e.answer.size for e in asked), held[1:], shares)
    return found, top == total


def find_function(
    asked: Sequence[Asked], bits: int, table: bool, prefer: Elementwise | None = None
) -> Found:
    """The same for a function: its arithmetic and the rounding of what it makes.

    Of roundings between which no output decides, that of ``prefer`` comes first.
    """
    functions = [Function(arithmetic="exact"), Function(), Function(arithmetic="float16")]
    if table and bits > 8:
        functions += [Function(arithmetic="table", entries=n) for n in (256, 512, 1024)]
    scores: dict[Rules, int] = {}
    endings = [rules for rules in simple() if rules.arithmetic == "float32"]
    for function, elementwise in itertools.product(functions, endings):
        if elementwise.reciprocal and function.arithmetic in ("exact", "table"):
            continue  # no float32 there
        rules = Rules(elementwise=elementwise, function=function)
        scores[rules] = sum(entry.score(rules)[0] for entry in asked)
    top = max(scores.values())
    tied = [rules for rules, score in scores.items() if score == top]
    if prefer is not None:
        tied.sort(key=lambda rules: _rounding(rules.elementwise) != _rounding(prefer))
    total = sum(entry.answer.size for entry in asked)
    shares = {in_words(r): s / total for r, s in scores.items() if s < top}
    return Found(tied[0], top, total, tied[1:], shares)


def simple() -> Iterator[Elementwise]:
    """No fixed point: all roundings of real and of float32 numbers."""
    for arithmetic, rounding in itertools.product(("float32", "exact"), ROUNDINGS):
        yield Elementwise.model_validate({"arithmetic": arithmetic, "rounding": rounding})
        if rounding is Rounding.HALF_EVEN:  # of the others the zero point changes nothing here
            yield Elementwise.model_validate({"arithmetic": arithmetic, "zero_point": "inside"})
        if arithmetic == "float32":
            yield Elementwise(rounding=rounding, reciprocal=True)
            if rounding is Rounding.HALF_EVEN:
                yield Elementwise(rounding=rounding, zero_point="inside", reciprocal=True)


def _coarse() -> Iterator[Elementwise]:
    variants: list[dict[str, Any]] = [{}, {"zero_step": 256}, {"guard": 3}, {"guard": 6}]
    variants += [{"guard": 3, "parts": "apart", "scale": how} for how in ("exact", "float32")]
    for bits, leading, rounding in itertools.product(
        range(4, 25), ("largest", "sum", "one"), (Rounding.HALF_UP, Rounding.FLOOR)
    ):
        for more in variants:
            yield _fixed(bits=bits, leading=leading, rounding=rounding, **more)


def neighbours(rules: Elementwise) -> Iterator[Elementwise]:
    """Rules that differ in one field, or in those that only work together."""
    if rules.arithmetic != "fixed_point":
        yield from simple()
        return
    changes: list[dict[str, Any]] = [{"bits": n} for n in range(3, 32)]
    # A constant in whole steps of the multiplier: its step goes with the bits.
    changes += [
        {"bits": n, "zero_step": 1 << n, "rounding": how}
        for n in range(8, 21)
        for how in (Rounding.HALF_UP, Rounding.HALF_EVEN)
    ]
    changes += [{"leading": v} for v in ("largest", "sum", "one")]
    changes += [{"fraction": n} for n in (None, *range(6, 27))]
    changes += [{"scale": v} for v in ("exact", "float32")]
    changes += [{"rounding": v} for v in ROUNDINGS]
    for step, how, width in itertools.product(
        [1 << n for n in range(17)], ("HALF_UP", "FLOOR"), (None, 16, 32)
    ):
        change = {"zero_step": step, "zero_rounding": how, "zero_width": width}
        changes.append(change | ({} if width is None else {"guard": None, "parts": "together"}))
    changes += [{"guard": None, "parts": "together"}]
    changes += [
        {"guard": n, "parts": p, "zero_width": None}
        for n, p in itertools.product(range(13), ("together", "apart"))
    ]
    for change in changes:
        yield _fixed(**{**rules.model_dump(), **change})


def plain(rules: Elementwise, op: str) -> Elementwise:
    """The same rules with what has no effect on ``op`` set to its default."""
    fields = rules.model_dump(exclude_defaults=True)
    if rules.zero_step == 1:
        fields.pop("zero_rounding", None)
    if op == "Mul":
        for name in ("zero_rounding", "zero_width", "guard", "parts"):
            fields.pop(name, None)
    if op not in ("Add", "Sub") and rules.leading == "sum":
        fields.pop("leading")
    return Elementwise(**fields)


def _fixed(**fields: Any) -> Elementwise:
    return Elementwise(**{**fields, "arithmetic": "fixed_point"})


def in_words(rules: Rules | Elementwise) -> str:
    """What is not left at its default, short."""
    if isinstance(rules, Elementwise):
        return _words(rules.model_dump(mode="json", exclude_defaults=True), rules)
    made = _words(rules.function.model_dump(mode="json", exclude_defaults=True), rules.function)
    return f"{made}, {_rounding(rules.elementwise)}"


def _rounding(rules: Elementwise) -> str:
    inside = " with the zero point" if rules.zero_point == "inside" else ""
    return rules.rounding.value + inside + (", reciprocal" if rules.reciprocal else "")


def _words(fields: Mapping[str, Any], rules: Elementwise | Function) -> str:
    parts: list[str] = [rules.arithmetic]
    parts += [
        f"{k} {v}"
        for k, v in fields.items()
        if k not in ("arithmetic", "rounding", "zero_point", "reciprocal")
    ]
    if isinstance(rules, Elementwise):
        parts.append(_rounding(rules))
    return ", ".join(parts)


def _ranked(scores: Mapping[Elementwise, int]) -> list[Elementwise]:
    return sorted(scores, key=lambda rules: (-scores[rules], cost(rules)))


def cost(rules: Elementwise) -> tuple[int, int]:
    """How far from the plainest rules: what decides among those that explain equally much."""
    far = {"float32": 0, "exact": 1, "fixed_point": 5}[rules.arithmetic]
    far += ROUNDINGS.index(rules.rounding) if rules.rounding in ROUNDINGS else 9
    far += ("largest", "sum", "one").index(rules.leading) + 3 * (rules.fraction is not None)
    far += (rules.scale != "exact") + 4 * (rules.zero_step > 1) + (rules.zero_rounding == "FLOOR")
    far += 2 * (rules.zero_width is not None) + 3 * (rules.guard is not None)
    far += 2 * (rules.parts == "apart") + 2 * (rules.zero_point == "inside")
    far += 2 * rules.reciprocal
    return far, (rules.bits or 0) + rules.zero_step + (rules.fraction or 0) + (rules.guard or 0)


def parted(rivals: Iterable[Rules], entry: Asked) -> int:
    """On how many outputs the rivals part from the first; the answers are void."""
    first, *others = [entry.predict(rules) for rules in rivals]
    apart = [first != other for other in others]
    return int(sum(a.any() for a in apart) * 1_000 + sum(a.sum() for a in apart))
