"""Arrays come back bit for bit, whatever their type, shape and memory order."""

from __future__ import annotations

import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chipdrift.store import digest_arrays, pack_arrays, unpack_arrays

DTYPES = st.one_of(
    st.sampled_from(
        [np.dtype(c) for c in "?bBhHiIlLqQefdgFD"]
        + [np.dtype(">f4"), np.dtype(">i2"), np.dtype("S5"), np.dtype("U3"), np.dtype("M8[s]")]
    )
)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """Any bits at all: NaN payloads, signalling NaNs, negative zeros, subnormals."""
    dtype, shape = draw(DTYPES), draw(SHAPES)
    if dtype.kind == "U":
        return draw(hnp.arrays(dtype, shape))
    size = int(np.prod(shape)) * dtype.itemsize
    raw = draw(st.binary(min_size=size, max_size=size))
    if dtype.kind == "b":
        raw = bytes(byte & 1 for byte in raw)
    array = np.frombuffer(raw, dtype).reshape(shape)
    layout = draw(st.sampled_from("CFT"))
    if layout == "T":
        return array.T
    return np.asfortranarray(array) if layout == "F" else array


@settings(max_examples=300, deadline=None)
@given(st.lists(arrays(), max_size=4))
def test_round_trip(given_arrays: list[np.ndarray]) -> None:
    found = unpack_arrays(pack_arrays(given_arrays))
    assert len(found) == len(given_arrays)
    for one, two in zip(given_arrays, found, strict=True):
        assert (one.dtype, one.shape) == (two.dtype, two.shape)
        assert one.tobytes() == two.tobytes()
    assert digest_arrays(found) == digest_arrays(given_arrays)


@settings(max_examples=60, deadline=None)
@given(arrays())
def test_the_format_is_numpy_s_own(array: np.ndarray) -> None:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    assert pack_arrays([array]) == stream.getvalue()


@settings(max_examples=100, deadline=None)
@given(arrays(), st.data())
def test_one_bit_changes_the_digest(array: np.ndarray, data: st.DataObject) -> None:
    raw = bytearray(array.tobytes())
    if not raw or array.dtype.kind in "bU":
        return
    at = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[at // 8] ^= 1 << (at % 8)
    other = np.frombuffer(bytes(raw), array.dtype).reshape(array.shape)
    assert digest_arrays([other]) != digest_arrays([array])
