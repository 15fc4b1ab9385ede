"""Talking to a worker process in tests, and quantized demo models in files."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from chipdrift.data import load_data
from chipdrift.demo import paths
from chipdrift.graph import load_model
from chipdrift.quantize import QuantizedModel, apply_scheme
from chipdrift.schemes import get_scheme
from chipdrift.store import unpack_arrays
from chipdrift.targets import Opened, Target, WorkerProcess

Array = np.ndarray[Any, Any]


@contextmanager
def working(target: Target) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(target, -1)
    try:
        yield worker
    finally:
        worker.stop()


def open_in(worker: WorkerProcess, path: Path, slot: str = "s", fresh: bool = True) -> Opened:
    worker.open(slot, str(path), worker.target.options, fresh)
    answer = worker.receive()
    assert answer[0] == "opened", answer
    assert answer[1] == slot
    opened: Opened = answer[2]
    return opened


def run_in(worker: WorkerProcess, feed: dict[str, Array], slot: str = "s") -> list[Array]:
    worker.run(slot, "0", feed, False)
    answer = worker.receive()
    assert answer[:3] == ("outputs", slot, "0"), answer
    return unpack_arrays(answer[4])


@functools.cache
def demo_quantized(scheme: str) -> QuantizedModel:
    model = load_model(paths().model)
    calibration = load_data(paths().calibration, model.info.inputs, 16)
    return apply_scheme(model, get_scheme(scheme), calibration.feeds())


def demo_feeds(count: int) -> list[dict[str, Array]]:
    return load_data(paths().data, load_model(paths().model).info.inputs, count).feeds()
