"""Ranges calibrated on data three times too quiet, and ten times too loud."""

from __future__ import annotations

import numpy as np
import pytest
from exams import Exams, chain, looked, rows

from chipdrift.demo import DemoPaths


def model() -> bytes:
    rng = np.random.default_rng(1)
    return chain(rng.normal(size=(16, 32)), rng.normal(size=(32, 16)), rng.normal(size=(16, 8)))


def louder(factor: float) -> list[dict[str, np.ndarray]]:
    return [{"x": factor * feed["x"]} for feed in rows(16, seed=5, samples=16)]


def test_planted_clipping(exam_of: Exams) -> None:
    exam = exam_of(model(), rows(16), "ort:cpu", "float", scheme="w8a8", calibration=louder(0.3))
    (finding,) = looked(exam, "activation-range")
    assert finding.severity == "warning" and " clips" in finding.title
    assert {"m0", "m1"} <= set(finding.nodes)
    # Against the float model's values, beyond the ends of the range by half a step or more.
    shares = {}
    for tensor, quantizer in exam.anatomy.quantizers.items():
        if not all(tensor in entry for entry in exam.tensors_b):
            continue
        values = np.concatenate([entry[tensor].reshape(-1) for entry in exam.tensors_b])
        steps = values / quantizer.scale[0] + quantizer.zero_point[0]
        shares[tensor] = float(((steps < -0.5) | (steps > 255.5)).mean())
    assert finding.weight in [pytest.approx(share) for share in shares.values()]


def test_planted_waste(exam_of: Exams) -> None:
    exam = exam_of(model(), rows(16), "ort:cpu", "float", scheme="w8a8", calibration=louder(10))
    (finding,) = looked(exam, "activation-range")
    assert finding.severity == "note" and "mostly unused" in finding.title
    assert {"m0", "m1"} <= set(finding.nodes)
    integers = [
        np.concatenate([entry[tensor].reshape(-1) for entry in exam.tensors_a]).astype(int)
        for tensor in exam.anatomy.quantizers
        if tensor in exam.tensors_a[0] and exam.tensors_a[0][tensor].dtype == np.uint8
    ]
    least = min(int(values.max() - values.min()) / 255 for values in integers)
    assert f": {100 * least:.0f} % of the range" in finding.words


def test_sixteen_bits_have_bits_to_spare(exam_of: Exams) -> None:
    exam = exam_of(model(), rows(16), "ort:cpu", "float", scheme="w8a16", calibration=louder(10))
    assert looked(exam, "activation-range") == []


def test_clipping_without_the_float_model(exam_of: Exams) -> None:
    """The same clipped model as it is: a heap of integers at the ends says it."""
    made = exam_of(model(), rows(16), "ort:cpu", "float", scheme="w8a8", calibration=louder(0.3))
    exam = exam_of(made.case.model, rows(16), "sim:ort-mlas", "ort:cpu")
    assert not exam.floats
    (finding,) = looked(exam, "activation-range")
    assert " clips" in finding.title and {"m0", "m1"} <= set(finding.nodes)


def test_healthy(exam_of: Exams, demo: DemoPaths) -> None:
    """ReLU6 ends at its range's ends on purpose: with the float model beside it, and without."""
    exam = exam_of(
        demo.model, demo.data, "ort:cpu", "float", scheme="w8a8", calibration=demo.calibration
    )
    assert looked(exam, "activation-range") == []
    alone = exam_of(exam.case.model, demo.data, "sim:ort-mlas", "ort:cpu")
    assert looked(alone, "activation-range") == []
    mine = exam_of(model(), rows(16), "ort:cpu", "float", scheme="w8a8", calibration=louder(1))
    assert looked(mine, "activation-range") == []
