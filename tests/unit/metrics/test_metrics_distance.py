import ml_dtypes
import numpy as np
import pytest

from chipdrift.errors import DataError
from chipdrift.metrics import (
    Outputs,
    identical_share,
    lsb_between,
    lsb_distance,
    max_abs,
    sqnr_db,
    to_integers,
)
from chipdrift.records import Lsb, Quantizer

NAN, INF = float("nan"), float("inf")


def both(**arrays: list) -> Outputs:
    given = {name: np.array(value, np.float32) for name, value in arrays.items()}
    return Outputs(arrays=given, primary=next(iter(given)))


def dequantize(q: np.ndarray, scale: float, zero: int, dtype: type = np.float32) -> np.ndarray:
    """ONNX DequantizeLinear: the subtraction in integers, the product in the scale's type."""
    return (q.astype(np.int64) - zero).astype(dtype) * dtype(scale)


@pytest.mark.parametrize(
    ("dtype", "zero"), [("uint8", 131), ("int8", -7), ("uint16", 32770), ("int16", 0), ("uint4", 3)]
)
@pytest.mark.parametrize("scale", [0.1, 1 / 255, 3.0517578e-05, 7.3e-12, 1e10])
def test_every_integer_comes_back(dtype: str, zero: int, scale: float) -> None:
    bits = int(dtype.lstrip("uint"))
    lowest = 0 if dtype[0] == "u" else -(2 ** (bits - 1))
    q = np.arange(lowest, lowest + 2**bits)[:, None]
    kept = float(np.float32(scale))
    quantizer = Quantizer(scale=(kept,), zero_point=(zero,), dtype=dtype)
    found = to_integers(dequantize(q, kept, zero), quantizer)
    assert found is not None
    assert found.dtype == np.int32
    assert np.array_equal(found, q)


def test_half_precision() -> None:
    q = np.arange(256)[:, None]
    scale = float(np.float16(0.013))
    quantizer = Quantizer(scale=(scale,), zero_point=(9,), dtype="uint8")
    found = to_integers(dequantize(q, scale, 9, np.float16), quantizer)
    assert found is not None
    assert np.array_equal(found, q)


@pytest.mark.parametrize("axis", [1, -2])
def test_scales_along_an_axis_of_the_models_output(axis: int) -> None:
    generator = np.random.default_rng(0)
    scale = generator.uniform(0.01, 1.0, size=3).astype(np.float32)
    zero = np.array([0, 5, 250])
    q = generator.integers(0, 256, size=(6, 1, 3, 4))
    y = (q - zero[:, None]).astype(np.float32) * scale[:, None]
    quantizer = Quantizer(
        scale=tuple(map(float, scale)), zero_point=tuple(map(int, zero)), dtype="uint8", axis=axis
    )
    found = to_integers(y, quantizer)
    assert found is not None
    assert np.array_equal(found, q)


def test_scales_that_do_not_fit_are_a_mistake() -> None:
    quantizer = Quantizer(scale=(0.1, 0.2), zero_point=(0,), dtype="uint8", axis=1)
    with pytest.raises(ValueError, match="2 scales along axis 1 do not fit"):
        to_integers(np.zeros((4, 1, 3), np.float32), quantizer)


@pytest.mark.parametrize(
    "y", [[0.15], [0.1, np.nan], [0.1, np.inf], [25.7], [-0.1], [np.nextafter(np.float32(0.1), 1)]]
)
def test_other_reals_are_no_integers(y: list[float]) -> None:
    quantizer = Quantizer(scale=(float(np.float32(0.1)),), zero_point=(0,), dtype="uint8")
    assert to_integers(np.array([y], np.float32), quantizer) is None


def test_no_integers_without_a_known_format_or_scale() -> None:
    y = np.zeros((1, 1), np.float32)
    assert to_integers(y, Quantizer(scale=(0.1,), zero_point=(0,), dtype="float8e4m3fn")) is None
    assert to_integers(y, Quantizer(scale=(0.0,), zero_point=(0,), dtype="uint8")) is None
    assert (
        to_integers(np.zeros((1, 1), int), Quantizer(scale=(1.0,), zero_point=(0,), dtype="int8"))
        is None
    )


