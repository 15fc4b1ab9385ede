"""A runtime that answers oddly, but never crashes, in the real worker process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chipdrift.targets.base import Opened, Session, Target
from chipdrift.targets.ort import open_session as open_ort

Array = np.ndarray[Any, Any]


def target(oddity: str) -> Target:
    """``mixing``: answers depend on the batch. ``nhwc``: feature maps are handed out in NHWC.

    ``mirrored``: feature maps come back to front. ``dithered``: every third value is 2 more.
    """
    return Target(
        name=f"odd:{oddity}",
        runtime=__name__,
        evidence="hypothesis",
        has_npu=False,
        options={"oddity": oddity},
        versions={"odd": "1"},
    )


def open_session(path: str, options: Mapping[str, str]) -> Session:
    changes = {"mixing": _mixed, "nhwc": _turned, "mirrored": _mirrored, "dithered": _dithered}
    return Odd(open_ort(path, {}), changes[options["oddity"]])


class Odd(Session):
    def __init__(self, inner: Session, change: Any) -> None:
        self._inner, self._change = inner, change

    def opened(self) -> Opened:
        return self._inner.opened()

    def run(self, feed: Mapping[str, Array]) -> list[Array]:
        return [self._change(array) for array in self._inner.run(feed)]


def _mixed(array: Array) -> Array:
    """A dynamic quantizer over the whole batch: everything is rounded to its largest value."""
    if array.dtype.kind != "f":
        return array
    step = np.abs(array).max() / 127
    return (np.rint(array / step) * step).astype(array.dtype)


def _turned(array: Array) -> Array:
    """NHWC in memory, called NCHW."""
    if array.ndim != 4:
        return array
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).reshape(array.shape)


def _mirrored(array: Array) -> Array:
    return array[:, ::-1, ::-1, ::-1].copy() if array.ndim == 4 else array


def _dithered(array: Array) -> Array:
    if array.ndim != 4 or array.dtype.kind == "f":
        return array
    flat = array.reshape(-1).copy()
    flat[::3] = np.minimum(flat[::3].astype(np.int64) + 2, np.iinfo(array.dtype).max)
    return flat.reshape(array.shape)
