"""Rows of cells.csv and silicon.csv: against pandas' own way to flatten a document."""

from typing import Any

import pandas as pd

from chipdrift.matrix.files import flat_cell, flat_check
from chipdrift.records import (
    Cell,
    Delta,
    Lsb,
    MetricResult,
    NodeTime,
    PhoneRun,
    PhoneState,
    Placement,
    SiliconCheck,
)

METRIC = MetricResult(name="top1", value=0.9, low=0.8, high=0.95)
DELTA = Delta(value=-0.1, low=-0.2, high=0.0, p_value=0.01, p_holm=0.02, significant=True)
LSB = Lsb(max=3, mean=0.5)
RUN = PhoneRun(
    before=PhoneState(thermal=2, battery=80, charging=True),
    after=PhoneState(thermal=3, hottest_celsius=91.5),
    cooled=180.0,
    samples=60,
    median_seconds=0.0019,
    slowest_seconds=0.004,
    nodes=(NodeTime(node="conv", op="Conv", seconds=0.001),),
    sent=1234,
    log="logs/x.txt",
)


def full(**more: Any) -> Cell:
    fields: dict[str, Any] = {
        "metric": METRIC,
        "delta": DELTA,
        "lsb": LSB,
        "placement": Placement(npu=1, cpu=2),
        "versions": {"onnxruntime": "1.2", "soc": "SM8550"},
        "log": "what the worker printed",
    }
    return Cell(scheme="w8a8", target="adb:X", evidence="device", status="ok", **(fields | more))


def flattened(document: dict[str, Any]) -> dict[str, Any]:
    """By pandas, without lists, which are no column of a table."""
    row = pd.json_normalize(document, sep="_").iloc[0].to_dict()
    return {key: value for key, value in row.items() if not isinstance(value, list)}


def test_a_cell_on_a_phone_has_its_times_and_heat() -> None:
    cell = full(phone=RUN)
    document = cell.model_dump(mode="json", exclude={"versions", "options", "log"})
    row = flat_cell(cell)
    assert row.pop("versions") == "onnxruntime=1.2 soc=SM8550"
    assert row.pop("fallback") == 0
    assert row == flattened(document)
    assert (row["phone_median_seconds"], row["phone_slowest_seconds"]) == (0.0019, 0.004)
    assert (row["phone_before_thermal"], row["phone_after_thermal"]) == (2, 3)


def test_columns_do_not_depend_on_what_lacks() -> None:
    whole = full(phone=RUN)
    mute = full(phone=PhoneRun(trouble="gone"), metric=None, delta=None, lsb=None, placement=None)
    assert flat_cell(mute).keys() == flat_cell(whole).keys()
    assert flat_cell(mute)["phone_median_seconds"] is None
    # Without a phone there is no column of one, not even an empty one.
    assert {*flat_cell(whole)} - {*flat_cell(full())} == {
        key for key in flat_cell(whole) if key.startswith("phone_")
    }
    assert not [key for key in flat_cell(full()) if key.startswith("phone")]


def test_a_check_has_all_its_figures_in_one_row() -> None:
    check = SiliconCheck(
        scheme="w8a8",
        simulator="htp:sm8550",
        silicon="adb:X",
        simulator_evidence="vendor-simulator",
        silicon_evidence="device",
        relation="same-chip",
        samples=60,
        measured=60,
        agreement=0.9,
        identical=0.5,
        lsb=LSB,
        predicted=METRIC,
        observed=METRIC.model_copy(update={"value": 0.8}),
        difference=DELTA,
        cautions=("few samples", "hot"),
    )
    row = flat_check(check)
    assert row.pop("cautions") == "few samples; hot"
    assert row == flattened(check.model_dump(mode="json", exclude={"cautions"}))
    assert (row["predicted_value"], row["observed_value"], row["difference_p_holm"]) == (
        0.9, 0.8, 0.02
    )  # fmt: skip
    assert flat_check(check.model_copy(update={"lsb": None})).keys() == flat_check(check).keys()
