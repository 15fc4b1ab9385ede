"""Zero points at the end of the range."""

from __future__ import annotations

from exams import Exams, looked
from float_models import image_net, images
from qdq_models import Qdq

CHECK = "saturated-zero-point"


def test_inputs_that_the_calibration_never_saw_negative(exam_of: Exams) -> None:
    exam = exam_of(
        image_net(), images(), scheme="w8a8", calibration=images(low=0.0, high=2.0, seed=9)
    )
    quantizer = exam.anatomy.quantizers["x_QuantizeLinear_Output"]
    assert quantizer.zero_point == (0,)
    found = looked(exam, CHECK)
    assert found[0].nodes == ("x_QuantizeLinear",)
    assert "negative" in found[0].title


def test_an_activation_inside_the_model(exam_of: Exams) -> None:
    """Calibrated far up, the sums of the last node are all of one sign; evaluated they are not."""
    above = [{"x": feed["x"] * 0 - 30.0} for feed in images(2)]
    exam = exam_of(image_net(), images(), scheme="w8a8", calibration=above)
    named = {node for finding in looked(exam, CHECK) for node in finding.nodes}
    ends = {tensor: q.zero_point[0] in (0, 255) for tensor, q in exam.anatomy.quantizers.items()}
    assert ends["x_QuantizeLinear_Output"] and "x_QuantizeLinear" in named


def test_a_range_that_slid_away_in_a_model_without_a_float_one(exam_of: Exams) -> None:
    b = Qdq(1)
    x = b.conv(b.input("x", (1, 6, 7, 10), 0.0123, 117), 0.0123, (12, 6, 3, 3), "y")
    # Meant for 1,000,000 and more: the zero point would be far below 0, and was cut to it.
    b.output(x, 1e-4, 0)
    model = b.model().SerializeToString()
    shifted = b.constants["y_b"]
    b.constants["y_b"] = (shifted * 0 + 1_000_000).astype(shifted.dtype)
    slid = b.model().SerializeToString()
    feeds = [b.feed(seed) for seed in range(4)]
    (found,) = looked(exam_of(slid, feeds), CHECK)
    assert found.nodes == ("n_y",) and "not where its values are" in found.title
    assert not looked(exam_of(model, feeds), CHECK), "half of the values are at either end"


def test_a_fused_relu_is_no_finding(exam_of: Exams) -> None:
    """Its zero point is the least integer, and nothing negative is needed behind it."""
    exam = exam_of(image_net(), images(), scheme="w8a8")
    assert any(q.zero_point == (0,) for q in exam.anatomy.quantizers.values())
    assert not looked(exam, CHECK)
