"""Integer products and the compiled engine's edges: exact at the ends, whatever the machine."""

from __future__ import annotations

import numba
import numpy as np
import onnx
import pytest

from chipdrift.numerics.fast import compile_op, gemm, jit, requantize
from chipdrift.numerics.fast.onnxbytes import matmul_integer
from chipdrift.numerics.ops import reference_ops
from chipdrift.numerics.profile import Accumulator, Requantize, Rules
from chipdrift.numerics.tensors import Operand, OpSpec, Quant


@pytest.mark.parametrize("saturating", [False, True])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("zeros", ["none", "ends"])
def test_the_greatest_products_are_exact(
    monkeypatch: pytest.MonkeyPatch, saturating: bool, dtype: str, zeros: str
) -> None:
    monkeypatch.setattr(gemm, "saturates", lambda: saturating)
    ends = np.iinfo(dtype)
    rng = np.random.default_rng(1)
    for depth, width in ((1, 1), (2, 3), (64, 16), (300, 33)):
        w = rng.choice([ends.min, ends.max], (depth, width)).astype(dtype)
        zero = rng.choice([ends.min, ends.max], width) if zeros == "ends" else np.zeros(1, int)
        x = rng.choice([0, 255, 254], (21, depth)).astype(np.uint8)
        answer = gemm.ConstantProduct(w, zero)(x)
        assert answer.dtype == np.int32
        assert np.array_equal(answer, x.astype(np.int64) @ (w.astype(np.int64) - zero))


def test_products_of_two_activations_take_both_zero_points_off() -> None:
    rng = np.random.default_rng(2)
    a = rng.integers(0, 256, (3, 2, 5, 40)).astype(np.uint8)
    b = rng.integers(0, 256, (2, 40, 7)).astype(np.uint8)
    expected = (a.astype(np.int64) - 200) @ (b.astype(np.int64) - 17)
    assert np.array_equal(gemm.free_product(a, b, 200, 17), expected)


def test_the_handwritten_model_is_one_that_onnx_reads() -> None:
    w = np.arange(-6, 6, dtype=np.int8).reshape(3, 4)
    model = onnx.ModelProto.FromString(matmul_integer(w, np.zeros(4, np.int8)))
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 13)]
    assert [node.op_type for node in model.graph.node] == ["MatMulInteger"]
    held, zero = model.graph.initializer
    assert (list(held.dims), held.data_type) == ([3, 4], onnx.TensorProto.INT8)
    assert held.data_location == onnx.TensorProto.EXTERNAL
    assert np.array_equal(onnx.numpy_helper.to_array(zero), np.zeros(4, np.int8))
    free = onnx.ModelProto.FromString(matmul_integer(None, None))
    assert [value.name for value in free.graph.input] == ["x", "w", "xz", "wz"]


def test_without_a_folder_to_keep_code_in_it_is_compiled_for_this_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = numba.njit

    def no_folder(*args: object, cache: bool = False, **options: object) -> object:
        if cache:

            def refuse(function: object) -> object:
                raise RuntimeError("cannot cache function: no locator available")

            return refuse
        return plain(*args, **options)

    monkeypatch.setattr(numba, "njit", no_folder)
    assert jit.jit(lambda x: x + 1)(2) == 3


def pointwise(rules: Rules) -> tuple[OpSpec, np.ndarray]:
    rng = np.random.default_rng(3)
    x = rng.integers(0, 256, (1, 8, 5, 6)).astype(np.uint8)
    w = rng.integers(-128, 128, (4, 8, 1, 1)).astype(np.int8)
    spec = OpSpec(
        "Conv",
        "node",
        (
            Operand(Quant(np.float32(0.1), np.int64(9), "uint8")),
            Operand(Quant(np.float32(0.1), np.int64(0), "int8"), w),
        ),
        {},
        Quant(np.float32(1.3), np.int64(100), "uint8"),
        rules,
    )
    return spec, x


def test_convolutions_leave_channels_last_in_memory() -> None:
    spec, x = pointwise(Rules())
    kernel = compile_op(spec)
    assert kernel is not None
    answer = kernel([x])
    assert answer.shape == (1, 4, 5, 6)
    assert np.moveaxis(answer, 1, -1).flags.c_contiguous


def test_a_rule_that_is_not_known_here_is_left_to_the_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec, x = pointwise(Rules(requantize=Requantize(multiplier="float32")))
    monkeypatch.setattr(requantize, "_KNOWN", requantize._KNOWN - {"multiplier"})
    kernel = compile_op(spec)
    assert kernel is not None
    assert np.array_equal(
        kernel([x]), reference_ops()["Conv"](spec, [x, spec.operands[1].constant])
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_wide_lanes_are_walked_only_where_a_sum_may_overflow(sign: int) -> None:
    """24 bits: the last row's sum passes 2**23 on the way, and ends below it."""
    w = np.repeat(np.array([127, -64], np.int8) * np.int8(sign), 300)[:, None]
    x = np.zeros((3, 600), np.uint8)
    x[1], x[2] = 100, 255
    accumulator = Accumulator(width=24, overflow="saturate")
    spec = OpSpec(
        "MatMul",
        "node",
        (
            Operand(Quant(np.float32(1), np.int64(0), "uint8")),
            Operand(Quant(np.float32(1), np.int64(0), "int8"), w),
        ),
        {},
        Quant(np.float32(2**16), np.int64(0), "int8"),
        Rules(accumulator=accumulator),
    )
    expected = reference_ops()["MatMul"](spec, [x, w])
    exact = x.astype(np.int64) @ w.astype(np.int64) / 2**16
    assert np.abs(expected - exact).reshape(-1).tolist()[:2] == pytest.approx([0, 0], abs=0.5)
    assert abs(expected[2, 0] - exact[2, 0]) > 10
    kernel = compile_op(spec)
    assert kernel is not None
    assert np.array_equal(kernel([x]), expected)
