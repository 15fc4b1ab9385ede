"""Sums of products near the end of the accumulator.

What it finds: convolutions and matrix products whose sums, of the integers that the target fed to
them, come within one bit of what its accumulator holds, or pass it. The width is that of the
target's known rules, 32 bits where none are known. Where a sum saturates, or is made of blocks that
do, the partial sums count, in the worst order; where it wraps, only the whole sum does.
ConvTranspose and weights in blocks are left out.

Why it hurts: a sum that wraps changes its sign, one that saturates stays too small. It happens on
the inputs with the strongest activations, so that few samples show it and averages hide it.

Example: onnxruntime on x86 without VNNI adds pairs of uint8 x int8 products in 16 bits: 255 x 127
twice is 64770, and 32767 is the end. A product of 16-bit activations with 300 inputs may pass 32
bits.

Fix: on a chip 16-bit activations where it sums those in a wider accumulator (measure it), or the
node on the CPU; weights of 7 bits (reduce_range); with onnxruntime on x86
session.x64quantprecision=1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.remedies import overflow_remedy
from chipdrift.errors import ModelError
from chipdrift.findings import Finding
from chipdrift.numerics.ops.conv import windows
from chipdrift.numerics.profile import Accumulator, Profile
from chipdrift.numerics.tensors import OpSpec
from chipdrift.targets.sim.plan import IntegerUnit, make_plan

Array = np.ndarray[Any, Any]

# One bit of headroom: a sample with activations twice as strong passes the end.
_NEAR = 0.5
_WIDTHS = (16, 24, 32)


@dataclass(frozen=True)
class _Sums:
    """A node's largest sum as a share of ``limit``, in integers, and the share of sums beyond."""

    node: str
    width: int
    largest: int
    beyond: float
    possible: int

    @property
    def ratio(self) -> float:
        return self.largest / (1 << (self.width - 1))


def look(exam: Exam) -> Iterator[Finding]:
    """One finding for each target and width, its nodes worst first."""
    if not exam.tensors_a:
        return
    names = [exam.case.a.name] + ([exam.case.b.name] if exam.case.b is not None else [])
    measured: dict[tuple[str, Accumulator], _Sums | None] = {}
    found: dict[tuple[int, tuple[_Sums, ...]], list[str]] = {}
    for target in names:
        near: dict[int, list[_Sums]] = {}
        for unit in _products(exam, target):
            rules = unit.spec.rules.accumulator
            key = (unit.step.name, rules)
            if key not in measured:
                measured[key] = _measure(exam, unit, rules)
            sums = measured[key]
            if sums is not None and sums.ratio >= _NEAR:
                near.setdefault(sums.width, []).append(sums)
        for width, sums_near in near.items():
            sums_near.sort(key=lambda s: -s.ratio)
            found.setdefault((width, tuple(sums_near)), []).append(target)
    for (width, listed), targets in found.items():
        yield _finding(exam, width, listed, targets)


def _finding(exam: Exam, width: int, listed: tuple[_Sums, ...], targets: list[str]) -> Finding:
    worst, over = listed[0], listed[0].ratio >= 1
    where = " and ".join(targets)
    others = f", and {len(listed) - 1} other nodes come near theirs" if len(listed) > 1 else ""
    shares = ", ".join(f"{_times(worst.largest / 2 ** (w - 1))} of {w} bits" for w in _WIDTHS)
    known = [target in exam.case.profiles for target in targets]
    nodes = tuple(sums.node for sums in listed)
    fix, command = overflow_remedy(exam, nodes)
    basis = "its known rules" if all(known) else "32 bits, as no rules of it are known"
    return Finding(
        check="accumulator-near-limit",
        severity="warning" if over else "note",
        title=f"Sums in {worst.node} {'pass' if over else 'come near'} the end of "
        f"{where}'s accumulator ({width} bits)",
        words=f"the largest is {worst.largest}: {shares}{others}. "
        + (f"{100 * worst.beyond:.2g} % of its sums pass the end. " if over else "")
        + f"Inputs at the ends of their range could reach {worst.possible}.",
        nodes=nodes,
        targets=tuple(targets),
        experiment=f"exact sums of the integers that {exam.targets[0]} fed to each node in "
        f"{len(exam.tensors_a)} samples, set against {basis}",
        fix=fix if over else f"none yet; if it passes the end: {fix}",
        command=command if over else None,
        weight=min(1.0, worst.beyond if over else 0.01),
    )


def _times(ratio: float) -> str:
    return f"{ratio:.1f} times the end" if ratio >= 1 else f"{100 * ratio:.2g} % of the end"


def _products(exam: Exam, target: str) -> list[IntegerUnit]:
    """The products that run in integers under the target's rules, or plain ones."""
    profile = exam.case.profiles.get(target, Profile(name="plain"))
    try:
        units = make_plan(exam.program, profile).units
    except ModelError:
        return []
    return [
        unit
        for unit in units
        if isinstance(unit, IntegerUnit)
        and unit.spec.op in ("Conv", "MatMul", "Gemm")
        and not unit.spec.quant(1).block_size
    ]


