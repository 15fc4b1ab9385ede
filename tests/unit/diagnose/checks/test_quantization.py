"""Weights of 4 bits against the float model: who adds the noise, by which quantizer."""

from __future__ import annotations

import numpy as np
import pytest
from exams import Exams, chain, looked, rows

from chipdrift.demo import DemoPaths
from chipdrift.diagnose.checks.quantization import _fix, _Sources, _sources

CHECK = "quantization"
WEIGHT = np.random.default_rng(5).normal(size=(64, 24))
MODEL = chain(WEIGHT, np.random.default_rng(6).normal(size=(24, 8)))


def test_weights_of_four_bits(exam_of: Exams) -> None:
    exam = exam_of(MODEL, rows(64), "ort:cpu", "float", scheme="w4a16_pc")
    (finding,) = looked(exam, CHECK)
    power = {o.node: 10 ** (-o.distance.sqnr_db / 10) for o in exam.diagnosis.own
             if o.distance is not None and o.distance.sqnr_db is not None}  # fmt: skip
    worst = max(power, key=lambda node: power[node])
    assert finding.nodes[0] == worst and finding.severity == "warning"
    assert finding.weight == pytest.approx(power[worst] / sum(power.values()))
    assert "its weights' 4 bits (a scale per channel) make it" in finding.words
    assert "w4a16_pc,w8a16_pc" in (finding.command or "")


@pytest.mark.parametrize(("scheme", "first"), [("w4a16_pc", "weights"), ("w8a8", None)])
def test_the_sources_are_the_noise(exam_of: Exams, scheme: str, first: str | None) -> None:
    """Set against noise made here: the model's own weights, and its inputs, rounded."""
    exam = exam_of(MODEL, rows(64), "ort:cpu", "float", scheme=scheme)
    own = exam.own("m0")
    assert own is not None
    found = _sources(exam, own)
    assert found is not None and found.first == first
    spec = exam.specs["m0"]
    x = np.concatenate([feed["x"] for feed in exam.feeds]).reshape(-1, 64).astype(np.float64)
    held = spec.operands[1].constant
    assert held is not None
    real = (held.astype(np.float64) - spec.quant(1).zero_point) * spec.quant(1).scale
    step = float(spec.quant(0).scale)
    noise = {
        "weights": np.square(x @ (real - WEIGHT.astype(np.float32))).mean(),
        "inputs": np.square((np.rint(x / step) * step - x) @ real).mean(),
    }
    for name, power in noise.items():
        assert getattr(found, name) == pytest.approx(power, rel=0.5), name


def test_no_cpu_where_the_input_is_what_is_lost(exam_of: Exams) -> None:
    """In float on the CPU the node reads the same integers."""
    exam = exam_of(MODEL, rows(64), "ort:cpu", "float", scheme="w8a8")
    fix, command = _fix(exam, _Sources(weights=0.1, inputs=9.0, output=0.1), ("m0",))
    assert fix == "16-bit activations (w8a16_pc)" and command is not None
    fix, _ = _fix(exam, _Sources(weights=0.1, inputs=0.1, output=9.0), ("m0",))
    assert fix.endswith("keep m0 on the CPU")


def test_healthy(exam_of: Exams, demo: DemoPaths) -> None:
    exam = exam_of(
        demo.model, demo.data, "ort:cpu", "float", scheme="w8a8", calibration=demo.calibration
    )
    assert looked(exam, CHECK) == []
    assert not looked(exam_of(MODEL, rows(64), scheme="w8a8"), CHECK)
