"""Samples from .npz files: what each form becomes, what counts for the hashes, what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_models import identity_model

from chipdrift.data import Samples, count_overlap, load_data
from chipdrift.errors import DataError
from chipdrift.records import TensorSpec
from chipdrift.targets import WorkerProcess, get_target

RNG = np.random.default_rng(0)


def spec(name: str, *shape: int, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape)


def load(
    folder: Path, inputs: list[TensorSpec], limit: int | None = None, **arrays: Any
) -> Samples:
    np.savez(folder / "d.npz", **arrays)
    return load_data(folder / "d.npz", inputs, limit)


@pytest.mark.parametrize(
    ("shape", "given"),
    [
        ((1, 3, 4), (5, 3, 4)),
        ((1, 3, 4), (5, 1, 3, 4)),
        ((2, 3), (5, 2, 3)),
        ((1,), (5,)),
        ((1,), (5, 1)),
        ((), (5,)),
        ((1, 1), (5, 1)),
        ((1, 1, 2), (5, 1, 2)),
    ],
)
def test_forms(shape: tuple[int, ...], given: tuple[int, ...], tmp_path: Path) -> None:
    """Without the batch of 1, with it, and whole where the first dimension is not 1."""
    x = RNG.standard_normal(given).astype(np.float32)
    samples = load(tmp_path, [spec("x", *shape)], x=x)
    assert len(samples) == 5
    for i, feed in enumerate(samples.feeds()):
        assert isinstance(feed["x"], np.ndarray)
        assert feed["x"].shape == shape
        np.testing.assert_array_equal(feed["x"].reshape(-1), x[i].reshape(-1))


def test_a_scalar_reaches_the_runtime(tmp_path: Path) -> None:
    """onnxruntime takes arrays only; a row of a one-dimensional array is none."""
    samples = load(tmp_path, [spec("x")], x=np.float32([1.5, 2.5]))
    assert answers(tmp_path, samples, []) == [1.5, 2.5]


def test_the_other_byte_order_reaches_the_runtime_as_the_same_numbers(tmp_path: Path) -> None:
    """onnxruntime would read the bytes as they lie, without a word."""
    x = np.float32([[1, 2], [3, 4]])
    little = load(tmp_path, [spec("x", 2)], x=x, labels=np.arange(2))
    big = load(tmp_path, [spec("x", 2)], x=x.astype(">f4"), labels=np.arange(2))
    assert answers(tmp_path, big, [2]) == [[1, 2], [3, 4]]
    assert big.keys == little.keys
    assert big.feed(0)["x"].dtype.isnative


def answers(folder: Path, samples: Samples, shape: list[int]) -> list[Any]:
    from chipdrift.store import unpack_arrays

    path = identity_model(folder / "id.onnx", shape)
    target = get_target("ort:cpu")
    worker = WorkerProcess(target, -1)
    try:
        worker.open("s", str(path), target.options, True)
        assert worker.receive()[0] == "opened"
        found = []
        for feed in samples.feeds():
            worker.run("s", "0", feed, False)
            answer = worker.receive()
            assert answer[0] == "outputs", answer
            found.append(unpack_arrays(answer[4])[0].tolist())
        return found
    finally:
        worker.stop()


def test_several_inputs_and_the_order_of_the_model(tmp_path: Path) -> None:
    inputs = [spec("b", 1, 2), spec("a", 3, dtype="int64"), spec("f", 1, dtype="bool")]
    arrays = {
        "a": np.arange(12).reshape(4, 3),
        "b": RNG.standard_normal((4, 2)).astype(np.float32),
        "f": np.array([True, False, True, True]),
    }
    samples = load(tmp_path, inputs, **arrays)
    assert list(samples.feed(2)) == ["b", "a", "f"]
    np.testing.assert_array_equal(samples.feed(2)["a"], [6, 7, 8])
    np.testing.assert_array_equal(samples.feed(2)["b"], arrays["b"][2:3])


def test_limit_takes_the_first_and_their_labels(tmp_path: Path) -> None:
    x = RNG.standard_normal((6, 2)).astype(np.float32)
    whole = load(tmp_path, [spec("x", 1, 2)], x=x, labels=np.arange(6), words=np.array(["a", "b"]))
    cut = load_data(tmp_path / "d.npz", [spec("x", 1, 2)], 4)
    assert cut.keys == whole.keys[:4]
    assert cut.labels is not None
    assert cut.labels.tolist() == [0, 1, 2, 3]
    assert cut.extras["words"].tolist() == ["a", "b"], "the metric's, not a sample's"
    assert len(load_data(tmp_path / "d.npz", [spec("x", 1, 2)], 99)) == 6
    with pytest.raises(DataError, match="--limit 0"):
        load_data(tmp_path / "d.npz", [spec("x", 1, 2)], 0)


def test_pairs_under_a_limit_are_those_whose_both_samples_are_left(tmp_path: Path) -> None:
    x = RNG.standard_normal((6, 2)).astype(np.float32)
    pairs, labels = np.array([[0, 1], [4, 1], [2, 3], [3, 5]]), np.float32([0.1, 0.2, 0.3, 0.4])
    arrays = {"x": x, "pairs": pairs, "labels": labels}
    whole = load(tmp_path, [spec("x", 1, 2)], **arrays)
    assert whole.extras["pairs"].tolist() == pairs.tolist()
    cut = load(tmp_path, [spec("x", 1, 2)], 4, **arrays)
    assert cut.extras["pairs"].tolist() == [[0, 1], [2, 3]]
    assert cut.labels is not None
    assert cut.labels.tolist() == labels[[0, 2]].tolist()
    for bad in (np.arange(4), np.zeros((3, 2), int)):
        with pytest.raises(DataError, match="pairs has shape"):
            load(tmp_path, [spec("x", 1, 2)], 4, **{**arrays, "pairs": bad})


def test_the_hashes_by_hand(tmp_path: Path) -> None:
    """SHA-256 over name, type, shape and bytes of every input, in the model's order."""
    x, n = np.float32([[1, 2], [3, 4]]), np.array([5, 6])
    inputs = [spec("x", 1, 2), spec("n", dtype="int64")]
    samples = load(tmp_path, inputs, x=x, n=n, labels=np.array([1, 0], np.uint8))
    text = b"x|float32|(1, 2)|" + x[1].tobytes() + b"n|int64|()|" + n[1].tobytes()
    assert samples.keys[1] == hashlib.sha256(text).hexdigest()
    text = "".join(samples.keys).encode() + b"labelsuint8(2,)\x01\x00"
    assert samples.info().sha256 == hashlib.sha256(text).hexdigest()
    assert samples.info().model_dump() == {
        "name": "d",
        "sha256": samples.info().sha256,
        "samples": 2,
        "labels": True,
    }


