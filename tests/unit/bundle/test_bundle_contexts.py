"""Variants compiled beforehand: they answer as the model does on that chip, under its names."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import bundle_fixtures
import numpy as np
import onnx
import pytest
from bundles import change_plan
from onnx import helper

from chipdrift.bundle import Made, contexts, make_bundle
from chipdrift.errors import ChipdriftError
from chipdrift.graph.renamed import restore_names
from chipdrift.quantize import apply_scheme
from chipdrift.schemes import get_scheme
from chipdrift.store import unpack_arrays
from chipdrift.targets import WorkerProcess, get_target

pytestmark = pytest.mark.htp
plan = bundle_fixtures.plan
own_plan = bundle_fixtures.own_plan
made = bundle_fixtures.made


def run(model: str, chip: str, feeds: list[dict[str, Any]]) -> list[bytes]:
    """What a model answers on a simulated chip, in a process of its own."""
    target = get_target(f"htp:{chip}")
    worker = WorkerProcess(target, -1)
    try:
        worker.open("a", model, target.session_options, True)
        opened = worker.receive()
        assert opened[0] == "opened", opened
        found = []
        for feed in feeds:
            worker.run("a", "s", feed, False)
            found.append(worker.receive()[4])
        return found
    finally:
        worker.stop()


def feeds_of(made: Made) -> list[dict[str, Any]]:
    (spec,) = made.manifest.golden.inputs
    return [
        {spec.name: np.fromfile(made.folder / name, np.float32).reshape(1, 1, 8, 8)}
        for (name,) in made.manifest.golden.samples
    ]


def test_it_answers_as_was_measured(made: Made) -> None:
    for chip in made.manifest.chips[:2]:
        assert chip.context is not None
        assert chip.golden is not None
        assert (chip.context.soc, chip.context.sdk) == (chip.soc, "2.51.0")
        assert chip.context.soc_model == chip.soc_model
        assert chip.context.build.startswith("v2.51.0.")
        found = run(str(made.folder / chip.context.file), chip.name, feeds_of(made))
        expected = [(made.folder / name).read_bytes() for (name,) in chip.golden.expected]
        assert [unpack_arrays(data)[0].tobytes() for data in found] == expected
    assert made.manifest.chips[2].context is None


def test_the_vendor_s_part_is_named_beside_it(made: Made) -> None:
    for chip in made.manifest.chips[:2]:
        assert chip.context is not None
        graph = onnx.load(made.folder / chip.context.file).graph
        (node,) = [node for node in graph.node if node.op_type == "EPContext"]
        told = {a.name: a.s.decode() for a in node.attribute if a.name == "ep_cache_context"}
        assert Path(chip.context.binary) == Path(chip.context.file).with_name(
            told["ep_cache_context"]
        )


def test_odd_names_stay(odd: Path, tmp_path: Path) -> None:
    """Compiled under names that fit the vendor's tools, and given back their own."""
    folder = tmp_path / "made"
    folder.mkdir()
    feed = np.linspace(-2, 2, 108, dtype=np.float32).reshape(1, 3, 6, 6)
    np.savez(tmp_path / "samples.npz", **{"0|in:0/x": feed})
    command = ["-m", "chipdrift.bundle.compiler", odd, "43", tmp_path / "samples.npz", folder]
    subprocess.run([sys.executable, *map(str, command)], check=True, capture_output=True)
    told = json.loads((folder / "result.json").read_text())
    assert "error" not in told, told
    graph = onnx.load(folder / told["file"]).graph
    assert [v.name for v in graph.input] == ["in:0/x"]
    assert [v.name for v in graph.output] == ["out 1"]
    found = run(str(folder / told["file"]), "sm8550", [{"in:0/x": feed}])
    assert found == run(str(odd), "sm8550", [{"in:0/x": feed}])


