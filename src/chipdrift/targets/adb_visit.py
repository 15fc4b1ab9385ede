"""A worker's stay on a phone, whatever runs the model there: health, folders, log, patience."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, final

from chipdrift.phones import (
    AdbServer,
    Kit,
    Phone,
    PhoneFiles,
    PhoneGoneError,
    RunLog,
    cool_down,
    take_health,
)
from chipdrift.phones.program import sweep_runs

_T = TypeVar("_T")


@final
class Visit:
    """One session's stay. ``options`` are those of the target ``adb:`` (see :mod:`.adb`).

    A phone that is too hot is waited for before, where the session is asked for notes.
    ``files``, ``kit`` (the folder of the kit on the phone) and ``work`` (a folder for what runs)
    are there after :meth:`begin`.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = options
        self.phone = Phone(options["serial"], AdbServer.at(options["server"]))
        self.phone.require()
        self._log: RunLog | None = None
        self._away = 0
        self._notes = "notes" in options
        self._told: dict[str, Any] = {}
        if self._notes:
            before, waited = cool_down(self.phone, float(options["cool"]))
            self._told = {"before": dict(vars(before)), "cooled": round(waited, 1)}

    def begin(self) -> None:
        """Push the kit and make the folders: also after the phone went away and came back."""
        names, kit = self._options["files"].split(), Kit(Path(self._options["kit"]))
        self.files = PhoneFiles(self.phone)
        self.kit = self.files.put_kit({name: kit.path(name) for name in names})
        self.work = sweep_runs(self.phone, self.files.folder)
        if self._notes:
            self._log = RunLog(self.phone, self.files.folder)

    def insist(self, run: Callable[[], _T], again: Callable[[], None]) -> _T:
        """What ``run`` gives; a phone that went away in it is waited for, once, and ``again`` done.

        Raises PhoneGoneError where it does not come back.
        """
        try:
            return run()
        except PhoneGoneError as error:
            limit = float(self._options["returns"])
            if not self.phone.returns(limit):
                raise PhoneGoneError(
                    f"{str(error).rstrip('.')}; it did not come back within {limit:g} s. What it "
                    "had answered is kept: run the same command again"
                ) from error
            self._away += 1
            again()
            return run()

    def tell(
        self,
        samples: int,
        seconds: Sequence[float],
        profile: Callable[[], list[tuple[str, str, float]]],
    ) -> dict[str, Any]:
        """What :class:`chipdrift.records.PhoneRun` holds, the log as text; ends the log.

        ``seconds`` are those of each sample on the phone, where they are known; then ``profile`` is
        asked for (node, op, mean seconds).
        """
        log = ""
        told: dict[str, Any] = {"after": dict(vars(take_health(self.phone))), "away": self._away}
        if self._log is not None:
            log = self._log.read()
            self._log.restore()
        if seconds:
            told["median_seconds"] = statistics.median(seconds)
            told["slowest_seconds"] = max(seconds)
            told["nodes"] = profile()
        return self._told | told | {"samples": samples, "sent": self.files.sent, "log": log}
