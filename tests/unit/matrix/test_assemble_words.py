"""Whose CPU it is, where every node of a target with an NPU left it."""

from typing import Any

import pytest

from chipdrift.matrix.assemble import _beside
from chipdrift.matrix.cells import CellPlan
from chipdrift.records import Placement
from chipdrift.targets import Target


class Variant:
    """All of a variant that the words read."""

    kind = "float16"


@pytest.mark.parametrize(("place", "whose"), [("", "the host's"), ("phone R5CT", "the phone's")])
def test_a_phone_has_a_cpu_of_its_own(place: str, whose: str) -> None:
    variant: Any = Variant()
    target = Target(
        name="x",
        runtime="chipdrift.targets.adb",
        evidence="device" if place else "vendor-simulator",
        has_npu=True,
        cautions={"float16": "no FP16"},
        place=place,
    )
    cell = CellPlan(variant, target, shown=True)
    words = f"no FP16: all 9 nodes ran on {whose} CPU in onnxruntime, none on the NPU"
    assert _beside(cell, Placement(npu=0, cpu=9)) == words
    assert _beside(cell, Placement(npu=8, cpu=1)) == "no FP16"