@pytest.fixture(params=["w8a8", "fp16"])
def odd(small_model: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The small model, its input and output named as no C compiler would."""
    from chipdrift.graph import load_model

    proto = onnx.load(small_model)
    names = {"x": "in:0/x", "y": "out 1"}
    for value in (*proto.graph.input, *proto.graph.output):
        value.name = names[value.name]
    for node in proto.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    source = tmp_path / "odd.onnx"
    onnx.save(proto, source)
    model = load_model(source)
    rng = np.random.default_rng(1)
    feeds = [{"in:0/x": rng.standard_normal((1, 3, 6, 6)).astype("f")} for _ in range(4)]
    made = apply_scheme(model, get_scheme(str(request.param)), feeds)
    (tmp_path / "quantized.onnx").write_bytes(made.data)
    return tmp_path / "quantized.onnx"


def wrapper(path: Path, overrides: str | None) -> None:
    told = {} if overrides is None else {"io_name_overrides": overrides}
    nodes = [
        helper.make_node("QuantizeLinear", ["_x", "s", "z"], ["q"]),
        helper.make_node("EPContext", ["q", "_w"], ["_y"], domain="com.microsoft", **told),
    ]
    values = [helper.make_tensor_value_info(n, 1, [1]) for n in ("_x", "_w", "_y")]
    graph = helper.make_graph(nodes, "g", values[:2], values[2:])
    onnx.save(helper.make_model(graph), path)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (None, {"w:0": "_w", "y:0": "_y"}),
        ("q=inside_q;_w=inside_w;", {"q": "inside_q", "w:0": "inside_w", "y:0": "_y"}),
    ],
)
def test_the_node_is_told_what_the_vendor_calls_it(
    tmp_path: Path, overrides: str | None, expected: dict[str, str]
) -> None:
    wrapper(tmp_path / "w.onnx", overrides)
    restore_names(tmp_path / "w.onnx", {"_x": "x:0", "_w": "w:0", "_y": "y:0", "k": "k"})
    graph = onnx.load(tmp_path / "w.onnx").graph
    assert [v.name for v in (*graph.input, *graph.output)] == ["x:0", "w:0", "y:0"]
    assert list(graph.node[0].input) == ["x:0", "s", "z"]
    (told,) = [a.s.decode() for a in graph.node[1].attribute if a.name == "io_name_overrides"]
    assert dict(pair.split("=") for pair in told.split(";") if pair) == expected
    before = (tmp_path / "w.onnx").read_bytes()
    restore_names(tmp_path / "w.onnx", {"x:0": "x:0"})
    assert (tmp_path / "w.onnx").read_bytes() == before


def test_what_cannot_be_compiled_is_told_and_left_out(own_plan: Path, tmp_path: Path) -> None:
    plan = json.loads((own_plan / "plan.json").read_text())
    plan["chips"][0] |= {"soc_model": None}
    plan["chips"][1] |= {"target": "htp:sm8550@2.50"}
    change_plan(own_plan, chips=plan["chips"])
    made = make_bundle(own_plan, tmp_path / "b", contexts=True, golden=0)
    assert [chip.context for chip in made.manifest.chips] == [None] * 3
    told = " ".join(made.warnings)
    assert "sm8450: w8a8 is not compiled beforehand (its QNN soc_model is not known)" in told
    assert "htp:sm8550@2.50 was measured, which is another release than the one that" in told


def test_options_of_the_runtime_are_not_compiled_in(own_plan: Path, tmp_path: Path) -> None:
    plan = json.loads((own_plan / "plan.json").read_text())
    plan["choices"][0]["options"]["offload_graph_io_quantization"] = "0"
    change_plan(own_plan, choices=plan["choices"])
    made = make_bundle(own_plan, tmp_path / "b", contexts=True, golden=0)
    assert [chip.context is None for chip in made.manifest.chips] == [True, False, True]
    assert made.manifest.chips[0].options["offload_graph_io_quantization"] == "0"
    assert any("with options of the runtime that the compiler" in w for w in made.warnings)


def test_a_compiler_that_hangs_or_dies(
    own_plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contexts, "_SECONDS", 0.01)
    monkeypatch.setattr(contexts.compile_contexts, "__defaults__", (0.01,))
    made = make_bundle(own_plan, tmp_path / "a", contexts=True, golden=0)
    assert sum("the compiler had not ended after 0.01 s" in w for w in made.warnings) == 2
    monkeypatch.setattr(contexts.compile_contexts, "__defaults__", (60.0,))
    monkeypatch.setattr(contexts.sys, "executable", "/bin/false")
    made = make_bundle(own_plan, tmp_path / "b", contexts=True, golden=0)
    assert sum("the compiler ended with exit code 1" in w for w in made.warnings) == 2
    assert all(chip.context is None for chip in made.manifest.chips)


def test_without_the_compiler(
    own_plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contexts.htp, "missing", lambda: "onnxruntime-qnn is not installed")
    with pytest.raises(ChipdriftError, match="nothing can be compiled on this host: onnxruntime"):
        make_bundle(own_plan, tmp_path / "b", contexts=True)
    assert not (tmp_path / "b").exists()


def test_a_compiled_model_that_answers_otherwise_is_no_use(
    odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chipdrift.bundle import compiler
    from chipdrift.targets import htp

    class Session:
        def __init__(self, path: str) -> None:
            self.value = 0.0 if path.endswith("context.onnx") else -0.0

        def run(self, feed: dict[str, Any]) -> list[Any]:
            return [np.float32(self.value)]

    monkeypatch.setattr(htp, "open_session", lambda path, options: Session(path))
    monkeypatch.setattr(compiler, "compile_context", lambda *_: made)
    from types import SimpleNamespace as Some

    names = Some(inputs={}, outputs=("out 1",))
    made = Some(names=names, context=Some(sdk="v2.51.0.1", binary=tmp_path / "c.bin"))
    monkeypatch.setattr(compiler, "restore_names", lambda *_: None)
    np.savez(tmp_path / "samples.npz", **{"0|x": np.zeros(1)})
    with pytest.raises(ChipdriftError, match="does not answer as the model does"):
        compiler._compile(odd, "43", tmp_path / "samples.npz", tmp_path)
