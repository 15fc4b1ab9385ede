"""Ask a target: this model, these inputs, what do you answer?"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from chipdrift.errors import ChipdriftError
from chipdrift.store import unpack_arrays
from chipdrift.targets import Opened, RefusedError, Target, WorkerDiedError, WorkerProcess

Array = np.ndarray[Any, Any]


# So many questions in a row without any answer, and a target is given up.
_PATIENCE = 4


class NoAnswerError(Exception):
    """The target refused, crashed, or did not answer in time: its words."""


class Asker:
    """A target in a worker process of its own, asked one small model at a time.

    ``asked`` counts models and inputs. A target that crashes or hangs costs that one question
    (:class:`NoAnswerError`); the next starts a fresh worker.
    """

    def __init__(self, target: Target, timeout: float = 120.0) -> None:
        self.target, self._timeout = target, timeout
        self._folder = tempfile.TemporaryDirectory(prefix="chipdrift-probe-")
        self._worker: WorkerProcess | None = None
        self._slot = ""
        self.opened: Opened | None = None
        self.models = self.inputs = self.answered = 0
        self._lost, self._words = 0, ""

    def __enter__(self) -> Asker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()
        self._folder.cleanup()

    def ask(self, model: bytes, feeds: Sequence[Mapping[str, Array]]) -> list[Array]:
        """The first output for each feed; raises NoAnswerError."""
        return [answer[0] for answer in self.ask_all(model, feeds)]

    def ask_all(self, model: bytes, feeds: Sequence[Mapping[str, Array]]) -> list[list[Array]]:
        """All outputs for each feed; raises NoAnswerError."""
        return list(self.ask_each(model, feeds))

    def ask_each(self, model: bytes, feeds: Iterable[Mapping[str, Array]]) -> Iterator[list[Array]]:
        """All outputs for one feed after the other; raises NoAnswerError.

        One model at a time: the next question ends this one.
        """
        digest = hashlib.sha256(model).hexdigest()[:24]
        path = Path(self._folder.name) / f"{digest}.onnx"
        path.write_bytes(model)
        if self._lost >= _PATIENCE:
            raise ChipdriftError(
                f"Target {self.target.name}: {_PATIENCE} questions in a row killed it or got no "
                f"answer, the last with: {self._words}. Nothing can be learnt from it like this; "
                "see whether it runs any model (chipdrift outputs), or give it more --timeout."
            )
        try:
            self.models += 1
            worker = self._worker or self._start()
            worker.open(digest, str(path), self.target.session_options, True)
            self.opened = self._receive()[2]
            for index, feed in enumerate(feeds):
                self.inputs += 1
                worker.run(digest, str(index), feed, False)
                yield unpack_arrays(self._receive()[4])
            self.answered += 1
        finally:
            path.unlink(missing_ok=True)

    def _start(self) -> WorkerProcess:
        self._worker = WorkerProcess(self.target, -1)
        return self._worker

    def _receive(self) -> tuple[Any, ...]:
        assert self._worker is not None
        message: tuple[Any, ...] = ("waiting",)
        while message[0] == "waiting":  # a phone cools down, or comes back: the time begins anew
            if not wait([self._worker.connection], self._timeout):
                self._stop()
                raise self._gone(f"no answer within {self._timeout:g} s")
            try:
                message = self._worker.receive()
            except WorkerDiedError as error:
                self._stop()
                raise self._gone(str(error)) from error
        self._lost = 0
        if message[0] in ("refused", "error"):
            raise NoAnswerError(str(message[2]))
        return message

    def _gone(self, words: str) -> NoAnswerError:
        """A question that cost the worker its life, or its time."""
        self._lost, self._words = self._lost + 1, words
        return NoAnswerError(words)

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()
            self._worker = None


__all__ = ["Asker", "ChipdriftError", "NoAnswerError", "RefusedError"]
