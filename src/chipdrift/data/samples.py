"""A set of samples as every stage sees it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Container, Sequence
from typing import Any

import numpy as np

from chipdrift.errors import DataError
from chipdrift.records import DataInfo, TensorSpec

Array = np.ndarray[Any, Any]


class Samples:
    """Samples in a fixed order: feeds, hashes, labels, and what a metric reads beside them.

    ``fetch(i)`` gives sample i's arrays by input name, each of the input's whole shape and dtype.
    Every sample is fetched, checked and hashed once here; ``keys[i]`` is the SHA-256 of its
    inputs. ``labels`` is an array or None, ``extras`` further arrays by name.
    """

    def __init__(
        self,
        name: str,
        inputs: Sequence[TensorSpec],
        count: int,
        fetch: Callable[[int], dict[str, Array]],
        labels: Array | None = None,
        extras: dict[str, Array] | None = None,
    ) -> None:
        if count == 0:
            raise DataError(f"Data {name}: no samples. Give at least one.")
        self.name = name
        self.labels = labels
        self.extras = extras or {}
        self._inputs = tuple(inputs)
        self._fetch = fetch
        self.keys: tuple[str, ...] = tuple(self._key(i) for i in range(count))

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs that they are for."""
        return self._inputs

    def count(self, keys: Container[str]) -> int:
        """How many samples are among ``keys``; a sample that is there twice counts twice."""
        return sum(key in keys for key in self.keys)

    def feed(self, index: int) -> dict[str, Array]:
        """Sample ``index`` as a runtime takes it: the model's inputs, in this host's byte order."""
        fetched = self._fetch(index)
        return {
            spec.name: _native(fetched[spec.name]) for spec in self._inputs if spec.name in fetched
        }

    def feeds(self) -> list[dict[str, Array]]:
        """All samples, in order."""
        return [self.feed(i) for i in range(len(self))]

    def info(self) -> DataInfo:
        """Name, hash over all samples, labels and extras in order, and size."""
        digest = hashlib.sha256("".join(self.keys).encode())
        for name, array in sorted({"labels": self.labels, **self.extras}.items()):
            if array is not None:
                digest.update(f"{name}{array.dtype}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return DataInfo(
            name=self.name,
            sha256=digest.hexdigest(),
            samples=len(self),
            labels=self.labels is not None,
        )

    def picture(self, index: int) -> bytes | None:
        """Sample ``index`` as PNG, where its first input looks like a picture; else None."""
        array = self.feed(index)[self._inputs[0].name]
        pixels = _pixels(array)
        if pixels is None:
            return None
        from PIL import Image

        image = Image.fromarray(pixels)
        if max(image.size) > 128:
            image.thumbnail((128, 128))
        stream = io.BytesIO()
        image.save(stream, "PNG")
        return stream.getvalue()

    def _key(self, index: int) -> str:
        digest = hashlib.sha256()
        fetched = self._fetch(index)
        for spec in self._inputs:
            array = _native(_checked(self.name, index, spec, fetched))
            digest.update(f"{spec.name}|{array.dtype}|{array.shape}|".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def count_overlap(samples: Samples, others: Samples) -> int:
    """How many of ``samples`` are also among ``others``, by the hash of their inputs."""
    known = set(others.keys)
    return sum(key in known for key in samples.keys)


def _native(array: Array) -> Array:
    """An array in this host's byte order: onnxruntime misreads any other without a word."""
    array = np.asarray(array)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _checked(name: str, index: int, spec: TensorSpec, feed: dict[str, Array]) -> Array:
    if spec.name not in feed:
        raise DataError(
            f"Data {name}: sample {index} lacks the model's input {spec.name!r}; it has "
            f"{', '.join(map(repr, feed)) or 'nothing'}. Name the array after the input."
        )
    array = feed[spec.name]
    if array.dtype.name != spec.dtype:
        raise DataError(
            f"Data {name}: input {spec.name!r} is {array.dtype.name}, the model takes "
            f"{spec.dtype}. Convert it with .astype(np.{spec.dtype})."
        )
    if array.shape != spec.shape:
        raise DataError(
            f"Data {name}: sample {index} of input {spec.name!r} has shape {array.shape}, the "
            f"model takes {spec.shape}."
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        what = "NaN" if np.isnan(array).any() else "infinity"
        raise DataError(
            f"Data {name}: sample {index} of input {spec.name!r} holds {what}. Mend or leave out "
            "that sample: no target's answer to it means anything."
        )
    return array


def _pixels(array: Array) -> Array | None:
    """An input of shape (1, C, H, W) or (1, H, W, C), C 1 or 3, as 8-bit pixels over its range."""
    if array.ndim != 4 or array.shape[0] != 1 or array.dtype.kind not in "fu":
        return None
    image = array[0]
    if image.shape[0] in (1, 3):
        image = np.moveaxis(image, 0, -1)
    if image.shape[-1] not in (1, 3) or min(image.shape[:2]) < 4:
        return None
    image = image.astype(np.float64)
    low, high = image.min(), image.max()
    pixels = np.rint((image - low) / max(high - low, 1e-12) * 255).astype(np.uint8)
    flat: Array = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    return flat
