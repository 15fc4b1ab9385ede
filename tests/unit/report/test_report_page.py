"""The HTML file: whole, balanced, escaped, and with nothing to fetch."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from report_html import read
from report_matrices import (
    CPU,
    EVIL,
    PARAGRAPH,
    SIM,
    A,
    B,
    cell,
    engine,
    everything,
    matrix,
    metric,
    pair,
    picture,
    placed,
    without,
)

from chipdrift.errors import RunError
from chipdrift.records import Matrix, NodePlace, Parting
from chipdrift.report import write_report
from chipdrift.report.heatmap import heatmap
from chipdrift.report.page import render
from chipdrift.store import Store


def no_interval() -> Matrix:
    return matrix(cell("w8a8", CPU, spread=None), cell("w8a8", A, spread=None))


def lower_is_better() -> Matrix:
    own = metric("bootstrap", name="cer", higher_is_better=False)
    return matrix(cell("w8a8", CPU, 0.1), cell("w8a8", A, 0.2, 0.1, True), metric=own)


def nothing_ran() -> Matrix:
    return matrix(without("w8a8", A, "unsupported", ""), without("w8a8", B, "failed", "x"))


def no_figures() -> Matrix:
    bare = cell("w8a8", CPU, delta=None, agreement=None, seconds=None)
    made = matrix(bare)
    return made.model_copy(
        update={"baseline": made.baseline.model_copy(update={"metric": None}), "audit": None}
    )


def many() -> Matrix:
    targets = [CPU, *(f"htp:sm{8000 + i}" for i in range(25))]
    nodes = [("Softmax", f"/layer.{i}/Softmax") for i in range(84)]
    schemes = [f"s{i}" for i in range(8)]
    return matrix(
        *(cell(s, t, placement=placed(4, *nodes)) for s in schemes for t in targets),
        pairs=tuple(pair("s0", CPU, t) for t in targets[1:]),
        partings=tuple(
            Parting(scheme="s0", sample=i, label="1", answers=dict.fromkeys(targets, "2"))
            for i in range(200)
        ),
        parted=1000,
    )


MADE = [engine, everything, no_interval, lower_is_better, nothing_ran, no_figures, many]


@pytest.mark.parametrize("make", MADE)
def test_every_page_is_balanced_and_fetches_nothing(make: Callable[[], Matrix]) -> None:
    html = render(make(), {0: picture(), 1: picture()})
    reader = read(html)
    assert all(a.startswith(("#", "data:")) for a in reader.addresses)
    assert {a[1:] for a in reader.addresses if a.startswith("#")} <= set(reader.ids)
    assert len(reader.ids) == len(set(reader.ids))
    assert not re.search(r"https?:|//[a-z]|@import|url\(", html)
    assert "script" not in reader.tags
    assert "None" not in html
    assert "nan" not in html


def test_names_that_are_html_are_shown_and_not_obeyed() -> None:
    made = everything()
    evil = {"name": EVIL}
    made = made.model_copy(
        update={
            "model": made.model.model_copy(update=evil),
            "data": made.data.model_copy(update=evil),
            "metric": made.metric.model_copy(update={"name": EVIL, "answer": EVIL, "output": EVIL}),
        }
    )
    html = render(made, {})
    read(html)
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;" in html


def test_every_status_is_shown_with_its_reason() -> None:
    html = render(everything(), {})
    assert ">n/a</b>" in html
    assert ">failed</b>" in html
    assert "not available: the simulator has no float32" in html
    assert "died of signal 11" in html
    assert "What the worker printed" in html
    assert "no FP16: every node ran on the host&#39;s CPU" in html


def test_a_shared_result_says_with_whom_and_on_how_many_samples() -> None:
    html = render(everything(), {})
    assert "= htp:sm8350<br>rests on 4 samples" in html
    assert "identical bits on 4 of 200 samples measured on all; the rest taken over" in html


def test_only_a_significant_difference_gets_the_star_and_a_strong_colour() -> None:
    rows = heatmap(everything()).rows
    strong = {(r.name, c.value) for r in rows for c in r.cells if c.tint[-1:] in ("2", "3", "4")}
    starred = {(r.name, c.value) for r in rows for c in r.cells if c.significant}
    assert strong == starred == {("w8a8", "80.0 %"), ("w4a16", "95.0 %")}


def test_lower_is_better_turns_the_colours_around() -> None:
    (row,) = heatmap(lower_is_better()).rows
    assert row.cells[1].tint == "worse4"


def test_many_targets_go_down_the_page() -> None:
    heat = heatmap(many())
    assert heat.upright
    assert len(heat.rows) == 26
    assert len(heat.columns) == 8


@pytest.mark.parametrize("targets", [3, 12], ids=["across", "down"])
def test_a_paragraph_is_clipped_in_the_table_and_whole_in_its_title(targets: int) -> None:
    more = [cell("w8a8", f"htp:sm{8000 + i}") for i in range(targets - 3)]
    heat = heatmap(engine(*more))
    lines = {line.name: line for line in (heat.rows if heat.upright else heat.columns)}
    long, short = lines[SIM], lines["litert:reference"]
    assert len(PARAGRAPH) > 400
    assert len(long.about) < 110
    assert long.about.endswith("…, prediction")
    assert long.title == f"{PARAGRAPH.removesuffix('.')}, prediction"
    assert short.about == short.title == "LiteRT's reference kernels, host-runtime"
    html = render(engine(*more), {})
    assert f'title="{long.title}"' in html
    assert html.count(PARAGRAPH.removesuffix(".")) == 1


def test_the_page_speaks_of_chips_and_the_npu_only_where_there_are() -> None:
    words = ("Chip against chip", "what ran on the NPU", "left the NPU", " npu</b>", "= CHIP")
    html = render(engine(), {})
    assert [word for word in words if word in html] == []
    assert "Target against target" in html
    assert "<b>10 by rules</b>, 1 cpu" in html
    assert "Nodes that the engine left to onnxruntime" in html
    chips = render(everything(), {})
    assert [word for word in words if word not in chips] == []


def test_nodes_on_an_unknown_rule_are_listed_and_noted_beside_their_cell() -> None:
    html = render(engine(), {})
    assert "⚠ 2 on an unknown rule" in html
    assert "<code>attention</code></td><td>no rule for Softmax at 16 bits</td>" in html
    heat = heatmap(engine())
    noted = {
        (row.name, column.name)
        for row in heat.rows
        for column, found in zip(heat.columns, row.cells, strict=True)
        if found.note
    }
    assert noted == {("w8a16", SIM)}
    assert "unknown rule" not in render(everything(), {})


def test_a_cut_list_of_samples_says_so() -> None:
    assert "The list is cut: the first 200 of 1,000" in render(many(), {})
    assert "The list is cut" not in render(no_interval(), {})


def test_answers_are_set_against_the_label() -> None:
    html = render(everything(), {})
    assert '<b class="ok">✓ 7</b> <span class="soft">ort:cpu</span>' in html
    assert '<b class="off">✗ 9</b> <span class="soft">htp:sm8350 and htp:sm8450</span>' in html


def test_pictures_are_embedded_and_what_is_no_png_is_not() -> None:
    with_png = render(everything(), {1: picture(), 0: b"<svg onload=x>"})
    assert with_png.count("<img") == 1
    assert 'src="data:image/png;base64,' in with_png
    assert "<img" not in render(everything(), {})


def test_a_reason_of_a_fallback_node_is_shown() -> None:
    place = placed(3, ("Conv", "c1"))
    why = NodePlace(node="c1", op="Conv", reason="no int4")
    made = cell("w8a8", A, placement=place.model_copy(update={"fallback": (why,)}))
    assert "<td>no int4</td>" in render(matrix(made), {})


def test_the_report_is_written_whole_beside_the_records(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.put_fact("samples", ["k0", "k1"])
        store.put_picture("k1", picture())
        store.write_file("matrix.json", everything().model_dump_json().encode())
    written = write_report(str(tmp_path))
    assert written == tmp_path / "report.html"
    assert written.read_text(encoding="utf-8").count("<img") == 1
    assert not list(tmp_path.glob("*.partial"))


def test_a_folder_without_a_run_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such run"):
        write_report(tmp_path)


def test_importing_the_report_is_cheap() -> None:
    code = (
        "import sys, chipdrift.report; "
        "print([m for m in ('jinja2', 'rich', 'onnx', 'pyarrow', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