def test_lsb_distance() -> None:
    scale = float(np.float32(0.1))
    quantizer = Quantizer(scale=(scale,), zero_point=(3,), dtype="uint8")
    a, b = np.array([[1, 2], [3, 255]]), np.array([[1, 4], [2, 0]])
    found = lsb_distance(dequantize(a, scale, 3), dequantize(b, scale, 3), quantizer)
    assert found == Lsb(max=255, mean=(2 + 1 + 255) / 4)
    assert lsb_distance(dequantize(a, scale, 3), np.full((2, 2), 0.55), quantizer) is None
    with pytest.raises(ValueError, match="cannot be compared"):
        lsb_between(a, b[:1])


def test_integers_do_not_depend_on_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    q = np.random.default_rng(0).integers(0, 256, size=(11, 3))
    quantizer = Quantizer(scale=(0.5,), zero_point=(0,), dtype="uint8")
    monkeypatch.setattr("chipdrift.metrics.distance._CHUNK", 7)
    found = to_integers(dequantize(q, 0.5, 0), quantizer)
    assert found is not None
    assert np.array_equal(found, q)


def test_sqnr_over_all_outputs() -> None:
    assert sqnr_db(both(a=[[9.0]], b=[[0.0]]), both(a=[[10.0]], b=[[0.0]])) == pytest.approx(20.0)
    assert sqnr_db(both(a=[[9.0]], b=[[7.0]]), both(a=[[10.0]], b=[[0.0]])) == pytest.approx(
        10 * np.log10(100 / 50)
    )


@pytest.mark.parametrize(
    ("x", "r", "expected"),
    [([1, 2], [1, 2], None), ([1, 0], [0, 0], -150.0), ([NAN, 2], [1, 2], -150.0)],
)
def test_sqnr_is_always_json(x: list[float], r: list[float], expected: float | None) -> None:
    assert sqnr_db(both(a=[x]), both(a=[r])) == expected


def test_sqnr_leaves_integer_outputs_out() -> None:
    a = Outputs(arrays={"top": np.array([[1]])}, primary="top")
    b = Outputs(arrays={"top": np.array([[2]])}, primary="top")
    assert sqnr_db(a, b) is None


def test_sqnr_of_other_outputs() -> None:
    with pytest.raises(DataError, match=r"shape \(1, 2\) and in the reference \(1, 1\)"):
        sqnr_db(both(a=[[1, 2]]), both(a=[[1]]))


def test_max_abs() -> None:
    assert max_abs(both(a=[[1, -2]], b=[[3]]), both(a=[[1, 1]], b=[[1]])) == 3.0
    assert max_abs(both(a=[[NAN]]), both(a=[[1]])) is None
    assert max_abs(both(a=[[1]]), both(b=[[1]])) is None


def test_identical_share_compares_bits() -> None:
    a = both(a=[[0.0], [1], [NAN], [2]], b=[[1], [1], [1], [1]])
    b = both(a=[[-0.0], [1], [NAN], [2]], b=[[1], [1], [1], [3]])
    assert identical_share(a, b) == 0.5
    assert identical_share(a, a) == 1.0


def test_nans_of_other_bits_differ() -> None:
    quiet = np.array([[0x7FC00000], [0x7FC00000]], np.uint32).view(np.float32)
    payload = np.array([[0x7FC00001], [0x7FC00000]], np.uint32).view(np.float32)
    a, b = (Outputs(arrays={"y": y}, primary="y") for y in (quiet, payload))
    assert identical_share(a, b) == 0.5


def test_identical_share_of_other_types_and_names() -> None:
    a = both(y=[[1.0], [2.0]])
    assert identical_share(a, Outputs(arrays={"y": np.array([[1.0], [2.0]])}, primary="y")) == 0.0
    assert identical_share(a, both(z=[[1.0], [2.0]])) == 0.0
    words = Outputs(arrays={"y": np.array([["a"], ["b"]], object)}, primary="y")
    other = Outputs(arrays={"y": np.array([["a"], ["c"]], object)}, primary="y")
    assert identical_share(words, other) == 0.5
    with pytest.raises(DataError, match="1 and 2 samples"):
        identical_share(both(y=[[1.0]]), a)


def test_bfloat16_outputs() -> None:
    y = np.array([[1.0], [2.0]], ml_dtypes.bfloat16)
    a = Outputs(arrays={"y": y}, primary="y")
    b = Outputs(arrays={"y": np.array([[1.0], [4.0]], ml_dtypes.bfloat16)}, primary="y")
    assert identical_share(a, b) == 0.5
    assert sqnr_db(a, b) == pytest.approx(10 * np.log10(17 / 4))
    assert max_abs(a, b) == 2.0
