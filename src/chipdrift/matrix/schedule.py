"""Spread jobs over the cores: one worker process a core, each sample's answer into the store.

A job is one session (a model file on a target) and the samples it still owes. Jobs of one target
follow each other in the same worker; when no job waits, a free core helps the job with the most
left to do. A phone computes by itself: it has a worker of its own, beside those of the cores. A
worker that dies, hangs or errs costs its job, never the run.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal

from chipdrift.data import Samples
from chipdrift.store import Store
from chipdrift.targets import Opened, Target, WorkerDiedError, WorkerProcess

# A feed beyond this fills the socket's buffer: it is sent only to a worker that waits for it.
_SMALL_FEED = 16 << 10
_DEPTH = 4
# A second worker for a running job costs a process and a session: it must have this much to do.
_WORTH_HELPING = 2.0
# What a session on a phone may need to tell of the whole, and to put the phone back as it was.
_FINISHING, _TIDYING = 180.0, 5.0

JobState = Literal["waiting", "running", "done", "refused", "failed"]


@dataclass(eq=False)
class Job:
    """One session and the samples it owes.

    ``digest`` asks for the hash of all outputs in place of the outputs (for a tapped model).
    ``words`` says why a job was refused or failed; ``log`` is the end of what the worker printed.
    ``prior`` is what a sample took before, in seconds; ``after`` counts samples that the cell will
    owe later unless it shares another's. ``notes`` asks a session on a place of its own (a phone)
    what it has to tell of the whole, which then stands in ``told``.
    """

    label: str
    key: str
    target: Target
    path: Path
    pending: deque[int]
    digest: bool = False
    prior: float | None = None
    after: int = 0
    notes: bool = False
    told: Mapping[str, Any] = field(default_factory=dict)
    state: JobState = "waiting"
    words: str | None = None
    log: str | None = None
    opened: Opened | None = None
    open_seconds: float = 0.0
    done: int = 0
    seconds: float = 0.0
    workers: int = 0

    def each(self, fallback: float) -> float:
        """Seconds a sample takes: as measured now, as measured before, or the others' mean."""
        if self.done:
            return self.seconds / self.done
        return fallback if self.prior is None else self.prior


@dataclass(eq=False)
class _Slot:
    core: int
    place: str = ""
    worker: WorkerProcess | None = None
    job: Job | None = None
    standing: bool = False
    outstanding: deque[int] = field(default_factory=deque)
    deadline: float = 0.0
    opened: int = 0
    finishing: bool = False

    @property
    def name(self) -> str:
        return f"{self.place or self.core}-{self.opened}"


@dataclass(frozen=True)
class Progress:
    """Where the run stands: samples done of those planned, seconds left as far as is known."""

    done: int
    planned: int
    seconds_left: float | None
    at_most: bool
    doing: str


