"""The same questions to several targets: what is the same, what rounding explains, what not."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from float_models import attention_net, dense_net, image_net, images, rows, tokens
from onnx import numpy_helper
from typer.testing import CliRunner

from chipdrift.cli.main import app
from chipdrift.diagnose.compared import Consistency
from chipdrift.diagnose.consistency import check_consistency
from chipdrift.diagnose.reach import rounding_spread
from chipdrift.diagnose.stimuli import stimuli
from chipdrift.errors import ChipdriftError
from chipdrift.graph import dissect
from chipdrift.graph.nudge import nudged
from chipdrift.records import TensorSpec
from chipdrift.report.consistent import print_consistency

MODELS: dict[str, Any] = {
    "image": (image_net(), images()),
    "dense": (dense_net(), rows()),
    "attention": (attention_net(), tokens()),
}


@pytest.fixture
def saved(tmp_path: Path) -> Any:
    """A model with its samples as files."""

    def save(name: str) -> tuple[Path, Path]:
        model, feeds = MODELS[name]
        path, data = tmp_path / f"{name}.onnx", tmp_path / f"{name}.npz"
        path.write_bytes(model)
        np.savez(data, x=np.concatenate([feed["x"] for feed in feeds]))
        return path, data

    return save


def _asked(files: tuple[Path, Path], targets: list[str], scheme: str = "w8a8") -> Consistency:
    model, data = files
    return check_consistency(model, targets, data=data, scheme=scheme, calibration=data, samples=2)


def _profile(folder: Path, text: str) -> str:
    path = folder / "planted.toml"
    path.write_text('evidence = "hypothesis"\n' + text)
    return f"sim:{path}"


@pytest.mark.parametrize("name", MODELS)
def test_right_targets_stay_within_rounding(saved: Any, name: str) -> None:
    targets = ["ort:cpu", "sim:hexagon-v69", "sim:hexagon-v73", "sim:hypothesis-floor"]
    found = _asked(saved(name), targets)
    apart = [c for c in found.comparisons if c.distance.differing]
    assert apart, "they do part, by rounding"
    assert all(c.bound is not None for c in found.comparisons)
    assert not found.excesses and not any(c.exceeds for c in found.comparisons)


def test_what_is_the_same_is_the_same_bits(saved: Any) -> None:
    found = _asked(saved("image"), ["ort:cpu", "sim:ort-mlas"])
    assert len(found.comparisons) == len(found.inputs) == 8
    assert all(c.distance.differing == 0 for c in found.comparisons)


@pytest.mark.parametrize("node", ["first", "second", "last"])
def test_a_node_with_a_wrong_scale_is_named(saved: Any, tmp_path: Path, node: str) -> None:
    planted = _profile(
        tmp_path,
        f'[[rule]]\nnodes = ["{node}"]\nrequantize = {{ multiplier = "power_of_two" }}\n',
    )
    found = _asked(saved("image"), ["sim:ort-mlas", planted])
    (excess,) = found.excesses
    assert excess.node == node and excess.times is not None and excess.times > 1
    assert node in excess.words


def test_collapsed_blocks_are_named(tmp_path: Path) -> None:
    planted = _profile(tmp_path, '[weights]\ncollapse = "per_channel"\n')
    model, data = tmp_path / "blocks.onnx", tmp_path / "blocks.npz"
    model.write_bytes(dense_net(blocks=True))
    np.savez(data, x=np.concatenate([feed["x"] for feed in rows(big=True)]))
    found = _asked((model, data), ["ort:cpu", planted], "w4a16_b32")
    (excess,) = found.excesses
    assert excess.node == "first"


def test_float16_sums_in_another_order_are_rounding(saved: Any, tmp_path: Path) -> None:
    other = _profile(tmp_path, '[floats]\naccumulate = 16\norder = "pairwise"\n')
    found = _asked(saved("dense"), ["ort:cpu", other], "fp16")
    assert any(c.distance.differing for c in found.comparisons)
    assert not any(c.exceeds for c in found.comparisons)


def test_float16_that_overflows_on_one_is_not(tmp_path: Path) -> None:
    """Sums beyond 65504 are infinite on onnxruntime, and kept at that by the planted unit."""
    model = onnx.load_from_string(dense_net())
    for init in model.graph.initializer:
        if init.name == "w0":
            init.CopyFrom(numpy_helper.from_array(30000 * numpy_helper.to_array(init), "w0"))
    path, data = tmp_path / "large.onnx", tmp_path / "large.npz"
    onnx.save(model, path)
    np.savez(data, x=np.concatenate([feed["x"] for feed in rows()]))
    clamps = _profile(tmp_path, '[floats]\noverflow = "clamp"\n')
    found = _asked((path, data), ["ort:cpu", clamps], "fp16")
    (excess,) = found.excesses
    assert excess.node == "first"


def test_a_model_as_it_is(saved: Any) -> None:
    path, _ = saved("image")
    found = check_consistency(path, ["ort:cpu", "sim:ort-mlas"])
    assert found.scheme == "asis" and "onnxruntime" in found.basis
    assert found.inputs == ("zeros", "ones", "lowest", "highest", "ramp", "noise")


def test_the_spread_of_one_node_is_one_step() -> None:
    """Between the nearest, the lower and a drawn neighbour lies one step, and no more."""
    from chipdrift.graph.single import OneOp, Side, one_op_model

    rng = np.random.default_rng(3)
    weights = Side("int8", np.float32(0.01), 0, integers=rng.integers(-127, 128, (6, 5)))
    model = one_op_model(
        OneOp("MatMul", [Side("uint8", np.float32(0.02), 128, shape=(2, 6)), weights],
              Side("uint8", np.float32(0.037), 120, shape=(2, 5)))
    )  # fmt: skip
    steps = rng.integers(0, 256, (2, 6)).astype(np.float32) - 128
    spread = rounding_spread(model, [{"x0": steps * np.float32(0.02)}], True)
    assert spread is not None
    assert spread[0][0] == pytest.approx(0.037, rel=1e-5)


def test_a_model_that_amplifies_has_a_wider_spread() -> None:
    """Two layers, the second with a gain of about 40 steps for one."""
    model, feeds = dense_net(), [{"x": rows(1)[0]["x"]}]
    wide = onnx.load_from_string(model)
    for init in wide.graph.initializer:
        if init.name == "w1":
            init.CopyFrom(numpy_helper.from_array(40 * numpy_helper.to_array(init), "w1"))
    plain = rounding_spread(model, feeds, False)
    amplified = rounding_spread(wide.SerializeToString(), feeds, False)
    assert plain is not None and amplified is not None
    assert amplified[0][0] == pytest.approx(40 * plain[0][0], rel=0.5)


def test_nudged_weights_are_off_by_rounding() -> None:
    before, after = (
        {i.name: numpy_helper.to_array(i) for i in onnx.load_from_string(data).graph.initializer}
        for data in (dense_net(), nudged(dense_net(), 1))
    )
    away = np.abs(after["w0"] / before["w0"] - 1).max()
    assert 0 < away <= np.sqrt(64) * 2.0**-24 + 2.0**-24


def test_inputs_cover_the_range_of_the_quantizer(saved: Any, tmp_path: Path) -> None:
    from chipdrift.data import load_data
    from chipdrift.graph import load_model
    from chipdrift.quantize import apply_scheme
    from chipdrift.schemes import get_scheme

    path, data = saved("image")
    loaded = load_model(path)
    feeds = load_data(data, loaded.info.inputs).feeds()
    anatomy = dissect(apply_scheme(loaded, get_scheme("w8a8"), feeds).data)
    quantizer = anatomy.quantizers["x_QuantizeLinear_Output"]
    scale, zero = quantizer.scale[0], quantizer.zero_point[0]
    made = {s.name: s.feed["x"] for s in stimuli(loaded.info.inputs, anatomy)}
    assert np.rint(made["lowest"] / scale + zero).max() == 0
    assert np.rint(made["highest"] / scale + zero).min() == 255
    ramp = np.diff(made["ramp"].reshape(-1))
    assert ramp.min() > 0 and np.ptp(ramp) < 1e-5
    assert not made["zeros"].any() and (made["ones"] == 1).all()
    assert {array.dtype for array in made.values()} == {np.dtype("float32")}


def test_inputs_without_a_quantizer() -> None:
    specs = [
        TensorSpec(name="ids", dtype="int64", shape=(1, 9)),
        TensorSpec(name="image", dtype="uint8", shape=(1, 2, 3)),
        TensorSpec(name="x", dtype="float32", shape=(1, 4)),
        TensorSpec(name="flag", dtype="bool", shape=(1,)),
    ]
    anatomy = dissect(dense_net())
    made = {s.name: s.feed for s in stimuli(specs, anatomy)}
    assert {int(v) for feed in made.values() for v in feed["ids"].reshape(-1)} == {0, 1}
    assert made["lowest"]["image"].max() == 0 and made["highest"]["image"].min() == 255
    assert made["lowest"]["x"].max() == -1 and made["highest"]["x"].min() == 1
    assert made["highest"]["flag"].all() and made["zeros"]["flag"].dtype == np.bool_
    sample = {
        "ids": np.arange(100, 109).reshape(1, 9),
        "image": np.zeros((1, 2, 3), np.uint8),
        "x": np.array([[-3.0, 0, 1, 7]], np.float32),
        "flag": np.array([True]),
    }
    seen = {s.name: s.feed for s in stimuli(specs, anatomy, [sample])}
    assert {seen["lowest"]["ids"].max(), seen["zeros"]["ids"].max()} == {100}
    assert seen["highest"]["x"].min() == 7 and seen["sample 0"] is sample


def test_one_target_is_misuse(saved: Any) -> None:
    with pytest.raises(ChipdriftError, match="at least two"):
        check_consistency(saved("dense")[0], ["ort:cpu", "ort:cpu"])


@pytest.mark.htp
def test_a_target_that_refuses_is_recorded(saved: Any, capsys: Any) -> None:
    pytest.importorskip("onnxruntime_qnn")
    from rich.console import Console

    found = check_consistency(saved("dense")[0], ["ort:cpu", "htp:sm8550", "sim:ort-mlas"])
    refused = {asked.target: asked.refused for asked in found.targets}
    assert refused["ort:cpu"] is None and "FP16" in (refused["htp:sm8550"] or "")
    assert {(c.a, c.b) for c in found.comparisons} == {("ort:cpu", "sim:ort-mlas")}
    print_consistency(found, Console(width=100))
    assert "gave no answers" in capsys.readouterr().out


@pytest.mark.htp
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_fewer_than_two_answers_are_misuse(saved: Any, more: list[str]) -> None:
    pytest.importorskip("onnxruntime_qnn")
    with pytest.raises(ChipdriftError, match="htp computes no float32 graph") as raised:
        check_consistency(saved("dense")[0], ["htp:sm8450", "htp:sm8550"])
    message = str(raised.value)
    assert "no target answered (htp:sm8450, htp:sm8550: " in message
    assert "--scheme fp16" in message and "--calibration" in message and "\n" not in message
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from chipdrift.cli.main import main; main()"),
            *("consistency", str(saved("dense")[0])),
            *("--target", "ort:cpu,htp:sm8550", *more),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2 and not done.stdout
    assert "only ort:cpu answered" in done.stderr and "Traceback" not in done.stderr


def test_targets_that_are_too_slow_get_another_hint(saved: Any) -> None:
    """Not the hint for float32 graphs, which these targets do compute."""
    with pytest.raises(ChipdriftError, match="no target answered") as raised:
        check_consistency(saved("dense")[0], ["ort:cpu", "sim:ort-mlas"], timeout=0.001)
    message = str(raised.value)
    assert "float32 graph" not in message and "chipdrift outputs" in message


def test_inputs_that_repeat_another_are_named(saved: Any, capsys: Any) -> None:
    """Behind a Relu's quantizer the lowest value is zero; with signed inputs it is not."""
    from rich.console import Console

    model, data = saved("dense")
    plain = check_consistency(model, ["ort:cpu", "sim:ort-mlas"])
    assert plain.repeats == {"highest": "ones"}  # -1 to 1 where nothing is known
    positive = data.with_name("positive.npz")
    np.savez(positive, x=np.abs(np.load(data)["x"]) / 100)
    found = check_consistency(
        model, ["ort:cpu", "sim:ort-mlas"], scheme="w8a8", calibration=positive
    )
    assert found.repeats == {"lowest": "zeros", "highest": "ones"}
    print_consistency(found, Console(width=80))
    assert "lowest = zeros and highest = ones" in " ".join(capsys.readouterr().out.split())


