"""How a target adds, multiplies, moves between quantizers, pools, and computes functions.

Sums, products and bare changes of a quantizer are searched for rules (N30, N32, N34); what only
moves or averages is tried with the rules found for those; functions are asked all their inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from chipdrift.numerics.profile import Elementwise, Override, Rules
from chipdrift.numerics.tensors import Operand, OpSpec
from chipdrift.probe.ask import Asker, NoAnswerError
from chipdrift.probe.elementsearch import (
    Asked,
    Found,
    cost,
    find,
    find_function,
    in_words,
    parted,
    telling,
)
from chipdrift.probe.entry import answered, quant_of
from chipdrift.probe.finding import Finding

Array = np.ndarray[Any, Any]
Tell = Callable[[str], None]

NEARLY = 0.99
# Neg stands for all bare changes of a quantizer: an Identity would be taken out of the graph.
SEARCHED = ("Add", "Sub", "Mul", "Neg")
FOLLOWERS = ("Concat", "Relu", "Max", "Slice", "ReduceMax", "MaxPool", "Reshape")
MEANS = ("AveragePool", "GlobalAveragePool", "ReduceMean")
FUNCTIONS = ("Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Gelu", "Softmax")
# Ops that go by the rules of one that was asked.
_ALSO = {
    "Add": ("Sum",),
    "Concat": ("Requantize", "Identity"),
    "Max": ("Min",),
    "ReduceMax": ("ReduceMin",),
}
_ALSO |= {"Relu": ("Clip",)}
_KINDS = ("plain", "plain", "dyadic", "small", "wide", "offset")
_SETTLE, _DRAWS, _PAIRS = 6, 12, 16_000
# A function's output: (scale of 2**bits steps, share of the range below zero).
_RANGE = {
    "Sigmoid": (1.0, 0.0),
    "Tanh": (2.0, 0.5),
    "HardSigmoid": (1.0, 0.0),
    "Softmax": (1.0, 0.0),
}
_f = np.float32


def probe_elementwise(
    asker: Asker,
    rng: np.random.Generator,
    tell: Tell = lambda words: None,
    widths: Sequence[int] = (8, 16),
) -> tuple[list[Finding], list[Override]]:
    """Findings for every op and width, and the rules of those that are known.

    A refused question is a finding with the target's words.
    """
    findings: list[Finding] = []
    rules: dict[tuple[int, Rules], list[str]] = {}
    for bits in widths:
        seeds: list[Elementwise] = []
        prefer: Elementwise | None = None
        for op in SEARCHED:
            tell(f"element-wise: {op}, {bits} bit")
            found = _searched(asker, rng, op, bits, seeds, findings)
            if found is not None and found.share >= NEARLY:
                seeds.insert(0, found.rules.elementwise)
                rules.setdefault((bits, found.rules), []).extend((op, *_ALSO.get(op, ())))
        for op in (*FOLLOWERS, *MEANS, *FUNCTIONS):
            tell(f"element-wise: {op}, {bits} bit")
            found = _tried(asker, rng, op, bits, seeds, prefer, findings)
            if found is not None and found.share >= NEARLY:
                rules.setdefault((bits, found.rules), []).extend((op, *_ALSO.get(op, ())))
                # Relu has many ties: functions that have none round as it does.
                prefer = found.rules.elementwise if op == "Relu" else prefer
    return findings, _overrides(rules)


def _overrides(rules: dict[tuple[int, Rules], list[str]]) -> list[Override]:
    """One for all ops that share rules; a function's has both tables."""
    made = []
    for (bits, found), ops in rules.items():
        function = set(ops) & set(FUNCTIONS)
        for chosen, table in ((sorted(set(ops) - function), False), (sorted(function), True)):
            if chosen:
                more: dict[str, Any] = {"function": found.function} if table else {}
                made.append(
                    Override(
                        ops=tuple(chosen),
                        activation=8 if bits == 8 else 16,
                        elementwise=found.elementwise,
                        **more,
                    )
                )
    return made


