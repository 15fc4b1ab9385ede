"""Seeing activations without changing answers: fewer of them, or models that end in one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from plants import LocalAsker, Plant, digits_run, nodes_of, planted

from chipdrift.diagnose.case import Case
from chipdrift.diagnose.drift import Alone
from chipdrift.diagnose.watch import watch
from chipdrift.graph import computing_only, dissect
from chipdrift.matrix.reopen import reopen
from chipdrift.numerics.profiles import get_profile
from chipdrift.targets import get_target

Array = np.ndarray[Any, Any]
NODE = "block3/pointwise"


class Shy(LocalAsker):
    """Answers otherwise where more outputs are asked for than ``bears``."""

    bears = 1

    def ask_each(self, model: bytes, feeds: Iterable[Mapping[str, Array]]) -> Iterator[list[Array]]:
        many = len(onnx.load_from_string(model).graph.output) > self.bears
        for answer in super().ask_each(model, feeds):
            yield [answer[0] + np.float32(1), *answer[1:]] if many else answer


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits_run(tmp_path_factory.mktemp("watch") / "run")


@pytest.mark.parametrize("how", ["all", "computing", "cut"])
def test_the_first_that_differs_is_found_whatever_the_target_bears(how: str, run: Path) -> None:
    opened, base = reopen(run), get_profile("ort-mlas")
    model = opened.files["w8a8"].read_bytes()
    rules = nodes_of(model, base)[NODE][1]
    plant = Plant("dropped_bits", "requantize", (("drop", 8),))
    other = planted(base, rules, NODE, plant)
    assert other is not None
    target = get_target("sim:ort-mlas")
    strange = replace(target, name="sim:planted")  # not in the run: only A can be held against it
    case = Case(opened, "w8a8", target, strange, model, {})
    anatomy = dissect(model)
    fewer = len(computing_only(model, anatomy).tensors)
    assert 1 < fewer < len(anatomy.tensors)
    with Shy(target, base) as a, LocalAsker(target, other) as b:
        a.bears = {"all": 1000, "computing": fewer, "cut": 1}[how]
        alone = Alone(a, model, anatomy.cut), Alone(b, model, anatomy.cut)
        feeds = [opened.samples.feed(index) for index in range(4)]
        seen = watch(case, anatomy, range(4), feeds, (a, b), alone, lambda words: None)
    assert seen.drift.first is not None
    assert seen.drift.first.node == NODE
    assert seen.how == how
    assert seen.changed == (how != "all", None)
    assert all(len(kept) >= len(anatomy.tensors) for kept in seen.drift.kept_a), "moves filled in"


def test_what_watching_changes_is_no_difference_to_outputs_alone(run: Path) -> None:
    """A answers otherwise with its activations as outputs; B holds what A answered in the run."""
    opened, base = reopen(run), get_profile("ort-mlas")
    model = opened.files["w8a8"].read_bytes()
    target = get_target("sim:ort-mlas")
    case = Case(opened, "w8a8", target, replace(target, answers_only=True), model, {})
    anatomy = dissect(model)
    feeds = [opened.samples.feed(index) for index in range(4)]
    with Shy(target, base) as a, LocalAsker(target, base) as b:
        alone = Alone(a, model, anatomy.cut), None
        seen = watch(case, anatomy, range(4), feeds, (a, b), alone, lambda words: None)
    assert seen.how == "outputs" and seen.changed == (True, False)
    assert [o.distance.differing for o in seen.drift.outputs] == [0.0]
    assert not any(seen.drift.parted) and not seen.drift.activations
    (note,) = seen.notes
    assert "the outputs compared are those of the run" in note
