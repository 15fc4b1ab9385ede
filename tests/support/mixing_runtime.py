"""A runtime whose answers depend on what else is in the batch, in the real worker process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chipdrift.targets.base import Opened, Session, Target
from chipdrift.targets.ort import open_session as open_ort


def target() -> Target:
    return Target(
        name="mixing:1",
        runtime=__name__,
        evidence="hypothesis",
        has_npu=False,
        versions={"mixing": "1"},
    )


def open_session(path: str, options: Mapping[str, str]) -> Session:
    return Mixing(open_ort(path, {}))


class Mixing(Session):
    def __init__(self, inner: Session) -> None:
        self._inner = inner

    def opened(self) -> Opened:
        return self._inner.opened()

    def run(self, feed: Mapping[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        """A dynamic quantizer over the whole batch: everything is rounded to its largest value."""
        answers = []
        for array in self._inner.run(feed):
            step = np.abs(array).max() / 127
            answers.append((np.rint(array / step) * step).astype(array.dtype))
        return answers
