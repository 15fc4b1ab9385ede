"""The model and labelled data that chipdrift brings along: scikit-learn's 8 x 8 digits.

Origin, licence and accuracy are in this folder's README.md; ``scripts/train_digits.py`` made it.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import NamedTuple


class DemoPaths(NamedTuple):
    """The three files: an ONNX model, its labelled samples and its calibration samples."""

    model: Path
    data: Path
    calibration: Path


def paths() -> DemoPaths:
    """Return where the demo's files lie in the installed package."""
    folder = Path(str(resources.files(__name__)))
    return DemoPaths(
        model=folder / "digits.onnx",
        data=folder / "digits_eval.npz",
        calibration=folder / "digits_calibration.npz",
    )
