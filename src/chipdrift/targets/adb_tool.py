"""A model on a phone under a tool of the vendor's: one process per sample, files in and out.

What differs between the tools is a :class:`Tool`; pushing, running, health and log are here.
"""

from __future__ import annotations

import statistics
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from chipdrift.phones import (
    AdbServer,
    Kit,
    Phone,
    PhoneError,
    PhoneFiles,
    PhoneGoneError,
    RunLog,
    cool_down,
    take_health,
)
from chipdrift.phones.program import end_program, last_words, run_program, sweep_runs
from chipdrift.targets.adb_runner import vars_of
from chipdrift.targets.base import Opened, Session

Array = np.ndarray[Any, Any]

UNSEEN = (
    "the way to this tool was tested with a stand-in for it on an emulated phone, and on no silicon"
)
_LIMIT = "300"  # seconds for one sample


@final
@dataclass(frozen=True)
class Facts:
    """What a way adds to its target: refusals and cautions by kind of scheme."""

    versions: Mapping[str, str]
    options: Mapping[str, str]
    refuses: Mapping[str, str]
    cautions: Mapping[str, str]


@final
@dataclass(frozen=True)
class Place:
    """Folders on the phone: the kit's, and the one that the tool runs in; and the model's file."""

    kit: str
    work: str
    model: str


class Tool(ABC):
    """A model made ready for one tool.

    ``program`` is its file in the kit, ``model`` what is pushed for it, ``folder`` where below the
    work folder it leaves its answers.
    """

    program: str
    model: Path
    folder: str

    @abstractmethod
    def opened(self, phone: Phone, place: Place) -> Opened:
        """Placement, and the versions that the tool itself tells."""

    @abstractmethod
    def raws(self, feed: Mapping[str, Array]) -> dict[str, bytes]:
        """What is pushed for one sample, by the tool's name of each input."""

    @abstractmethod
    def command(self, place: Place, inputs: Mapping[str, str], profile: bool) -> str:
        """The command line, with the phone's paths of the inputs in the order of ``raws``."""

    @abstractmethod
    def wanted(self, left: Sequence[str], printed: str) -> list[str] | None:
        """The files that hold the answers, or None where one lacks or is not what was asked."""

    @abstractmethod
    def answers(self, files: Sequence[bytes]) -> list[Array]:
        """One sample's outputs of these files; raises ValueError where their sizes are others."""

    def first(self, inputs: Mapping[str, str]) -> str:
        """What the phone's shell runs in the work folder before the tool."""
        del inputs
        return "true"

    def seconds(self, printed: str) -> float | None:
        """The time of one inference, where the tool prints it."""
        del printed
        return None

    def nodes(self, left: Mapping[str, bytes]) -> list[tuple[str, str, float]]:
        """(node, op, seconds) of a profiled run, where it leaves a file that tells."""
        del left
        return []

    def hint(self, printed: str) -> str:
        """What is known of a failure with these words, as the end of a sentence, or ""."""
        del printed
        return ""

    def close(self) -> None:
        """Let go of files."""
        return


@final
class ToolSession(Session):
    """One model on one phone. A phone that went away in the middle is waited for, once a sample."""

    def __init__(self, tool: Tool, options: Mapping[str, str]) -> None:
        self._tool = tool
        self._phone = Phone(options["serial"], AdbServer.at(options["server"]))
        self._phone.require()
        self._options = options
        self._limit = float(options.get("limit", _LIMIT))
        self._log: RunLog | None = None
        self._seconds: list[float] = []
        self._samples = 0
        self._last: dict[str, bytes] = {}
        self._away = 0
        self._told: dict[str, Any] = {}
        self._notes = "notes" in options
        if self._notes:
            before, waited = cool_down(self._phone, float(options["cool"]))
            self._told = {"before": vars_of(before), "cooled": round(waited, 1)}
        self._begin()
        self._opened = tool.opened(self._phone, self._place)

    def _begin(self) -> None:
        """Everything that a phone that came back needs again."""
        kit = Kit(Path(self._options["kit"]))
        self._files = PhoneFiles(self._phone)
        self._place = Place(
            self._files.put_kit({n: kit.path(n) for n in self._options["files"].split()}),
            sweep_runs(self._phone, self._files.folder),
            self._files.put(self._tool.model),
        )
        if self._notes:
            self._log = RunLog(self._phone, self._files.folder)

    def opened(self) -> Opened:
        """Placement as the tool's model has it."""
        return self._opened

    def run(self, feed: Mapping[str, Array]) -> list[Array]:
        """One sample's outputs; waits once for a phone that went away."""
        self._last = self._tool.raws(feed)
        try:
            return self._run()
        except PhoneGoneError as error:
            limit = float(self._options["returns"])
            if not self._phone.returns(limit):
                raise PhoneGoneError(
                    f"{str(error).rstrip('.')}; it did not come back within {limit:g} s. What it "
                    "had answered is kept: run the same command again"
                ) from error
            self._away += 1
            end_program(self._phone, self._place.work)
            self._begin()
            return self._run()

    def _run(self) -> list[Array]:
        printed, left = self._do(profile=False)
        wanted = self._tool.wanted(left, printed)
        if wanted is None:
            found = f"it left {', '.join(left)}" if left else "it left no file"
            raise self._error(
                f"did not answer as asked ({found}{self._tool.hint(printed)}); last words: "
                f"{last_words(printed)}"
            )
        try:
            answers = self._tool.answers([self._pull(name) for name in wanted])
        except ValueError as error:
            raise self._error(f"wrote other outputs than the model has: {error}") from error
        seconds = self._tool.seconds(printed)
        self._seconds += [] if seconds is None else [seconds]
        self._samples += 1
        return answers

    def _do(self, profile: bool) -> tuple[str, tuple[str, ...]]:
        inputs = {name: self._files.put(data) for name, data in self._last.items()}
        command = self._tool.command(self._place, inputs, profile)
        try:
            ended = run_program(
                self._phone,
                self._place.work,
                command,
                self._tool.folder,
                self._limit,
                self._tool.first(inputs),
            )
        except PhoneGoneError:
            raise
        except PhoneError as error:
            raise PhoneError(f"{error}{self._tool.hint(str(error))}") from error
        return ended.printed, ended.left

    def _pull(self, name: str) -> bytes:
        return self._phone.pull(f"{self._place.work}/{self._tool.folder}/{name}")

    def _error(self, words: str) -> PhoneError:
        return PhoneError(f"Phone {self._phone.serial}: {self._tool.program} {words}")

    def finish(self) -> Mapping[str, Any]:
        """Heat and battery before and after, times where the tool tells them, the phone's log."""
        log = ""
        self._told |= {"after": vars_of(take_health(self._phone)), "away": self._away}
        if self._log is not None:
            log = self._log.read()
            self._log.restore()
        if self._samples:
            self._told["samples"] = self._samples
        if self._seconds:
            _, left = self._do(profile=True)
            self._told |= {
                "median_seconds": statistics.median(self._seconds),
                "slowest_seconds": max(self._seconds),
                "nodes": self._tool.nodes({name: self._pull(name) for name in left}),
            }
        self._told |= {"sent": self._files.sent, "log": log}
        self.close()
        return self._told

    def close(self) -> None:
        """Let go of what was made for the tool."""
        self._tool.close()
