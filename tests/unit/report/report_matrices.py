"""Matrices made by hand, for the tests of the report here and under tests/system."""

import io
from typing import Any

from PIL import Image

from chipdrift.records import (
    Baseline,
    Cell,
    DataInfo,
    Delta,
    Group,
    Host,
    Lsb,
    Matrix,
    MetricInfo,
    MetricResult,
    ModelInfo,
    NodePlace,
    Pair,
    Parting,
    Placement,
    SchemeInfo,
    TensorSpec,
)

EVIL = "<script>alert('x')</script><img src=x onerror=y>"
CPU, A, B, C = "ort:cpu", "htp:sm8350", "htp:sm8450", "htp:sm8550"
SAMPLES = 200


def cell(
    scheme: str,
    target: str,
    value: float = 0.9,
    change: float = 0.0,
    significant: bool = False,
    spread: float | None = 0.02,
    **more: Any,
) -> Cell:
    """A cell with a result; ``spread`` is half of both intervals, None for none."""
    fields: dict[str, Any] = {
        "evidence": "host-runtime" if target == CPU else "vendor-simulator",
        "status": "ok",
        "samples": SAMPLES,
        "measured": SAMPLES,
        "metric": MetricResult(name="top1", value=value, **_ends(value, spread)),
        "delta": Delta(
            value=change,
            **_ends(change, spread),
            p_value=0.0004 if significant else 0.04,
            p_holm=0.004 if significant else 0.4,
            significant=significant,
        ),
        "agreement": 0.97,
        "agreement_low": 0.94,
        "agreement_high": 0.99,
        "seconds": 1.5,
    }
    return Cell(scheme=scheme, target=target, **(fields | more))


def without(scheme: str, target: str, status: str, reason: str, **more: Any) -> Cell:
    """A cell without a result."""
    evidence = "host-runtime" if target == CPU else "vendor-simulator"
    return Cell.model_validate(
        {"scheme": scheme, "target": target, "evidence": evidence, "status": status}
        | {"reason": reason}
        | more
    )


def pair(scheme: str, a: str, b: str, agreement: float = 0.97, **more: Any) -> Pair:
    fields: dict[str, Any] = {"samples": SAMPLES, "identical": 0.5, "measured": SAMPLES}
    return Pair(scheme=scheme, a=a, b=b, agreement=agreement, **(fields | more))


def placed(npu: int, *left: tuple[str, str]) -> Placement:
    nodes = tuple(NodePlace(op=op, node=node) for op, node in left)
    return Placement(npu=npu, cpu=len(nodes), graph_io=2, fallback=nodes)


def matrix(*cells: Cell, **changes: Any) -> Matrix:
    """A matrix of these cells on :data:`SAMPLES` samples, with a float baseline of 0.9."""
    names = dict.fromkeys(cell.scheme for cell in cells)
    fields: dict[str, Any] = {
        "chipdrift": "0.1.0",
        "created": "2026-01-02T03:04:05+00:00",
        "model": ModelInfo(
            name="model",
            sha256="a" * 64,
            opset=17,
            nodes=10,
            inputs=(TensorSpec(name="x", dtype="float32", shape=(1, None)),),
            outputs=(TensorSpec(name="y", dtype="float32", shape=(1, 10)),),
        ),
        "data": DataInfo(name="data", sha256="b" * 64, samples=SAMPLES, labels=True),
        "calibration": None,
        "metric": metric(),
        "baseline": Baseline(
            scheme="fp32",
            target=CPU,
            metric=MetricResult(name="top1", value=0.9, low=0.85, high=0.94),
            samples=SAMPLES,
        ),
        "schemes": tuple(SchemeInfo(name=n, description=f"{n}.", sha256="c" * 64) for n in names),
        "targets": tuple(dict.fromkeys(cell.target for cell in cells)),
        "cells": cells,
        "pairs": (),
        "groups": (),
        "partings": (),
        "parted": 0,
        "audit": None,
        "complete": True,
        "warnings": (),
        "host": Host(cpu="cpu", isa=("avx2",), cores=2, system="Linux", python="3.11"),
    }
    return Matrix(**(fields | changes))


