"""``chipdrift plan`` on models of which it is known which layer is bad, and on pairs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from plan_runs import ENGINE, command

from chipdrift.plan import Plan


@pytest.fixture(scope="module", autouse=True)
def _lent_workers(worker_pool: Any) -> Iterator[None]:
    with worker_pool.lending():
        yield


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``bad.onnx``, ``good.onnx``, ``data.npz`` and ``cal.npz``.

    In the bad one a channel is a thousand times the others between ``grow`` and ``shrink``; in the
    good one it is as the others. All else, and the function that is computed, is the same.
    """
    from onnx import TensorProto, helper, numpy_helper

    folder = tmp_path_factory.mktemp("spoilt")
    for name, factor in (("bad", 1000.0), ("good", 1.0)):
        rng = np.random.default_rng(22)
        big = np.ones((1, 16), np.float32)
        big[0, 3] = factor
        weights = {
            "w1": rng.standard_normal((16, 16)) * 0.3,
            "big": big,
            "small": 1 / big,
            "little": rng.standard_normal((1, 16)) * 0.3,
            "w2": rng.standard_normal((16, 10)),
        }
        nodes = [
            helper.make_node("MatMul", ["x", "w1"], ["a"], "enter"),
            helper.make_node("Mul", ["a", "big"], ["b"], "grow"),
            helper.make_node("Mul", ["b", "small"], ["c"], "shrink"),
            helper.make_node("Add", ["c", "little"], ["d"], "shift"),
            helper.make_node("Relu", ["d"], ["e"], "clamp"),
            helper.make_node("MatMul", ["e", "w2"], ["y"], "leave"),
        ]
        ends = [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16]),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10]),
        ]
        graph = helper.make_graph(
            nodes,
            name,
            ends[:1],
            ends[1:],
            [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
        )
        opset = [helper.make_opsetid("", 21)]
        onnx.save(
            helper.make_model(graph, opset_imports=opset, ir_version=10), folder / f"{name}.onnx"
        )
    rng = np.random.default_rng(5)
    for name, count in (("data", 400), ("cal", 100)):
        np.savez(folder / f"{name}.npz", x=rng.standard_normal((count, 16)).astype(np.float32))
    return folder


def plan_spoilt(folder: Path, name: str, out: Path, chip: str, *words: str) -> Plan:
    code, shown, told = command(
        *("plan", str(folder / f"{name}.onnx"), "--data", str(folder / "data.npz")),
        *("--calibration", str(folder / "cal.npz"), "--chips", chip, "-o", str(out)),
        *("--budget", "agreement >= 85%", "--scheme", "w8a8,w8a16", "--jobs", "1", "--json"),
        *words,
    )
    assert code == 0, told
    return Plan.model_validate_json(shown)


@pytest.mark.parametrize("chip", [ENGINE, "sim:ort-mlas"])
def test_a_layer_that_ruins_the_model_is_found_and_it_alone_is_raised(
    spoilt: Path, tmp_path: Path, chip: str
) -> None:
    found = plan_spoilt(spoilt, "bad", tmp_path / "bad", chip, "--no-calibrate")
    scores = {score.scheme: score for score in found.scores}
    plain = scores["w8a8"].metric
    assert plain is not None and plain.value < 0.75  # it is ruined
    (choice,) = found.choices
    variant = next(c for c in found.candidates if c.scheme == choice.variant)
    assert variant.how == "mixed"
    assert set(variant.raised) == {"grow", "shrink"}
    assert choice.standing in ("confirmed", "within")
    assert choice.metric is not None and choice.metric.value >= 0.85
    edges = [one for one in found.sensitivity if one.to == "uint16"]
    most = max(edges, key=lambda one: one.gain_db)
    assert set(most.nodes) == {"grow", "shrink"}
    others = [s.gain_db for s in found.sensitivity if not {"grow", "shrink"} & set(s.nodes)]
    assert most.gain_db > 3 > max(others)


def test_where_no_layer_is_bad_none_is_raised(spoilt: Path, tmp_path: Path) -> None:
    found = plan_spoilt(spoilt, "good", tmp_path / "good", ENGINE)
    assert (found.choices[0].variant, found.choices[0].standing) == ("w8a8", "confirmed")
    assert all(candidate.raised == () for candidate in found.candidates)
    assert found.sensitivity == ()


def test_pairs_are_planned_for_with_a_file_of_their_own_to_confirm_on(
    spoilt: Path, tmp_path: Path
) -> None:
    """Similarity of pairs: what chooses and what confirms are two files, neither is parted."""
    rng = np.random.default_rng(6)
    for name, count in (("choose", 60), ("confirm", 80)):
        x = rng.standard_normal((count, 16)).astype(np.float32)
        pairs = np.array([(i, (7 * i + 3) % count) for i in range(count // 2)])
        labels = np.array([float(x[a] @ x[b]) for a, b in pairs])
        np.savez(tmp_path / f"{name}.npz", x=x, pairs=pairs, labels=labels)
    code, shown, told = command(
        *("plan", str(spoilt / "good.onnx"), "--data", str(tmp_path / "choose.npz")),
        *("--confirm", str(tmp_path / "confirm.npz"), "--calibration", str(spoilt / "cal.npz")),
        *("--chips", ENGINE, "--budget", "spearman drop <= 10%", "--scheme", "w8a8"),
        *("-o", str(tmp_path / "plan"), "--jobs", "1", "--json"),
    )
    assert code == 0, told
    found = Plan.model_validate_json(shown)
    assert (found.choosing, found.confirming, found.metric.name) == (60, 80, "spearman")
    (choice,) = found.choices
    assert choice.metric is not None and choice.samples == 80
    assert not list((tmp_path / "plan").glob("*.part.json"))
