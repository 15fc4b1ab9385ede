"""What was found, in sentences, the weightiest first."""

from __future__ import annotations

from chipdrift.records import Matrix
from chipdrift.report.accuracy import accuracy, broken
from chipdrift.report.finding import Finding
from chipdrift.report.phones import heat
from chipdrift.report.placed import placement
from chipdrift.report.remarks import (
    cautions,
    identical,
    least_agreeing,
    not_available,
    samples,
)
from chipdrift.report.silicon import silicon


def findings(matrix: Matrix) -> list[Finding]:
    """Everything to be said first, for the report and for the terminal alike."""
    return [
        *broken(matrix),
        *accuracy(matrix),
        *silicon(matrix),
        *identical(matrix),
        *least_agreeing(matrix),
        *samples(matrix),
        *placement(matrix),
        *heat(matrix),
        *not_available(matrix),
        *cautions(matrix),
    ]
