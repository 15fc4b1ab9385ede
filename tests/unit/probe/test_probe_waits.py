"""A target that waits (a hot phone) is waited for as long as it says so, and no longer."""

from __future__ import annotations

import threading
import time
from multiprocessing import Pipe
from typing import Any

import numpy as np
import pytest

from chipdrift.probe.ask import Asker, NoAnswerError
from chipdrift.store import pack_arrays
from chipdrift.targets import Opened, get_target

LIMIT = 1.0
X = np.array([[-1.0, 2.0]], np.float32)
WAITING = ("waiting", "s", "phone X is hot and is waited for")


class Talker:
    """Says of itself that it waits, ``says`` times with ``every`` seconds between; then opens."""

    def __init__(self, says: int, every: float, opens: bool) -> None:
        self.connection, self._mine = Pipe()
        self._says, self._every, self._opens = says, every, opens
        self.stopped = False

    def open(self, *asked: Any) -> None:
        threading.Thread(target=self._talk, daemon=True).start()

    def _talk(self) -> None:
        for _ in range(self._says):
            self._mine.send(WAITING)
            time.sleep(self._every)
        if self._opens:
            self._mine.send(("opened", "s", Opened(()), 0.0))

    def run(self, *asked: Any) -> None:
        self._mine.send(("outputs", "s", "0", 0.0, pack_arrays([X])))

    def receive(self) -> Any:
        return self.connection.recv()

    def stop(self) -> None:
        self.stopped = True


def asker_of(talker: Talker, monkeypatch: pytest.MonkeyPatch) -> Asker:
    monkeypatch.setattr("chipdrift.probe.ask.WorkerProcess", lambda target, core: talker)
    return Asker(get_target("ort:cpu"), timeout=LIMIT)


def test_who_says_so_has_the_time_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    talker = Talker(says=4, every=0.4 * LIMIT, opens=True)
    with asker_of(talker, monkeypatch) as asker:
        began = time.monotonic()
        (answer,) = asker.ask(b"a model", [{"x": X}])
        assert time.monotonic() - began > 1.5 * LIMIT
    np.testing.assert_array_equal(answer, X)


def test_who_falls_silent_after_it_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    talker = Talker(says=1, every=0, opens=False)
    caught: list[Exception] = []

    def ask() -> None:
        with asker_of(talker, monkeypatch) as asker:
            try:
                asker.ask(b"a model", [{"x": X}])
            except NoAnswerError as error:
                caught.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(20 * LIMIT)
    assert not asking.is_alive(), "it waits for ever"
    assert [str(error) for error in caught] == [f"no answer within {LIMIT:g} s"]
    assert talker.stopped
