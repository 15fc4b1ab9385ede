"""Ops on random shapes, quantizers and rules: laws that hold for all of them."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chipdrift.numerics.ops import reference_ops
from chipdrift.numerics.profile import Rules
from chipdrift.numerics.tensors import Array, Operand, OpSpec, Quant

FEW = settings(max_examples=60, deadline=None)
DTYPES = st.sampled_from(["uint8", "int8", "uint16", "int16"])
SCALES = st.floats(2.0**-10, 2.0**4, width=32)


@st.composite
def quants(draw: st.DrawFn, dtype: str | None = None) -> Quant:
    kind = dtype or draw(DTYPES)
    info = np.iinfo(kind)
    zero = draw(st.integers(int(info.min), int(info.max)))
    return Quant(np.float32(draw(SCALES)), np.asarray(zero), kind)


def integers(draw: st.DrawFn, quant: Quant, shape: tuple[int, ...]) -> Array:
    seed = draw(st.integers(0, 2**32 - 1))
    return np.random.default_rng(seed).integers(quant.low, quant.high + 1, shape, quant.dtype)


def run(op: str, quants: list[Quant], arrays: list[Array], out: Quant, **more: object) -> Array:
    rules = Rules(**more.pop("rules", {}))  # type: ignore[arg-type]
    operands = tuple(Operand(q) for q in quants)
    spec = OpSpec(op, "node", operands, {"opset": 21, "output_index": 0, **more}, out, rules)
    return reference_ops()[op](spec, arrays)


def rounded(value: Fraction, out: Quant) -> int:
    return min(max(round(value) + int(out.zero_point), out.low), out.high)


EXACT = {"elementwise": {"arithmetic": "exact"}, "function": {"arithmetic": "exact"}}


@FEW
@given(st.data())
def test_exact_sums_and_products_broadcast(data: st.DataObject) -> None:
    a, b, out = (data.draw(quants()) for _ in range(3))
    shapes = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3))
    x, y = (integers(data.draw, q, s) for q, s in zip((a, b), shapes.input_shapes, strict=True))
    p, q = np.broadcast_arrays(
        x.astype(object) - int(a.zero_point), y.astype(object) - int(b.zero_point)
    )
    sa, sb, sy = (Fraction(float(v.scale)) for v in (a, b, out))
    wanted = {
        "Add": [(int(i) * sa + int(j) * sb) / sy for i, j in zip(p.flat, q.flat, strict=True)],
        "Mul": [int(i) * int(j) * sa * sb / sy for i, j in zip(p.flat, q.flat, strict=True)],
    }
    for op, real in wanted.items():
        got = run(op, [a, b], [x, y], out, rules=EXACT)
        assert got.shape == shapes.result_shape
        assert got.dtype == out.storage
        assert got.reshape(-1).tolist() == [rounded(v, out) for v in real]


@FEW
@given(st.data())
def test_float32_arithmetic_is_within_one_of_exact(data: st.DataObject) -> None:
    """Its error is some 2**-22 of 16-bit integers: less than half a step."""
    a, b, out = (data.draw(quants()) for _ in range(3))
    x, y = integers(data.draw, a, (7,)), integers(data.draw, b, (7,))
    for op in ("Add", "Sub", "Min", "Max"):
        exact = run(op, [a, b], [x, y], out, rules=EXACT).astype(int)
        rough = run(op, [a, b], [x, y], out).astype(int)
        assert np.abs(exact - rough).max() <= 1


@FEW
@given(st.data())
def test_functions_keep_the_order(data: st.DataObject) -> None:
    """A monotone function on sorted integers, whatever computes it."""
    x, out = data.draw(quants("uint8")), data.draw(quants())
    op = data.draw(st.sampled_from(["Sigmoid", "Tanh", "Erf", "Softplus", "LeakyRelu", "Elu"]))
    how = data.draw(st.sampled_from(["exact", "table", "float32"]))
    entries = data.draw(st.integers(2, 400))
    rules = {"function": {"arithmetic": how, "entries": entries}}
    got = run(op, [x], [np.arange(256).astype(np.uint8)], out, rules=rules).astype(int)
    assert (np.diff(got) >= 0).all()


@FEW
@given(st.data())
def test_slices_are_numpys(data: st.DataObject) -> None:
    quant = data.draw(quants())
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=6))
    x = integers(data.draw, quant, shape)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    step = data.draw(st.sampled_from([-3, -2, -1, 1, 2, 3]))
    start, end = (data.draw(st.integers(-9, 9)) for _ in range(2))
    # ONNX clamps where Python would wrap a second time: walk over the places by hand.
    n = shape[axis]
    first, last = (v + n if v < 0 else v for v in (start, end))
    if step > 0:
        places = range(min(max(first, 0), n), min(max(last, 0), n), step)
    else:
        places = range(min(max(first, 0), n - 1), min(max(last, -1), n - 1), step)
    given_ = [np.array([v]) for v in (start, end, axis, step)]
    spec = OpSpec("Slice", "node", (Operand(quant), *[Operand()] * 4), {}, quant)
    got = reference_ops()["Slice"](spec, [x, *given_])
    np.testing.assert_array_equal(got, x.take(list(places), axis))


@FEW
@given(st.data())
def test_depth_and_space_are_inverse(data: st.DataObject) -> None:
    quant = data.draw(quants())
    size = data.draw(st.integers(1, 3))
    shape = (2, 3 * size**2, *(data.draw(st.integers(1, 4)) for _ in range(2)))
    x = integers(data.draw, quant, shape)
    wide = run("DepthToSpace", [quant], [x], quant, blocksize=size)
    np.testing.assert_array_equal(run("SpaceToDepth", [quant], [wide], quant, blocksize=size), x)


@FEW
@given(st.data())
def test_linear_interpolation_stays_between_its_ends(data: st.DataObject) -> None:
    quant = data.draw(quants())
    n, size = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 14))
    x = integers(data.draw, quant, (1, 1, 1, n))
    way = data.draw(st.sampled_from(["half_pixel", "asymmetric", "align_corners"]))
    sizes = np.array([1, 1, 1, size])
    attributes = {"mode": "linear", "coordinate_transformation_mode": way, "opset": 21}
    spec = OpSpec("Resize", "node", (Operand(quant),), attributes, quant, Rules(**EXACT))
    got = reference_ops()["Resize"](spec, [x, None, None, sizes])
    assert got.shape == (1, 1, 1, size)
    assert x.min() <= got.min() <= got.max() <= x.max()
    if size == n:
        np.testing.assert_array_equal(got, x)


@FEW
@given(st.data())
def test_transposed_convolution_scatters(data: st.DataObject) -> None:
    """Against the definition: every input element adds its kernel to the output."""
    stride, dilation, k, n = (data.draw(st.integers(1, 3)) for _ in range(4))
    extra = data.draw(st.integers(0, stride - 1))
    reach = (k - 1) * dilation
    before, after = (data.draw(st.integers(0, reach + 1)) for _ in range(2))
    size = stride * (n - 1) + reach + 1 + extra - before - after
    if size < 1:
        return
    x_quant = Quant(np.float32(1), np.asarray(7), "uint8")
    w_quant = Quant(np.float32(1), np.asarray(0), "int8")
    out = Quant(np.float32(1), np.asarray(0), "int16")
    x = integers(data.draw, x_quant, (1, 2, n)) % 16
    w = integers(data.draw, w_quant, (2, 3, k)) % 8
    want = np.zeros((3, stride * (n - 1) + reach + 1 + extra), np.int64)
    for c, m, i, j in np.ndindex(2, 3, n, k):
        want[m, i * stride + j * dilation] += (int(x[0, c, i]) - 7) * int(w[c, m, j])
    way = {
        "strides": [stride],
        "dilations": [dilation],
        "pads": [before, after],
        "output_padding": [extra],
    }
    got = run("ConvTranspose", [x_quant, w_quant], [x, w], out, **way)
    np.testing.assert_array_equal(got[0], want[:, before : before + size])


@FEW
@given(st.data())
def test_exact_softmax_is_within_half_a_step_of_the_truth(data: st.DataObject) -> None:
    quant = data.draw(quants("uint8"))
    x = integers(data.draw, quant, (9,))
    out = Quant(np.float32(2.0**-8), np.asarray(0), "uint8")
    got = run("Softmax", [quant], [x], out, rules=EXACT)
    real = [(int(v) - int(x.max())) * float(quant.scale) for v in x]
    total = math.fsum(map(math.exp, real))
    steps = np.minimum(np.exp(real) / total * 256, 255)
    assert np.abs(got - steps).max() <= 0.5 + 1e-9
