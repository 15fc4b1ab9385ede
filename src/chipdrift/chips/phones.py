"""What public phones showed: pairs of phones that ran the same benchmark on their Hexagon NPUs.

``phone_pairs.csv`` is made by ``scripts/make_phone_pairs.py`` from the per-sample logs that MLPerf
Mobile publishes. They are bounds and no check: other models than one's own, and submitters chose
the models' quantization and the SDK.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import Literal

from chipdrift.records import Record


class PhonePair(Record):
    """Two phones on one task: on ``identical`` of ``samples`` their logs hold the same answer.

    That is every output value of ``mobilebert``, the detections of ``mobiledet``, and of
    ``mnedgetpu`` and ``mnv4`` the top class alone, whose scores were not logged. ``a`` and ``b``
    name the submission and the device; ``a_source`` and ``b_source`` are the logs. ``same_scale``
    says whether the outputs lie on the same quantizer's steps: "no" shows that the
    two ran other model files, "" that it cannot be seen. Only with "yes" there are ``max_lsb`` and
    ``mean_lsb``, the distance in such steps.
    """

    task: str
    samples: int
    a: str
    a_soc: str
    a_hexagon: str
    a_sdk: str
    b: str
    b_soc: str
    b_hexagon: str
    b_sdk: str
    identical: int
    same_scale: Literal["yes", "no", ""]
    max_lsb: float | None
    mean_lsb: float | None
    a_source: str
    b_source: str

    @property
    def same_generation(self) -> bool:
        """Whether both have the same Hexagon generation."""
        return self.a_hexagon == self.b_hexagon

    @property
    def same_sdk(self) -> bool:
        """Whether both ran under the same build of the SDK."""
        return self.a_sdk == self.b_sdk


@cache
def phone_pairs() -> tuple[PhonePair, ...]:
    """All pairs of the same generation, or under the same SDK, in the file's order."""
    path = Path(__file__).with_name("phone_pairs.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for name in ("max_lsb", "mean_lsb"):
            row[name] = row[name] or None
    return tuple(PhonePair.model_validate(row) for row in rows)
