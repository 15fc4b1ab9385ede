"""The matrix chip x scheme: expanded into cells, scheduled over the cores, resumable."""

from chipdrift.matrix.estimate import DEFAULT_HALF_WIDTH, Estimate, estimate_matrix
from chipdrift.matrix.files import cell_outputs, read_matrix
from chipdrift.matrix.run import DEFAULT_AUDIT, DEFAULT_TIMEOUT, run_matrix
from chipdrift.matrix.schedule import Progress

__all__ = [
    "DEFAULT_AUDIT",
    "DEFAULT_HALF_WIDTH",
    "DEFAULT_TIMEOUT",
    "Estimate",
    "Progress",
    "cell_outputs",
    "estimate_matrix",
    "read_matrix",
    "run_matrix",
]