def test_what_changes_the_hash_and_what_does_not(tmp_path: Path) -> None:
    x = RNG.standard_normal((4, 2)).astype(np.float32)
    base = {"x": x, "labels": np.arange(4), "words": np.array(["a"])}

    def digest(**changed: Any) -> str:
        return load(tmp_path, [spec("x", 1, 2)], **{**base, **changed}).info().sha256

    same = digest()
    assert digest() == same
    assert digest(x=np.asfortranarray(x)) == same, "memory order is no content"
    other = x.copy()
    other[3, 1] = np.nextafter(other[3, 1], np.float32(9))
    for changed in (
        {"x": other},
        {"x": x[::-1]},
        {"labels": np.array([0, 1, 2, 2])},
        {"labels": np.arange(4.0)},
        {"words": np.array(["b"])},
        {"more": np.zeros(1)},
    ):
        assert digest(**changed) != same, changed


def test_overlap_counts_equal_inputs(tmp_path: Path) -> None:
    x = RNG.standard_normal((5, 2)).astype(np.float32)
    one = load(tmp_path, [spec("x", 1, 2)], x=x[[0, 1, 2, 2]])
    two = load(tmp_path, [spec("x", 1, 2)], x=x[[2, 3, 0]], labels=np.zeros(3))
    assert count_overlap(one, two) == 3, "sample 2 is there twice"
    assert count_overlap(two, one) == 2
    assert count_overlap(one, one) == 4


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y": np.zeros((2, 2), np.float32)}, "lacks the model's input 'x'; it has 'y'"),
        ({"x": np.zeros((2, 3), np.float32)}, r"shape \(2, 3\); expected \(N, 2\).*without the"),
        ({"x": np.float32(1)}, r"has shape \(\)"),
        ({"x": np.zeros((2, 2))}, "is float64, the model takes float32"),
        ({"x": np.zeros((0, 2), np.float32)}, "no samples"),
        ({"x": np.full((2, 2), np.nan, np.float32)}, "sample 0 of input 'x' holds NaN"),
        ({"x": np.zeros((2, 2), np.float32), "labels": np.int64(3)}, "labels are for one number"),
        ({"x": np.zeros((2, 2), np.float32), "labels": np.zeros(3)}, "labels are for 3"),
        ({"x": np.zeros((2, 2), np.float32), "labels": np.float32([0, np.inf])}, "labels hold"),
        ({"x": np.array([None, 1])}, "object arrays"),
    ],
)
def test_what_is_refused(arrays: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words) as caught:
        load(tmp_path, [spec("x", 1, 2)], **arrays)
    assert "\n" not in str(caught.value)


