"""How near the sums of a model's products come to the end of a target's accumulator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chipdrift.diagnose.exam import Exam
from chipdrift.errors import ModelError
from chipdrift.numerics.narrow import narrowed, narrows
from chipdrift.numerics.ops.conv import windows
from chipdrift.numerics.ops.matmul import leaves_signed, second_operand
from chipdrift.numerics.profile import Profile, Rules
from chipdrift.numerics.signed import signed_weights
from chipdrift.numerics.tensors import OpSpec
from chipdrift.targets.sim.plan import IntegerUnit, make_plan

Array = np.ndarray[Any, Any]

# One bit of headroom: a sample with activations twice as strong passes the end.
NEAR = 0.5
_PRODUCTS = ("Conv", "MatMul", "Gemm")
# The inner dimension that is taken where it is known only when the model runs.
_DEEP = 2**16


@dataclass(frozen=True)
class Sums:
    """A node's largest sum in an accumulator of ``width`` bits, both signs counted alike.

    ``beyond`` is the share of its sums that pass the end, ``possible`` the largest sum of any
    inputs.
    """

    node: str
    width: int
    largest: int
    beyond: float
    possible: int

    @property
    def ratio(self) -> float:
        """The largest sum, by the accumulator's end."""
        return self.largest / (1 << (self.width - 1))


def products_of(exam: Exam, target: str) -> list[IntegerUnit]:
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
        and unit.spec.op in _PRODUCTS
        and not unit.spec.quant(1).block_size
    ]


def measure_sums(exam: Exam, unit: IntegerUnit) -> Sums | None:
    """The largest sums in the accumulator's terms; None where they cannot come near its end."""
    rules = unit.spec.rules.accumulator
    block = rules.block if rules.block_width < rules.width else 0
    width = rules.block_width if block else rules.width
    if width == 64:
        return None
    limit, possible = 2 ** (width - 1), _possible(unit.spec, block)
    if possible < NEAR * limit:
        return None
    partial = (rules.block_overflow if block else rules.overflow) == "saturate"
    largest, beyond, count = 0, 0, 0
    for index, kept in enumerate(exam.tensors_a):
        arrays = _operands(unit, {**exam.feeds[index], **kept})
        if arrays is None:
            return None
        for x, w in _matrices(unit.spec, *arrays):
            for start in range(0, x.shape[-1], block or x.shape[-1]):
                inner = slice(start, start + (block or x.shape[-1]))
                sums = _sizes(x[..., inner], w[..., inner, :], partial)
                largest = max(largest, int(sums.max(initial=0)))
                beyond += int((sums >= limit).sum())
                count += sums.size
    return Sums(unit.step.name, width, largest, beyond / max(1, count), possible)


def overflowing(exam: Exam, nodes: Sequence[str]) -> tuple[str, ...]:
    """The targets on which sums of ``nodes`` pass the end.

    By their known rules; where these let none pass, those whose rules are not known.
    """
    sides = [exam.case.a, *([exam.case.b] if exam.case.b is not None else [])]
    known = [side.name for side in sides if side.name in exam.case.profiles]
    found = tuple(name for name in known if _passes(exam, name, nodes))
    return found or tuple(side.name for side in sides if side.name not in known)


def _passes(exam: Exam, target: str, nodes: Sequence[str]) -> bool:
    mine = (unit for unit in products_of(exam, target) if unit.step.name in nodes)
    found = (measure_sums(exam, unit) for unit in mine)
    return any(sums is not None and sums.ratio >= 1 for sums in found)


def _sizes(x: Array, w: Array, partial: bool) -> Array:
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


def _meets(rules: Rules) -> str:
    """Of which operands the zero points stay in the sums that must fit: N11.

    ``both``, ``input`` or ``none``. A whole sum that wraps is right again once the correction is
    taken off, so that what must fit is the corrected one, unless its parts are dropped apart (N29).
    """
    held = rules.accumulator
    if held.operands == "centred":
        return "none"
    narrow = held.block > 0 and held.block_width < held.width
    cut = held.overflow == "saturate" or narrow or rules.requantize.parts == "apart"
    if not cut:
        return "none"
    return "both" if held.stored == "both" else "input"


def _offsets(spec: OpSpec) -> tuple[int, Array]:
    """What is subtracted from both operands before they are multiplied."""
    meets = _meets(spec.rules)
    zeros = np.atleast_1d(spec.quant(1).zero_point).astype(np.float64)
    x_zero = int(spec.quant(0).zero_point) if meets == "none" else 0
    return x_zero, np.zeros(1) if meets == "both" else zeros


def _possible(spec: OpSpec, block: int) -> int:
    """The largest sum of any inputs: of the constant weights, or of any where both vary."""
    held = spec.operands[1].constant
    if held is None and narrows(spec):
        spec = narrowed(spec)
    x, w = spec.quant(0), spec.quant(1)
    x_zero, w_zeros = _offsets(spec)
    most = max(abs(x.low - x_zero), abs(x.high - x_zero))
    if held is None:
        heaviest = max(abs(w.low - float(w_zeros[0])), abs(w.high - float(w_zeros[0])))
        if spec.rules.accumulator.stored == "signed" and _meets(spec.rules) == "input":
            heaviest = min(heaviest, 128.0)
        return int(most * heaviest * (block or _DEEP))
    total = 0.0
    for matrix in _weights(spec, held):
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


def _weights(spec: OpSpec, w: Array) -> list[Array]:
    """The second operand as matrices (..., K, N), one for each group, offsets subtracted."""
    zeros = _offsets(spec)[1]
    if spec.op != "Conv":
        turned = w.T if spec.op == "Gemm" and spec.attributes.get("transB", 0) else w
        turned = turned[:, None] if turned.ndim == 1 else turned
        return [_second(spec, turned) if _again(spec, turned) else turned - zeros]
    rows = w.astype(np.float64)
    if spec.rules.accumulator.order == "channels_last":
        rows = np.moveaxis(rows, 1, -1)
    flat = rows.reshape(w.shape[0], -1).T - zeros
    return list(np.split(flat, int(spec.attributes.get("group", 1)), axis=1))


def _again(spec: OpSpec, w: Array) -> bool:
    return spec.op == "MatMul" and leaves_signed(spec, w)


def _second(spec: OpSpec, w: Array) -> Array:
    """A second activation's matrices, each brought back to signed 8 bits by itself (N17)."""
    made = np.empty(w.shape, np.float64)
    for place in np.ndindex(*w.shape[:-2]):
        made[place] = signed_weights(w[place], spec.quant(1), 1)[0]
    return made


def _matrices(spec: OpSpec, x: Array, w: Array) -> Iterator[tuple[Array, Array]]:
    """Pairs (..., M, K) and (..., K, N) of float64 whose products are the node's sums."""
    if spec.op == "MatMul":
        spec, w = second_operand(spec, w)
    zero, weights = _offsets(spec)[0], _weights(spec, w)
    if spec.op != "Conv":
        rows = x.T if spec.op == "Gemm" and spec.attributes.get("transA", 0) else x
        yield np.atleast_2d(rows).astype(np.float64) - zero, weights[0]
        return
    spatial = w.ndim - 2
    seen = windows(x, w.shape[2:], spec.attributes, int(spec.quant(0).zero_point))
    for group, matrix in enumerate(weights):
        mine = range(group * w.shape[1], (group + 1) * w.shape[1])
        part = seen.take(mine, axis=1 + spatial)
        if spec.rules.accumulator.order == "channels_last":
            part = np.moveaxis(part, 1 + spatial, -1)
        yield part.reshape(-1, matrix.shape[0]).astype(np.float64) - zero, matrix