def metric(interval: str = "Wilson score, 95 %", **changes: Any) -> MetricInfo:
    fields: dict[str, Any] = {
        "name": "top1",
        "higher_is_better": True,
        "answer": "top class",
        "output": "y",
        "interval": interval,
        "test": "exact McNemar",
    }
    return MetricInfo(**(fields | changes))


def everything() -> Matrix:
    """All statuses, a loss, a gain, sharing, fallback, a caution, partings, names that are HTML."""
    return matrix(
        cell("fp32", CPU),
        without("fp32", A, "unsupported", "not available: the simulator has no float32"),
        without("fp32", B, "unsupported", "not available: the simulator has no float32"),
        without("fp32", EVIL, "failed", f"died of signal 11\n{EVIL}", log=f"log of {EVIL}"),
        cell("w8a8", CPU, lsb=Lsb(max=0, mean=0.0), sqnr_db=33.0),
        cell("w8a8", A, 0.80, -0.10, True, placement=placed(9, ("Softmax", EVIL))),
        cell("w8a8", B, 0.80, -0.10, True, copied_from=A, audited=4, measured=4),
        cell("w8a8", EVIL, 0.91, 0.01, spread=None, placement=placed(10)),
        cell("w4a16", CPU, 0.95, 0.05, True),
        cell("w4a16", A, reason="no FP16: every node ran on the host's CPU"),
        cell("w4a16", B, 0.9, -0.001, placement=placed(0, ("Conv", "c1"), ("Conv", "c2"))),
        without("w4a16", EVIL, "failed", "time limit"),
        pairs=(
            pair("w8a8", CPU, A, 0.9, lsb=Lsb(max=7, mean=0.5)),
            pair("w8a8", CPU, B, 0.9, lsb=Lsb(max=7, mean=0.5), measured=4),
            pair("w8a8", A, B, 1.0, identical=1.0, measured=4),
            pair("w8a8", A, EVIL, 0.95, max_abs=0.25),
        ),
        groups=(
            Group(scheme="w8a8", targets=(CPU,), samples=SAMPLES, measured=SAMPLES),
            Group(scheme="w8a8", targets=(A, B), samples=SAMPLES, measured=4),
            Group(scheme="w8a8", targets=(EVIL,), samples=SAMPLES, measured=SAMPLES),
        ),
        partings=(
            Parting(scheme="w8a8", sample=1, label="7", answers={CPU: "7", A: "9", B: "9"}),
            Parting(scheme="w4a16", sample=1, label="7", answers={CPU: "7", A: EVIL, B: "7"}),
            Parting(scheme="w4a16", sample=0, label=None, answers={CPU: "1", A: "2", B: "3"}),
        ),
        parted=9,
        audit=4,
        warnings=(f"warning {EVIL}",),
    )


PARAGRAPH = " ".join(["The rules of a chip that nobody has measured yet, as someone tells it."] * 6)
SIM, LITERT = "sim:probed.toml", "litert:reference"


def engine(*more: Cell) -> Matrix:
    """No chip but those in ``more``: the host, LiteRT, and our engine under a probed profile.

    Of the engine's eleven nodes one ran in onnxruntime and two rest on no known rule at w8a16.
    """
    left, unknown = ("Resize", "up"), (("Add", "sum"), ("Softmax", "attention"))
    guessed = tuple(
        NodePlace(op=op, node=node, reason=f"no rule for {op} at 16 bits") for op, node in unknown
    )
    forecast: dict[str, Any] = {"evidence": "prediction"}
    return matrix(
        cell("w8a8", CPU),
        cell("w8a8", LITERT, evidence="host-runtime"),
        cell("w8a8", SIM, placement=placed(11), **forecast),
        cell("w8a16", CPU),
        cell("w8a16", LITERT, evidence="host-runtime"),
        cell(
            "w8a16",
            SIM,
            placement=placed(10, left).model_copy(update={"assumed": guessed}),
            **forecast,
        ),
        *more,
        pairs=(pair("w8a8", CPU, LITERT, 0.9), pair("w8a8", LITERT, SIM, 0.95)),
        target_names={SIM: PARAGRAPH, LITERT: "LiteRT's reference kernels."},
    )


def picture(size: int = 8) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (size, size), 128).save(stream, "PNG")
    return stream.getvalue()


def _ends(value: float, spread: float | None) -> dict[str, float | None]:
    if spread is None:
        return {"low": None, "high": None}
    return {"low": value - spread, "high": value + spread}
