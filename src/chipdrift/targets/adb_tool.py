"""A model on a phone under a tool of the vendor's: one process per sample, files in and out.

What differs between the tools is a :class:`Tool`; pushing, running, health and log are here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from chipdrift.phones import Phone, PhoneError, PhoneGoneError
from chipdrift.phones.program import end_program, last_words, run_program
from chipdrift.targets.adb_diff import SECONDS as DIFF_SECONDS
from chipdrift.targets.adb_visit import Tell, Visit
from chipdrift.targets.base import Opened, Session

Array = np.ndarray[Any, Any]

UNSEEN = (
    "the way to this tool was tested with a stand-in for it on an emulated phone, and on no silicon"
)
_LIMIT = "300"  # seconds for one sample


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
    work folder it leaves its answers. ``diff_program`` is a further file, "" of none: where the kit
    has it, it compares two ways to compute the model when all samples have run.
    """

    program: str
    diff_program = ""
    model: bytes
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

    def diffs(self, printed: str) -> list[dict[str, Any]]:
        """What its ``diff_program`` printed; raises ValueError where it compared nothing."""
        del printed
        return []

    def diff_command(self, place: Place) -> str:
        """The command line of ``diff_program``."""
        del place
        return ""

    def hint(self, printed: str) -> str:
        """What is known of a failure with these words, as the end of a sentence, or ""."""
        del printed
        return ""


@final
class ToolSession(Session):
    """One model on one phone, which is waited for where it goes away (see :class:`Visit`)."""

    def __init__(self, tool: Tool, options: Mapping[str, str], tell: Tell) -> None:
        self._tool = tool
        self._visit = Visit(options, tell)
        self._phone = self._visit.phone
        self._limit = float(options.get("limit", _LIMIT))
        self._seconds: list[float] = []
        self._samples = 0
        self._last: dict[str, bytes] = {}
        try:
            self._visit.insist(self._begin, lambda: None)
            self._opened = tool.opened(self._phone, self._place)
        except BaseException:
            self._visit.leave()
            raise

    def _begin(self) -> None:
        """Everything that a phone that came back needs again."""
        visit = self._visit
        visit.begin()
        self._place = Place(visit.kit, visit.work, visit.files.put(self._tool.model))

    def _again(self) -> None:
        end_program(self._phone, self._place.work)
        self._begin()

    def opened(self) -> Opened:
        """Placement as the tool's model has it."""
        return self._opened

    def run(self, feed: Mapping[str, Array]) -> list[Array]:
        """One sample's outputs; waits for a phone that went away."""
        self._last = self._tool.raws(feed)
        try:
            return self._visit.insist(self._run, self._again)
        except Exception:
            self._visit.leave()
            raise

    def close(self) -> None:
        """Let the phone's log be as it was."""
        self._visit.leave()

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
        inputs = {name: self._visit.files.put(data) for name, data in self._last.items()}
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
        asked: dict[str, Callable[[], Any]] = {"nodes": self._profile} if self._seconds else {}
        if self._tool.diff_program in self._visit.pushed:
            asked["diffs"] = self._diffs
        return self._visit.tell(self._samples, self._seconds, asked)

    def _profile(self) -> list[tuple[str, str, float]]:
        _, left = self._do(profile=True)
        return self._tool.nodes({name: self._pull(name) for name in left})

    def _diffs(self) -> list[dict[str, Any]]:
        work, command = self._place.work, self._tool.diff_command(self._place)
        ended = run_program(self._phone, work, command, self._tool.folder, DIFF_SECONDS)
        return self._tool.diffs(ended.printed)
