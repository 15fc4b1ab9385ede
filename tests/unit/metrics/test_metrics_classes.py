import numpy as np
import pytest

from chipdrift.errors import DataError
from chipdrift.metrics import Outputs, get_metric

NAN = float("nan")
SCORES = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6],
        [9, 0, 0, 9, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
        [0, 0, NAN, 0, 9, 0, 0],
        [-np.inf, -np.inf, -np.inf, -np.inf, -np.inf, np.inf, -np.inf],
    ],
    np.float32,
)


def outputs(labels: list[int] | None, scores: np.ndarray = SCORES) -> Outputs:
    given = None if labels is None else np.array(labels)
    return Outputs(arrays={"logits": scores[:, None, :]}, primary="logits", labels=given)


@pytest.mark.parametrize(
    ("labels", "expected"), [([6, 0, 0, 4, 5], [1, 1, 1, 0, 1]), ([5, 3, 6, 2, 0], [0] * 5)]
)
def test_top1(labels: list[int], expected: list[int]) -> None:
    assert get_metric("top1").measure(outputs(labels)).scores.tolist() == expected


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([2, 3, 4, 4, 3], [1, 1, 1, 0, 1]), ([1, 5, 5, 0, 4], [0, 0, 0, 0, 0])],
)
def test_top5_breaks_ties_by_the_lower_index(labels: list[int], expected: list[int]) -> None:
    # Row 1 is ordered 0 3 1 2 4 | 5 6, row 4 is ordered 5 0 1 2 3 | 4 6.
    assert get_metric("top5").measure(outputs(labels)).scores.tolist() == expected


@pytest.mark.parametrize("name", ["top1", "top5", "agreement"])
def test_answers_are_top_classes(name: str) -> None:
    metric = get_metric(name)
    answers = metric.answers(outputs(None))
    assert answers.tolist() == [6, 0, 0, -1, 5]
    assert [metric.describe(a) for a in answers] == ["6", "0", "0", "NaN", "5"]
    assert metric.describe_label(outputs([6, 0, 0, 4, 5]), 3) == "4"
    assert metric.describe_label(outputs(None), 3) is None


def test_integer_scores_have_a_top_class() -> None:
    scores = np.array([[1, 5, 2], [7, 7, 0]], np.uint8)
    assert get_metric("top1").answers(outputs(None, scores)).tolist() == [1, 0]


def test_agreement_counts_nan_on_either_side_as_apart() -> None:
    scores = np.array([[1, 0], [1, 0], [NAN, 0], [NAN, 0]])
    base = Outputs(arrays={"y": np.array([[2.0, 1], [0, 1], [1, 0], [NAN, 0]])}, primary="y")
    mine = Outputs(arrays={"y": scores}, primary="y", reference=base)
    assert get_metric("agreement").measure(mine).scores.tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "needs labels"),
        (np.array([0, 1, 7, 0, 0]), "label of sample 2 is 7, expected 0 to 6"),
        (np.array([0, -1, 7, 0, 0]), "label of sample 1 is -1"),
        (np.array([0.0, 1, 2, 3, 4]), "dtype float64"),
        (np.array([0, 1]), r"shape \(2,\)"),
        (np.eye(5, 7, dtype=np.int64), "argmax"),
    ],
)
def test_bad_labels_are_named(labels: np.ndarray | None, message: str) -> None:
    given = Outputs(arrays={"logits": SCORES}, primary="logits", labels=labels)
    with pytest.raises(DataError, match=message):
        get_metric("top1").check(given)


def test_labels_may_stand_in_a_column() -> None:
    given = Outputs(arrays={"y": SCORES}, primary="y", labels=np.array([[6], [0], [0], [4], [5]]))
    get_metric("top1").check(given)
    assert get_metric("top1").measure(given).scores.tolist() == [1, 1, 1, 0, 1]


def test_too_few_classes() -> None:
    labels = np.array([0, 0])
    with pytest.raises(DataError, match="1 values per sample, expected at least 2"):
        get_metric("top1").check(Outputs(arrays={"y": np.ones((2, 1))}, primary="y", labels=labels))
    with pytest.raises(DataError, match="5 values per sample, expected at least 6"):
        get_metric("top5").check(Outputs(arrays={"y": np.ones((2, 5))}, primary="y", labels=labels))


def test_no_samples() -> None:
    given = Outputs(arrays={"y": np.ones((0, 3))}, primary="y", labels=np.zeros(0, np.int64))
    with pytest.raises(DataError, match="no samples"):
        get_metric("top1").check(given)


def test_outputs_must_fit_together() -> None:
    with pytest.raises(DataError, match="reads output 'x', but the model's outputs are y"):
        Outputs(arrays={"y": np.ones((2, 3))}, primary="x")
    with pytest.raises(DataError, match=r"'z' has shape \(3,\), expected 2 samples"):
        Outputs(arrays={"y": np.ones((2, 3)), "z": np.ones(3)}, primary="y")


def test_reference_must_be_there_in_the_same_shape() -> None:
    alone = Outputs(arrays={"y": np.ones((2, 3))}, primary="y")
    with pytest.raises(DataError, match="reference and has none"):
        get_metric("agreement").check(alone)
    other = Outputs(arrays={"y": np.ones((2, 4))}, primary="y")
    mine = Outputs(arrays={"y": np.ones((2, 3))}, primary="y", reference=other)
    with pytest.raises(DataError, match=r"\(2, 4\), expected \(2, 3\)"):
        get_metric("agreement").check(mine)
