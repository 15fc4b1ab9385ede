"""What changed between two runs, or between two releases of an SDK in one run."""

from chipdrift.regress.limits import LIMITS, exceeded
from chipdrift.regress.records import Change, Regression
from chipdrift.regress.run import run_regress

__all__ = ["LIMITS", "Change", "Regression", "exceeded", "run_regress"]
