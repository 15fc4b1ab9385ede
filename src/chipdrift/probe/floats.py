"""How the target multiplies and adds float16: what is rounded, when, and in which order (N80).

Numbers are made so that rules part: big products that cancel leave small ones behind, of which an
accumulator has kept more or fewer bits, and which of them it lost tells the order.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from chipdrift.graph.single import OneOp, Side, one_op_model
from chipdrift.numerics.rounding import Rounding
from chipdrift.numerics.smallfloat import SmallFloat, dot
from chipdrift.probe.ask import Asker, NoAnswerError
from chipdrift.probe.finding import Finding

Array = np.ndarray[Any, Any]
Scored = dict[SmallFloat, tuple[int, int]]

KNOWN = 0.999
_SUBJECT = "float16 products"
_BLOCKS = (2, 4, 8, 16, 32, 64, 128, 256)
_OUTPUTS = tuple(r for r in Rounding if r is not Rounding.STOCHASTIC)
# Candidates this much behind the best on what was asked so far are given up.
_BEHIND, _AT_LEAST = 0.03, 8


@dataclass(frozen=True, eq=False)
class Question:
    """``a`` (M, K) times ``b`` (K, N), float16, with the target's answer (M, N)."""

    words: str
    a: Array
    b: Array
    answer: Array

    def explained(self, rules: SmallFloat) -> int:
        """How many outputs ``rules`` explain."""
        expected = dot(self.a, self.b, rules)
        same = (expected == self.answer) | (np.isnan(expected) & np.isnan(self.answer))
        return int(same.sum())


def probe_floats(asker: Asker, rng: np.random.Generator) -> list[Finding]:
    """The rules of ``floats`` in a profile, from float16 MatMul and 1x1 Conv.

    A target that refuses float16, or computes it on its CPU, answers with that alone.
    """
    questions: list[Question] = []
    refused: list[str] = []
    for words, a, b in _numbers(rng):
        try:
            questions.append(Question(words, a, b, _ask(asker, "MatMul", a, b)))
        except NoAnswerError as error:
            refused.append(f"{words}: {error}")
        left = _left_npu(asker)
        if left is not None:
            return [Finding(subject=_SUBJECT, rule="taken", value=False, words=left)]
    if not questions:
        words = refused[0] if refused else "the target answered no question"
        return [Finding(subject=_SUBJECT, rule="taken", value=False, words=words)]
    asked = sum(q.answer.size for q in questions)
    scores = _search(questions)
    best = max(explained for explained, of in scores.values() if of == asked)
    tied = [rules for rules, score in scores.items() if score == (best, asked)]
    tied = list(dict.fromkeys(_with_free_output(tied)))
    found = [Finding(subject=_SUBJECT, rule="taken", value=True, words=_words(questions, refused))]
    found += _fields(tied, scores, best, asked)
    return [*found, *_convolution(asker, questions, tied[0])]


def _numbers(rng: np.random.Generator) -> Iterator[tuple[str, Array, Array]]:
    """What is asked, the questions that part most first."""
    yield "one product", *_halves(_random(rng, (64, 1), -3, 3), _random(rng, (1, 24), -3, 3))
    # Odd products of 12 bits, of either sign: each is half way between two numbers.
    odd, other = rng.integers(16, 23, (24, 1)), rng.integers(32, 45, (1, 24))
    odd, other = 2 * odd + 1, (2 * other + 1) * rng.choice([-1, 1], (1, 24))
    yield "one product, half way", *_halves(odd, other)
    yield "24 products, most of which cancel", *_paired(rng, 24, (0, 4), (-5, 0), 9)
    # 2049 is half way between float16 numbers, and the third product decides: who has seen it?
    small = np.ldexp(rng.choice([-1.0, 1.0], (1, 96)), rng.integers(-8, 5, (1, 96)))
    even = 2.0 * rng.integers(1024, 2047, (1, 96))
    parts = np.concatenate([even, rng.choice([-1.0, 1.0], (1, 96)), small])
    scaled = np.ldexp([[1.0, 1.0, 2.0**-10]], 2 - np.arange(4)[:, None])
    yield "sums next to half way", *_halves(scaled, parts)
    # More than three of the largest blocks: up to there pairs of blocks are blocks of pairs.
    yield "900 products, most of which cancel", *_paired(rng, 900, (0, 4), (-5, 0), 430, 8)
    low, high = _random(rng, (24, 8), -24, -12), _random(rng, (8, 24), -6, 6)
    yield "subnormal inputs", *_halves(low, high)
    low, high = _random(rng, (24, 4), -9, -6), _random(rng, (4, 24), -9, -6)
    yield "subnormal outputs", *_halves(low, high)
    yield "subnormal sums", *_paired(rng, 12, (-7, -5), (-10, -7), 5)
    low, high = _random(rng, (24, 8), 5, 8), _random(rng, (8, 24), 5, 8)
    yield "sums near 65504", *_halves(low, high)
    yield "sums beyond 65504 that come back", *_paired(rng, 12, (7, 9), (0, 5), 5)
    for depth, pairs, rows in ((32, 12, 24), (900, 300, 8)):
        # Of the small ones, float32 loses most beside the first, and float64 beside the second.
        yield (
            f"{depth} products, 2^30 to 2^-24",
            *_paired(rng, depth, (0, 14), (-12, -2), pairs, rows),
        )
        yield (
            f"{depth} products, 2^30 to 2^-26",
            *_paired(rng, depth, (11, 14), (-13, -8), pairs, rows),
        )


