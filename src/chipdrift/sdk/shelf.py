"""The folder that keeps SDKs: whole or not at all, one process at a time.

An SDK is made under another name and renamed when it is done, so what is there under its own name
is whole. The lock is the kernel's: it ends with the process that holds it, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from chipdrift.errors import ChipdriftError
from chipdrift.sdk.fetch import fetch
from chipdrift.sdk.pins import PACKAGE, Pin

_PARTIAL = ".partial"


def _in_silence(words: str) -> None:
    """For callers that do not want to hear what is fetched."""


@final
@dataclass(frozen=True)
class Shelf:
    """SDKs in ``folder``, one folder each; ``tell`` is called with a line for people.

    ``fetches`` is False where somebody only asks what is here.
    """

    folder: Path
    tell: Callable[[str], None] = _in_silence
    fetches: bool = True

    def place(self, pin: Pin) -> Path:
        """Where the SDK is, or would be: another wheel is another folder."""
        return self.folder / f"{pin.name}-{PACKAGE}-{pin.wheel}"

    def holds(self, pin: Pin) -> bool:
        """Whether it is there, whole."""
        return self.place(pin).is_dir()

    def size(self, pin: Pin) -> int:
        """What it takes on the disk, in bytes; 0 where it is not there."""
        files = (path for path in self.place(pin).rglob("*") if path.is_file())
        return sum(path.stat().st_size for path in files)

    def ensure(self, pin: Pin, trial: Callable[[Path], None]) -> Path:
        """The SDK's folder, fetched where it is not there.

        ``trial`` is called with the new folder before it is kept, and raises ChipdriftError where
        the SDK does not run. Whatever fails, nothing is left.
        """
        place = self.place(pin)
        if place.is_dir():
            return place
        if not self.fetches:
            raise ChipdriftError(
                f"SDK {pin.name} is not here yet: its first use fetches it, {pin.fetched} MB, and "
                f"so does chipdrift sdk install {pin.name}."
            )
        with self._locked(pin) as lock, _explained(self.folder):
            if place.is_dir():  # another process made it while this one waited
                return place
            self._sweep(pin)
            partial = self._partial(pin)
            try:
                partial.mkdir()
                self.tell(
                    f"Fetching SDK {pin.label}: {pin.fetched} MB, {pin.unpacked} MB unpacked, "
                    f"kept in {place}"
                )
                fetch(pin, partial, lock)
                trial(partial)
                partial.rename(place)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        return place

    def remove(self, pin: Pin) -> int:
        """Remove the SDK and what a killed process left of it; the bytes it took, 0 for none."""
        if not self.folder.is_dir():
            return 0
        with self._locked(pin), _explained(self.folder):
            size = self.size(pin)
            if self.holds(pin):
                self.place(pin).rename(self._partial(pin))
            self._sweep(pin)
        return size

    def _partial(self, pin: Pin) -> Path:
        place = self.place(pin)
        return place.with_name(f".{place.name}.{os.getpid()}{_PARTIAL}")

    def _sweep(self, pin: Pin) -> None:
        """Remove what killed processes left; only under the lock."""
        for left in self.folder.glob(f".{self.place(pin).name}.*{_PARTIAL}*"):
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()

    @contextmanager
    def _locked(self, pin: Pin) -> Iterator[int]:
        with _explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / f".{pin.name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.tell(f"SDK {pin.name}: another chipdrift is fetching it; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock
        finally:
            os.close(lock)


_SHELF: ContextVar[Shelf | None] = ContextVar("chipdrift_sdk_shelf", default=None)


@contextmanager
def sdks_in(
    folder: str | Path | None, tell: Callable[[str], None] = _in_silence
) -> Iterator[Shelf | None]:
    """Within it, targets with an SDK (``htp:sm8550@2.50``) find and keep it in ``folder``.

    None leaves them without a place. A value of the context and no setting of the process: the
    command line, which alone reads the environment, opens one around each command.
    """
    shelf = None if folder is None else Shelf(Path(folder).absolute(), tell)
    token = _SHELF.set(shelf)
    try:
        yield shelf
    finally:
        _SHELF.reset(token)


@contextmanager
def nothing_fetched() -> Iterator[None]:
    """Within it, an SDK that is not here is an error and is not fetched."""
    shelf = _SHELF.get()
    token = _SHELF.set(None if shelf is None else replace(shelf, fetches=False))
    try:
        yield
    finally:
        _SHELF.reset(token)


def current_shelf() -> Shelf | None:
    """The shelf of the innermost :func:`sdks_in`, or None."""
    return _SHELF.get()


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ChipdriftError(
            f"The SDKs' folder {folder} cannot be written ({error.strerror or error}). Set "
            "XDG_CACHE_HOME to a folder that can."
        ) from error
