"""What a product of 16-bit inputs makes of its second operand (N11, N16, N17).

Asked where the rules of such products are known from weights without a zero point: do weights lose
theirs before they are multiplied, and what becomes of a second activation?
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from chipdrift.numerics.profile import Accumulator, Narrow, Override, Requantize, Rules
from chipdrift.numerics.rounding import Rounding
from chipdrift.numerics.signed import signed_weights
from chipdrift.numerics.tensors import Operand, OpSpec
from chipdrift.probe.ask import Asker, NoAnswerError
from chipdrift.probe.elementsearch import Asked
from chipdrift.probe.entry import answered, quant_of
from chipdrift.probe.finding import Finding

NEARLY = 0.99
_SETTINGS = 6
# So many more that tell apart what explains all of them, each the best of so many drawn.
_MORE, _DRAWN = 6, 8
_ROWS, _DEPTH, _COLUMNS = 24, 24, 24
_FRACTIONS = range(4, 13)
_ROUNDINGS = ("UP", "HALF_UP", "FLOOR")
# What a MatMul of two 16-bit activations has where it was not found: exact sums, rounded once.
EXACT = Rules(accumulator=Accumulator(width=64), requantize=Requantize(rounding=Rounding.HALF_UP))


def probe_second(
    asker: Asker,
    rng: np.random.Generator,
    known: Sequence[Override],
    tell: Callable[[str], None] = lambda words: None,
) -> tuple[list[Finding], list[Override]]:
    """Findings, and ``known``, the rules of products, with what was found out.

    Nothing is asked without rules for 16-bit MatMul. A refused question is a finding with the
    target's words.
    """
    rules = list(known)
    matmul = [r for r in rules if r.activation == 16 and r.ops and "MatMul" in r.ops]
    if not matmul or matmul[-1].accumulator is None or matmul[-1].requantize is None:
        return [], rules
    tell("the second operand, 16 bit")
    findings: list[Finding] = []
    if matmul[-1].requantize.parts == "apart":
        finding, stored = _zero_points(asker, rng, matmul[-1])
        findings.append(finding)
        if stored in ("input", "signed"):
            rules = [_storing(rule, stored) for rule in rules]
            matmul = [_storing(rule, stored) for rule in matmul]
    finding, dynamic = _activations(asker, rng, matmul[-1])
    findings.append(finding)
    return findings, [*rules, dynamic]


def _storing(rule: Override, stored: str) -> Override:
    """The rule with weights as found, where it drops the parts of 16-bit products apart."""
    if rule.activation != 16 or rule.requantize is None or rule.requantize.parts != "apart":
        return rule
    fields = (rule.accumulator or Accumulator()).model_dump(exclude_unset=True)
    made = Accumulator.model_validate({**fields, "operands": "stored", "stored": stored})
    return rule.model_copy(update={"accumulator": made})


def _zero_points(
    asker: Asker, rng: np.random.Generator, matmul: Override
) -> tuple[Finding, str | None]:
    """Whether weights that have a zero point are multiplied with it or without."""
    subject = "weights with a zero point, 16 bit"
    try:
        asked = [answered(asker, _product(rng, index, True)) for index in range(_SETTINGS)]
    except NoAnswerError as error:
        return Finding(subject=subject, rule="stored", words=f"no answer: {error}"), None
    plain = (matmul.accumulator or Accumulator()).model_dump(exclude_unset=True)
    scores = {}
    for stored in ("both", "input", "signed"):
        accumulator = {**plain, "operands": "stored", "stored": stored}
        rules = Rules(
            accumulator=Accumulator.model_validate(accumulator),
            requantize=matmul.requantize or Requantize(),
        )
        entries = map(_signed, asked) if stored == "signed" else iter(asked)
        scores[stored] = sum(entry.score(rules)[0] for entry in entries)
    total = sum(entry.answer.size for entry in asked)
    return _finding(subject, "stored", ("accumulator", "stored"), scores, total, len(asked))


def _signed(entry: Asked) -> Asked:
    """The product with its weights in signed 8 bits (N17)."""
    held = entry.spec.operands[1].constant
    assert held is not None
    values, quant, _ = signed_weights(held, entry.spec.quant(1), 1)
    operands = (entry.spec.operands[0], Operand(quant, values))
    spec = replace(entry.spec, operands=operands)
    return replace(entry, spec=spec, arrays=(entry.arrays[0], values))


def _activations(
    asker: Asker, rng: np.random.Generator, matmul: Override
) -> tuple[Finding, Override]:
    """What a MatMul of two 16-bit activations computes, with its rules."""
    subject, fallback = "MatMul of two activations, 16 bit", _rule(EXACT)
    try:
        asked = [answered(asker, _product(rng, index, False)) for index in range(_SETTINGS)]
    except NoAnswerError as error:
        return Finding(subject=subject, rule="narrow", words=f"no answer: {error}"), fallback
    base = Rules(
        accumulator=matmul.accumulator or Accumulator(),
        requantize=matmul.requantize or Requantize(),
    )
    candidates = {"exact sums, rounded once": EXACT, "as with weights": base}
    for narrow in _narrows():
        candidates[_words(narrow)] = base.model_copy(update={"narrow": narrow})
    scores, total = _scores(asked, candidates)
    for _ in range(_MORE):
        equal = [candidates[name] for name, score in scores.items() if score == total]
        drawn = [_product(rng, index, False) for index in range(_DRAWN)]
        parting = [_apart(equal, entry) for entry in drawn]
        if len(equal) < 2 or not max(parting):
            break
        try:
            asked.append(answered(asker, drawn[int(np.argmax(parting))]))
        except NoAnswerError:
            break
        scores, total = _scores(asked, candidates)
    finding, best = _finding(subject, "narrow", ("rule", "narrow"), scores, total, len(asked))
    return finding, fallback if best is None else _rule(candidates[best])


def _apart(rivals: Sequence[Rules], entry: Asked) -> int:
    """On how many outputs the rivals part from the first."""
    if len(rivals) < 2:
        return 0
    first, *others = [entry.predict(rules) for rules in rivals[:6]]
    return sum(int((first != other).sum()) for other in others)


def _rule(rules: Rules) -> Override:
    """Rules of the kernel dynamic; its tables are those that are not the engine's own."""
    return Override(
        ops=("MatMul",),
        kernel="dynamic",
        activation=16,
        accumulator=rules.accumulator,
        requantize=rules.requantize,
        narrow=rules.narrow,
    )


