"""``benchmark_model``: what is pushed and read, against LiteRT's interpreter; its profile."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdq_models import Qdq
from targets_worker import demo_feeds, demo_quantized, open_in, run_in, working
from test_adb_netrun import two_ends

from chipdrift.errors import ChipdriftError
from chipdrift.phones import Kit
from chipdrift.phones.identity import identity_of
from chipdrift.targets import RefusedError, adb_litert, get_target
from chipdrift.targets.adb_litert import Benchmark, read_profile
from chipdrift.targets.adb_tool import Place

pytest.importorskip("ai_edge_litert")

Array = np.ndarray[Any, Any]
PLACE = Place("KIT", "RUN", "FILES/model")


def by_the_interpreter(tool: Benchmark, raws: dict[str, bytes]) -> bytes:
    """What the tool would write: LiteRT's own runtime on the pushed files, by its public API."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=tool.model, num_threads=1)
    interpreter.allocate_tensors()
    for told, data in zip(interpreter.get_input_details(), raws.values(), strict=True):
        array = np.frombuffer(data, told["dtype"]).reshape(told["shape"])
        interpreter.set_tensor(told["index"], array)
    interpreter.invoke()
    outputs = [interpreter.get_tensor(told["index"]) for told in interpreter.get_output_details()]
    return b"".join(array.tobytes() for array in outputs)


def integers() -> Qdq:
    """uint8 in, uint8 out: the file holds int8, 128 less."""
    model = Qdq(7)
    real = model.input("x", (1, 5, 6, 3))
    model.add("Relu", [real], "r")
    model.output("r", 0.011, 101)
    return model


@pytest.mark.parametrize("which", ["demo", "two", "integers"])
def test_pushed_and_read_as_litert_has_it(which: str, tmp_path: Path) -> None:
    if which == "two":
        path, feeds = two_ends(tmp_path, "w8a8")
    elif which == "integers":
        path = Path(integers().save(tmp_path))
        feeds = [integers().feed(seed) for seed in range(4)]
    else:
        path, feeds = tmp_path / "m.onnx", demo_feeds(6)
        path.write_bytes(demo_quantized("w8a8").data)
    with working(get_target("litert:xnnpack")) as worker:
        opened = open_in(worker, path)
        wanted = [run_in(worker, feed) for feed in feeds]
    tool = Benchmark(path)
    assert tuple(("cpu", *node) for node in tool._nodes) == opened.nodes
    for feed, theirs in zip(feeds, wanted, strict=True):
        raws = tool.raws(dict(reversed(feed.items())))
        found = tool.answers([by_the_interpreter(tool, raws)])
        assert [one.dtype for one in found] == [one.dtype for one in theirs]
        for mine, one in zip(found, theirs, strict=True):
            np.testing.assert_array_equal(mine, one)


def test_the_command_is_the_documented_one(tmp_path: Path) -> None:
    path, feeds = two_ends(tmp_path, "w8a8")
    tool = Benchmark(path)
    names = list(tool.raws(feeds[0]))
    pushed = dict(zip(names, ["FILES/a", "FILES/b"], strict=True))
    words = tool.command(PLACE, pushed, False).split()
    assert words[0] == "KIT/benchmark_model"
    assert dict(word[2:].split("=", 1) for word in words[1:]) == {
        "graph": "FILES/model",
        "input_layer": "input0,input1",
        "input_layer_shape": "1,3,9,7:1,3,9,7",
        "input_layer_value_files": "input0:FILES/a,input1:FILES/b",
        "output_filepath": "RUN/out/answers.raw",
        "num_runs": "1",
        "min_secs": "0",
        "warmup_runs": "0",
        "warmup_min_secs": "0",
        "num_threads": "1",
        "use_xnnpack": "true",
    }
    profiled = tool.command(PLACE, pushed, True)
    assert "--op_profiling_output_file=RUN/out/profile.csv" in profiled
    size = 2 * 8 * 9 * 7 * 4
    with pytest.raises(ValueError, match=f"{size - 1} bytes, and they have {size}"):
        tool.answers([bytes(size - 1)])


