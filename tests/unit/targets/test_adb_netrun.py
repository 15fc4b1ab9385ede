"""``qnn-net-run``: contexts compiled for real and run in the simulator; files, words, refusals."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from targets_worker import demo_feeds, demo_quantized, open_in, run_in, working

from chipdrift.errors import ChipdriftError
from chipdrift.graph import load_model
from chipdrift.phones import Kit
from chipdrift.phones.identity import identity_of
from chipdrift.phones.phone import Ran
from chipdrift.quantize import apply_scheme
from chipdrift.schemes import get_scheme
from chipdrift.targets import RefusedError, adb_netrun, get_target
from chipdrift.targets.adb_netrun import NetRun, compile_context
from chipdrift.targets.adb_tool import Place

pytestmark = pytest.mark.htp
pytest.importorskip("onnxruntime_qnn")

Array = np.ndarray[Any, Any]
SM8550 = "43"
PLACE = Place("KIT", "RUN", "FILES/context")


def save_two_ends(path: Path) -> list[dict[str, Array]]:
    """A float model of two inputs and two outputs whose names no file could have; its samples."""
    rng = np.random.default_rng(5)
    names = ["in/a:0", "7", "out/1", "out 2"]
    weights = {"w": (8, 3, 3, 3), "v": (8, 3, 1, 1)}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", [names[0], "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
            helper.make_node("Conv", [names[1], "v"], [names[3]], "point"),
            helper.make_node("Add", ["c", names[3]], ["s"], "add"),
            helper.make_node("Relu", ["s"], [names[2]], "relu"),
        ],
        "two",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, 9, 7]) for n in names[:2]],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 8, 9, 7]) for n in names[2:]],
        [
            numpy_helper.from_array((rng.standard_normal(s) * 0.2).astype(np.float32), n)
            for n, s in weights.items()
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    shape = (1, 3, 9, 7)
    return [{n: rng.random(shape, dtype=np.float32) for n in names[:2]} for _ in range(6)]


def two_ends(folder: Path, scheme: str) -> tuple[Path, list[dict[str, Array]]]:
    feeds = save_two_ends(folder / "float.onnx")
    made = apply_scheme(load_model(folder / "float.onnx"), get_scheme(scheme), feeds)
    path = folder / f"{scheme}.onnx"
    path.write_bytes(made.data)
    return path, feeds


def written_for(path: Path, folder: Path) -> Path:
    """The model that names the context, which a tool does not keep."""
    folder.mkdir()
    compile_context(path, SM8550, folder)
    return folder / "context.onnx"


def by_the_simulator(tool: NetRun, written: Path, feed: dict[str, Array]) -> list[bytes]:
    """The files that the tool would leave: the context's own answers, from what it was given."""
    from npu_part import context_node, npu_part

    node = context_node(written)
    words = next((a.s.decode() for a in node.attribute if a.name == "io_name_overrides"), "")
    inside = dict(pair.split("=") for pair in words.split(";") if pair)
    graph = onnx.load(written).graph
    kinds = {v.name: v.type.tensor_type for v in (*graph.input, *graph.output, *graph.value_info)}
    given = {}
    raws = tool.raws(feed)
    for name in node.input:
        dtype = helper.tensor_dtype_to_np_dtype(kinds[name].elem_type)
        shape = [dim.dim_value for dim in kinds[name].shape.dim]
        given[name] = np.frombuffer(raws[inside.get(name, name)], dtype).reshape(shape)
    answers = npu_part(written, SM8550)(given)
    files = {f"{inside.get(name, name)}_native.raw": answers[name] for name in node.output}
    wanted = tool.wanted(sorted(files), "")
    assert wanted is not None
    return [files[name].tobytes() for name in wanted]


@pytest.mark.parametrize("scheme", ["w8a8", "w8a16", "fp16"])
def test_a_context_answers_as_the_simulated_chip(scheme: str, tmp_path: Path) -> None:
    """The way of a sample, but for the phone: quantized here, compiled part, dequantized here."""
    path = tmp_path / "m.onnx"
    path.write_bytes(demo_quantized(scheme).data)
    feeds = demo_feeds(6)
    with working(get_target("htp:sm8550")) as worker:
        opened = open_in(worker, path)
        wanted = [run_in(worker, feed) for feed in feeds]
    tool, written = NetRun(path, SM8550), written_for(path, tmp_path / "c")
    placed = tool._made.opened.nodes
    assert placed == opened.nodes
    for feed, theirs in zip(feeds, wanted, strict=True):
        (found,) = tool.answers(by_the_simulator(tool, written, feed))
        assert found.dtype == theirs[0].dtype
        np.testing.assert_array_equal(found, theirs[0])


@pytest.mark.parametrize("scheme", ["w8a8", "fp16"])
def test_names_that_no_file_can_have(scheme: str, tmp_path: Path) -> None:
    path, feeds = two_ends(tmp_path, scheme)
    with working(get_target("htp:sm8550")) as worker:
        open_in(worker, path)
        wanted = [run_in(worker, feed) for feed in feeds]
    tool, written = NetRun(path, SM8550), written_for(path, tmp_path / "c")
    raws = tool.raws(feeds[0])
    assert len(raws) == 2
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) for name in raws)
    for feed, theirs in zip(feeds, wanted, strict=True):
        # A stranger order of the feed is the same sample.
        found = tool.answers(by_the_simulator(tool, written, dict(reversed(feed.items()))))
        assert [len(np.unique(one)) > 20 for one in found] == [True, True]
        for mine, one in zip(found, theirs, strict=True):
            np.testing.assert_array_equal(mine, one)