def _narrows() -> Iterator[Narrow]:
    yield Narrow()
    for fraction, rounding in itertools.product(_FRACTIONS, _ROUNDINGS):
        yield Narrow.model_validate(
            {"arithmetic": "fixed_point", "fraction": fraction, "rounding": rounding}
        )


def _words(narrow: Narrow) -> str:
    if narrow.fraction is None:
        return "second operand to 8 bits, exact"
    return f"second operand to 8 bits, fraction {narrow.fraction}, {narrow.rounding}"


def _scores(asked: Sequence[Asked], candidates: dict[str, Rules]) -> tuple[dict[str, int], int]:
    """Outputs that each candidate explains, and how many were asked for."""
    total = sum(entry.answer.size for entry in asked)
    return {
        name: sum(entry.score(rules)[0] for entry in asked) for name, rules in candidates.items()
    }, total


def _finding(
    subject: str,
    rule: str,
    place: tuple[str, ...],
    scores: dict[str, int],
    total: int,
    settings: int,
) -> tuple[Finding, str | None]:
    """The best candidate, the first among equals, with what it and the others explain."""
    most = max(scores.values())
    equal = [name for name, score in scores.items() if score == most]
    best = equal[0] if most >= NEARLY * total else None
    others = sorted(
        ((name, score / total) for name, score in scores.items() if score < most),
        key=lambda entry: -entry[1],
    )
    words = f"{settings} settings" + ("" if best else f"; best so far: {equal[0]}")
    return Finding(
        subject=subject,
        rule=rule,
        place=place,
        value=best,
        words=words,
        asked=total,
        explained=most,
        ruled_out=tuple(others[:6]),
        undecided=tuple(equal) if best and len(equal) > 1 else (),
    ), best


def _product(rng: np.random.Generator, index: int, constant: bool) -> Asked:
    """A MatMul whose second operand lies, mostly, within signed 8 bits of its zero point.

    ``constant``: uint8 weights; else 16-bit integers that come at run time.
    """
    unit = 1 if constant else 257
    zero_x = int(rng.integers(0, 1 << 16))
    zero_w = int(rng.integers(30, 120)) * unit + int(rng.integers(0, unit))
    if index % 2 and not constant:
        zero_w -= zero_w % 4096  # rounded up or down alike, so the operand's own rounding shows
    far = 200 if index % 3 == 2 else 110  # beyond signed 8 bits in every third
    low, high = max(0, zero_w - far * unit), zero_w + far * unit
    x = np.clip(rng.normal(zero_x, 8000, (_ROWS, _DEPTH)), 0, 65535).astype(np.uint16)
    w = rng.integers(low, high, (_DEPTH, _COLUMNS))
    w = np.clip(w, 0, 256 * unit - 1 - (unit > 1) * 256).astype(np.uint8 if constant else np.uint16)
    first = quant_of("uint16", float(np.exp(rng.uniform(-9, -4))), zero_x)
    second = quant_of(str(w.dtype), float(np.exp(rng.uniform(-6, -2))) / unit, zero_w)
    sums = (x.astype(np.int64) - zero_x) @ (w.astype(np.int64) - zero_w)
    unit_of_sums = float(first.scale) * float(second.scale)
    step = float(sums.max() - sums.min()) * unit_of_sums / 60_000
    zero_y = int(np.clip(2_000 - sums.min() * unit_of_sums / step, 0, 65535))
    output = quant_of("uint16", step, zero_y)
    operands = (Operand(first), Operand(second, w if constant else None))
    spec = OpSpec("MatMul", "op", operands, {}, output)
    return Asked("", spec, (x, w), np.zeros(0))
