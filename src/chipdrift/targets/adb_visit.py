"""A worker's stay on a phone, whatever runs the model there: health, folders, log, patience."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, final

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
from chipdrift.phones.program import sweep_runs

Tell = Callable[[str], None]
"""Called with a few words while something is waited for: the time limit begins anew."""

_T = TypeVar("_T")
_TIMES = 3  # that a phone may go away within one sample


@final
class Visit:
    """One session's stay. ``options`` are those of the target ``adb:`` (see :mod:`.adb`).

    A phone that is too hot is waited for before, where the session is asked for notes.
    ``pushed`` are the names of the kit's files. ``files``, ``kit`` (the folder of the kit on the
    phone) and ``work`` (a folder for what runs) are there after :meth:`begin`.
    """

    def __init__(self, options: Mapping[str, str], tell: Tell) -> None:
        self._options = options
        self._tell = tell
        self.phone = Phone(options["serial"], AdbServer.at(options["server"]))
        self.pushed = options["files"].split()
        self._log: RunLog | None = None
        self._away = 0
        self._notes = "notes" in options
        self._told: dict[str, Any] = {}
        self._files: PhoneFiles | None = None
        self.insist(self._look, lambda: None)

    def _look(self) -> None:
        self.phone.require()
        if self._notes:
            before, waited = cool_down(self.phone, float(self._options["cool"]), self._tell)
            self._told = {"before": dict(vars(before)), "cooled": round(waited, 1)}

    def begin(self) -> None:
        """Push the kit and make the folders: also after the phone went away and came back."""
        kit = Kit(Path(self._options["kit"]))
        self.files = self._files = PhoneFiles(self.phone, before=self._files)
        self.kit = self.files.put_kit({name: kit.path(name) for name in self.pushed})
        self.work = sweep_runs(self.phone, self.files.folder)
        if self._notes:
            self._log = RunLog(self.phone, self.files.folder)

    def insist(self, run: Callable[[], _T], again: Callable[[], None]) -> _T:
        """What ``run`` gives; a phone that went away in it is waited for, and ``again`` done first.

        Raises PhoneGoneError where it does not come back, or goes away too often.
        """
        for left in reversed(range(_TIMES)):
            try:
                if left < _TIMES - 1:
                    again()
                return run()
            except PhoneGoneError as error:
                limit = float(self._options["returns"])
                words = str(error).rstrip(".")
                if not left:
                    raise PhoneGoneError(f"{words}; it went away {_TIMES} times") from error
                if not self.phone.returns(limit, self._tell):
                    raise PhoneGoneError(
                        f"{words}; it did not come back within {limit:g} s. What it had answered "
                        "is kept: run the same command again"
                    ) from error
                self._away += 1
        raise AssertionError("the loop returns or raises")

    def leave(self) -> None:
        """Put the phone's log properties back, if they are raised."""
        if self._log is not None:
            with contextlib.suppress(PhoneError):
                self._log.restore()
            self._log = None

    def tell(
        self,
        samples: int,
        seconds: Sequence[float],
        further: Mapping[str, Callable[[], Any]],
    ) -> dict[str, Any]:
        """What :class:`chipdrift.records.PhoneRun` holds, the log as text; ends the log.

        ``seconds`` are those of each sample on the phone, where they are known. ``further`` are
        fields with what tells them, asked when all else is known: ``nodes`` is (node, op, mean
        seconds). What cannot be had leaves its reason in ``trouble``, and the rest is told.
        """
        told: dict[str, Any] = {**self._told, "away": self._away, "samples": samples}
        told |= {"sent": self.files.sent, "log": ""}
        if seconds:
            told["median_seconds"] = statistics.median(seconds)
            told["slowest_seconds"] = max(seconds)
        troubles = []
        for name, ask in self._last_questions(further):
            try:
                told[name] = ask()
            except (PhoneError, ValueError, KeyError, TypeError) as error:
                troubles.append(f"{name}: {str(error).rstrip('.')}")
        if self._log is not None and not told["log"] and not troubles:
            troubles.append("log: the phone logged nothing meanwhile")
        self.leave()
        return told | ({"trouble": "; ".join(troubles)} if troubles else {})

    def _last_questions(
        self, further: Mapping[str, Callable[[], Any]]
    ) -> list[tuple[str, Callable[[], Any]]]:
        log = self._log
        asked: list[tuple[str, Callable[[], Any]]] = [
            ("after", lambda: dict(vars(take_health(self.phone))))
        ]
        if log is not None:
            asked.append(("log", log.read))
        return [*asked, *further.items()]
