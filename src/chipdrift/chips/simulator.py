"""What Qualcomm's simulator answers for each ``soc_model``, and which chips it can stand in for.

The simulator does not refuse what it does not know: id 0 is answered as SM8350, and an id whose
device cannot be created runs on the CPU without a word. So every id was asked
(``scripts/measure_simulator.py``), and a chip is simulated only where the answer fits the facts.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from chipdrift.chips.chip import Fact
from chipdrift.records import Record

Measured = Literal["yes", "as-float32", "no", "refused", ""]

WITHOUT_HTP = ("v65", "v66")
"""Generations before the Hexagon Tensor Processor: the simulator answers for them as v68."""

REFERENCES = {"v68": 30, "v69": 36, "v73": 43, "v75": 57, "v79": 69, "v81": 87, "v85": 103}
"""The id that shows how a generation answers. v68 and v69 agree on the quantized probes, so do v73,
v75, v79 and v81. v85 is SM8975 itself: its W8A16 answer is unlike that of all other generations,
which shows that the simulator does not replace it by another chip."""


class SimulatorRow(Record):
    """The simulator's answers for one ``soc_model``.

    ``known``: a device was created and it does not answer like id 0, which is no chip's.
    ``w8a8`` (a MatMul) and ``w8a16`` (a Conv): ``yes`` on the NPU, ``no`` on the CPU, ``refused``
    no session. ``fp16`` (a FLOAT16 model) and ``float32`` (the same model in FLOAT, which the
    backend may compute in half precision): ``yes`` on the NPU with results rounded to half,
    ``as-float32`` on the NPU without that rounding, ``no``, ``refused``. The ``_answer`` columns
    hold the start of the SHA-256 of the NPU's answer.

    The float columns rest on one MatMul. On SM8350 float32 models may also be refused: a Gelu
    fails to finalize with error 1002, while the same Gelu in FLOAT16 runs in half precision.
    """

    soc_model: int
    known: bool
    device: bool
    w8a8: Measured
    w8a16: Measured
    fp16: Measured
    float32: Measured
    w8a8_answer: str
    w8a16_answer: str
    fp16_answer: str
    float32_answer: str
    error: str
    onnxruntime: str
    onnxruntime_qnn: str
    qnn: str


@cache
def simulator_rows() -> dict[int, SimulatorRow]:
    """Read all measured ids."""
    path = Path(__file__).with_name("simulator.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = [SimulatorRow.model_validate(row) for row in csv.DictReader(file)]
    return {row.soc_model: row for row in rows}


def simulator_versions() -> dict[str, str]:
    """Tell the versions of onnxruntime, onnxruntime-qnn and the QNN SDK that were measured."""
    row = next(iter(simulator_rows().values()))
    return {
        "onnxruntime": row.onnxruntime,
        "onnxruntime-qnn": row.onnxruntime_qnn,
        "qnn": row.qnn,
    }


def fp16_words(soc_model: int) -> str:
    """Say in words what a known id does with FLOAT16 and with float32 models."""
    row = simulator_rows()[soc_model]
    half = {
        "yes": "FLOAT16 models run on the NPU in half precision",
        "as-float32": "FLOAT16 models run on the NPU, but computed as float32",
        "no": "FLOAT16 models fall to the CPU",
        "refused": "FLOAT16 models are refused",
    }
    single = {
        "yes": "float32 models run on the NPU in half precision",
        "as-float32": "float32 models run on the NPU computed as float32",
        "no": "float32 models fall to the CPU",
        "refused": "float32 models are refused",
    }
    return f"{half.get(row.fp16, 'not measured')}; {single.get(row.float32, 'not measured')}"


def refusal(
    vendor: str,
    soc: str,
    soc_model: int | None,
    hexagon: str | None,
    weak: Mapping[str, Sequence[Fact]],
    same_id: Sequence[str] = (),
) -> str | None:
    """Say why the simulator cannot stand in for a chip; None where it can.

    ``weak`` has, by field, the weak facts that stand beside a missing value; ``same_id`` the
    generations of other chips with the same ``soc_model``, which are one device to the simulator.
    Without a strong generation, one of these that the simulator answers like is enough: the id is
    what decides the answer, and the catalogue goes on showing the generation as weak.
    """
    if vendor != "Qualcomm":
        return f"{soc} is not a Qualcomm chip: only Qualcomm's Hexagon NPUs can be simulated."
    if soc_model is None:
        base = f" Without the bin's letters it is {soc.split('-')[0]}." if "-" in soc else ""
        return (
            f"{soc} has no known QNN soc_model{said(weak, 'soc_model')}: "
            f"it cannot be simulated.{base}"
        )
    row = simulator_rows().get(soc_model)
    if row is None or not row.device:
        return (
            f"The simulator ({version()}) creates no device for {soc} (soc_model {soc_model}): "
            "everything would silently run on the CPU."
        )
    if hexagon is None:
        told = [*same_id, *(fact.value for fact in weak.get("hexagon", ()))]
        if any(refusal(vendor, soc, soc_model, generation, {}) is None for generation in told):
            return None
        return (
            f"The Hexagon generation of {soc} is not known{said(weak, 'hexagon')}: "
            f"the simulator's answer for its soc_model {soc_model} cannot be checked."
        )
    if hexagon in WITHOUT_HTP:
        return (
            f"{soc} has Hexagon {hexagon}, which has no HTP: "
            "the simulator would silently answer as v68."
        )
    if hexagon not in REFERENCES:
        return (
            f"{soc} has Hexagon {hexagon}, which is not verified on the simulator: "
            f"verified are {', '.join(REFERENCES)}."
        )
    if not row.known:
        return (
            f"The simulator ({version()}) does not know {soc} (soc_model {soc_model}): "
            "it would silently simulate SM8350."
        )
    like = simulator_rows()[REFERENCES[hexagon]]
    if (row.w8a8_answer, row.w8a16_answer) != (like.w8a8_answer, like.w8a16_answer):
        return (
            f"The simulator ({version()}) does not answer as Hexagon {hexagon} "
            f"for {soc} (soc_model {soc_model}): it would simulate another generation."
        )
    return None


def version() -> str:
    """Name the measured SDK."""
    return f"QNN {simulator_versions()['qnn']}"


def said(weak: Mapping[str, Sequence[Fact]], field: str) -> str:
    """List weak facts in brackets: `` (v79 as draft)``."""
    facts = weak.get(field, ())
    return f" ({', '.join(f'{fact.value} as {fact.status}' for fact in facts)})" if facts else ""
