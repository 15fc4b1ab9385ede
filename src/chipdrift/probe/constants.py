"""How a target computes with a constant of one element: often by a table, not as with a tensor.

Each op is asked with a constant of its own; the rules that were found elsewhere and the plain ones
are tried (N31, N34). Only rules that part from the op's own become rules of their kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from chipdrift.numerics.profile import Elementwise, Kernel, Override, Profile, Rules
from chipdrift.numerics.tensors import Operand, OpSpec
from chipdrift.probe.ask import Asker, NoAnswerError
from chipdrift.probe.elementsearch import Asked, cost, in_words, simple
from chipdrift.probe.entry import answered, quant_of
from chipdrift.probe.finding import Finding

NEARLY = 0.99
# (settings, inputs of each) by width.
_SIZES = {8: (12, 256), 16: (6, 1024)}


class _Question(NamedTuple):
    op: str
    kernel: Kernel
    words: str


QUESTIONS = (
    _Question("Add", "constant", "Add of a constant"),
    _Question("Sub", "constant", "Sub of a constant"),
    _Question("Min", "constant", "Min with a constant"),
    _Question("Max", "constant", "Max with a constant"),
    _Question("Mul", "constant", "Mul by a constant above 0"),
    _Question("Div", "constant", "Div by a constant above 0"),
    _Question("Mul", "negative_constant", "Mul by a constant below 0"),
    _Question("Div", "negative_constant", "Div by a constant below 0"),
    _Question("Sub", "constant_first", "Sub from a constant"),
    _Question("Div", "constant_first", "Div of a constant"),
)


def probe_constants(
    asker: Asker,
    rng: np.random.Generator,
    known: Sequence[Override],
    tell: Callable[[str], None] = lambda words: None,
    widths: Sequence[int] = (8, 16),
) -> tuple[list[Finding], list[Override]]:
    """Findings for every question and width, and rules for kernels that have their own.

    ``known`` are the rules of element-wise ops found before. A refused question is a finding with
    the target's words.
    """
    findings: list[Finding] = []
    kept: dict[tuple[int, Kernel, Elementwise], list[str]] = {}
    profile = Profile(name="known", rule=tuple(known))
    elsewhere = [rule.elementwise for rule in known if rule.elementwise is not None]
    for bits in widths:
        for question in QUESTIONS:
            tell(f"element-wise: {question.words}, {bits} bit")
            subject = f"{question.words}, {bits} bit"
            try:
                asked = [answered(asker, one) for one in _settings(rng, question, bits)]
            except NoAnswerError as error:
                findings.append(
                    Finding(subject=subject, rule="elementwise", words=f"no answer: {error}")
                )
                continue
            own = profile.rules_for(question.op, bits).elementwise
            finding, best = _found(subject, asked, own, elsewhere)
            findings.append(finding)
            if best is not None and best != own:
                kept.setdefault((bits, question.kernel, best), []).append(question.op)
    overrides = [
        Override(
            ops=tuple(ops),
            activation=8 if bits == 8 else 16,
            kernel=kernel,
            elementwise=rules,
        )
        for (bits, kernel, rules), ops in kept.items()
    ]
    return findings, overrides


def _found(
    subject: str, asked: Sequence[Asked], own: Elementwise, elsewhere: Sequence[Elementwise]
) -> tuple[Finding, Elementwise | None]:
    """What explains most: the op's own rules, else those found elsewhere, else the plainest."""
    total = sum(entry.answer.size for entry in asked)
    scores: dict[Elementwise, int] = {}
    for rules in (own, *elsewhere, *simple()):
        if rules not in scores:
            made = Rules(elementwise=rules)
            scores[rules] = sum(entry.score(made)[0] for entry in asked)
    most = max(scores.values())
    order = {rules: (rules != own, rules not in elsewhere, cost(rules)) for rules in scores}
    best, *equal = sorted((r for r in scores if scores[r] == most), key=order.__getitem__)
    known = most >= NEARLY * total
    others = sorted(((in_words(r), n / total) for r, n in scores.items() if n < most), key=_last)
    words = f"{len(asked)} settings"
    if not known:
        words += f"; best so far: {in_words(best)}"
    finding = Finding(
        subject=subject,
        rule="elementwise",
        place=("rule", "elementwise"),
        value=in_words(best) if known else None,
        words=words,
        asked=total,
        explained=most,
        ruled_out=tuple(others[:6]),
        undecided=tuple(in_words(r) for r in (best, *equal[:5])) if equal and known else (),
    )
    return finding, best if known else None


def _last(entry: tuple[str, float]) -> float:
    return -entry[1]


def _settings(rng: np.random.Generator, question: _Question, bits: int) -> Iterator[Asked]:
    """All inputs of 8 bits, many of 16, under random quantizers; a third make near-ties."""
    top, dtype, op = 1 << bits, f"uint{bits}", question.op
    first, scaled = question.kernel == "constant_first", op in ("Mul", "Div")
    settings, count = _SIZES[bits]
    for index in range(settings):
        zero_x, zero_y = (int(v) for v in rng.uniform(0.05 * top, 0.95 * top, 2))
        step = float(np.exp(rng.uniform(-6, 0))) * 256 / top
        number = float(np.exp(rng.uniform(-1, 2)))
        ratio = 1.5 if index % 3 == 2 else float(np.exp(rng.uniform(-1.6, 1.2)))
        # The constant in real numbers, and an output's scale under which it matters.
        if not scaled:
            number, scale = step * top / 6, step / ratio
        elif first:
            scale = number / step / (top / 8) / ratio
        else:
            scale = step * (number if op == "Mul" else 1 / number) / ratio
        signs = {"negative_constant": -1, "constant": 1}
        sign = signs.get(question.kernel) if scaled else None
        sign = sign or (-1 if index % 2 else 1)
        zero_c = int(rng.integers(top // 4, top - top // 4))
        held = zero_c + sign * int(rng.integers(1, top // 4))
        x, y = quant_of(dtype, step, zero_x), quant_of(dtype, scale, zero_y)
        c = quant_of(dtype, number / abs(held - zero_c), zero_c)
        values = np.arange(top) if bits == 8 else rng.integers(0, top, count)
        if op == "Div" and first:
            values = values[values != zero_x]  # by 0 there is nothing to compute
        constant = np.array([[held]], dtype)
        arrays = [values.astype(dtype).reshape(1, -1), constant]
        operands = [Operand(x), Operand(c, constant)]
        if first:
            arrays.reverse()
            operands.reverse()
        spec = OpSpec(op, "op", tuple(operands), {}, y)
        yield Asked("", spec, tuple(arrays), np.zeros(0))
