"""Weights that several variants have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bundle_fixtures
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from onnx.helper import make_node

from chipdrift.bundle import collect, make_bundle
from chipdrift.bundle.selectors.python.chipdrift_bundle import BundleError, open_bundle
from chipdrift.data import load_data
from chipdrift.demo import DemoPaths
from chipdrift.graph import load_model
from chipdrift.graph.weights import output_names, quantizers_of, share_weights, whole_again
from chipdrift.quantize import apply_scheme
from chipdrift.schemes import get_scheme

pytestmark = pytest.mark.htp
plan = bundle_fixtures.plan
own_plan = bundle_fixtures.own_plan


@pytest.fixture(scope="module")
def models(demo: DemoPaths) -> dict[str, bytes]:
    model = load_model(demo.model)
    feeds = load_data(demo.calibration, model.info.inputs, 20).feeds()
    names = ("fp32", "w8a8", "w8a8_pc", "w8a16", "w8a16_pc")
    return {name: apply_scheme(model, get_scheme(name), feeds).data for name in names}


def run(model: str | bytes, feed: dict[str, Any]) -> list[Any]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found: list[Any] = session.run(None, feed)
    return found


def test_models_answer_alike_with_their_weights_outside(
    models: dict[str, bytes], demo: DemoPaths, tmp_path: Path
) -> None:
    shared = share_weights(models, "weights.bin")
    assert shared.readers == {"w8a8", "w8a8_pc", "w8a16", "w8a16_pc"}
    (tmp_path / "weights.bin").write_bytes(shared.data)
    feed = {"image": np.load(demo.data)["image"][3:4]}
    for name, data in shared.files.items():
        (tmp_path / name).write_bytes(data)
        inside, outside = run(models[name], feed), run(str(tmp_path / name), feed)
        assert [a.tobytes() for a in inside] == [a.tobytes() for a in outside]
        assert whole_again(data, shared.data) == models[name]


def test_each_weight_is_there_once(models: dict[str, bytes]) -> None:
    """Counted by onnx's own reading of the files."""
    shared = share_weights(models, "weights.bin")
    seen: dict[bytes, set[str]] = {}
    for name, data in models.items():
        for tensor in onnx.load_from_string(data).graph.initializer:
            if len(tensor.raw_data) >= 1024:
                seen.setdefault(tensor.raw_data, set()).add(name)
    common = {raw: names for raw, names in seen.items() if len(names) > 1}
    assert shared.tensors == len(common) > 0
    assert sum(map(len, common)) <= len(shared.data) < sum(map(len, common)) + 64 * len(common)
    saved = sum(map(len, models.values())) - sum(map(len, shared.files.values()))
    assert saved > 0.9 * sum(len(raw) * len(names) for raw, names in common.items())


def test_nothing_in_common(models: dict[str, bytes]) -> None:
    shared = share_weights({"fp32": models["fp32"]}, "weights.bin")
    assert (shared.files, shared.data, shared.tensors) == ({"fp32": models["fp32"]}, b"", 0)


def test_a_model_with_weights_in_another_form_is_left_alone() -> None:
    """Numbers in float_data have no raw bytes."""
    values = np.arange(600, dtype=np.float32)
    protos = []
    for op in ("Add", "Mul"):
        tensor = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [600], values.tolist())
        raw = numpy_helper.from_array(values, "r")
        graph = onnx.helper.make_graph(
            [make_node(op, ["x", "w"], ["y"]), make_node("Add", ["y", "r"], ["z"])],
            "g",
            [onnx.helper.make_tensor_value_info("x", 1, [600])],
            [onnx.helper.make_tensor_value_info("z", 1, [600])],
            [tensor, raw],
        )
        protos.append(onnx.helper.make_model(graph).SerializeToString(deterministic=True))
    shared = share_weights(dict(zip("ab", protos, strict=True)), "weights.bin")
    assert (shared.tensors, len(shared.data)) == (1, 2400)
    assert [whole_again(shared.files[n], shared.data) for n in "ab"] == protos


def test_the_border(models: dict[str, bytes]) -> None:
    assert output_names(models["w8a8"]) == ["logits"]
    assert quantizers_of(models["fp32"]) == {}
    assert quantizers_of(models["w8a16"])["logits"].dtype == "uint16"


def test_a_bundle_shares_where_it_pays(
    own_plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo's models are too small for it, unless anything pays."""
    from bundles import make_plan

    chosen = (("sm8450", "w8a16_pc", "confirmed"), ("sm8550", "w8a8_pc", "confirmed"))
    plan = make_plan(tmp_path / "plan", chosen)
    assert make_bundle(plan, tmp_path / "a").alone == make_bundle(plan, tmp_path / "b").shared
    monkeypatch.setattr(collect, "_LEAST_SAVED", 1)
    monkeypatch.setattr(collect, "_LEAST_SHARE", 0.0)
    made = make_bundle(plan, tmp_path / "c", contexts=True)
    assert made.shared < made.alone
    beside = {v.name: v.beside for v in made.manifest.variants}
    assert beside == {
        "fp32": (),
        "w8a16_pc": ("models/weights.bin",),
        "w8a8_pc": ("models/weights.bin",),
    }
    opened = open_bundle(str(made.folder), made.key.hex)
    choice = opened.select("SM8450", "QTI")
    told = next(v for v in made.manifest.variants if v.name == "w8a16_pc")
    assert told.measured_sha256 != next(
        f.sha256 for f in made.manifest.files if f.name == told.file
    )
    answers = [[run(choice.model, _feed(sample))[0].tobytes()] for sample in choice.golden]
    # onnxruntime on this host is one of the targets that confirmed: within what is allowed.
    assert choice.check(answers).ok
    weights = made.folder / "models" / "weights.bin"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x55")
    with pytest.raises(BundleError, match=r"models/weights\.bin is not what was signed"):
        opened.select("SM8450", "QTI")
    assert opened.select("SM1", "QTI").variant == "fp32"


def _feed(sample: Any) -> dict[str, Any]:
    return {i.name: np.fromfile(i.path, i.dtype).reshape(i.shape) for i in sample}
