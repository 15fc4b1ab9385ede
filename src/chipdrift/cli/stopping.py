"""SIGTERM as an orderly end: workers are stopped and temporary folders removed."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

# What a shell makes of a process that SIGTERM ended.
TERMINATED = 128 + signal.SIGTERM


class TerminatedError(BaseException):
    """SIGTERM came. No Exception: nothing on the way may take it for a fault and go on."""


@contextlib.contextmanager
def ends_in_order() -> Iterator[None]:
    """Within it SIGTERM raises :class:`TerminatedError`, once, where the main thread is.

    In another thread, which may set no signals, it changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        # A second one must not break off the cleaning up.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise TerminatedError

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
