"""What native code prints, past Python, while something is done."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable

_STREAMS = (1, 2)


def printed(act: Callable[[], object]) -> bytes:
    """Do ``act`` and give what the process wrote to stdout and stderr meanwhile.

    Both streams go back to where they were, whatever happens; an exception of ``act`` comes
    through. For a process with one thread that writes.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(stream) for stream in _STREAMS]
    with tempfile.TemporaryFile(prefix="chipdrift-log-") as file:
        try:
            for stream in _STREAMS:
                os.dup2(file.fileno(), stream)
            act()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for stream, old in zip(_STREAMS, kept, strict=True):
                os.dup2(old, stream)
                os.close(old)
        file.seek(0)
        return file.read()