def _random(rng: np.random.Generator, shape: tuple[int, ...], low: int, high: int) -> Array:
    """Numbers of 11 bits with the exponents ``low`` to ``high``."""
    whole = rng.integers(1024, 2048, shape) * rng.choice([-1.0, 1.0], shape)
    out: Array = np.ldexp(whole, rng.integers(low, high + 1, shape) - 10)
    return out


def _halves(a: Array, b: Array) -> tuple[Array, Array]:
    return a.astype(np.float16), b.astype(np.float16)


def _paired(
    rng: np.random.Generator,
    depth: int,
    big: tuple[int, int],
    small: tuple[int, int],
    pairs: int,
    rows: int = 24,
) -> tuple[Array, Array]:
    """(rows, depth) and (depth, 24): ``pairs`` of big products cancel, small ones stay."""
    a, b = _random(rng, (rows, depth), *small), _random(rng, (depth, 24), *small)
    places = rng.permutation(depth)
    for one, other in zip(places[:pairs], places[pairs : 2 * pairs], strict=True):
        a[:, one] = a[:, other] = _random(rng, (rows,), *big)
        b[one] = _random(rng, (24,), *big)
        b[other] = -b[one]
    return _halves(a, b)


def _ask(asker: Asker, op: Literal["MatMul", "Conv"], a: Array, b: Array) -> Array:
    """``a @ b`` as the target has it, the second operand held by the model: float64 (M, N)."""
    shape: tuple[int, ...] = (a.shape[0], b.shape[1])
    x, w, attributes = a, b, {}
    if op == "Conv":
        x = np.ascontiguousarray(a.T).reshape(1, a.shape[1], 1, a.shape[0])
        w = np.ascontiguousarray(b.T).reshape(b.shape[1], b.shape[0], 1, 1)
        shape, attributes = (1, b.shape[1], 1, a.shape[0]), {"kernel_shape": [1, 1]}
    sides = [Side("float16", shape=x.shape), Side("float16", integers=w)]
    one = OneOp(op, sides, Side("float16", shape=shape), attributes)
    (made,) = asker.ask(one_op_model(one), [{"x0": x}])
    made = made.astype(np.float64)
    return made.reshape(b.shape[1], a.shape[0]).T if op == "Conv" else made


def _left_npu(asker: Asker) -> str | None:
    """What to say where a target with an NPU computes float16 elsewhere."""
    if asker.opened is None or not asker.target.has_npu:
        return None
    nodes = [(where, name, op) for where, name, op in asker.opened.nodes if name == "op"]
    if not nodes or any(where == "npu" for where, _, _ in nodes):
        return None
    reason = asker.opened.reasons.get("op")
    return f"a float16 MatMul runs on the {nodes[0][0]}" + (f": {reason}" if reason else "")


def _cores() -> Iterator[dict[str, Any]]:
    """Products, accumulator and order: the plainest first."""
    orders: list[dict[str, Any]] = [{}, {"order": "pairwise"}]
    for block, within in itertools.product(_BLOCKS, ("sequential", "pairwise")):
        if block > 2 or within == "sequential":  # of two there is one sum
            orders.append({"order": "blocks", "block": block, "within": within})
    widths: tuple[Any, ...] = (32, 16, "exact", 64)
    for accumulate, products in itertools.product(widths, ("exact", "float16")):
        steps = ("single", "double") if accumulate in ("exact", 64) else ("single",)
        chosen = orders[:1] if accumulate == "exact" else orders
        for order, step in itertools.product(chosen, steps):
            yield {"accumulate": accumulate, "products": products, "steps": step, **order}


