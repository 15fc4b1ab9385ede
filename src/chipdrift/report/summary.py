"""What was found, in sentences, the weightiest first."""

from __future__ import annotations

from chipdrift.records import Matrix
from chipdrift.report.accuracy import accuracy, broken
from chipdrift.report.answered import answered_alike
from chipdrift.report.finding import Finding
from chipdrift.report.phones import heat
from chipdrift.report.placed import placement
from chipdrift.report.remarks import (
    cautions,
    identical,
    least_agreement,
    not_available,
    samples,
)
from chipdrift.report.silicon import silicon


def findings(matrix: Matrix) -> list[Finding]:
    """Everything to be said first, for the report and for the terminal alike."""
    # Of imported outputs without labels there is no accuracy: who answers alike is what was found.
    unlabelled = matrix.imported is not None and matrix.metric.against_baseline
    return [
        *broken(matrix),
        *(answered_alike(matrix) if unlabelled else accuracy(matrix)),
        *silicon(matrix),
        *identical(matrix),
        *least_agreement(matrix),
        *samples(matrix),
        *(accuracy(matrix) if unlabelled else ()),
        *placement(matrix),
        *heat(matrix),
        *not_available(matrix),
        *cautions(matrix),
    ]