def test_the_table_has_each_inputs_bound_in_steps(saved: Any, capsys: Any) -> None:
    from rich.console import Console

    found = _asked(saved("image"), ["ort:cpu", "sim:hexagon-v69"])
    for entry in found.comparisons:
        assert entry.bound is not None and entry.bound_lsb is not None
        if entry.distance.max_lsb:  # the same ratio of steps to numbers in both
            steps = entry.distance.max_lsb / entry.distance.max_abs
            assert entry.bound_lsb / entry.bound == pytest.approx(steps, rel=1e-4)
    print_consistency(found, Console(width=80))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    row = next(line.split()[2:] for line in lines if line.startswith("rounding explains"))
    bounds = {e.input: e.bound_lsb for e in found.comparisons}
    made = [name for name in found.inputs if not name.startswith("sample")]
    assert [int(word) for word in row[:-1]] == [round(bounds[name] or 0) for name in made]
    assert any("in steps of its quantizer (LSB)" in line for line in lines)


def test_a_float_models_table_is_in_its_own_unit(saved: Any, capsys: Any) -> None:
    from rich.console import Console

    found = check_consistency(saved("dense")[0], ["ort:cpu", "sim:ort-mlas"])
    assert all(c.bound_lsb is None and c.bound is not None for c in found.comparisons)
    print_consistency(found, Console(width=80))
    text = capsys.readouterr().out
    assert "in its own unit" in text and "LSB" not in text


