"""One-op cases for every op that has an integer form, and how near onnxruntime they must come.

Scales are in ratios of 4 to 5 and the like, so that ties are frequent: the hard case. ``share`` is
the share of integers that may differ, by 1; 0 asks for equality.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from single_op import Case, Live, Q

F = np.float32
# A float32 function of onnxruntime is an approximation; ours is rounded once. The two part where
# the quotient by the scale lies within some 1e-7 of a tie: never here on 8 bits; on 16 bits a
# function's values are that dense.
APPROXIMATION = 0.005
# onnxruntime adds in float32, in an order of its own; ours rounds the sum once. They part on ties,
# of which these scales have one in four (sums) to one in fifty.
ORDER = 0.04
SUMS = 0.15


class Named(NamedTuple):
    name: str
    case: Case
    share: float = 0.0


def _range(dtype: str) -> tuple[int, int]:
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


class Maker:
    """Tensors of one type; 16-bit scales are 256 times finer."""

    def __init__(self, dtype: str, seed: int = 5) -> None:
        self.dtype, self.rng = dtype, np.random.default_rng(seed)
        self.low, self.high = _range(dtype)
        self.middle = (self.low + self.high + 1) // 2
        self.unit = 1 if "8" in dtype else 1 / 256
        self.near = 0.0 if "8" in dtype else APPROXIMATION

    def x(self, shape: Any, scale: float = 0.05, zero: int | None = None, fixed: bool = False) -> Q:
        values = self.rng.integers(self.low, self.high + 1, shape)
        zero = self.middle + 3 if zero is None else zero
        return Q(self.dtype, scale * self.unit, zero, values, fixed)

    def all(self, zero: int | None = None) -> Q:
        zero = self.middle + 3 if zero is None else zero
        return Q(self.dtype, 0.05 * self.unit, zero, np.arange(self.low, self.high + 1))

    def y(self, scale: float = 0.04, zero: int | None = None) -> Q:
        zero = self.middle + 5 if zero is None else zero
        return Q(self.dtype, scale * self.unit, zero)

    def weights(self, shape: Any, axis: int | None, block: int = 0, dtype: str = "int8") -> Q:
        values = self.rng.integers(*_range(dtype) if dtype != "int4" else (-8, 8), shape)
        if axis is None:
            return Q(dtype, 0.01, 0, values, True)
        rows = list(shape) if block else [shape[axis]]
        if block:
            rows[axis] //= block
        return Q(dtype, self.rng.uniform(0.01, 0.03, rows), 0, values, True, axis, block)

    def bias(self, count: int) -> Q:
        return Q("int32", 1e-4, 0, self.rng.integers(-9999, 9999, count), True)


def functions(dtype: str) -> Iterator[Named]:
    """Every integer of the type as input."""
    m = Maker(dtype)
    exact = ["HardSigmoid", "HardSwish", "LeakyRelu", "ThresholdedRelu", "Neg", "Abs"]
    near = ["Sigmoid", "Tanh", "Erf", "Elu", "Celu", "Selu", "Gelu", "Softplus", "Softsign"]
    for op in [*exact, *near, "Mish", "Exp"]:
        scale = 1 / 128 if op in ("Sigmoid", "HardSigmoid", "Tanh", "Erf") else 0.03
        share = 0 if op in exact else m.near
        yield Named(op, Case(op, [m.all()], m.y(scale)), share)
    tanh = {"approximate": "tanh"}
    yield Named("Gelu-tanh", Case("Gelu", [m.all()], m.y(), tanh), m.near)
    for op in ("Gelu", "QuickGelu", "FastGelu"):
        yield Named(f"{op}-ms", Case(op, [m.all()], m.y(), domain="com.microsoft"), m.near)
    for op, share in (("Sqrt", 0), ("Log", m.near), ("Reciprocal", 0)):
        yield Named(op, Case(op, [m.all(m.low)], m.y(0.03)), share)
    square = Q(dtype, 0.5, m.low, np.asarray(m.low + 4), True)
    yield Named("Pow-2", Case("Pow", [m.all(), F(2)], m.y(0.1)))
    yield Named("Pow-quantized-2", Case("Pow", [m.all(), square], m.y(0.1)))
    yield Named("Pow-half", Case("Pow", [m.all(m.low), F(0.5)], m.y(0.03)))


def arithmetic(dtype: str) -> Iterator[Named]:
    m = Maker(dtype)
    a, b = m.x((60, 100)), m.x((3, 1, 100), 0.033, m.low + 77)
    for op in ("Add", "Sub", "Mul", "Div", "Min", "Max"):
        yield Named(op, Case(op, [a, b], m.y(0.2 if op == "Mul" else 0.07)))
    row, one = m.x((100,), 0.02, fixed=True), m.x((), 0.02, fixed=True)
    for op in ("Add", "Mul"):
        for name, held in (("row", row), ("scalar", one)):
            yield Named(f"{op}-{name}", Case(op, [a, held], m.y(0.2 if op == "Mul" else 0.07)))
        yield Named(f"{op}-first", Case(op, [row, a], m.y(0.2 if op == "Mul" else 0.07)))
    yield Named("Sum", Case("Sum", [a, b, a], m.y(0.1)))
    slope = m.x((6, 1, 1), 0.01, fixed=True)
    yield Named("PRelu", Case("PRelu", [m.x((2, 6, 9, 8)), slope], m.y()))


def norms(dtype: str) -> Iterator[Named]:
    m = Maker(dtype)
    for op, scale, zero in (("Softmax", 1 / 256, m.low), ("LogSoftmax", 0.05, m.high)):
        for axis in (-1, 1):
            case = Case(op, [m.x((20, 9, 8))], m.y(scale, zero), {"axis": axis})
            yield Named(f"{op}{axis}", case, m.near)
        if op == "Softmax":  # 1 / 0.0041 is no whole number: onnxruntime takes 243 steps
            case = Case(op, [m.x((90, 17), 0.15)], m.y(0.0041, m.low + 3))
            yield Named("Softmax-uneven", case, m.near)
        if "8" in dtype:  # opset 12 quantizes 8 bits only
            old = Case(op, [m.x((5, 4, 7))], m.y(scale, zero), opset=12)
            yield Named(f"{op}-12", old, m.near)
    x, image = m.x((40, 8)), m.x((2, 6, 9, 8))
    gain, gain6 = m.x((8,), 0.01, fixed=True), m.x((6,), 0.01, fixed=True)
    real = m.rng.standard_normal((2, 8)).astype(F)
    ones = np.abs(m.rng.standard_normal(6)).astype(F)
    groups = {"num_groups": 3}
    for name, case in {
        "LayerNorm": Case("LayerNormalization", [x, gain, m.bias(8)], m.y(0.03)),
        "LayerNorm-no-bias": Case("LayerNormalization", [x, gain], m.y(0.03)),
        "LayerNorm-real": Case("LayerNormalization", [x, *real], m.y(0.03)),
        "SimplifiedLayerNorm": Case("SimplifiedLayerNormalization", [x, gain], m.y(0.03)),
        "RMSNorm": Case("RMSNormalization", [x, gain], m.y(0.03), opset=23),
        "GroupNorm": Case("GroupNormalization", [image, gain6, m.bias(6)], m.y(0.03), groups),
        "InstanceNorm": Case("InstanceNormalization", [image, gain6, m.bias(6)], m.y(0.03)),
        "BatchNorm": Case("BatchNormalization", [image, gain6, m.bias(6), gain6, ones], m.y(0.03)),
        "LpNorm": Case("LpNormalization", [x], m.y(0.008)),
        "LpNorm-1": Case("LpNormalization", [x], m.y(0.008), {"p": 1, "axis": 0}),
    }.items():
        yield Named(name, case, m.near)


def pools(dtype: str) -> Iterator[Named]:
    m = Maker(dtype)
    image = m.x((2, 6, 9, 8))
    keep = Q(dtype, image.scale, image.zero_point)
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    for name, more in {
        "": {},
        "-padding-counts": {"count_include_pad": 1},
        "-ceil": {"ceil_mode": 1},
        "-dilated": {"dilations": [2, 1]},
    }.items():
        if name == "-dilated" and "8" in dtype:
            continue  # onnxruntime 1.31 makes an invalid graph of it
        yield Named(f"AveragePool{name}", Case("AveragePool", [image], m.y(), {**window, **more}))
    uneven = {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 1, 1, 0]}
    yield Named("MaxPool", Case("MaxPool", [image], keep, uneven))
    same = {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_LOWER"}
    yield Named("MaxPool-same", Case("MaxPool", [image], m.y(), same))
    ceil = {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}
    yield Named("MaxPool-ceil", Case("MaxPool", [image], m.y(), ceil))
    yield Named("GlobalMaxPool", Case("GlobalMaxPool", [m.x((20, 60, 5, 5))], m.y()))
    mean = Case("GlobalAveragePool", [m.x((20, 60, 5, 5))], m.y(0.02))
    yield Named("GlobalAveragePool", mean, 0 if "8" in dtype else 0.08)
    for op in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"):
        share = {"ReduceMean": ORDER, "ReduceSum": SUMS}.get(op, 0)
        scale = 0.2 if op == "ReduceSum" else 0.02
        case = Case(op, [m.x((30, 50, 9)), np.array([-1])], m.y(scale))
        yield Named(op, case, share)
        old = {"axes": [-1], "keepdims": 0}
        if "8" in dtype and op == "ReduceMax":
            yield Named(f"{op}-17", Case(op, [m.x((3, 5, 9))], m.y(), old, opset=17))
    every = Case("ReduceMean", [m.x((3, 5, 9)), np.array([], np.int64)], m.y(0.02), {"keepdims": 0})
    yield Named("ReduceMean-all", every, ORDER)
    noop = Case("ReduceSum", [image, np.array([], np.int64)], m.y(), {"noop_with_empty_axes": 1})
    yield Named("ReduceSum-none", noop)


def resizes(dtype: str) -> Iterator[Named]:
    m = Maker(dtype)
    image = m.x((2, 6, 9, 8))
    keep = Q(dtype, image.scale, image.zero_point)
    sizes = [image, None, None, np.array([2, 6, 13, 17])]
    for where in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"):
        way = {"coordinate_transformation_mode": where}
        for rule in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
            near = {"mode": "nearest", "nearest_mode": rule, **way}
            yield Named(f"nearest-{where}-{rule}", Case("Resize", sizes, keep, near))
        # float32 interpolates step by step; ours rounds the weighted mean once: ties.
        linear = Case("Resize", sizes, m.y(), {"mode": "linear", **way})
        yield Named(f"linear-{where}", linear, ORDER)
    half = [image, None, np.array([1, 1, 0.6, 0.4], F)]
    yield Named("linear-smaller", Case("Resize", half, m.y(), {"mode": "linear"}), ORDER)
    last = [image, None, np.array([2, 1.5], F)]
    yield Named("nearest-axes", Case("Resize", last, m.y(), {"axes": [-2, -1]}))
    twice = [image, np.array([1, 1, 2, 2.3], F)]
    if "8" in dtype:  # opset 10 quantizes 8 bits only
        yield Named("Resize-10", Case("Resize", twice, keep, opset=10))


def moves(dtype: str) -> Iterator[Named]:
    m = Maker(dtype)
    x = m.x((2, 6, 9, 8))
    keep = Q(dtype, x.scale, x.zero_point)
    twin = Q(dtype, x.scale, x.zero_point, x.values)
    deep = Q(dtype, x.scale, x.zero_point, m.x((1, 8, 4, 6)).values)
    thin = Q(dtype, x.scale, x.zero_point, m.x((2, 1, 5, 1)).values)
    table = Q(dtype, x.scale, x.zero_point, m.x((50, 7)).values, True)
    ends, some = np.array([0, 0, 1, 2, 0, 1, 3, 0]), m.rng.integers(-8, 8, (2, 6, 9, 3))
    held = m.rng.integers(0, 2, (6, 9, 8)).astype(bool)
    for name, out in (("", keep), ("-rescaled", m.y())):
        wide = m.x((2, 4, 9, 8), 0.03) if name else twin
        other = m.x((8,), 0.03, fixed=True) if name else twin
        cut = [np.array([7, -1]), np.array([1, -100]), np.array([-2, 3]), np.array([-2, -3])]
        for op, case in {
            "Identity": Case("Identity", [x], out),
            "Gather": Case("Gather", [x, Live(np.array([[1, -1], [0, 3]]))], out, {"axis": 1}),
            "Gather-table": Case("Gather", [table, Live(np.array([[4, 49, 0]]))], out),
            "Gather-scalar": Case("Gather", [x, np.array(-2)], out, {"axis": -1}),
            "GatherElements": Case("GatherElements", [x, Live(some)], out, {"axis": -1}),
            "Concat": Case("Concat", [x, wide, x], out, {"axis": -3}),
            "Split": Case("Split", [x, np.array([1, 3, 2])], out, {"axis": 1}, outputs=3, index=1),
            "Split-uneven": Case(
                "Split", [x], out, {"axis": -1, "num_outputs": 3}, outputs=3, index=2
            ),
            "Slice": Case("Slice", [x, *cut], out),
            "Slice-far": Case("Slice", [x, *map(np.array, ([-99], [-77], [1], [-2]))], out),
            "Slice-past": Case("Slice", [x, *map(np.array, ([4], [99], [1]))], out),
            "Pad": Case("Pad", [x, ends, F(0.7)], out),
            "Pad-zero": Case("Pad", [x, ends], out),
            "Pad-axes": Case("Pad", [x, np.array([2, -1, 0, 1]), F(-0.3), np.array([-1, 1])], out),
            "Pad-reflect": Case("Pad", [x, ends], out, {"mode": "reflect"}),
            "Pad-edge": Case("Pad", [x, ends], out, {"mode": "edge"}),
            "Reshape": Case("Reshape", [x, np.array([0, -1, 4])], out),
            "Reshape-live": Case("Reshape", [x, Live(np.array([-1, 3]))], out),
            "Flatten": Case("Flatten", [x], out, {"axis": -2}),
            "Unsqueeze": Case("Unsqueeze", [x, np.array([0, -1])], out),
            "Squeeze": Case("Squeeze", [thin], out),
            "Squeeze-axes": Case("Squeeze", [thin, np.array([-1])], out),
            "Transpose": Case("Transpose", [x], out, {"perm": [0, 2, 3, 1]}),
            "Transpose-all": Case("Transpose", [x], out),
            "Expand": Case("Expand", [x, np.array([3, 1, 6, 1, 1])], out),
            "Tile": Case("Tile", [x, np.array([1, 2, 1, 3])], out),
            "Where": Case("Where", [Live(held), x, other], out),
            "DepthToSpace": Case("DepthToSpace", [deep], out, {"blocksize": 2}),
            "DepthToSpace-CRD": Case("DepthToSpace", [deep], out, {"blocksize": 2, "mode": "CRD"}),
            "SpaceToDepth": Case("SpaceToDepth", [deep], out, {"blocksize": 2}),
        }.items():
            yield Named(op + name, case)
    if "8" in dtype:  # opset 13 quantizes 8 bits only
        equal = Case("Split", [x], keep, {"axis": 3}, 13, outputs=2, index=1)
        yield Named("Split-13", equal)


def products(dtype: str) -> Iterator[Named]:
    """Ops that end in a requantization; 16-bit ones need an accumulator of 64 bits for equality.

    onnxruntime computes blocks, 16 bits and ConvTranspose in float32: sums part on ties.
    """
    m = Maker(dtype)
    x, rows = m.x((2, 6, 9, 8)), m.x((3, 20, 64))
    share = 0 if "8" in dtype else 0.01
    w = m.weights((6, 7, 3, 3), 1)
    bias = Q("int32", F(x.scale) * w.scale.astype(F), 0, m.rng.integers(-999, 999, 7), True, 0)
    way = {"strides": [2, 2], "pads": [1, 0, 1, 1], "output_padding": [1, 1]}
    loose = {"strides": [2, 1], "group": 3, "dilations": [2, 1]}
    fit = {"strides": [2, 2], "output_shape": [18, 16], "auto_pad": "SAME_UPPER"}
    for name, case in {
        "ConvTranspose": Case("ConvTranspose", [x, w, bias], m.y(0.5), way),
        "ConvTranspose-relu": Case("ConvTranspose", [x, w], m.y(0.5), way, relu=True),
        "ConvTranspose-group": Case(
            "ConvTranspose", [x, m.weights((6, 2, 3, 3), None)], m.y(0.5), loose
        ),
        "ConvTranspose-same": Case("ConvTranspose", [x, w], m.y(0.5), fit),
        "MatMul-blocks": Case("MatMul", [rows, m.weights((64, 40), 0, 16, "int4")], m.y(0.1)),
        "Gemm-blocks": Case(
            "Gemm",
            [m.x((30, 64)), m.weights((40, 64), 1, 16, "int4"), np.arange(40).astype(F) / 9],
            m.y(0.1),
            {"transB": 1},
        ),
        "Conv-blocks": Case(
            "Conv", [m.x((1, 64, 5, 5)), m.weights((40, 64, 1, 1), 1, 16, "int4")], m.y(0.1)
        ),
    }.items():
        yield Named(name, case, 0.004)
    yield Named("MatMul", Case("MatMul", [rows, m.x((3, 64, 25), 0.02)], m.y(0.2)), 0.002)
    yield Named("MatMul-vector", Case("MatMul", [m.x((64,)), m.x((64, 25))], m.y(0.4)), 0.05)
    conv = Case("Conv", [x, m.weights((7, 6, 3, 3), 0)], m.y(0.3), {"pads": [1, 1, 1, 1]})
    yield Named("Conv", conv, share)


GROUPS = {f.__name__: f for f in (functions, arithmetic, norms, pools, resizes, moves, products)}