def _searched(
    asker: Asker,
    rng: np.random.Generator,
    op: str,
    bits: int,
    seeds: Sequence[Elementwise],
    findings: list[Finding],
) -> Found | None:
    subject = f"{op}, {bits} bit"
    asked: list[Asked] = []
    try:
        for kind in _KINDS:
            asked.append(_ask(asker, _setting(rng, op, bits, kind), rng))
        found = find(asked, seeds)
        for _ in range(_SETTLE):
            rivals = [found.rules, *found.equal]
            if found.explained < found.asked or len(rivals) < 2:
                break
            drawn = [
                _setting(rng, op, bits, str(rng.choice(_KINDS)))
                for _ in range(_DRAWS if op != "Neg" else 4 * _DRAWS)
            ]
            # Exact candidates are slow, and others part from each other first.
            quick = [r for r in rivals if r.elementwise.arithmetic != "exact" or op == "Neg"]
            worth = [parted(quick[:8] or rivals[:2], d) for d in drawn]
            if not max(worth):
                break
            asked.append(_ask(asker, drawn[int(np.argmax(worth))], rng))
            left = [r for r in rivals if asked[-1].score(r)[0] == asked[-1].answer.size]
            if left:
                size = asked[-1].answer.size
                left.sort(key=lambda r: cost(r.elementwise))
                found = Found(
                    left[0], found.explained + size, found.asked + size, left[1:], found.shares
                )
            else:
                found = find(asked, [r.elementwise for r in rivals[:6]])
    except NoAnswerError as error:
        findings.append(Finding(subject=subject, rule="elementwise", words=f"no answer: {error}"))
        return None
    findings.append(_finding(asker, subject, "elementwise", found, f"{len(asked)} settings"))
    return found


def _tried(
    asker: Asker,
    rng: np.random.Generator,
    op: str,
    bits: int,
    seeds: Sequence[Elementwise],
    prefer: Elementwise | None,
    findings: list[Finding],
) -> Found | None:
    subject, function = f"{op}, {bits} bit", op in FUNCTIONS
    make = _function if function else _moving
    try:
        asked = [_ask(asker, one, None) for one in make(rng, op, bits)]
    except NoAnswerError as error:
        rule = "function" if function else "elementwise"
        findings.append(Finding(subject=subject, rule=rule, words=f"no answer: {error}"))
        return None
    if not function:
        found = find(asked, seeds, False)
        findings.append(_finding(asker, subject, "elementwise", found, f"{len(asked)} settings"))
        return found
    found = find_function(asked, bits, op != "Softmax", prefer)
    findings.append(_finding(asker, subject, "function", found, f"{len(asked)} output scales"))
    findings += _ignored(subject, asked)
    return found


def _ignored(subject: str, asked: Sequence[Asked]) -> Iterator[Finding]:
    """A function whose integers are the same whatever the output's quantizer says."""
    first, second = (entry.answer for entry in asked[:2])
    if not np.array_equal(first, second) or first.min() == first.max():
        return
    worst = max(int(np.abs(entry.answer - _exact(entry)).max()) for entry in asked)
    scales = " and ".join(f"{float(entry.spec.output.scale):.6g}" for entry in asked[:2])
    yield Finding(
        subject=subject,
        rule="output scale",
        value="ignored",
        asked=first.size,
        explained=first.size,
        words=f"the same integers for output scales {scales}: the model's scale is ignored, and "
        f"outputs are up to {worst:,} steps wrong",
    )


def _exact(entry: Asked) -> Array:
    rules = Rules.model_validate({"function": {"arithmetic": "exact"}})
    return entry.predict(rules).astype(np.int64).reshape(entry.answer.shape)


