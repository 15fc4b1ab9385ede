"""Every source's lines, form by form, in ``tests/data/logs/forms/<source>.log``.

The lines have the forms of public logs; names and figures are ours.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from chipdrift.logs import read_log
from chipdrift.logs.findings import LogFindings
from chipdrift.logs.grammar import Fact, Form, Source, all_sources
from chipdrift.logs.read import build, grammar

DATA = Path(__file__).parents[2] / "data" / "logs"


def path_of(name: str) -> Path:
    """A source's lines; onnxruntime's profile is a whole file, as onnxruntime wrote it."""
    if name == "profile_json":
        return DATA / "ort_profile_sm8450.json"
    return DATA / "forms" / f"{name}.log"


def read(name: str) -> LogFindings:
    return read_log(path_of(name))


def modules() -> list[tuple[str, Source]]:
    import importlib
    import pkgutil

    from chipdrift.logs import sources

    names = sorted(module.name for module in pkgutil.iter_modules(sources.__path__))
    return [(n, importlib.import_module(f"{sources.__name__}.{n}").SOURCE) for n in names]


@pytest.mark.parametrize(("name", "source"), modules(), ids=lambda value: str(value)[:20])
def test_every_form_is_the_first_to_read_a_line(name: str, source: Source) -> None:
    """No form is dead: shadowed by another, or with an anchor that its lines lack."""
    lines = path_of(name).read_bytes().split(b"\n")
    known = grammar()
    numbers = {anchor: known.known + 1 + i for i, anchor in enumerate(known.anchors)}
    used: set[int] = set()
    for line in lines:
        held = [anchor for anchor in known.anchors if anchor in line]
        for anchor in reversed(held):  # the longest first
            forms = [r.form for r in known.forms[numbers[anchor]] if r.search(line)]
            if forms:
                used.add(id(forms[0]))
                break
    dead = [f.pattern.pattern for f in source.forms if id(f) not in used]
    assert dead == []


@pytest.mark.parametrize(("name", "source"), modules(), ids=lambda value: str(value)[:20])
def test_forms_say_where_they_are_from_and_give_what_their_fact_reads(
    name: str, source: Source
) -> None:
    needed = {
        Fact.VERSION: {"version", "what"},
        Fact.OPTION: {"name", "value"},
        Fact.VERDICT: {"verdict", "count", "group", "op", "by"},
        Fact.MEMBER: {"op", "node"},
        Fact.REASON: {"reason"},
        Fact.ANSWER: {"verdict", "node", "op", "by"},
        Fact.REFUSED: {"by"},
        Fact.REFUSED_LIST: {"nodes", "by"},
        Fact.PLACES: {"provider", "nodes"},
        Fact.PLACED: {"op", "node"},
        Fact.ASSIGNED: {"op", "provider"},
        Fact.TAKEN: {"provider"},
        Fact.FUSION: {"name"},
        Fact.TENSOR: {"tensor", "dtype", "rest"},
        Fact.TIME: {"value", "unit", "kind"},
        Fact.EVENT: {"event"},
        Fact.ERROR: {"text"},
        Fact.WARNING: {"text"},
    }
    assert source.name.replace("-", "_") == name
    for form in source.forms:
        assert form.origin
        assert len(form.anchor) >= 4
        given = {*form.pattern.groupindex, *form.fixed}
        assert needed.get(form.fact, set()) <= given, form.pattern.pattern


def test_a_source_more_is_one_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import re

    mine = Source(
        "enn", "ENN", (Form(Fact.ERROR, b"enn: bad", re.compile(rb"(?P<text>bad.*)"), "here"),)
    )
    from chipdrift.logs import read as module

    made = build((*all_sources(), mine))
    monkeypatch.setattr(module, "grammar", lambda: made)
    path = tmp_path / "x.log"
    path.write_bytes(b"enn: bad op Conv\n")
    (trouble,) = read_log(path).troubles
    assert (trouble.source, trouble.text, trouble.line) == ("enn", "bad op Conv", 1)


def test_onnxruntime() -> None:
    found = read("onnxruntime")
    assert [(f.node, f.op) for f in found.placements] == [("/up/Resize", "Resize")]
    taken = {(d.provider, d.nodes, d.total, d.partitions) for d in found.delegations}
    assert taken == {
        ("CPUExecutionProvider", 57, 57, None),
        ("CPUExecutionProvider", 1, None, None),
        ("NnapiExecutionProvider", None, None, 2),
        ("NnapiExecutionProvider", 61, 66, 2),
    }
    assert [f.name for f in found.fusions] == ["GeluFusionL2"]
    errors = [(t.node, t.line) for t in found.troubles if t.severity == "error"]
    assert errors == [(None, 12), (None, 13), ("Conv_7", 14), (None, 15), (None, 16), (None, 18)]


def test_onnxruntime_qnn() -> None:
    found = read("onnxruntime_qnn")
    falls = {f.node: (f.op, f.reason) for f in found.fallbacks}
    assert falls == {
        "/a/Pad": ("Pad", None),
        "/b/Pad": ("Pad", "base_op_builder.cc:162 ProcessOutputs Failed to add node."),
        "/c/Erf": ("Erf", None),
        "/c/Mod": ("Mod", None),
        "/d/Gelu": ("Gelu", "Failed to add node."),
    }
    assert [(p.node, p.how) for p in found.placements if p.processor == "npu"] == [
        ("/a/Conv", "validated")
    ]
    # The second line prints its partitions as nodes.
    taken = [(d.nodes, d.total, d.partitions) for d in found.delegations]
    assert taken == [(58, 60, 3), (None, 71, 4)]
    assert {(v.what, v.version) for v in found.versions} == {
        ("HTP_QTI_AISW", "2.25.0"),
        ("QNN SDK", "v2.37.1.250807103022"),
    }
    assert [(c.field, c.value) for c in found.chips] == [("soc_model", "57")]
    assert found.options == {"enable_htp_fp16_precision": "1"}
    (tensor,) = found.quantizers
    assert tensor.quantizer.scale == (0.5, 0.25, 0.125, 1e-05)
    assert tensor.quantizer.zero_point == (0, 0, 0, 3)
    assert (tensor.quantizer.dtype, tensor.quantizer.axis) == ("int8", 0)
    texts = [t.text for t in found.troubles if t.severity == "error"]
    assert "NPU crashed. SSR detected. Caused QNN graph execute error. Error code: 6031" in texts


def test_qnn() -> None:
    found = read("qnn")
    chips = {(c.field, c.value) for c in found.chips}
    assert chips == {
        ("soc", "SM8650"),
        ("arch", "75"),
        ("detected", "SM8350"),
        ("soc_model", "57"),
        ("vtcm_mb", "8"),
    }
    times = {(t.name, t.unit, t.total) for t in found.timings}
    assert times == {("Graph Optimizations", "us", 39047), ("QNN (finalize) time", "us", 21427)}
    blamed = [t.node for t in found.troubles if t.node]
    assert blamed == ["_dec_norm1_InstanceNormalization", "mul_2", "/hs/HardSigmoid"]
    assert found.unknown == ()


def test_executorch() -> None:
    found = read("executorch")
    assert [(f.op, f.processor, f.count) for f in found.fallbacks] == [
        ("aten.erf.default", "cpu", 1)
    ]
    assert [(p.op, p.processor) for p in found.placements] == [("aten.conv2d.default", "npu")]
    assert {(c.field, c.value) for c in found.chips} == {("soc_model", "57"), ("arch", "75")}
    assert len([t for t in found.troubles if t.severity == "error"]) == 6
    (session,) = found.sessions
    assert session.failed is not None
    assert (session.failed.text, session.failed.line) == ("Fail to compile QNN graph", 10)


def test_litert() -> None:
    found = read("litert")
    assert [
        (d.provider, d.processor, d.nodes, d.total, d.partitions) for d in found.delegations
    ] == [
        ("TfLiteXNNPackDelegate", "cpu", 470, 476, 5),
        ("LiteRT compiler plugin", "npu", 170, 175, 3),
    ]
    times = {t.name: (t.kind, t.op, t.total) for t in found.timings}
    assert times == {
        "model/conv1/Relu": ("node", "CONV_2D", 4269.0),
        "model/prob": ("node", "SOFTMAX", 250.0),
        "Inference (avg)": ("phase", None, 119375.0),
        "Initialized session": ("phase", None, 870557.0),
    }
    assert len([t for t in found.troubles if t.severity == "error"]) == 7
    assert found.options["::qnn::Options"].startswith("LogLevel: 0")


def test_nnapi() -> None:
    found = read("nnapi")
    falls = {(f.op, f.count) for f in found.fallbacks}
    # CONV_2D went to the DSP after the GPU refused it; CAST to the reference on the CPU.
    assert falls == {("DEQUANTIZE", 2), ("CAST", 1)}
    assert {(p.op, p.provider, p.processor) for p in found.placements} == {
        ("CONV_2D", "qti-dsp", "npu"),
        ("CAST", "nnapi-reference", "cpu"),
    }
    assert {(r.by, r.op) for r in found.refusals} >= {("hta-unnhal", "CONVOLUTION_2D")}


def test_snpe() -> None:
    found = read("snpe")
    assert {(c.field, c.value) for c in found.chips} == {
        ("arch", "68"),
        ("soc", "SM7325"),
        ("vtcm_mb", "2"),
    }
    assert [(f.node, f.processor) for f in found.fallbacks] == [
        ("Unsqueeze_48", "unknown"),
        ("Div_0", "unknown"),
    ]
    assert "QNN_GRAPH_ERROR_INVALID_OP_CONFIG" in str(found.fallbacks[0].reason)
    assert [(v.what, v.version) for v in found.versions] == [("SNPE", "4264")]


def test_fastrpc() -> None:
    found = read("fastrpc")
    assert [t.severity for t in found.troubles] == ["error", "error", "warning", "warning"]
    assert found.troubles[0].text.startswith("Error 0x8000040d: remote_handle64_invoke failed")


def test_android() -> None:
    found = read("android")
    chips = [(c.field, c.value, c.count) for c in found.chips]
    assert chips == [("ro.soc.model", "SM8650", 2), ("soc_id", "435", 1)]


def test_perf_test() -> None:
    times = {t.name: t.total for t in read("perf_test").timings}
    assert times == pytest.approx(
        {
            "Session creation time cost": 1841490.0,
            "First inference time cost": 43000.0,
            "Average inference time cost total": 43212.0,
            "Average inference time cost": 43212.0,
            "Min Latency": 41200.0,
            "P999 Latency": 62347.2,
            "iteration": 43200.0,
        }
    )


def test_qnn_profile() -> None:
    found = read("qnn_profile")
    times = {(t.name, t.unit): t.total for t in found.timings}
    assert times == {
        ("conv1", "cycles"): 1592,
        ("conv2", "cycles"): 74104,
        ("Accelerator (execute) time", "cycles"): 4161000,
        ("Graph Preparation Initializing", "us"): 5957,
        ("QNN (execute) time", "us"): 22248,
        ("QNN accelerator (execute) time", "us"): 2600,
        ("RPC (execute) time", "us"): 11560,
        ("NetRun", "us"): 2952,
    }
    assert [(p.node, p.processor) for p in found.placements] == [("conv1", "npu"), ("conv2", "npu")]


def test_profile_json() -> None:
    found = read("profile_json")
    assert [(f.node, f.op, f.reason) for f in found.fallbacks] == [("erf", "Erf", None)]
    assert found.conversions == 4
    (npu,) = [d for d in found.delegations if d.processor == "npu"]
    assert (npu.provider, npu.partitions) == ("QNNExecutionProvider", 2)