def _search(questions: Sequence[Question]) -> Scored:
    """(explained, asked) of every candidate; those given up early were asked less.

    The first question has a single product: it finds the output's rounding, except where products
    or sums are rounded to float16 before.
    """
    scores: Scored = {}
    for core, how in itertools.product(_cores(), _OUTPUTS):
        if core["accumulate"] != 16 or how is _OUTPUTS[0]:  # see _with_free_output
            scores[SmallFloat(output=how, **core)] = (0, 0)
    # Where nothing overflows and nothing is subnormal these two rules say nothing.
    plain = questions[:5]
    alive = list(scores)
    for question in plain:
        alive = _round(alive, question, scores)
    alive = [rules for rules in scores if rules in set(alive)]  # the plainest first again
    early: dict[SmallFloat, int] = {}
    for rules, subnormals, overflow in itertools.product(
        list(alive), ("keep", "flush"), ("infinity", "clamp")
    ):
        other = rules.model_copy(update={"subnormals": subnormals, "overflow": overflow})
        scores.setdefault(other, scores[rules])
        early[other] = scores[other][0]
        alive += [other] if other not in alive else []
    for question in questions[5:]:
        alive = _round(alive, question, scores)
    for rules in alive:  # they say nearly nothing: a sum may cancel to a subnormal by chance
        explained, asked = scores[rules]
        again = sum(question.explained(rules) for question in plain)
        scores[rules] = (explained - early[rules] + again, asked)
    return scores


def _round(alive: list[SmallFloat], question: Question, scores: Scored) -> list[SmallFloat]:
    for rules in alive:
        explained, asked = scores[rules]
        scores[rules] = (
            explained + question.explained(rules),
            asked + question.answer.size,
        )
    ranked = sorted(alive, key=lambda rules: -scores[rules][0])  # stable: the plainest first
    limit = scores[ranked[0]][0] - _BEHIND * scores[ranked[0]][1]
    return [r for i, r in enumerate(ranked) if i < _AT_LEAST or scores[r][0] >= limit]


def _with_free_output(tied: Iterable[SmallFloat]) -> Iterator[SmallFloat]:
    """A float16 accumulator is the output as it is, whatever would round it."""
    for rules in tied:
        yield rules
        if rules.accumulate == 16:
            yield from (rules.model_copy(update={"output": how}) for how in _OUTPUTS)


def _fields(tied: Sequence[SmallFloat], scores: Scored, best: int, asked: int) -> Iterator[Finding]:
    """One finding per rule. What explains equally much is undecided, the plainest is the value."""
    known = best >= KNOWN * asked
    chosen = tied[0].model_dump(mode="json")
    for name in SmallFloat.model_fields:
        if name in ("block", "within") and chosen["order"] != "blocks":
            continue
        if name == "within" and chosen["block"] == 2:
            continue
        if name == "steps" and chosen["accumulate"] in (16, 32):
            continue
        values = dict.fromkeys(_shown(rules, name) for rules in tied)
        others: dict[str, float] = {}
        for rules, (explained, of) in scores.items():
            if of and _shown(rules, name) not in values:
                value = _shown(rules, name)
                others[value] = max(others.get(value, 0.0), explained / of)
        yield Finding(
            subject=_SUBJECT,
            rule=name,
            place=("floats", name),
            value=chosen[name] if known else None,
            words=_why(name, known, len(values), chosen[name]),
            asked=asked,
            explained=best,
            ruled_out=tuple(sorted(others.items(), key=lambda entry: -entry[1])[:6]),
            undecided=tuple(values) if len(values) > 1 else (),
        )


def _shown(rules: SmallFloat, name: str) -> str:
    """A rule's value in words: blocks and what is in them mean nothing without their order."""
    value = str(getattr(rules, name))
    if name == "order" and rules.accumulate == "exact":
        return "any"
    return value if name not in ("block", "within") or rules.order == "blocks" else "no blocks"


def _why(name: str, known: bool, values: int, best: Any) -> str:
    if name == "format":
        return "what was asked"
    if not known:
        return f"nothing explains {KNOWN:.1%} of the answers; best so far: {best}"
    if values > 1:
        return "no output that was asked for depends on which"
    return "no other value explains as many outputs"


def _words(questions: Sequence[Question], refused: Sequence[str]) -> str:
    words = f"MatMul of {len(questions)} kinds of numbers"
    return words + (f"; not answered: {'; '.join(refused)}" if refused else "")


def _convolution(
    asker: Asker, questions: Sequence[Question], rules: SmallFloat
) -> Iterator[Finding]:
    """Whether a 1x1 convolution sums its channels as MatMul sums its inner dimension."""
    asked = explained = 0
    for question in [*questions[1:5], *questions[-4:]]:
        try:
            answer = _ask(asker, "Conv", question.a, question.b)
        except NoAnswerError as error:
            yield Finding(subject="float16 Conv", rule="as MatMul", words=str(error))
            return
        left = _left_npu(asker)
        if left is not None:
            words = left.replace("MatMul", "Conv")
            yield Finding(subject="float16 Conv", rule="as MatMul", value=False, words=words)
            return
        again = Question(question.words, question.a, question.b, answer)
        asked, explained = asked + answer.size, explained + again.explained(rules)
    yield Finding(
        subject="float16 Conv",
        rule="as MatMul",
        value=explained >= KNOWN * asked,
        words="1x1 convolutions of the same numbers, under MatMul's rules",
        asked=asked,
        explained=explained,
    )