def test_its_average_is_in_microseconds(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(demo_quantized("w8a8").data)
    tool = Benchmark(path)
    # As C++ prints a double: six digits, then an exponent.
    words = "INFO: Inference timings in us: Init: 5010, First inference: 0, Warmup (avg): 0, "
    assert tool.seconds(f"{words}Inference (avg): 1.23457e+06\nINFO: Note") == 1.23457
    assert tool.seconds(f"{words}Inference (avg): 271\n") == pytest.approx(271e-6)
    assert tool.seconds("count=0\n") is None
    warned = "WARN: Unconsumed cmdline flags: --input_layer_value_files=input0:FILES/a --more=1\n"
    assert tool.hint(warned).startswith(
        "; it does not know --input_layer_value_files: take a newer"
    )
    # Answers to random inputs are none.
    assert tool.wanted(["answers.raw"], warned) is None
    assert tool.wanted(["answers.raw"], "WARN: Unconsumed cmdline flags: --more=1") is not None
    assert tool.wanted(["profile.csv"], "") is None
    assert tool.hint("") == ""


# In the form of TensorFlow's StatsCalculator, of a model that XNNPACK takes in part.
PROFILE = """\
Profiling Info for Benchmark Initialization:
============================== Run Order ==============================
node type, start, first, avg_ms, %, cdf%, mem KB, times called, name
ModifyGraphWithDelegate, 0, 3.1, 3.1, 88.6%, 88.6%, 0, 1, ModifyGraphWithDelegate/0
AllocateTensors, 3.1, 0.4, 0.4, 11.4%, 100%, 0, 1, AllocateTensors/0

Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
node type, start, first, avg_ms, %, cdf%, mem KB, times called, name
SOFTMAX, 0.5, 0.061, 0.06, 10%, 10%, 0, 1, [probabilities, of/ten]:3
TfLiteXNNPackDelegate, 0.1, 0.55, 0.5, 90%, 100%, 0, 1, [a, b]:7

============================== Top by Computation Time ==============================
node type, start, first, avg_ms, %, cdf%, mem KB, times called, name
TfLiteXNNPackDelegate, 0.1, 0.55, 0.5, 90%, 90%, 0, 1, [a, b]:7

Number of nodes executed: 2
============================== Summary by node type ==============================
node type, count, avg_ms, avg %, cdf %, mem KB, times called
TfLiteXNNPackDelegate, 1, 0.5, 90%, 90%, 0, 1

Delegate internal:
============================== Run Order ==============================
node type, start, first, avg_ms, %, cdf%, mem KB, times called, name
Conv (NHWC, QC8), 0, 0.3, 0.28, 60%, 60%, 0, 1, Delegate/Conv (NHWC, QC8):0
Add (ND, QS8), 0, 4.1e-05, 4.1e-05, 40%, 100%, 0, 1, Delegate/Add (ND, QS8):1

"""


def test_the_runs_ops_are_read_and_a_delegate_s_own() -> None:
    wanted = [
        ("Delegate/Conv (NHWC, QC8):0", "Conv (NHWC, QC8)", 0.28e-3),
        ("[probabilities, of/ten]:3", "SOFTMAX", 0.06e-3),
        ("Delegate/Add (ND, QS8):1", "Add (ND, QS8)", 4.1e-8),
    ]
    newer = re.sub(r"(?m)^(.*?), [0-9.]+(, [0-9.e-]+, [0-9.e-]+, [0-9.]+%)", r"\1\2", PROFILE)
    assert newer != PROFILE
    for text in (PROFILE, newer):
        found = read_profile(text)
        assert [row[:2] for row in found] == [row[:2] for row in wanted]
        assert [row[2] for row in found] == pytest.approx([row[2] for row in wanted])
    without = PROFILE.partition("Delegate internal:")[0]
    assert [row[1] for row in read_profile(without)] == ["TfLiteXNNPackDelegate", "SOFTMAX"]
    assert read_profile("") == []


@pytest.mark.parametrize("scheme", ["fp32", "w8a16"])
def test_what_cannot_be_written_is_refused(scheme: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(demo_quantized(scheme).data)
    with pytest.raises(RefusedError) as refusal:
        Benchmark(path)
    assert "\n" not in str(refusal.value)
    facts = adb_litert.WAY.facts(identity_of("P1", {}, "aarch64", True), Kit(tmp_path))
    assert "float32" in facts.refuses and "uint16" in facts.refuses


def test_without_litert_here_nothing_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chipdrift.targets.litert.missing", lambda: "ai-edge-litert is missing")
    with pytest.raises(ChipdriftError, match="P1/litert writes TFLite files here: ai-edge-litert"):
        adb_litert.WAY.require(identity_of("P1", {}, "aarch64", True))
