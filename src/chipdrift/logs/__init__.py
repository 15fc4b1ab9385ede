"""Logs of phones and runtimes: where nodes ran, what fell back and why, times, chip, versions."""

from chipdrift.logs.errors import LogError
from chipdrift.logs.findings import LogFindings
from chipdrift.logs.join import join_model
from chipdrift.logs.read import read_log, read_stream, read_text

__all__ = ["LogError", "LogFindings", "join_model", "read_log", "read_stream", "read_text"]