def test_inputs_of_different_lengths_and_files_that_are_none(tmp_path: Path) -> None:
    zeros = np.zeros((2, 2), np.float32)
    with pytest.raises(DataError, match="differ in their number"):
        load(tmp_path, [spec("a", 1, 2), spec("b", 1, 2)], a=zeros, b=zeros[:1])
    np.save(tmp_path / "single.npy", zeros)
    with pytest.raises(DataError, match="a single array"):
        load_data(tmp_path / "single.npy", [spec("x", 1, 2)])
    whole = (tmp_path / "d.npz").read_bytes()
    for cut in (whole[: len(whole) // 2], b"", b"text", whole[:60] + b"\0\0\0\0" + whole[64:]):
        (tmp_path / "cut.npz").write_bytes(cut)
        with pytest.raises(DataError):
            load_data(tmp_path / "cut.npz", [spec("a", 1, 2)])
    for name in ("none.npz", "none", "none:"):
        with pytest.raises(DataError):
            load_data(tmp_path / name, [spec("a", 1, 2)])


def test_pictures(tmp_path: Path) -> None:
    import io

    from PIL import Image

    x = np.zeros((2, 3, 6, 5), np.float32)
    x[1, 0] = np.linspace(-1, 1, 30).reshape(6, 5)
    samples = load(tmp_path, [spec("x", 1, 3, 6, 5)], x=x)
    png = samples.picture(1)
    assert png is not None
    image = np.asarray(Image.open(io.BytesIO(png)))
    assert image.shape == (6, 5, 3)
    np.testing.assert_array_equal(image[..., 0], np.rint((x[1, 0] + 1) / 2 * 255))
    assert (image[..., 1] == 128).all()
    assert samples.picture(0) is not None, "all one value is a picture, too"
    wide = load(tmp_path, [spec("x", 1, 40, 400, 1)], x=np.ones((1, 40, 400, 1), np.float32))
    thumb = Image.open(io.BytesIO(wide.picture(0) or b""))
    assert max(thumb.size) == 128
    assert thumb.mode == "L"
    for shape in ((1, 5), (1, 4, 8, 8), (2, 3, 8, 8), (1, 3, 2, 8), (1, 3, 8)):
        array = np.ones((1, *shape), np.float32)
        assert load(tmp_path, [spec("x", *shape)], x=array).picture(0) is None
    ids = np.ones((1, 1, 3, 8, 8), np.int64)
    assert load(tmp_path, [spec("x", 1, 3, 8, 8, dtype="int64")], x=ids).picture(0) is None
