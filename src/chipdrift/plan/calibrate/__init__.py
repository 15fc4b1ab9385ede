"""Calibration on the target: ranges, weights and biases by what its own numerics answer."""

from chipdrift.plan.calibrate.judge import Loss
from chipdrift.plan.calibrate.oracle import Asked, Engine, Oracle, SilentError
from chipdrift.plan.calibrate.run import TECHNIQUES, Adjusted, Calibrated, calibrate_on

__all__ = [
    "TECHNIQUES",
    "Adjusted",
    "Asked",
    "Calibrated",
    "Engine",
    "Loss",
    "Oracle",
    "SilentError",
    "calibrate_on",
]
