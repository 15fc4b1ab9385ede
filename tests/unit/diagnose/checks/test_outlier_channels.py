"""Weights whose channels differ by 2^6, and an activation with one channel of 200 times more."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from exams import Exams, chain, digits, looked, rows
from float_models import image_net, images

from chipdrift.demo import DemoPaths

NODE = "block3/pointwise"


def quiet(held: dict[str, Any]) -> None:
    """Half of a layer's filters 64 times smaller."""
    held[f"{NODE}/weight"][::2] /= 64


def outlier(factor: float) -> bytes:
    rng = np.random.default_rng(1)
    first = rng.normal(size=(16, 32))
    first[:, 5] *= factor
    return chain(first, rng.normal(size=(32, 8)))


def test_planted_weights(exam_of: Exams, demo: DemoPaths) -> None:
    exam = exam_of(
        digits(quiet), demo.data, "ort:cpu", "float", scheme="w8a8", calibration=demo.calibration
    )
    (finding,) = looked(exam, "outlier-channels")
    assert finding.nodes[0] == NODE and "channels of weights" in finding.title
    held = exam.specs[NODE].operands[1].constant
    assert held is not None
    reach = np.abs(held.astype(int)).reshape(24, -1).max(axis=1)
    small = int((16 * reach[reach > 0] < reach.max()).sum())
    assert small >= 12 and f"{small} of {int((reach > 0).sum())} output channels" in finding.words
    assert finding.command is not None and "w8a8_pc" in finding.command


def test_the_fix_is_a_scale_per_channel(exam_of: Exams, demo: DemoPaths) -> None:
    exam = exam_of(
        digits(quiet), demo.data, "ort:cpu", "float", scheme="w8a8_pc", calibration=demo.calibration
    )
    assert looked(exam, "outlier-channels") == []


def test_planted_activations(exam_of: Exams) -> None:
    exam = exam_of(outlier(200.0), rows(16), "ort:cpu", "float", scheme="w8a8_pc")
    (finding,) = looked(exam, "outlier-channels")
    assert finding.nodes == ("m0",) and "1 of " in finding.words
    assert "A few channels set the scale" in finding.title


@pytest.mark.parametrize(("factor", "scheme"), [(1.0, "w8a8_pc"), (200.0, "w8a16_pc")])
def test_activations_that_keep_their_bits(exam_of: Exams, factor: float, scheme: str) -> None:
    exam = exam_of(outlier(factor), rows(16), "ort:cpu", "float", scheme=scheme)
    assert looked(exam, "outlier-channels") == []


def test_healthy(exam_of: Exams, demo: DemoPaths) -> None:
    exam = exam_of(
        demo.model, demo.data, "ort:cpu", "float", scheme="w8a8", calibration=demo.calibration
    )
    assert looked(exam, "outlier-channels") == []


def test_an_activation_without_values(exam_of: Exams) -> None:
    exam = exam_of(image_net(), images(), scheme="w8a8")
    empty = [
        {name: v[:, :0] if v.ndim == 4 else v for name, v in kept.items()}
        for kept in exam.tensors_a
    ]
    looked(dataclasses.replace(exam, tensors_a=empty), "outlier-channels")