def _finding(asker: Asker, subject: str, rule: str, found: Found, words: str) -> Finding:
    known = found.share >= NEARLY
    nodes = asker.opened.nodes if asker.opened and asker.target.has_npu else ()
    places = [where for where, name, _ in nodes if name == "op"]
    if places and "npu" not in places:
        words += f"; runs on the {places[0]}"
    if not known:
        words += f"; best so far: {in_words(_shown(found.rules, rule))}"
    rivals = [in_words(_shown(r, rule)) for r in (found.rules, *found.equal)]
    ruled = sorted(found.shares.items(), key=lambda entry: -entry[1])
    return Finding(
        subject=subject,
        rule=rule,
        place=("rule", rule),
        value=rivals[0] if known else None,
        words=words,
        asked=found.asked,
        explained=found.explained,
        ruled_out=tuple(ruled[:6]),
        undecided=tuple(rivals[:6]) if len(rivals) > 1 and known else (),
    )


def _shown(rules: Rules, rule: str) -> Rules | Elementwise:
    return rules if rule == "function" else rules.elementwise


def _setting(rng: np.random.Generator, op: str, bits: int, kind: str) -> Asked:
    """Inputs and quantizers; the answer is still void (zeros)."""
    top, dtype = 1 << bits, f"uint{bits}"
    zeros = [int(z) for z in rng.integers(0, top, 3)]
    ratios = np.exp(rng.uniform(-0.9, 0.7, 2))
    if kind == "dyadic":  # exact ties, and multipliers that are ties themselves
        ratios = np.array([rng.choice([0.5, 0.25, 0.75]), rng.choice([0.5, 0.125, 1.5])])
        ratios[0] += rng.choice([0.0, 1 / 2**14])
    elif kind == "small":
        ratios = np.exp(rng.uniform(-5, -1.4, 2))
    elif kind == "wide":
        ratios = np.exp(rng.uniform(0, 2.7, 2))
    elif kind == "offset":
        ratios = np.array([0.01, 0.3]) * np.exp(rng.uniform(-0.3, 0.3, 2))
        zeros = [int(top * v) for v in rng.uniform((0, 0.8, 0.9), (0.2, 1, 1))]
    y = _f(1.0) if kind == "dyadic" else _f(np.exp(rng.uniform(-6, 0)))
    scales = (ratios * float(y)).astype(_f)
    if bits == 8:
        grid: list[Any] = list(np.meshgrid(np.arange(256), np.arange(256), indexing="ij"))
    else:
        grid = list(rng.integers(0, top, (2, _PAIRS)))
    if op == "Mul":
        scales[1] = _f(2.0**-bits * 4 if kind == "dyadic" else 2.0 ** (2 - bits) * ratios[1])
    count = 1 if op == "Neg" else 2
    if count == 1:
        grid = [np.arange(top)]
    quants = [quant_of(dtype, s, z) for s, z in zip(scales[:count], zeros[:count], strict=True)]
    if kind in ("plain", "wide") and op != "Mul":
        # The middle of the inputs lands in the output's range.
        signs = (1, -1 if op == "Sub" else 1)
        middle = sum(
            s * float(r) * (top / 2 - z)
            for s, r, z in zip(signs, ratios, zeros[:count], strict=False)
        )
        zeros[2] = int(np.clip(top / 2 - middle, 0, top - 1))
    out = quant_of(dtype, y, zeros[2])
    arrays = tuple(g.astype(dtype) for g in grid[:count])
    spec = OpSpec(op, "op", tuple(Operand(q) for q in quants), {}, out)
    return Asked(kind, spec, arrays, np.zeros(arrays[0].shape, np.int64))


def _real(entry: Asked) -> Array:
    """The output's integer before it is rounded, float64."""
    spec = entry.spec
    x = [
        (np.asarray(a, np.float64) - float(spec.quant(i).zero_point)) * float(spec.quant(i).scale)
        for i, a in enumerate(entry.arrays)
    ]
    match spec.op:
        case "Add":
            value = x[0] + x[1]
        case "Sub":
            value = x[0] - x[1]
        case "Mul":
            value = x[0] * x[1]
        case _:
            value = -x[0]
    return np.asarray(value / float(spec.output.scale) + float(spec.output.zero_point))


