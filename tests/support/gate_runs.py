"""Runs and policies made by hand, for the tests of the gate."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "report"))

from report_matrices import CPU, A, B, C, cell, matrix, metric, pair, placed, without

from chipdrift.findings import Diagnosis
from chipdrift.gate import Check, Gate, run_gate
from chipdrift.records import Cell, Delta, Matrix

__all__ = [
    "CPU",
    "A",
    "B",
    "C",
    "Case",
    "cell",
    "lost",
    "matrix",
    "metric",
    "pair",
    "placed",
    "without",
]


def lost(scheme: str, target: str, points: float, low: float, high: float, **more: Any) -> Cell:
    """A cell that lost ``points`` of 100, its interval from ``low`` to ``high`` points lost."""
    change = Delta(
        value=-points / 100,
        low=-high / 100,
        high=-low / 100,
        p_value=0.5,
        p_holm=0.5,
        significant=False,
    )
    return cell(scheme, target, 0.9 - points / 100, delta=change, **more)


class Case:
    """A run folder with a matrix, and a policy beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = folder / "run"
        self.policy = folder / "policy.toml"

    def holds(self, found: Matrix, *diagnoses: Diagnosis) -> Case:
        """Write the run."""
        (self.run / "diagnosis").mkdir(parents=True, exist_ok=True)
        (self.run / "matrix.json").write_text(found.model_dump_json())
        for number, one in enumerate(diagnoses):
            file = self.run / "diagnosis" / f"{number}.json"
            file.write_text(one.model_dump_json())
        return self

    def gate(self, policy: str, **more: Any) -> Gate:
        """The verdict under this policy's text; small runs are allowed unless it says more."""
        self.policy.write_text(policy)
        found = run_gate(self.run, self.policy, **more)
        # Whatever it found is a document that can be read back.
        assert Gate.model_validate_json(found.model_dump_json()) == found
        assert json.loads(found.model_dump_json())["failed"] is found.failed
        return found

    def one(self, policy: str, limit: str, target: str = A, **more: Any) -> Check:
        """The only check of a limit on a target."""
        (check,) = self.of(policy, limit, target, **more)
        return check

    def of(self, policy: str, limit: str, target: str = A, **more: Any) -> list[Check]:
        """The checks of a limit on a target."""
        checks = self.gate(policy, **more).checks
        return [c for c in checks if (c.limit, c.target) == (limit, target)]
