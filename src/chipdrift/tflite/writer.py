"""What an op's writer works with: values in their layouts, constants, and where a result goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnx

from chipdrift.tflite.errors import UnwritableError
from chipdrift.tflite.flat import FlatModel
from chipdrift.tflite.source import ConstantIntegers, Grid, Source, attributes

Array = np.ndarray[Any, Any]
Layout = Literal["plain", "nhwc"]

# Where each axis of NCHW lies in NHWC, and the permutations between the two.
NHWC_AXIS = (0, 3, 1, 2)
TO_NHWC = (0, 2, 3, 1)
TO_PLAIN = (0, 3, 1, 2)
# The clamps that TFLite can fuse into an op, and that have an op of their own: name, low, high.
CLAMPS = (
    ("RELU", 0.0, np.inf),
    ("RELU6", 0.0, 6.0),
    ("RELU_N1_TO_1", -1.0, 1.0),
)


@dataclass(eq=False)
class Value:
    """An int8 tensor, in one layout or both (``forms``: tensor index by layout).

    ``shape`` is in ONNX's order. ``data`` holds a constant's integers, in that order, too.
    """

    name: str
    grid: Grid
    shape: tuple[int, ...]
    forms: dict[Layout, int] = field(default_factory=dict)
    data: Array | None = None

    @property
    def layout(self) -> Layout:
        """The layout it was made in."""
        return next(iter(self.forms), "plain")


@dataclass(frozen=True)
class Sink:
    """Where a node's result goes: the clamps on its way, and the grid that it is rounded to.

    ``names`` are the ONNX tensors that hold it. No ``grid``: no QuantizeLinear follows.
    """

    grid: Grid | None
    names: tuple[str, ...]
    low: float = -np.inf
    high: float = np.inf

    def clamp(self, grid: Grid) -> str | None:
        """The clamp as TFLite names it: ``NONE``, ``RELU``, ..., or None where it has no name."""
        low, high = grid.integer(self.low), grid.integer(self.high)
        if (low, high) == (-128, 127):
            return "NONE"
        for name, least, most in CLAMPS:
            if (low, high) == (grid.integer(least), grid.integer(most)):
                return name
        return None


class Writer:
    """The TFLite model so far, and the ONNX tensors that it already holds."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.flat = FlatModel()
        self.values: dict[str, Value] = {}
        self.weights: dict[str, ConstantIntegers] = {}
        self.notes: list[str] = []
        # Nodes that were written along with the one before them, by their first output.
        self.written: set[str] = set()

    # What a node reads.

    def activation(self, node: onnx.NodeProto, index: int) -> Value:
        """Input ``index`` as a quantized value, constant or not."""
        name = node.input[index] if index < len(node.input) else ""
        if name in self.values:
            return self.values[name]
        constant = self.weights.get(name)
        if constant is None:
            raise self.error(
                node,
                f"input {name!r} is not quantized, and this writer has integer kernels only",
            )
        if constant.axis is not None or constant.values.dtype != np.int8:
            raise self.error(node, f"constant {name!r} is not an 8-bit one with a single scale")
        # A constant's shift is of no matter: it never leaves the graph.
        grid = Grid(float(constant.scale[0]), int(constant.zero_point[0]), 0)
        value = Value(name, grid, constant.values.shape, data=constant.values)
        self.values[name] = value
        return value

    def is_constant(self, node: onnx.NodeProto, index: int) -> bool:
        """Whether input ``index`` is a weight."""
        return index < len(node.input) and node.input[index] in self.weights

    def symmetric_weight(self, node: onnx.NodeProto, index: int) -> ConstantIntegers:
        """Input ``index`` as a weight whose zero points are all 0."""
        name = node.input[index]
        weight = self.weights.get(name)
        if weight is None or weight.values.dtype != np.int8:
            raise self.error(node, f"weight {name!r} is not a constant of 8-bit integers")
        if np.any(weight.zero_point != 0):
            raise self.error(
                node,
                f"weight {name!r} is asymmetric (zero point {int(weight.zero_point.flat[0])} of "
                "int8); TFLite's kernels take symmetric weights only",
            )
        return weight

    def number(self, node: onnx.NodeProto, index: int, otherwise: float) -> float:
        """Input ``index`` as a constant float; ``otherwise`` where it is left out."""
        if index >= len(node.input) or not node.input[index]:
            return otherwise
        name = node.input[index]
        if name in self.source.constants:
            return float(self.source.constants[name].item())
        weight = self.weights.get(name)
        if weight is None:
            raise self.error(node, f"input {name!r} is not a constant")
        return float((weight.values.item() - weight.zero_point[0]) * weight.scale[0])

    def integers(self, node: onnx.NodeProto, index: int) -> list[int] | None:
        """Input ``index`` as constant int64 numbers; None where it is left out."""
        if index >= len(node.input) or not node.input[index]:
            return None
        name = node.input[index]
        if name not in self.source.constants:
            raise self.error(node, f"input {name!r} is not a constant, so shapes are not fixed")
        return [int(v) for v in self.source.constants[name].reshape(-1)]

    def result_shape(self, node: onnx.NodeProto, index: int = 0) -> tuple[int, ...]:
        """The shape of output ``index``, in ONNX's order."""
        return self.source.shape(node.output[index], node)

    # Layouts.

    def form(self, value: Value, layout: Layout, rank: int | None = None) -> int:
        """The tensor of ``value`` in ``layout``; a Transpose is written where it has none yet.

        With ``rank``, axes of length 1 are put in front until there are so many.
        """
        if rank is not None and len(value.shape) < rank:
            value = self._raised(value, rank)
        if layout not in value.forms:
            shape = _permuted(value.shape, TO_NHWC if layout == "nhwc" else None)
            if value.data is not None:
                data = value.data.transpose(TO_NHWC) if layout == "nhwc" else value.data
                value.forms[layout] = self.tensor(value.name, shape, value.grid, data)
            else:
                found = self.tensor(f"{value.name}/{layout}", shape, value.grid)
                order = TO_NHWC if layout == "nhwc" else TO_PLAIN
                self.flat.operator(
                    "TRANSPOSE",
                    [value.forms[value.layout], self.numbers(f"{value.name}/perm", order)],
                    [found],
                    table="TransposeOptions",
                )
                value.forms[layout] = found
        return value.forms[layout]

    def _raised(self, value: Value, rank: int) -> Value:
        shape = (1,) * (rank - len(value.shape)) + value.shape
        if value.data is not None:
            return Value(value.name, value.grid, shape, data=value.data.reshape(shape))
        return self.reshaped(value, shape)

    def reshaped(self, value: Value, shape: Sequence[int]) -> Value:
        """The same integers in ONNX's order under another shape."""
        found = self.fresh(f"{value.name}/reshaped", tuple(shape), value.grid, "plain")
        self.flat.operator(
            "RESHAPE",
            [self.form(value, "plain"), self.numbers(f"{found.name}/shape", shape)],
            [found.forms["plain"]],
            table="ReshapeOptions",
            newShape=np.asarray(shape, np.int32),
        )
        return found

    def sliced(
        self, name: str, x: Value, ranges: Sequence[tuple[int, int, int]], layout: Layout
    ) -> Value:
        """The (first, last, step) of each axis in ONNX's order, by a STRIDED_SLICE."""
        shape = tuple(len(range(*part)) for part in ranges)
        found = self.fresh(name, shape, x.grid, layout)
        stored = [ranges[i] for i in TO_NHWC] if layout == "nhwc" else ranges
        begin, end, strides = (
            self.numbers(f"{name}/{what}", [part[i] for part in stored])
            for i, what in enumerate(("begin", "end", "strides"))
        )
        self.flat.operator(
            "STRIDED_SLICE",
            [self.form(x, layout), begin, end, strides],
            [found.forms[layout]],
            table="StridedSliceOptions",
        )
        return found

    def common_layout(self, values: Sequence[Value], rank: int) -> Layout:
        """NHWC where one of ``values`` is an activation that was made so."""
        made = any(v.data is None and v.layout == "nhwc" for v in values)
        return "nhwc" if rank == 4 and made else "plain"

    # New tensors.

    def tensor(self, name: str, shape: Sequence[int], grid: Grid, data: Array | None = None) -> int:
        """Add an int8 tensor."""
        data = None if data is None else np.ascontiguousarray(data)
        return self.flat.tensor(
            name, shape, np.int8, scale=[grid.scale], zero_point=[grid.zero_point], data=data
        )

    def numbers(self, name: str, values: Sequence[int] | Array) -> int:
        """Add a constant of int32 (a shape, a permutation, paddings)."""
        data = np.asarray(values, np.int32)
        return self.flat.tensor(name, data.shape, np.int32, data=data)

    def fresh(self, name: str, shape: tuple[int, ...], grid: Grid, layout: Layout) -> Value:
        """A new activation, ``shape`` in ONNX's order."""
        stored = _permuted(shape, TO_NHWC if layout == "nhwc" else None)
        return Value(name, grid, shape, {layout: self.tensor(name, stored, grid)})

    # What a node makes.

    def sink(self, node: onnx.NodeProto, index: int = 0) -> Sink:
        """Follow output ``index`` through Relu and Clip to the QuantizeLinear that rounds it.

        The nodes on the way count as written.
        """
        name, low, high = node.output[index], -np.inf, np.inf
        while name not in self.source.results:
            users = self.source.users[name]
            if users and all(user.op_type == "QuantizeLinear" for user in users):
                grids = {self.source.grid(user) for user in users}
                if len(grids) > 1:
                    raise self.error(
                        node, f"{name!r} is quantized in {len(grids)} ways; TFLite rounds it once"
                    )
                outputs = [user.output[0] for user in users]
                self.written.update(outputs)
                return Sink(grids.pop(), (name, *outputs), low, high)
            if len(users) != 1 or users[0].op_type not in ("Relu", "Clip"):
                break
            least, most = self.clip_limits(users[0])
            low, high = min(max(low, least), most), max(min(high, most), least)
            name = users[0].output[0]
            self.written.add(name)
        return Sink(None, (name,), low, high)

    def clip_limits(self, node: onnx.NodeProto) -> tuple[float, float]:
        """The limits of a Relu or Clip."""
        if node.op_type == "Relu":
            return 0.0, np.inf
        given = attributes(node)
        low = self.number(node, 1, float(given.get("min", -np.inf)))
        high = self.number(node, 2, float(given.get("max", np.inf)))
        return low, high

    def grid_of(self, node: onnx.NodeProto, sink: Sink) -> Grid:
        """The grid that a computing node rounds to; raises where no QuantizeLinear follows."""
        if sink.grid is None:
            raise self.error(
                node,
                f"no QuantizeLinear follows on {sink.names[0]!r}, and this writer has integer "
                "kernels only",
            )
        return sink.grid

    def requantized(self, node: onnx.NodeProto, value: Value, grid: Grid) -> Value:
        """``value`` rounded to ``grid``, by a QUANTIZE where it is another one."""
        if _same(value.grid, grid):
            return value
        self.notes.append(
            f"node {node.name!r} ({node.op_type}): a QUANTIZE was put in, from scale "
            f"{value.grid.scale:.6g} and zero point {value.grid.zero_point} to {grid.scale:.6g} "
            f"and {grid.zero_point}"
        )
        layout = value.layout
        found = self.fresh(f"{value.name}/requantized", value.shape, grid, layout)
        self.flat.operator(
            "QUANTIZE", [self.form(value, layout)], [found.forms[layout]], table="QuantizeOptions"
        )
        return found

    def finish(self, node: onnx.NodeProto, sink: Sink, value: Value, fused: str = "NONE") -> None:
        """Round ``value`` to the sink's grid, clamp it unless ``fused`` did, and give it its names.

        The clamp comes last: rounding keeps the order, so it may.
        """
        if sink.grid is not None:
            value = self.requantized(node, value, sink.grid)
        wanted = sink.clamp(value.grid)
        if wanted != "NONE" and wanted != fused:
            value = self._clamped(value, sink, wanted)
        # What the file calls the result is told apart from what it was made of, by shift.
        shift = value.grid.shift if sink.grid is None else sink.grid.shift
        if shift != value.grid.shift:
            grid = Grid(value.grid.scale, value.grid.zero_point, shift)
            value = Value(value.name, grid, value.shape, dict(value.forms), value.data)
        for name in sink.names:
            self.values[name] = value

    def _clamped(self, value: Value, sink: Sink, op: str | None) -> Value:
        layout = value.layout
        steps: list[tuple[str, list[int]]] = []
        if op is not None:
            steps.append((op, []))
        else:
            for op_name, limit in (("MAXIMUM", sink.low), ("MINIMUM", sink.high)):
                if np.isfinite(limit):
                    data = np.full((1,) * len(value.shape), value.grid.integer(limit), np.int8)
                    name = f"{value.name}/{op_name.lower()}"
                    steps.append((op_name, [self.tensor(name, data.shape, value.grid, data)]))
        for op_name, more in steps:
            found = self.fresh(f"{value.name}/{op_name}", value.shape, value.grid, layout)
            table = {"table": "MaximumMinimumOptions"} if more else {}
            inputs = [self.form(value, layout), *more]
            self.flat.operator(op_name, inputs, [found.forms[layout]], **table)
            value = found
        return value

    def fused(self, sink: Sink, grid: Grid) -> tuple[str, int]:
        """The clamp to fuse into an op: its name and its number in the schema."""
        name = sink.clamp(grid) or "NONE"
        return name, ACTIVATIONS[name]

    def error(self, node: onnx.NodeProto, why: str) -> UnwritableError:
        """An error that names the node."""
        return UnwritableError.at(node.name, node.op_type, why)


# ActivationFunctionType of the schema.
ACTIVATIONS = {"NONE": 0, "RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}


def _same(a: Grid, b: Grid) -> bool:
    return (a.scale, a.zero_point) == (b.scale, b.zero_point)


def _permuted(shape: Sequence[int], order: Sequence[int] | None) -> tuple[int, ...]:
    return tuple(shape) if order is None else tuple(shape[i] for i in order)
