import sys
from pathlib import Path

import numpy as np
import pytest

from chipdrift.errors import DataError
from chipdrift.metrics import Outputs, compare, evaluate, get_metric, info

SOURCE = """
import numpy as np

def hit(outputs, labels):
    return outputs.reshape(len(outputs), -1).argmax(1) == labels

def error(outputs, labels):
    return np.abs(outputs["y"][:, 0] - labels)
error.higher_is_better = False
error.needs_labels = True

def spread(outputs, labels):
    return outputs.std()

def rare(outputs, labels):
    if labels.max() == 0:
        raise ValueError("only one class")
    return float(outputs[labels == 1].mean())

def listed(outputs, labels):
    return [0.5] * len(outputs)

def raises(outputs, labels):
    raise KeyError("score")

def nothing(outputs, labels):
    return None

def ragged(outputs, labels):
    return [[1], [1, 2]]

def nan(outputs, labels):
    return np.where(np.arange(len(outputs)) == 1, np.nan, 1.0)

def short(outputs, labels):
    return np.ones(len(outputs) - 1)

LIMIT = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_own_scores.py").write_text(SOURCE)
    (tmp_path / "my_broken_scores.py").write_text("import no_such_module_anywhere\n")
    monkeypatch.chdir(tmp_path)
    for name in ("my_own_scores", "my_broken_scores"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "my_own_scores"


def outputs(n: int = 40, *, two: bool = False, seed: int = 0) -> Outputs:
    generator = np.random.default_rng(seed)
    arrays = {"y": generator.normal(size=(n, 3))}
    if two:
        arrays["z"] = generator.normal(size=(n, 1))
    return Outputs(arrays=arrays, primary="y", labels=np.arange(n) % 3)


def test_path_is_put_back(module: str) -> None:
    before = list(sys.path)
    get_metric(f"{module}:hit")
    assert sys.path == before


def test_booleans_are_a_proportion(module: str) -> None:
    metric, given = get_metric(f"{module}:hit"), outputs()
    assert metric.measure(given).kind == "proportion"
    assert evaluate(metric, given).value == (given.array.argmax(1) == given.labels).mean()
    assert info(metric, given).test.startswith("exact McNemar")
    assert metric.higher_is_better and not metric.needs_labels


def test_a_model_of_two_outputs_gives_a_dict_and_attributes_are_heeded(module: str) -> None:
    metric, given = get_metric(f"{module}:error"), outputs(two=True)
    assert not metric.higher_is_better
    assert metric.needs_labels
    found = evaluate(metric, given)
    assert found.value == pytest.approx(np.abs(given.arrays["y"][:, 0] - given.labels).mean())
    assert found.low is not None and found.low < found.value
    assert info(metric, given).interval.startswith("bootstrap")


def test_one_number_is_a_statistic(module: str) -> None:
    metric, given = get_metric(f"{module}:spread"), outputs()
    found = evaluate(metric, given)
    assert found.value == given.array.std()
    assert found.low is not None and found.high is not None
    assert found.low < found.value < found.high
    same = compare(metric, given, given)
    assert (same.value, same.p_value, same.low) == (0.0, 1.0, None)


def test_draws_the_function_cannot_score_are_left_out(module: str) -> None:
    given = Outputs(
        arrays={"y": np.arange(20.0)[:, None]},
        primary="y",
        labels=np.array([1] * 5 + [0] * 15),
    )
    found = evaluate(get_metric(f"{module}:rare"), given)
    assert found.value == 2.0
    assert found.low is not None and found.low < 2.0


def test_lists_will_do(module: str) -> None:
    assert evaluate(get_metric(f"{module}:listed"), outputs()).value == 0.5


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("raises", "raised KeyError: 'score'"),
        ("nothing", "returned NoneType None, expected one number per sample"),
        ("ragged", r"returned list \[\[1\], \[1, 2\]\], expected"),
        ("nan", "returned nan for sample 1, expected a finite number"),
        ("short", r"shape \(39,\), expected \(40,\)"),
        ("absent", "has no function 'absent'; it has error, hit"),
        ("LIMIT", "has no function 'LIMIT'"),
    ],
)
def test_wrong_functions_are_named(module: str, function: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        evaluate(get_metric(f"{module}:{function}"), outputs())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module_here:f", "raised ModuleNotFoundError.*expected no_such_module_here.py in"),
        ("my_broken_scores:f", "No module named 'no_such_module_anywhere'"),
        (":f", "not of the form"),
        ("my_own_scores:", "not of the form"),
    ],
)
def test_wrong_names_are_told(module: str, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        get_metric(name)


def test_needed_labels(module: str) -> None:
    given = Outputs(arrays={"y": np.ones((2, 1))}, primary="y")
    with pytest.raises(DataError, match="needs labels"):
        evaluate(get_metric(f"{module}:error"), given)
    assert get_metric(f"{module}:error").describe_label(given, 0) is None
