from typing import Any

import numpy as np
import pytest

from chipdrift.errors import DataError
from chipdrift.metrics import Outputs, evaluate, get_metric
from chipdrift.metrics.sequences import decode_ctc, edit_distances

NAN = float("nan")


def one_hot(path: list[list[int]], classes: int) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[np.array(path)][:, None]


def given(array: np.ndarray, labels: Any, **extras: Any) -> Outputs:
    return Outputs(
        arrays={"y": array},
        primary="y",
        labels=None if labels is None else np.array(labels),
        extras={name: np.array(value) for name, value in extras.items()},
    )


def test_ctc_collapses_repeats_then_drops_blanks() -> None:
    path = np.array([[0, 1, 1, 0, 1, 2, 2], [0, 0, 0, 0, 0, 0, 0], [3, 3, 3, -1, 3, 3, 3]])
    first, second, third = decode_ctc(path)
    assert first is not None and first.tolist() == [1, 1, 2]
    assert second is not None and second.tolist() == []
    assert third is None


def test_edit_distances_of_known_words() -> None:
    words = [
        ("kitten", "sitting", 3),
        ("", "abc", 3),
        ("abc", "", 3),
        ("", "", 0),
        ("flaw", "lawn", 2),
    ]
    first, second = ([np.array([ord(c) for c in w[i]], np.int64) for w in words] for i in (0, 1))
    assert edit_distances(first, second).tolist() == [w[2] for w in words]
    assert edit_distances([], []).tolist() == []


PATHS = [[1, 1, 0, 2, 3], [3, 0, 3, 0, 0], [0, 0, 0, 0, 0]]  # abc, cc, nothing


def test_cer_of_class_labels() -> None:
    labels = [[1, 2, 3, -1], [3, 3, 1, 2], [1, -1, -1, -1]]
    assert evaluate(get_metric("cer"), given(one_hot(PATHS, 4), labels)).value == 3 / 8


@pytest.mark.parametrize("charset", [["", "a", "b", "c"], ["a", "b", "c"]])
def test_cer_of_text(charset: list[str]) -> None:
    metric = get_metric("cer")
    outputs = given(one_hot(PATHS, 4), ["abd", "cc", "b"], charset=charset)
    assert evaluate(metric, outputs).value == 2 / 6
    assert metric.answers(outputs).tolist() == ["abc", "cc", ""]
    assert metric.describe("abc") == '"abc"'
    assert metric.describe_label(outputs, 0) == '"abd"'


def test_cer_answers_without_charset_or_labels() -> None:
    metric = get_metric("cer")
    array = one_hot(PATHS, 4)
    array[1, 0, 2] = NAN
    assert metric.answers(given(array, None)).tolist() == ["1 2 3", "NaN", ""]


def test_cer_of_nan_loses_the_whole_label() -> None:
    array = one_hot(PATHS, 4)
    array[:, 0, 0] = NAN
    labels = [[1, 2, 3], [3, 3, -1], [-1, -1, -1]]
    assert evaluate(get_metric("cer"), given(array, labels)).value == 1.0


def test_cer_of_integer_outputs() -> None:
    labels = [[1, 2, 3], [3, 3, -1], [1, -1, -1]]
    assert evaluate(get_metric("cer"), given(np.array(PATHS), labels)).value == 1 / 6


@pytest.mark.parametrize(
    ("labels", "extras", "message"),
    [
        (None, {}, "needs labels"),
        (["a", "b", "c"], {}, "no 'charset'"),
        (["a", "b", "c"], {"charset": ["a"]}, "1 strings, expected 4"),
        (["a", "b"], {"charset": ["a", "b", "c"]}, "2 labels"),
        ([1, 2, 3], {}, r"shape \(3,\)"),
        ([[1], [0], [1]], {}, "label of sample 1 is 0, expected 1 to 3 or -1"),
        ([[1, 1], [1, 4], [1, 1]], {}, "label of sample 1, position 1 is 4"),
        ([[-1], [-1], [-1]], {}, "all labels are empty"),
        ([[1.0], [1.0], [1.0]], {}, "dtype float64"),
    ],
)
def test_cer_names_bad_labels(labels: Any, extras: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        get_metric("cer").check(given(one_hot(PATHS, 4), labels, **extras))


@pytest.mark.parametrize("name", ["cer", "token_accuracy"])
def test_outputs_without_steps(name: str) -> None:
    with pytest.raises(DataError, match=r"shape \(4,\) and dtype float64, expected scores"):
        get_metric(name).check(given(np.ones((3, 4)), [[1], [1], [1]]))


def test_token_accuracy_ignores_minus_100() -> None:
    metric = get_metric("token_accuracy")
    labels = [[1, 1, 0, 2, 3], [3, -100, -100, -100, 1], [1, 1, 1, 1, -100]]
    outputs = given(one_hot(PATHS, 4), labels)
    metric.check(outputs)
    assert metric.measure(outputs).scores.tolist() == [1.0, 0.5, 0.0]
    assert metric.answers(outputs).tolist() == ["1 1 0 2 3", "3 0", "0 0 0 0"]
    assert metric.answers(given(one_hot(PATHS, 4), None))[1] == "3 0 3 0 0"
    assert metric.describe_label(outputs, 1) == "3 1"


@pytest.mark.parametrize("lead", [(), (1,)])
def test_token_accuracy_of_integer_outputs(lead: tuple[int, ...]) -> None:
    metric = get_metric("token_accuracy")
    outputs = given(np.array(PATHS).reshape(3, *lead, 5), [[1, 1, 0, 2, 0], [0] * 5, [0] * 5])
    metric.check(outputs)
    assert metric.measure(outputs).scores.tolist() == [0.8, 0.6, 1.0]


def test_token_accuracy_of_nan_is_wrong() -> None:
    metric = get_metric("token_accuracy")
    array = one_hot(PATHS, 4)
    array[0, 0, 0, 3] = NAN
    outputs = given(array, PATHS)
    assert metric.measure(outputs).scores.tolist() == [0.8, 1.0, 1.0]
    assert metric.answers(outputs)[0] == "NaN 1 0 2 3"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[1, 2], [1, 2], [1, 2]], r"shape \(3, 2\), expected one token per position, \(3, 5\)"),
        ([[4] * 5] * 3, "label of sample 0, position 0 is 4, expected 0 to 3 or -100"),
        ([[1] * 5, [-100] * 5, [1] * 5], "all labels of sample 1 are -100"),
    ],
)
def test_token_accuracy_names_bad_labels(labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        get_metric("token_accuracy").check(given(one_hot(PATHS, 4), labels))
