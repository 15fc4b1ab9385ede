"""The tests' own pool of workers: what is lent again, and what never is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import faulty_runtime
import pytest
from targets_worker import open_in, run_in
from worker_pool import WAITING, WorkerPool

from chipdrift.data import load_data
from chipdrift.graph import load_model
from chipdrift.targets import WorkerDiedError, get_target


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool()
    yield pool
    pool.close()


def pid(worker: object) -> int:
    return int(worker._process.pid)  # type: ignore[attr-defined]


def test_a_worker_serves_another_target_of_its_runtime(pool: WorkerPool) -> None:
    first = pool.lend(get_target("sim:ort-mlas"), -1)
    number = pid(first)
    first.stop()
    # It waits, but is no worker of onnxruntime, nor one on another core.
    other, elsewhere = pool.lend(get_target("ort:cpu"), -1), pool.lend(first.target, 0)
    assert len({number, pid(other), pid(elsewhere)}) == 3
    again = pool.lend(get_target("sim:hexagon-v69"), -1)
    assert pid(again) == number
    assert again.target.name == "sim:hexagon-v69"
    for worker in (again, other, elsewhere):
        worker.stop()


def test_a_worker_that_owes_an_answer_is_ended(pool: WorkerPool, small_model: Path) -> None:
    worker = pool.lend(get_target("ort:cpu"), -1)
    worker.open("s", str(small_model), worker.target.options, True)
    worker.stop()
    assert worker._process.returncode is not None
    fresh = pool.lend(get_target("ort:cpu"), -1)
    assert fresh is not worker
    fresh.stop()


def test_a_runtime_that_plays_up_is_ended(
    pool: WorkerPool, small_model: Path, small_data: Path
) -> None:
    worker = pool.lend(faulty_runtime.target("segfault", after="0"), -1)
    open_in(worker, small_model)
    feed = load_data(small_data, load_model(small_model).info.inputs, 1).feeds()[0]
    with pytest.raises(WorkerDiedError):
        run_in(worker, feed)
    steady = pool.lend(faulty_runtime.target("none"), -1)
    for ended in (worker, steady):
        ended.stop()
        assert ended._process.returncode is not None


def test_only_so_many_wait(pool: WorkerPool) -> None:
    lent = [pool.lend(get_target("ort:cpu"), -1) for _ in range(WAITING + 1)]
    for worker in lent:
        worker.stop()
    assert [w._process.returncode is None for w in lent] == [False] + [True] * WAITING
    pool.close()
    assert all(worker._process.returncode is not None for worker in lent)
