"""The kinds of evidence, and what each of them is worth."""

from __future__ import annotations

from collections import defaultdict

from chipdrift.records import Evidence, Matrix
from chipdrift.report.figures import name_targets
from chipdrift.report.finding import Finding

EXPLAINED: dict[Evidence, str] = {
    "device": "Measured on the silicon itself.",
    "reported": "Measured on silicon by someone else; chipdrift only passes it on.",
    "vendor-simulator": (
        "The vendor's own simulator of the chip, on this host. It is not silicon: phones may "
        "differ from it."
    ),
    "emulated-runtime": ("The runtime on an emulated processor: its code, not its silicon."),
    "host-runtime": "A runtime on this host's CPU: a reference, no phone chip.",
    "prediction": "chipdrift's engine with a profile probed from answers: a forecast.",
    "hypothesis": "An assumption nobody has measured yet.",
}


def kinds(matrix: Matrix) -> dict[Evidence, list[str]]:
    """The kinds that this matrix has, each with its targets in order."""
    found: dict[Evidence, dict[str, None]] = defaultdict(dict)
    for cell in matrix.cells:
        found[cell.evidence][cell.target] = None
    return {kind: list(targets) for kind, targets in found.items()}


def evidence_remark(matrix: Matrix) -> list[Finding]:
    """Which figures are not from silicon; said of all but silicon and the host."""
    return [
        Finding("note", f"{kind}, {name_targets(matrix, targets)}: {EXPLAINED[kind]}", "basis")
        for kind, targets in kinds(matrix).items()
        if kind not in ("device", "host-runtime")
    ]
