"""The judge's figures against NumPy, and options that are kept only where they help twice."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnxruntime
import pytest
from judges import judge_in

from chipdrift.errors import RunError
from chipdrift.metrics import Outputs
from chipdrift.plan.judge import Figures, Judge
from chipdrift.plan.options import options_of, try_options, tuned_side
from chipdrift.plan.sides import resolve_sides
from chipdrift.schemes import get_scheme
from chipdrift.targets import get_target


@pytest.fixture
def judged(small_model: Path, small_data: Path, tmp_path: Path) -> Any:
    with judge_in(tmp_path / "run", small_model, small_data) as judge:
        yield judge


def answers(file: Path, small_data: Path) -> Any:
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    rows = np.load(small_data)["x"]
    return np.concatenate([session.run(None, {"x": row[None]})[0] for row in rows])


def test_figures_are_those_of_the_outputs(
    judged: Judge, small_model: Path, small_data: Path
) -> None:
    scheme, target = get_scheme("w8a8"), get_target("ort:cpu")
    (found,) = judged.measure([(scheme, target)])
    held = judged.outputs(scheme, target, judged.every)
    assert held is not None
    plain, noisy = answers(small_model, small_data), held.array.reshape(40, 4)
    labels = np.load(small_data)["labels"]
    right, before = noisy.argmax(1) == labels, plain.argmax(1) == labels
    assert found.metric is not None and found.loss is not None and found.agreement is not None
    assert found.metric.value == pytest.approx(right.mean())
    assert found.loss.value == pytest.approx(before.mean() - right.mean())
    assert found.loss.low is not None and found.loss.high is not None
    assert found.loss.low <= found.loss.value <= found.loss.high
    assert found.agreement.value == pytest.approx((noisy.argmax(1) == plain.argmax(1)).mean())
    wide = judged.measure([(scheme, target)], level=0.999)[0]
    assert wide.loss is not None and wide.loss.low is not None and wide.loss.high is not None
    assert wide.loss.low < found.loss.low and wide.loss.high > found.loss.high
    assert (found.samples, found.fallback, found.error) == (40, 0, None)


def test_every_question_is_counted_from_nothing(judged: Judge) -> None:
    last: list[Any] = []
    assert judged._scheduler is not None
    judged._scheduler._progress = last.append
    counts = []
    for scheme, few in (("w8a8", (0, 1)), ("w8a8_pc", (0, 1, 2)), ("w8a8", (0, 1, 2))):
        judged.measure([(get_scheme(scheme), get_target("ort:cpu"))], few)
        counts.append((last[-1].done, last[-1].planned))
    assert counts == [(2, 2), (3, 3), (1, 1)]


def test_a_loss_is_positive_where_the_metric_fell(judged: Judge) -> None:
    """Planted outputs: the baseline is right on 30 of 40, the candidate on 10 of these."""
    labels = cast(Any, judged.request.samples.labels)
    scheme, target = get_scheme("w8a8"), get_target("ort:cpu")
    judged.measure([(scheme, target)])

    def outputs(right: int) -> Outputs:
        told = np.where(np.arange(40) < right, labels, (labels + 1) % 4)
        logits = np.eye(4, dtype=np.float32)[told]
        return Outputs(arrays={"y": logits}, primary="y", labels=labels, extras={})

    base, candidate = outputs(30), outputs(10)
    cell = judged._cell(scheme, target)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chipdrift.plan.judge.load_outputs", lambda *_: candidate)
        found = judged._figures(cell, replace(base, reference=base), judged.every, 0.95)
        assert found.loss is not None and found.loss.low is not None
        assert found.loss.value == pytest.approx(20 / 40)
        assert found.loss.low > 0.3
        judged.request = replace(judged.request, metric=replace_direction(judged.metric))
        other = judged._figures(cell, replace(base, reference=base), judged.every, 0.95)
    assert other.loss is not None and other.loss.high is not None
    assert other.loss.value == pytest.approx(-20 / 40)
    assert other.loss.high == pytest.approx(-found.loss.low)


def replace_direction(metric: Any) -> Any:
    """The same figures, lower being better."""
    turned = type("Turned", (type(metric),), {"higher_is_better": False})
    made = object.__new__(turned)
    made.__dict__.update(metric.__dict__)
    return made


def test_on_some_samples_there_is_noise_and_no_metric(judged: Judge) -> None:
    scheme, target = get_scheme("w8a8"), get_target("ort:cpu")
    (some,) = judged.measure([(scheme, target)], (3, 1, 20))
    assert (some.metric, some.loss, some.samples) == (None, None, 3)
    held = judged.outputs(scheme, target, (3, 1, 20))
    base = judged.baseline((3, 1, 20))
    assert held is not None
    noise = np.square(held.array.astype(np.float64) - base.array).reshape(3, -1).sum(1)
    signal = np.square(base.array.astype(np.float64)).reshape(3, -1).sum(1)
    means = [10 * np.log10(signal.sum() / noise.sum()), (10 * np.log10(signal / noise)).mean()]
    assert any(some.sqnr_db == pytest.approx(mean, rel=1e-6) for mean in means)
    (whole,) = judged.measure([(scheme, target)])
    assert whole.metric is not None


def test_a_scheme_that_makes_no_model_has_its_reason(judged: Judge) -> None:
    scheme = get_scheme("w8a8").model_copy(
        update={"name": "mine", "layer": (get_layer("no such node"),)}
    )
    (found,) = judged.measure([(scheme, get_target("ort:cpu"))])
    assert found.error is not None and "no such node" in found.error
    assert (found.metric, found.loss, found.sqnr_db) == (None, None, None)


def get_layer(node: str) -> Any:
    from chipdrift.schemes import Layer

    return Layer(nodes=(node,), activations="uint16")


# Options, with planted dB: by target, then by samples.

FIRST, TUNE, HOLD = (0,), (0, 1), (2, 3)


def tried(planted: dict[str, dict[str, float]], chip: str = "ort:cpu") -> tuple[Any, Any]:
    """What is kept of x64quantprecision and disable_quant_qdq; unplanted is 30 dB."""

    def db(target: str, indices: Sequence[int]) -> float:
        part = "hold" if tuple(indices) == HOLD else "tune"
        return planted.get(target.removeprefix(chip), {}).get(part, 30.0)

    def ask(schemes: Any, target: Any, indices: Sequence[int]) -> list[Figures]:
        asked.append(target.name)
        return [Figures(sqnr_db=db(target.name, indices), samples=len(indices)) for _ in schemes]

    def outputs(scheme: Any, target: Any, indices: Sequence[int]) -> Any:
        rows = np.array([[db(target.name, indices)]], np.float32)
        return SimpleNamespace(arrays={"y": rows})

    asked: list[str] = []
    desk = SimpleNamespace(ask=ask, judge=SimpleNamespace(outputs=outputs), tried=[])
    (side,) = resolve_sides([chip])
    schemes = [get_scheme("w8a8")]
    kept = try_options(cast(Any, desk), side, schemes, FIRST, TUNE, HOLD)
    return kept, SimpleNamespace(told=desk.tried, asked=asked, side=side)


def test_an_option_is_kept_that_helps_on_what_chose_it_and_on_what_did_not() -> None:
    kept, found = tried({"+disable_quant_qdq=1": {"tune": 35.0, "hold": 33.0}})
    assert kept == {"disable_quant_qdq": "1"}
    told = {one.technique: one for one in found.told}
    assert told.keys() == {
        f"{name}={value}" for name in options_of(found.side.target) for value in "01"
    }
    assert [one.technique for one in found.told if one.kept] == ["disable_quant_qdq=1"]
    one = told["disable_quant_qdq=1"]
    assert (one.before, one.after, one.samples) == (30.0, 33.0, 2)  # of those that did not choose
    assert told["x64quantprecision=0"].words == "changes nothing"
    side = tuned_side(found.side, kept)
    assert (side.target.name, side.chip.target) == ("ort:cpu+disable_quant_qdq=1",) * 2
    assert tuned_side(found.side, {}) is found.side


@pytest.mark.parametrize(
    "planted",
    [
        {"tune": 35.0, "hold": 30.2},  # chance
        {"tune": 30.5, "hold": 35.0},  # too little where it is chosen
        {"tune": 20.0, "hold": 20.0},  # worse
    ],
)
def test_an_option_that_does_not_help_twice_is_told_and_not_kept(
    planted: dict[str, float],
) -> None:
    kept, found = tried({"+disable_quant_qdq=1": planted})
    assert kept == {}
    assert not any(one.kept for one in found.told)
    told = {one.technique: one.words for one in found.told}
    assert told["disable_quant_qdq=1"] == "changes the answers"


def test_an_option_that_the_user_set_is_left_alone() -> None:
    chip = "ort:cpu+disable_quant_qdq=0"
    kept, found = tried({"+x64quantprecision=1": {"tune": 20.0}}, chip)
    assert kept == {}
    assert {one.technique for one in found.told} == {"x64quantprecision=0", "x64quantprecision=1"}
    assert not any("disable_quant_qdq=1" in name for name in found.asked)


@pytest.mark.parametrize("what", ["variant:", "placed:"])
def test_a_fact_of_another_shape_is_one_sentence(judged: Judge, tmp_path: Path, what: str) -> None:
    scheme, target = get_scheme("w8a8"), get_target("ort:cpu")
    judged.measure([(scheme, target)])
    judged.store.commit()
    folder = Path(shutil.copytree(judged.folder, tmp_path / "copy"))
    with contextlib.closing(sqlite3.connect(folder / "store.sqlite")) as db, db:
        changed = db.execute("update facts set value = '[5]' where key like ?", [f"{what}%"])
        assert changed.rowcount > 0
    with (
        pytest.raises(RunError, match="store is damaged"),
        Judge(folder, judged.request, 1, 60.0) as again,
    ):
        again.measure([(scheme, target)])
