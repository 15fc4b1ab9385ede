"""What the Python selector picks, and its self-check."""

from __future__ import annotations

from pathlib import Path

import bundle_fixtures
import numpy as np
import pytest

from chipdrift.bundle import Made
from chipdrift.bundle.selectors.python.chipdrift_bundle import Bundle, Choice, open_bundle
from chipdrift.matrix import cell_outputs

pytestmark = pytest.mark.htp
plan = bundle_fixtures.plan
made = bundle_fixtures.made


@pytest.fixture
def opened(made: Made) -> Bundle:
    return open_bundle(str(made.folder), made.key.hex)


def answers(choice: Choice, made: Made, chip: str) -> list[list[bytes]]:
    entry = next(one for one in made.manifest.chips if one.name == chip)
    assert entry.golden is not None
    return [[(made.folder / name).read_bytes() for name in row] for row in entry.golden.expected]


def test_each_chip_gets_its_own(opened: Bundle, made: Made) -> None:
    first = opened.select("SM8450", "QTI")
    assert (Path(first.model).name, first.npu) == ("w8a8.onnx", True)
    assert first.options == {"soc_model": "36"}
    second = opened.select(" SM8550\n", "Qualcomm")
    assert (Path(second.model).name, second.npu) == ("w8a8_pc.onnx", True)
    assert "holds the budget" in second.why
    missed = opened.select("SM7550", "QTI")
    assert (Path(missed.model).name, missed.npu, missed.options) == ("fp32.onnx", False, {})
    assert missed.why.startswith("the nearest for sm7550, w8a8, misses the budget")
    assert missed.golden == ()


@pytest.mark.parametrize(
    ("model", "maker", "words"),
    [
        ("SM9999", "QTI", "nobody has measured SM9999"),
        ("", "", "nobody has measured a chip without a name"),
        ("sm8550", "QTI", "nobody has measured sm8550"),
        ("SM8550", "Samsung", "nobody has measured SM8550"),
        ("SM8550-AC", "QTI", "nobody has measured SM8550-AC"),
        ("SM8650", "QTI", "SM8650 is on the list of chips whose NPU stays off"),
    ],
)
def test_all_others_get_the_safe_variant(
    opened: Bundle, model: str, maker: str, words: str
) -> None:
    choice = opened.select(model, maker, "2.51.0")
    assert (choice.variant, choice.npu, choice.context) == ("fp32", False, None)
    assert choice.why == words
    assert Path(choice.model).read_bytes()[:2] == b"\x08\x08"


def test_a_compiled_file_is_for_one_chip_and_one_release(opened: Bundle, made: Made) -> None:
    """Two v73 chips would each load the other's without a word: decision 013."""
    found = opened.select("SM8550", "QTI", "2.51.0").context
    assert found is not None
    assert Path(found.model).parent == made.folder / "contexts" / "sm8550"
    assert Path(found.binary).parent == Path(found.model).parent
    other = opened.select("SM8450", "QTI", "2.51.0").context
    assert other is not None
    assert Path(other.model).parent.name == "sm8450"
    for sdk in ("", "2.51", "2.52.0", "2.50.0", "v2.51.0"):
        assert opened.select("SM8550", "QTI", sdk).context is None


def test_the_answers_that_were_measured_pass(opened: Bundle, made: Made) -> None:
    choice = opened.select("SM8550")
    verdict = choice.check(answers(choice, made, "sm8550"))
    assert (verdict.ok, verdict.worst) == (True, 0.0)
    # And they are the ones of the run that confirmed, not of another place.
    plan = made.manifest
    assert [len(sample) for sample in choice.golden] == [1] * 4
    assert choice.golden[0][0].shape == tuple(plan.model.inputs[0].shape)


def test_the_samples_and_answers_are_the_run_s(opened: Bundle, made: Made, plan: Path) -> None:
    arrays, _ = cell_outputs(plan / "confirm", "w8a8_pc", "htp:sm8550")
    images = np.load(plan / "confirm.npz")["image"]
    choice = opened.select("SM8550")
    given = answers(choice, made, "sm8550")
    leading = set()
    for sample, expected in zip(choice.golden, given, strict=True):
        feed = np.fromfile(sample[0].path, np.float32).reshape(sample[0].shape)
        row = next(i for i, image in enumerate(images) if np.array_equal(image, feed[0]))
        assert expected[0] == arrays["logits"][row].tobytes()
        leading.add(int(arrays["logits"][row].argmax()))
    assert len(leading) == 4


def test_what_is_further_off_is_refused(opened: Bundle, made: Made) -> None:
    choice = opened.select("SM8550")
    entry = next(one for one in made.manifest.chips if one.name == "sm8550")
    assert entry.golden is not None
    (limit,) = entry.golden.limits
    assert limit.step is not None
    assert limit.steps is not None
    for steps, ok in ((limit.steps, True), (-limit.steps, True), (limit.steps + 1, False)):
        given = answers(choice, made, "sm8550")
        logits = np.frombuffer(given[2][0], np.float32).copy()
        logits[7] += np.float32(steps * limit.step)
        given[2][0] = logits.tobytes()
        verdict = choice.check(given)
        assert verdict.ok is ok
        assert verdict.worst == pytest.approx(abs(steps), rel=1e-3)
    assert f"sample 2: logits is {limit.steps + 1} steps off" in verdict.why


@pytest.mark.parametrize("place", range(10))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_number_is_no_answer(opened: Bundle, made: Made, value: float, place: int) -> None:
    choice = opened.select("SM8550")
    given = answers(choice, made, "sm8550")
    logits = np.frombuffer(given[0][0], np.float32).copy()
    logits[place] = value
    given[0][0] = logits.tobytes()
    assert not choice.check(given).ok


def test_other_answers_are_refused(opened: Bundle, made: Made) -> None:
    choice = opened.select("SM8550")
    good = answers(choice, made, "sm8550")
    assert not choice.check(good[::-1]).ok
    assert not choice.check([good[0]] * 4).ok
    assert not choice.check([[bytes(40)]] * 4).ok
    assert choice.check(good[:3]).why == "3 samples answered, of 4"
    assert "2 outputs, of 1" in choice.check([good[0] * 2, *good[1:]]).why
    assert "has 36 bytes, and 40" in choice.check([[good[0][0][:36]], *good[1:]]).why
    assert opened.safe("").check([]).ok
