"""Worker processes that serve one test after the other.

A worker is started for a runtime and told by every ``open`` which model, which profile, which chip;
starting one costs a quarter of a second (onnxruntime) to a second (the engine) of CPU time, a
question to it milliseconds. That workers start, crash, hang and end is tested where no pool is
(``test_targets_worker.py``, ``test_faults.py``, ``test_matrix.py``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chipdrift.matrix import schedule
from chipdrift.probe import ask
from chipdrift.targets import Target, WorkerProcess

# So many wait for the next test; one holds 70 to 250 MB.
WAITING = 6


class KeptWorker(WorkerProcess):
    """A worker whose ``stop`` gives it back, unless it has died or owes an answer."""

    def __init__(self, target: Target, core: int, pool: WorkerPool) -> None:
        super().__init__(target, core)
        self._pool, self._owed = pool, 0

    def open(self, slot: str, path: str, options: Mapping[str, str], fresh: bool) -> None:
        self._owed += 1
        # It was started in another test's folder.
        super().open(slot, str(Path(path).absolute()), options, fresh)

    def run(self, slot: str, sample: str, feed: Mapping[str, Any], digest: bool) -> None:
        self._owed += 1
        super().run(slot, sample, feed, digest)

    def receive(self) -> tuple[Any, ...]:
        message = super().receive()
        self._owed -= 1
        return message

    def stop(self, patience: float = 0.0) -> None:
        ours = self.target.runtime.startswith("chipdrift.")  # not a runtime that plays up in a test
        if ours and self._owed == 0 and self._process.poll() is None:
            self._pool.take_back(self)
        else:
            self.end()

    def end(self) -> None:
        """End the process."""
        super().stop()


class WorkerPool:
    """``lend`` stands in for ``WorkerProcess``; ``close`` ends the workers that wait."""

    def __init__(self) -> None:
        self._waiting: list[KeptWorker] = []  # the one given back last is the last

    def lend(self, target: Target, core: int) -> KeptWorker:
        """A worker that waits, if it was started as this one would be; else a new one."""
        for worker in reversed(self._waiting):
            if (_start(worker.target), worker.core) == (_start(target), core):
                self._waiting.remove(worker)
                worker.target = target
                return worker
        return KeptWorker(target, core, self)

    def take_back(self, worker: KeptWorker) -> None:
        self._waiting.append(worker)
        while len(self._waiting) > WAITING:
            self._waiting.pop(0).end()

    def close(self) -> None:
        while self._waiting:
            self._waiting.pop().end()

    @contextmanager
    def lending(self) -> Iterator[None]:
        """Matrices and questions take their workers from here."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(schedule, "WorkerProcess", self.lend)
            patch.setattr(ask, "WorkerProcess", self.lend)
            yield


def _start(target: Target) -> tuple[Any, ...]:
    """What a worker's start depends on; the vendor's library is not asked to change chips."""
    shared = target.runtime in ("chipdrift.targets.sim", "chipdrift.targets.ort")
    return target.launcher, target.runtime, None if shared else repr(target)


@contextmanager
def own_core() -> Iterator[None]:
    """Inside, this process may use one core only: with pytest-xdist each worker another.

    A matrix of one job pins its worker to the first core that it may use; the tests of two xdist
    workers would share the first core, and leave the second alone.
    """
    name = os.environ.get("PYTEST_XDIST_WORKER", "")
    if not name or not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(allowed)[int(name.removeprefix("gw")) % len(allowed)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