def test_the_printed_command_runs(saved: Any, tmp_path: Path) -> None:
    """With samples it is a diagnosis as it stands; without, it says what is missing."""
    model, data = saved("image")
    kept = tmp_path / "a folder"
    kept.mkdir()
    model, data = model.rename(kept / model.name), data.rename(kept / data.name)
    planted = _profile(tmp_path, '[accumulator]\nwidth = 16\noverflow = "saturate"\n')
    asked = [
        "consistency", str(model), "--scheme", "w8a8", "--calibration", str(data),
        "--target", f"sim:hexagon-v69,{planted}",
    ]  # fmt: skip
    runner = CliRunner()
    bare = runner.invoke(app, asked)
    assert "--data DATA" in bare.stdout and "A diagnosis needs samples" in bare.stdout
    seen = runner.invoke(app, [*asked, "--data", str(data)])
    assert "DATA" not in seen.stdout
    _, _, printed = seen.stdout.partition("$ ")
    words = shlex.split(printed.replace("\\\n", " "))
    assert words[:3] == ["chipdrift", "diagnose", str(model)]
    done = runner.invoke(app, [*words[1:], "-o", str(tmp_path / "run"), "--limit", "4"])
    assert done.exit_code == 0, done.output
    assert f"w8a8:sim:hexagon-v69against{planted}" in "".join(done.stdout.split())


def test_the_command(saved: Any, tmp_path: Path) -> None:
    model, data = saved("image")
    planted = _profile(tmp_path, '[accumulator]\nwidth = 16\noverflow = "saturate"\n')
    asked = [
        "consistency", str(model), "--scheme", "w8a8", "--calibration", str(data),
        "--data", str(data), "--target", f"ort:cpu,sim:hexagon-v69,{planted}",
    ]  # fmt: skip
    runner = CliRunner()
    seen = runner.invoke(app, asked)
    assert seen.exit_code == 0, seen.output
    assert "!" in seen.stdout and "first to part too far" in " ".join(seen.stdout.split())
    told = runner.invoke(app, [*asked, "--json"])
    document = json.loads(told.stdout)
    assert Consistency.model_validate(document).excesses
    assert {(e["a"], e["b"]) for e in document["excesses"]} == {
        ("ort:cpu", planted), ("sim:hexagon-v69", planted),
    }  # fmt: skip
    helped = runner.invoke(app, ["consistency", "--help"])
    assert "Example: chipdrift consistency" in helped.stdout
