"""Where two targets part under one scheme, and why, shown by experiment."""

from chipdrift.diagnose.run import run_diagnosis

__all__ = ["run_diagnosis"]
