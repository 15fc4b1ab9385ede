"""Compiled ops that sessions share: the same answers, each op compiled once, no more than fit."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from single_op import Case, Q, feed_of, model_of

from chipdrift.graph.program import program_of
from chipdrift.numerics.profile import Accumulator, Profile
from chipdrift.numerics.profiles import get_profile
from chipdrift.numerics.tensors import OpSpec
from chipdrift.targets.sim import session as sessions
from chipdrift.targets.sim import shelf as shelves
from chipdrift.targets.sim.plan import IntegerUnit, make_plan
from chipdrift.targets.sim.session import SimSession
from chipdrift.targets.sim.shelf import Shelf

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(3)
VALUES = RNG.integers(0, 256, (1, 3, 6, 6)).astype(np.uint8)
WEIGHTS = RNG.integers(-100, 100, (4, 3, 3, 3)).astype(np.int8)
OUT = Q("uint8", 0.15, 128)
PADS = {"pads": [1, 1, 1, 1]}


def conv(
    scale: float = 0.02,
    zero: int = 120,
    out: Q = OUT,
    weights: Array = WEIGHTS,
    attributes: Any = PADS,
    relu: bool = False,
) -> Case:
    inputs = (Q("uint8", scale, zero, VALUES), Q("int8", 0.01, 0, weights, True))
    return Case("Conv", inputs, out, attributes, relu=relu)


MATRIX = Q("int8", 0.01, 0, WEIGHTS[:2, :, 0].reshape(6, 3), True)
# Each differs from the first in one thing.
CASES = [
    conv(),
    conv(scale=0.03),
    conv(zero=90),
    conv(out=Q("uint8", 0.2, 128)),
    conv(out=Q("uint8", 0.15, 100)),
    conv(out=Q("uint16", 0.15, 128)),
    conv(weights=WEIGHTS[::-1]),
    conv(attributes={"pads": [0, 0, 0, 0]}),
    conv(attributes={**PADS, "strides": [2, 2]}),
    conv(relu=True),
    Case("MatMul", [Q("uint8", 0.02, 9, VALUES[0, 0]), MATRIX], Q("uint8", 0.05, 120)),
    Case("Sigmoid", [Q("uint8", 0.02, 9, VALUES)], Q("uint8", 1 / 256, 0)),
    Case("Sigmoid", [Q("uint8", 0.03, 9, VALUES)], Q("uint8", 1 / 256, 0)),
]
PROFILES = [get_profile(name) for name in ("hexagon-v73", "hexagon-v69", "ort-mlas")]
NARROW = Accumulator(width=16, overflow="saturate")
PROFILES.append(PROFILES[0].model_copy(update={"accumulator": NARROW}))


def spec_of(case: Case, profile: Profile = PROFILES[0]) -> OpSpec:
    units = make_plan(program_of(model_of(case)), profile).units
    (unit,) = (unit for unit in units if isinstance(unit, IntegerUnit))
    return unit.spec


def test_what_differs_in_one_thing_is_another_op(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model under every profile, in one process, twice: the reference's integers."""
    shelf = Shelf()
    monkeypatch.setattr(shelves, "SHELF", shelf)
    runs = [(case, profile) for case in CASES for profile in PROFILES]
    answers = []
    for case, profile in (*runs, *runs[::-1]):
        program = program_of(model_of(case))
        found = SimSession(program, profile).run(feed_of(case))[0]
        expected = SimSession(program, profile, fast=False).run(feed_of(case))[0]
        np.testing.assert_array_equal(found, expected)
        answers.append(found.tobytes())
    assert len(set(answers[: len(runs)])) > len(CASES)  # the profiles differ, too
    assert len(shelf) <= len(runs)


def test_an_op_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def counted(spec: OpSpec) -> Any:
        compiled.append(spec)
        return lambda arrays, seed=None: arrays[0]

    monkeypatch.setattr(shelves, "compile_op", counted)
    shelf = Shelf()
    kernels = [shelf.kernel(spec_of(case)) for case in CASES for _ in range(3)]
    assert len(compiled) == len(shelf) == len(CASES)
    assert all(len({id(kernel) for kernel in kernels[i : i + 3]}) == 1 for i in range(0, 39, 3))


def test_what_was_used_longest_ago_leaves_first(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    monkeypatch.setattr(shelves, "compile_op", lambda spec: compiled.append(spec.node))
    specs = [replace(spec_of(conv()), node=name) for name in "abc"]
    shelf = Shelf(most=5 * len(pickle.dumps(specs[0])) // 2)  # two, not three
    for spec in (specs[0], specs[1], specs[0], specs[2], specs[0], specs[1]):
        shelf.kernel(spec)
    assert compiled == ["a", "b", "c", "b"]
    shelf = Shelf(most=1)
    shelf.kernel(specs[0])
    assert len(shelf) == 1


def test_sessions_take_from_the_shelf(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, program = Shelf(), program_of(model_of(conv()))
    monkeypatch.setattr(shelves, "SHELF", shelf)
    sessions.SimSession(program, PROFILES[0])
    assert len(shelf) == 1
    sessions.SimSession(program, PROFILES[0])
    assert len(shelf) == 1
