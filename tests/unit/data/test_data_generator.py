"""Samples from the user's own function: every form it may yield, and what goes wrong in it."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chipdrift.data import Samples, load_data
from chipdrift.errors import DataError
from chipdrift.records import TensorSpec

COUNTER = itertools.count()
ONE = [TensorSpec(name="x", dtype="float32", shape=(1, 2))]
TWO = [*ONE, TensorSpec(name="n", dtype="int64", shape=())]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Samples]:
    """Write ``body`` as a function ``f`` of a new module in the current folder, and load it."""
    monkeypatch.chdir(tmp_path)

    def make(body: str, inputs: list[TensorSpec] = ONE, limit: int | None = None) -> Samples:
        name = f"generated_{next(COUNTER)}"
        (tmp_path / f"{name}.py").write_text(f"import numpy as np\ndef f():\n    {body}\n")
        before = list(sys.path)
        try:
            return load_data(f"{name}:f", inputs, limit)
        finally:
            assert sys.path == before
            sys.modules.pop(name, None)

    return make


@pytest.mark.parametrize(
    "item",
    [
        "{'x': x, 'label': i}",
        "{'x': x[None], 'label': i}",
        "({'x': x}, i)",
        "(x, i)",
        "(x[None], np.int64(i))",
        "{'x': x, 'label': i, 'comment': np.zeros(3)}",
    ],
)
def test_forms_with_a_label(item: str, load: Callable[..., Samples]) -> None:
    body = f"for i in range(3): x = np.float32([i, i + 1]); yield {item}"
    samples = load(body)
    assert samples.labels is not None
    assert samples.labels.tolist() == [0, 1, 2]
    for i, feed in enumerate(samples.feeds()):
        assert list(feed) == ["x"], "what is no input does not reach the runtime"
        np.testing.assert_array_equal(feed["x"], np.float32([[i, i + 1]]))


def test_a_bare_array_and_no_labels(load: Callable[..., Samples]) -> None:
    samples = load("yield from np.ones((4, 2), np.float32)")
    assert (len(samples), samples.labels, samples.info().labels) == (4, None, False)
    assert len(load("return list(np.ones((4, 2), np.float32))")) == 4


def test_several_inputs_and_a_python_scalar(load: Callable[..., Samples]) -> None:
    samples = load("yield {'x': np.float32([1, 2]), 'n': 7}", TWO)
    feed = samples.feed(0)
    assert feed["n"].shape == ()
    assert feed["n"].dtype == np.int64
    assert isinstance(feed["n"], np.ndarray)


def test_a_limit_stops_an_endless_generator(load: Callable[..., Samples]) -> None:
    assert len(load("while True: yield np.ones(2, np.float32)", limit=5)) == 5


def test_the_same_samples_have_the_same_hash_as_an_npz(
    load: Callable[..., Samples], tmp_path: Path
) -> None:
    samples = load("for i in range(3): yield np.float32([i, 1]), i")
    x = np.stack([np.float32([i, 1]) for i in range(3)])
    np.savez(tmp_path / "d.npz", x=x, labels=np.arange(3))
    other = load_data(tmp_path / "d.npz", ONE)
    assert other.keys == samples.keys
    assert other.info().sha256 == samples.info().sha256


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "raise RuntimeError('the camera is off\\nsecond line')",
            "RuntimeError: the camera is off",
        ),
        ("yield 1 / 0", "ZeroDivisionError"),
        ("return 3", "TypeError"),
        ("return []", "no samples"),
        ("yield np.ones(3, np.float32)", r"sample 0 of input 'x' has shape \(3,\)"),
        ("yield np.ones(2)", "is float64, the model takes float32"),
        ("yield [1.0, 2.0]", "is float64"),
        ("yield {'y': np.ones(2, np.float32)}", "sample 0 lacks the model's input 'x'; it has 'y'"),
        ("yield np.float32([1, np.inf])", "holds infinity"),
        ("x = np.ones(2, np.float32); yield (x, 1); yield x", "some samples have a label"),
        ("x = np.ones(2, np.float32); yield (x, [1]); yield (x, [1, 2])", "labels differ in shape"),
        ("yield {}", "it has nothing"),
    ],
)
def test_what_goes_wrong_is_said(body: str, words: str, load: Callable[..., Samples]) -> None:
    with pytest.raises(DataError, match=words) as caught:
        load(body)
    assert "\n" not in str(caught.value)


def test_a_bare_array_for_two_inputs_and_names_that_are_not_there(
    load: Callable[..., Samples],
) -> None:
    with pytest.raises(DataError, match=r"sample 0 is a ndarray; yield a dict.*'x', 'n'"):
        load("yield np.ones(2, np.float32)", TWO)
    with pytest.raises(DataError, match="ModuleNotFoundError"):
        load_data("no_such_module_anywhere:f", ONE)
    with pytest.raises(DataError, match="AttributeError"):
        load_data("json:no_such_function", ONE)
