import json
from dataclasses import replace

import numpy as np
import pytest

from chipdrift.errors import DataError
from chipdrift.metrics import (
    Outputs,
    agreement,
    answers_agree,
    compare,
    evaluate,
    get_metric,
    info,
    metric_names,
)
from chipdrift.metrics.intervals import mcnemar_exact, tango, wilson


def classified(right: list[int], classes: int = 3) -> Outputs:
    """A model whose top class is the label 1 just where ``right`` is 1."""
    array = np.zeros((len(right), 1, classes), np.float32)
    array[np.arange(len(right)), 0, np.array(right)] = 1.0
    return Outputs(arrays={"y": array}, primary="y", labels=np.ones(len(right), np.int64))


def test_a_proportion_has_wilsons_interval() -> None:
    result = evaluate(get_metric("top1"), classified([1, 1, 0, 1]))
    assert (result.name, result.value) == ("top1", 0.75)
    assert (result.low, result.high) == wilson(3, 4)


def test_one_sample() -> None:
    result = evaluate(get_metric("top1"), classified([1]))
    assert (result.value, result.low, result.high) == (1.0, *wilson(1, 1))
    found = compare(get_metric("top1"), classified([1]), classified([0]))
    assert (found.value, found.high, found.p_value) == (1.0, 1.0, 1.0)


def test_a_paired_difference_of_proportions() -> None:
    cell, base = classified([1, 0, 0, 0, 0, 1, 1]), classified([0, 1, 1, 1, 0, 1, 1])
    found = compare(get_metric("top1"), cell, base)
    assert found == pytest.approx((-2 / 7, *tango(1, 3, 7), mcnemar_exact(1, 3)))


def test_nothing_differs() -> None:
    outputs = classified([1, 0, 1] * 20)
    found = compare(get_metric("top1"), outputs, outputs)
    assert (found.value, found.p_value) == (0.0, 1.0)
    assert found.low is not None and found.high is not None
    assert found.low < 0.0 < found.high


def _noisy(n: int, noise: float) -> tuple[Outputs, Outputs]:
    generator = np.random.default_rng(7)
    clean = generator.normal(size=(n, 10)).astype(np.float32)
    base = Outputs(arrays={"y": clean}, primary="y")
    dirty = clean + (noise * generator.normal(size=clean.shape)).astype(np.float32)
    return replace(base, arrays={"y": dirty}, reference=base), base


def test_a_mean_is_compared_by_the_bootstrap() -> None:
    cell, base = _noisy(200, 0.3)
    metric = get_metric("cosine")
    result, found = evaluate(metric, cell), compare(metric, cell, base)
    assert result.low is not None and result.high is not None
    assert found.low is not None and found.high is not None
    assert result.low < result.value < result.high < 1.0
    # The baseline's cosine with itself is 1 on every sample.
    assert found.value == pytest.approx(result.value - 1.0)
    assert (found.low, found.high) == pytest.approx((result.low - 1, result.high - 1), abs=1e-3)
    assert found.p_value < 0.001
    assert compare(metric, cell, base) == found


def test_holm_can_still_call_a_mean_over_two_hundred_cells() -> None:
    cell, base = _noisy(600, 0.3)
    assert 200 * compare(get_metric("cosine"), cell, base).p_value < 0.05


def test_identical_means_claim_no_certainty() -> None:
    _, base = _noisy(50, 0.0)
    itself = replace(base, reference=base)
    result = evaluate(get_metric("cosine"), itself)
    assert (result.value, result.low, result.high) == (1.0, None, None)
    assert compare(get_metric("cosine"), itself, base) == (0.0, None, None, 1.0)


def test_a_statistic_is_compared_on_the_same_draws() -> None:
    generator = np.random.default_rng(8)
    labels = generator.normal(size=120)
    good = Outputs(arrays={"y": (labels + generator.normal(size=120) / 4)[:, None]}, primary="y")
    bad = Outputs(arrays={"y": (labels + generator.normal(size=120) * 4)[:, None]}, primary="y")
    good, bad = (replace(o, labels=labels) for o in (good, bad))
    metric = get_metric("spearman")
    found = compare(metric, bad, good)
    assert found.value == evaluate(metric, bad).value - evaluate(metric, good).value
    assert found.high is not None and found.high < 0.0
    assert found.p_value < 0.001
    assert compare(metric, good, bad).p_value == pytest.approx(found.p_value)
    assert compare(metric, good, good) == (0.0, None, None, 1.0)


def test_other_samples_are_refused() -> None:
    with pytest.raises(DataError, match="3 units and for the baseline a proportion of 2"):
        compare(get_metric("top1"), classified([1, 0, 1]), classified([1, 0]))


def test_agreement_of_answers() -> None:
    a, b = classified([1, 0, 2, 1]), classified([1, 0, 0, 1])
    found = agreement(get_metric("top1"), a, b)
    assert (found.value, found.low, found.high) == (0.75, *wilson(3, 4))
    with pytest.raises(DataError, match="cannot be compared"):
        answers_agree(np.zeros(0), np.zeros(0))
    with pytest.raises(DataError, match=r"\(2,\) and \(3,\)"):
        answers_agree(np.zeros(2), np.zeros(3))


def test_text_answers_agree() -> None:
    a, b = np.empty(3, object), np.empty(3, object)
    a[:], b[:] = ["x", "", "NaN"], ["x", "y", "NaN"]
    assert answers_agree(a, b).value == pytest.approx(2 / 3)


def test_info() -> None:
    found = info(get_metric("top1"), classified([1, 0]))
    assert found.model_dump() == {
        "name": "top1",
        "higher_is_better": True,
        "answer": "top class",
        "output": "y",
        "interval": "Wilson score, 95 %",
        "test": "exact McNemar, two-sided; Tango interval",
        "against_baseline": False,
    }


@pytest.mark.parametrize("name", metric_names())
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_broken_outputs_still_give_json(name: str, broken: float) -> None:
    metric = get_metric(name)
    n, t, c = 8, 4, 7
    shape = {"spearman": (n, 1), "cer": (n, 1, t, c), "token_accuracy": (n, t, c)}.get(name, (n, c))
    labels = np.arange(n) % (c - 1) + 1
    if name in ("cer", "token_accuracy"):
        labels = np.stack([labels] * t, axis=1)
    base = Outputs(
        arrays={"y": np.random.default_rng(0).normal(size=shape).astype(np.float32)},
        primary="y",
        labels=labels,
    )
    cell = replace(base, arrays={"y": np.full(shape, broken, np.float32)}, reference=base)
    result, found = evaluate(metric, cell), compare(metric, cell, base)
    json.dumps([result.model_dump(), found], allow_nan=False)
    assert len(metric.answers(cell)) == n
    assert len({metric.describe(a) for a in metric.answers(cell)}) == 1