class Scheduler:
    """Runs jobs; ``close`` ends the workers. ``timeout`` is for one session or one sample."""

    def __init__(
        self,
        store: Store,
        samples: Samples,
        cores: list[int],
        timeout: float,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._store = store
        self._samples = samples
        self._timeout = timeout
        self._progress = progress
        self._slots = [_Slot(core) for core in cores]
        self._jobs: list[Job] = []
        self._done = self._planned = 0
        first = samples.feed(0)
        size = sum(array.nbytes for array in first.values())
        self._depth = _DEPTH if size <= _SMALL_FEED else 1

    def warm(self, targets: Iterable[Target]) -> None:
        """Start workers for the first targets, so that they load while the models are made."""
        here = (target for target in targets if not target.place)
        for slot, target in zip(self._slots, here, strict=False):
            slot.worker = WorkerProcess(target, slot.core)

    def begin(self) -> None:
        """Count from nothing again: what follows is another question."""
        self._done = self._planned = 0

    def close(self) -> None:
        """End every worker."""
        for slot in self._slots:
            self._retire(slot, _TIDYING if slot.place else 0.0)

    def run(self, jobs: Iterable[Job]) -> None:
        """Run all jobs to their end; each job's ``state`` says which."""
        self._jobs = list(jobs)
        self._planned += sum(len(job.pending) for job in self._jobs)
        have = {slot.place for slot in self._slots}
        places = dict.fromkeys(job.target.place for job in self._jobs)
        self._slots += [_Slot(-1, place) for place in places if place not in have]
        while True:
            for slot in self._slots:
                if slot.job is None:
                    self._give_work(slot)
            busy = {
                slot.worker.connection: slot
                for slot in self._slots
                if slot.worker is not None and slot.job is not None
            }
            if not busy:
                break
            self._step(busy)
            self._store.tick()
            self._tell()
        self._store.commit()

    def _step(self, busy: dict[Connection, _Slot]) -> None:
        """Wait for an answer or for the nearest deadline, and deal with it."""
        nearest = min(slot.deadline for slot in busy.values())
        for ready in wait(list(busy), timeout=max(0.0, min(nearest - time.monotonic(), 1.0))):
            slot = busy[ready]  # type: ignore[index]
            try:
                assert slot.worker is not None
                self._answer(slot, slot.worker.receive())
            except WorkerDiedError as death:
                self._fail(slot, f"{self._doing(slot)}: {death}")
        now = time.monotonic()
        for slot in busy.values():
            if slot.job is not None and now >= slot.deadline:
                self._fail(
                    slot,
                    f"{self._doing(slot)}: no answer within {self._timeout:g} s, the worker was "
                    "ended; give more with --timeout",
                )

    def _answer(self, slot: _Slot, message: tuple[object, ...]) -> None:
        job = slot.job
        assert job is not None
        kind, body = message[0], message[2:]
        slot.deadline = time.monotonic() + self._timeout
        if kind == "waiting":
            return
        if kind == "opened":
            opened, seconds = body
            slot.standing = True
            job.opened, job.open_seconds = opened, float(seconds)  # type: ignore[assignment, arg-type]
        elif kind in ("outputs", "digest"):
            sample, seconds, data = body
            slot.outstanding.popleft()
            if kind == "outputs":
                self._store.put_output(job.key, sample, float(seconds), data)  # type: ignore[arg-type]
            else:
                self._store.put_digest(job.key, sample, data)  # type: ignore[arg-type]
            job.done += 1
            job.seconds += float(seconds)  # type: ignore[arg-type]
            self._done += 1
        elif kind == "finished":
            job.told = body[0]  # type: ignore[assignment]
            self._end(slot, "done", None)
            return
        elif kind == "refused":
            job.log = slot.worker.last_words() if slot.worker else None
            self._end(slot, "refused", str(body[0]))
            return
        else:
            self._fail(slot, f"{self._doing(slot)}: {body[0]}")
            return
        self._feed(slot)

    def _feed(self, slot: _Slot) -> None:
        """Keep the worker supplied; leave the job where nothing is left."""
        job = slot.job
        assert job is not None
        assert slot.worker is not None
        while slot.standing and job.pending and len(slot.outstanding) < self._depth:
            index = job.pending.popleft()
            slot.outstanding.append(index)
            feed = self._samples.feed(index)
            slot.worker.run(slot.name, self._samples.keys[index], feed, job.digest)
        if slot.standing and not slot.outstanding and not job.pending:
            if job.notes and slot.place:
                slot.finishing = True
                slot.deadline = time.monotonic() + max(self._timeout, _FINISHING)
                slot.worker.finish(slot.name)
            else:
                self._end(slot, "done", None)

    def _give_work(self, slot: _Slot) -> None:
        job = self._choose(slot)
        if job is None:
            return
        if slot.worker is None or slot.worker.target != job.target:
            self._retire(slot)
            slot.worker = WorkerProcess(job.target, slot.core)
        slot.job, slot.standing, slot.opened = job, False, slot.opened + 1
        slot.finishing = False
        slot.deadline = time.monotonic() + self._timeout
        job.state, job.workers = "running", job.workers + 1
        options = job.target.session_options
        if job.notes and slot.place:
            options["notes"] = "yes"
        slot.worker.open(slot.name, str(job.path), options, fresh=True)

    def _choose(self, slot: _Slot) -> Job | None:
        mine = [job for job in self._jobs if job.target.place == slot.place]
        waiting = [job for job in mine if job.state == "waiting"]
        if waiting:
            if slot.worker is not None:
                same = [job for job in waiting if job.target == slot.worker.target]
                if same:
                    return same[0]
            elsewhere = {s.worker.target.name for s in self._slots if s.worker and s is not slot}
            free = [job for job in waiting if job.target.name not in elsewhere]
            return (free or waiting)[0]
        if slot.place:
            return None
        running = [job for job in mine if job.state == "running" and job.done and job.pending]
        best = max(running, key=lambda job: job.each(0.0) * len(job.pending), default=None)
        if best is None:
            return None
        worth = max(_WORTH_HELPING, 2 * best.open_seconds)
        gained = best.each(0.0) * len(best.pending) / (best.workers + 1)
        return best if gained > worth else None

    def _doing(self, slot: _Slot) -> str:
        if not slot.standing:
            return "building the session"
        if slot.finishing:
            return "taking what the session has to tell"
        return f"running sample {slot.outstanding[0]}" if slot.outstanding else "waiting"

    def _fail(self, slot: _Slot, words: str) -> None:
        """The job is lost and so is the worker, which may be in any state."""
        job = slot.job
        assert job is not None
        if slot.worker is not None and not slot.worker.connection.closed:
            job.log = slot.worker.last_words()
        if slot.finishing:  # every sample has run: what is lost is what it had to tell beside
            job.told, job.log = {"trouble": words}, None
        self._end(slot, "done" if slot.finishing else "failed", words)
        self._retire(slot)

    def _end(self, slot: _Slot, state: JobState, words: str | None) -> None:
        job = slot.job
        assert job is not None
        slot.job, slot.standing = None, False
        slot.outstanding.clear()
        job.workers -= 1
        if state != "done":
            self._planned -= len(job.pending)
            job.pending.clear()
            job.state, job.words = state, words
        elif job.workers == 0 and job.state == "running":
            job.state = "done"

    def _retire(self, slot: _Slot, patience: float = 0.0) -> None:
        if slot.worker is not None:
            slot.worker.stop(patience)
            slot.worker = None

    def _mean_seconds(self) -> float:
        done = sum(job.done for job in self._jobs)
        return sum(job.seconds for job in self._jobs) / done if done else 0.0

    def _tell(self) -> None:
        if self._progress is None:
            return
        mean = self._mean_seconds()
        alive = [job for job in self._jobs if job.state not in ("refused", "failed")]
        left = sum(job.each(mean) * (len(job.pending) + job.after) for job in alive)
        self._progress(
            Progress(
                done=self._done,
                planned=max(self._planned, self._done),
                seconds_left=left / len(self._slots) if mean else None,
                at_most=any(job.after for job in alive),
                doing=", ".join(slot.job.label for slot in self._slots if slot.job is not None),
            )
        )


def usable_cores(jobs: int | None) -> list[int]:
    """The cores this process may use, at most ``jobs``; -1 where cores cannot be pinned."""
    if hasattr(os, "sched_getaffinity"):
        cores = sorted(os.sched_getaffinity(0))
    else:
        cores = [-1] * (os.cpu_count() or 1)
    wanted = len(cores) if jobs is None else jobs
    return (cores * wanted)[:wanted] if wanted > len(cores) else cores[:wanted]