def test_the_command_is_the_documented_one(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(demo_quantized("w8a8").data)
    tool = NetRun(path, SM8550)
    inputs = {"image": "FILES/a"}
    assert tool.first(inputs) == "echo image:=FILES/a > inputs.txt"
    assert tool.first({"a": "X", "b": "Y"}) == "echo 'a:=X b:=Y' > inputs.txt"
    assert tool.command(PLACE, inputs, False).split() == [
        "KIT/qnn-net-run",
        *("--retrieve_context", "FILES/context"),
        *("--backend", "KIT/libQnnHtp.so"),
        *("--input_list", "RUN/inputs.txt"),
        *("--output_dir", "RUN/out"),
        "--use_native_input_files",
        "--use_native_output_files",
    ]
    # 8-bit inputs, as the model's own scale of 1 / 255 has them.
    feed = demo_feeds(1)[0]
    assert tool.raws(feed) == {
        "image": np.rint(feed["image"] / np.float32(1 / 255)).astype(np.uint8).tobytes()
    }
    assert tool.wanted(["logits.raw", "logits_native.raw"], "") == ["logits_native.raw"]
    assert tool.wanted(["logits.raw"], "") == ["logits.raw"]
    assert tool.wanted(["other.raw"], "") is None
    # The same output as float32 would be: it has no flag that tells, but its size.
    with pytest.raises(ValueError, match="'logits' has 40 bytes, and 10 values of uint8 have"):
        tool.answers([bytes(40)])


def save_split(path: Path, middle: str, domain: str = "") -> Path:
    """A quantized convolution, an op that the NPU does not take, another convolution."""
    rng = np.random.default_rng(0)
    w = (rng.standard_normal((3, 3, 1, 1)) * 0.3).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], "first"),
            helper.make_node(middle, ["c"], ["m"], "middle", domain=domain),
            helper.make_node("Conv", ["m", "w"], ["y"], "last"),
        ],
        "split",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 8])],
        [numpy_helper.from_array(w, "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    feeds = [{"x": rng.random((1, 3, 8, 8), dtype=np.float32)} for _ in range(4)]
    made = apply_scheme(load_model(path), get_scheme("w8a8"), feeds)
    path.write_bytes(made.data)
    return path


def test_a_model_in_parts_is_refused_with_what_is_left_out(tmp_path: Path) -> None:
    path = save_split(tmp_path / "m.onnx", "Atanh")
    with pytest.raises(RefusedError) as refusal:
        NetRun(path, SM8550)
    words = str(refusal.value)
    assert "\n" not in words
    assert "the NPU takes it in 2 parts, and leaves out Atanh 'middle'" in words
    assert "adb:SERIAL/qnn" in words


def phone(**properties: str) -> Any:
    return identity_of(
        "P1", {k.replace("_", "."): v for k, v in properties.items()}, "aarch64", True
    )


def test_facts_need_the_chip_s_number(tmp_path: Path) -> None:
    kit = Kit(tmp_path)
    kit.path("libQnnHtp.so").write_bytes(b"\x7fELF..\0v2.40.0.251030123456_189\0..")
    with pytest.raises(ChipdriftError, match=r"P1/qnn-net-run needs the chip's soc_model.*P1 does"):
        adb_netrun.WAY.facts(phone(), kit)
    with pytest.raises(ChipdriftError, match="a XY9999, which the catalogue does not know"):
        adb_netrun.WAY.facts(phone(ro_soc_model="XY9999"), kit)
    with pytest.raises(ChipdriftError, match=r"compiles on this host, and cannot\..*simulat"):
        adb_netrun.WAY.require(phone(ro_soc_model="MT6989"))
    facts = adb_netrun.WAY.facts(phone(ro_soc_model="SM8550"), kit)
    assert facts.options == {"soc_model": SM8550}
    assert facts.versions["sdk"] == "2.40.0"
    assert facts.versions["host-onnxruntime-qnn"]
    assert set(facts.cautions) == {"float32", "float16", "qdq", "asis"}
    assert all("no silicon" in words for words in facts.cautions.values())


class TellsVersion:
    """A phone on which the tool prints its release as Qualcomm's sample application does."""

    def __init__(self, printed: str) -> None:
        self.printed = printed

    def shell(self, command: str) -> Ran:
        assert command.split()[:3] == ["LD_LIBRARY_PATH=KIT", "KIT/qnn-net-run", "--version"]
        return Ran(0, self.printed, "")


def test_a_tool_older_than_the_context_is_named_where_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(demo_quantized("w8a8").data)
    tool = NetRun(path, SM8550)
    made = tool._context.sdk.removeprefix("v")
    for printed, versions in (
        (f"QNN SDK v{made}_1\n", {"sdk": ".".join(made.split(".")[:3])}),
        ("QNN SDK v2.100.0.1\n", {"sdk": "2.100.0"}),
        ("no words of that kind", {}),
    ):
        assert tool.opened(TellsVersion(printed), PLACE).versions == versions
        assert tool.hint("") == ""
    tool.opened(TellsVersion("QNN SDK v2.9.1.230101\n"), PLACE)
    assert tool.hint("").startswith(". The tool is of SDK 2.9.1 and the context of 2.")