def _moving(rng: np.random.Generator, op: str, bits: int) -> Iterator[Asked]:
    """Moves and means, each with two output scales, one of which makes ties."""
    top, dtype = 1 << bits, f"uint{bits}"
    images = op in ("MaxPool", "AveragePool", "GlobalAveragePool")
    for index in range(6 if op in MEANS else 2):
        zeros = [int(v) for v in rng.uniform(0.2 * top, 0.8 * top, 3)]
        ratios = np.exp(rng.uniform(-0.9, 0.7, 2))
        y = _f(np.exp(rng.uniform(-6, 0)))
        if index % 2:
            # Near-ties: 0.06 / 0.04 is 1.5, but not in float32. An odd zero point changes parity.
            ratios, y = np.array([1.5, 0.5]), _f(0.04)
            zeros[2] |= 1
        quants = [quant_of(dtype, r * float(y), z) for r, z in zip(ratios, zeros[:2], strict=True)]
        flat = np.arange(256) if bits == 8 else rng.integers(0, top, 4096)
        arrays: list[Any] = [rng.permutation(flat).reshape(1, -1) for _ in range(2)]
        constants: list[Array] = []
        attributes: dict[str, Any] = {}
        if images:
            whole = op == "GlobalAveragePool"
            shape = (1, 256, 5, 5 + index) if whole else (1, 8, 14, 14)
            arrays = [rng.integers(0, top, shape)]
            if not whole:
                attributes["kernel_shape"] = [3, 3] if index else [2, 2]
        elif op in ("ReduceMean", "ReduceMax"):
            arrays = [rng.integers(0, top, (1, 512, 5))]
            constants = [np.array([2])]
        elif op == "Slice":
            constants = [np.array([v]) for v in (3, arrays[0].shape[1] - 5, 1)]
        elif op == "Reshape":
            constants = [np.array([-1, 16])]
        elif op == "Concat":
            attributes["axis"] = 1
        if op not in ("Concat", "Max"):
            arrays, quants = arrays[:1], quants[:1]
        operands = [Operand(q) for q in quants] + [Operand(constant=c) for c in constants]
        out = quant_of(dtype, y, zeros[2])
        clamp = (0.0, None) if op == "Relu" else (None, None)
        spec = OpSpec(op, "op", tuple(operands), attributes, out, clamp=clamp)
        yield Asked("", spec, (*(a.astype(dtype) for a in arrays), *constants), np.zeros(0))


def _function(rng: np.random.Generator, op: str, bits: int) -> Iterator[Asked]:
    """All inputs, under two output scales of which one is the natural one."""
    top, dtype = 1 << bits, f"uint{bits}"
    wide, below = _RANGE.get(op, (10.24, 1 / 16))
    x = quant_of(dtype, 0.06 * 256 / top, int(top * rng.uniform(0.4, 0.6)))
    values = np.arange(top).reshape(1, -1)
    if op == "Softmax":
        values = rng.integers(0, top, (64, 24))
    # 1/(top-1) as a step puts the middle of Sigmoid on a tie, 0.04 much of HardSwish on near-ties.
    for stretch in (top / (top - 1), float(rng.uniform(1.2, 1.7))):
        step = 0.04 * 256 / top if op not in _RANGE and stretch < 1.1 else stretch * wide / top
        out = quant_of(dtype, step, int(below * top) + (op not in _RANGE or stretch > 1.1))
        attributes = {"axis": 1} if op == "Softmax" else {}
        spec = OpSpec(op, "op", (Operand(x),), attributes, out)
        yield Asked("", spec, (values.astype(dtype),), np.zeros(0))


def _ask(asker: Asker, entry: Asked, rng: np.random.Generator | None) -> Asked:
    """The same with the target's answer; ``rng`` chooses telling outputs, None keeps all."""
    entry = answered(asker, entry)
    if rng is None:
        return entry
    bits = entry.spec.output.bits
    return replace(entry, telling=telling(entry.answer, _real(entry), bits, rng))
