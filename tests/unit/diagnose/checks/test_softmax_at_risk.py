"""Softmax on coarse scores, and with coarse probabilities."""

from __future__ import annotations

import numpy as np
from exams import Exams, looked
from float_models import attention_net, tokens

CHECK = "softmax-at-risk"


def test_a_mask_in_the_range_of_the_scores(exam_of: Exams) -> None:
    exam = exam_of(attention_net(mask=-10000.0), tokens(), scheme="w8a8")
    (found,) = looked(exam, CHECK)
    assert found.nodes == ("softmax",) and "scores in steps of 39" in found.title
    # What is said to happen does: keys that are attended to get one probability.
    quantized = next(a for a in exam.diagnosis.activations if a.node == "softmax").tensor
    attended = exam.tensors_a[0][quantized][..., ::2]
    assert len(np.unique(attended)) == 1


def test_sixteen_bits_or_a_small_mask_are_enough(exam_of: Exams) -> None:
    assert not looked(exam_of(attention_net(mask=-30.0), tokens(), scheme="w8a8"), CHECK)
    assert not looked(exam_of(attention_net(mask=-10000.0), tokens(), scheme="w8a16"), CHECK)
    assert not looked(exam_of(attention_net(), tokens(), scheme="w8a8"), CHECK)


def test_probabilities_below_a_step_of_the_output(exam_of: Exams) -> None:
    """700 keys of one probability each: 1/700 is less than half of 1/255."""
    exam = exam_of(
        attention_net(keys=700), [*tokens(3, 0.01), *tokens(1)], scheme="w8a8", samples=3,
        calibration=tokens(4, 1.0),
    )  # fmt: skip
    (found,) = looked(exam, CHECK)
    assert "do not sum to 1" in found.title
