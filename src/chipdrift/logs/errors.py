"""What a log file can have wrong with it as a whole."""

from __future__ import annotations

from chipdrift.errors import ChipdriftError


class LogError(ChipdriftError):
    """The file cannot be read as a log: missing, a folder, empty, packed otherwise, or no log."""
