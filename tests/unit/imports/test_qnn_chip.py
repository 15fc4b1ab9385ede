"""A device of qnn-net-run that is called by its chip has that chip, and no other has one."""

from pathlib import Path

import numpy as np
import pytest

from chipdrift.imports.folder import qnn_columns


@pytest.mark.parametrize(
    ("name", "told", "chip"),
    [
        ("SM8550", None, "SM8550"),
        ("lab-sm8550-2", None, "SM8550"),
        ("tablet", "SM8650", "SM8650"),
        ("tablet", None, None),
        ("SM8550", "tablet", None),
    ],
)
def test_the_chip_of_a_device(
    tmp_path: Path, name: str, told: str | None, chip: str | None
) -> None:
    folder = tmp_path / name
    for i in range(2):
        (folder / f"Result_{i}").mkdir(parents=True)
        np.zeros(3, "<f4").tofile(folder / f"Result_{i}" / "y.raw")
    (column,) = qnn_columns(folder, "fp32", told)
    wanted = {"runtime": "qnn-net-run"} | ({"chip": chip} if chip else {})
    assert dict(column.provenance) == wanted
