"""Softmax on coarse scores, and with coarse probabilities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from exams import Exams, looked
from float_models import attention_net, tokens

from chipdrift.diagnose.remedies import remedy

CHECK = "softmax-at-risk"


def test_a_mask_in_the_range_of_the_scores(exam_of: Exams) -> None:
    exam = exam_of(attention_net(mask=-10000.0), tokens(), scheme="w8a8")
    (found,) = looked(exam, CHECK)
    assert found.nodes == ("softmax",) and "scores in steps of 39" in found.title
    # What is said to happen does: keys that are attended to get one probability.
    quantized = next(a for a in exam.diagnosis.activations if a.node == "softmax").tensor
    attended = exam.tensors_a[0][quantized][..., ::2]
    assert len(np.unique(attended)) == 1


def test_the_cpu_is_no_way_out_of_a_coarse_quantizer(exam_of: Exams) -> None:
    """Tried: the Softmax in float on the CPU, behind the same quantizer, is as far away."""
    exam = exam_of(attention_net(mask=-10000.0), tokens(), "ort:cpu", "float", scheme="w8a8")
    quantizer = exam.specs["softmax"].operands[0].quant
    assert quantizer is not None and quantizer.scale > 39
    (risk,) = looked(exam, CHECK)
    whole = next(f for f in looked(exam, "quantization") if f.nodes[0] == "softmax")
    verdict = exam.diagnosis.verdict.model_copy(update={"cause": "chip"})
    judged = replace(exam, diagnosis=exam.diagnosis.model_copy(update={"verdict": verdict}))
    fix, command = remedy(judged, "fused_attention", ["softmax"])
    assert command is not None and "w8a16_pc" in command
    for told in (risk.fix, whole.fix, fix):
        assert "CPU" not in told and "float" not in told
        assert "write a mask as a small number" in told
    # Another node, and a Softmax of fine scores, may go there.
    assert remedy(judged, "fused_attention", ["softmax", "scores"])[0] == "keep scores on the CPU"
    fine = exam_of(attention_net(mask=-30.0), tokens(), "ort:cpu", "float", scheme="w8a8")
    judged = replace(fine, diagnosis=fine.diagnosis.model_copy(update={"verdict": verdict}))
    assert remedy(judged, "fused_attention", ["softmax"])[0] == "keep softmax on the CPU"


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