def _measure(exam: Exam, unit: IntegerUnit, rules: Accumulator) -> _Sums | None:
    """The largest sums in the accumulator's terms; None where they cannot come near its end."""
    spec, block = unit.spec, rules.block if rules.block_width < rules.width else 0
    width = rules.block_width if block else rules.width
    if width == 64:
        return None
    limit, possible = 2 ** (width - 1), _possible(spec, rules, block)
    if possible is None or possible < _NEAR * limit:
        return None
    partial = (rules.block_overflow if block else rules.overflow) == "saturate"
    largest, beyond, count = 0, 0, 0
    for index, kept in enumerate(exam.tensors_a):
        arrays = _operands(unit, {**exam.feeds[index], **kept})
        if arrays is None:
            return None
        for x, w in _matrices(spec, rules, *arrays):
            for start in range(0, x.shape[-1], block or x.shape[-1]):
                inner = slice(start, start + (block or x.shape[-1]))
                sums = _sums(x[..., inner], w[..., inner, :], partial)
                largest = max(largest, int(sums.max(initial=0)))
                beyond += int((sums >= limit).sum())
                count += sums.size
    return _Sums(unit.step.name, width, largest, beyond / max(1, count), possible)


def _sums(x: Array, w: Array, partial: bool) -> Array:
    """The size of each sum; with ``partial`` of its largest partial sum in the worst order.

    float64 holds every integer below 2**53, far beyond any accumulator.
    """
    if not partial:
        size: Array = np.abs(x @ w)
        return size
    up_x, down_x, up_w, down_w = np.maximum(x, 0), np.minimum(x, 0), np.maximum(w, 0), w.clip(max=0)
    above: Array = up_x @ up_w + down_x @ down_w
    below: Array = -(up_x @ down_w + down_x @ up_w)
    worst: Array = np.maximum(above, below)
    return worst


def _offsets(spec: OpSpec, rules: Accumulator) -> tuple[int, Array]:
    """What is subtracted from both operands before they are multiplied."""
    if rules.operands == "stored":
        return 0, np.zeros(1)
    zeros = np.atleast_1d(spec.quant(1).zero_point)
    return int(spec.quant(0).zero_point), zeros.astype(np.float64)


def _possible(spec: OpSpec, rules: Accumulator, block: int) -> int | None:
    """The largest sum of any inputs: of the constant weights, or of any where both vary."""
    x, w, held = spec.quant(0), spec.quant(1), spec.operands[1].constant
    x_zero, w_zeros = _offsets(spec, rules)
    most = max(abs(x.low - x_zero), abs(x.high - x_zero))
    if held is None:
        heaviest = max(abs(w.low - float(w_zeros[0])), abs(w.high - float(w_zeros[0])))
        return int(most * heaviest * (block or 2**16))  # the depth is known when it runs
    total = 0.0
    for matrix in _weights(spec, held, rules):
        size = np.abs(matrix)
        for start in range(0, size.shape[-2], block or size.shape[-2]):
            part = size[..., start : start + (block or size.shape[-2]), :].sum(axis=-2)
            total = max(total, float(part.max(initial=0.0)))
    return int(most * total)


def _operands(unit: IntegerUnit, tensors: Mapping[str, Array]) -> tuple[Array, Array] | None:
    """Both operands' integers, constant or of this sample."""
    live = iter(unit.inputs)
    found: list[Array] = []
    for operand in unit.spec.operands[:2]:
        if operand.constant is not None:
            found.append(operand.constant)
            continue
        name = next(live, "")
        if name not in tensors or tensors[name].dtype.kind == "f":
            return None
        found.append(tensors[name])
    return found[0], found[1]


def _weights(spec: OpSpec, w: Array, rules: Accumulator) -> list[Array]:
    """The second operand as matrices (..., K, N), one for each group, offsets subtracted."""
    zeros = _offsets(spec, rules)[1]
    if spec.op != "Conv":
        turned = w.T if spec.op == "Gemm" and spec.attributes.get("transB", 0) else w
        turned = turned[:, None] if turned.ndim == 1 else turned
        return [turned.astype(np.float64) - zeros]
    rows = w.astype(np.float64)
    if rules.order == "channels_last":
        rows = np.moveaxis(rows, 1, -1)
    flat = rows.reshape(w.shape[0], -1).T - zeros
    return list(np.split(flat, int(spec.attributes.get("group", 1)), axis=1))


def _matrices(
    spec: OpSpec, rules: Accumulator, x: Array, w: Array
) -> Iterator[tuple[Array, Array]]:
    """Pairs (..., M, K) and (..., K, N) of float64 whose products are the node's sums."""
    zero = _offsets(spec, rules)[0]
    weights = _weights(spec, w, rules)
    if spec.op != "Conv":
        rows = x.T if spec.op == "Gemm" and spec.attributes.get("transA", 0) else x
        yield np.atleast_2d(rows).astype(np.float64) - zero, weights[0]
        return
    spatial = w.ndim - 2
    seen = windows(x, w.shape[2:], spec.attributes, int(spec.quant(0).zero_point))
    for group, matrix in enumerate(weights):
        mine = range(group * w.shape[1], (group + 1) * w.shape[1])
        part = seen.take(mine, axis=1 + spatial)
        if rules.order == "channels_last":
            part = np.moveaxis(part, 1 + spatial, -1)
        yield part.reshape(-1, matrix.shape[0]).astype(np.float64) - zero, matrix
