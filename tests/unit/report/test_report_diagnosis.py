"""The report's section on why two targets part."""

import base64
import hashlib
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from report_diagnoses import (
    FIX,
    SAME,
    activation,
    against_float,
    diagnosis,
    distance,
    own,
    parted,
    side,
)
from report_html import read
from report_matrices import CPU, EVIL, A, B, cell, matrix

from chipdrift.diagnose.explorer import write_node_data
from chipdrift.diagnose.files import write_diagnosis
from chipdrift.findings import Attribution, Diagnosis, Verdict
from chipdrift.report import write_report
from chipdrift.report.curve import MOST, Panel, charts
from chipdrift.report.diagnosis import diagnosed, sentences
from chipdrift.report.network import network
from chipdrift.report.page import render
from chipdrift.store import Store

MATRIX = matrix(cell("w8a8", CPU), cell("w8a8", A), cell("w8a8", B))


def page(*diagnoses: Diagnosis, fault: str | None = None) -> str:
    return render(MATRIX, {}, diagnoses, fault)


def words(html: str) -> str:
    """The page's text without tags, white space as one."""
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


@pytest.mark.parametrize(
    "found",
    [[], [diagnosis()], [parted()], [against_float()], [diagnosis(), parted(), against_float()]],
    ids=["none", "alike", "parted", "float", "all"],
)
def test_the_page_is_balanced_and_fetches_nothing(found: list[Diagnosis]) -> None:
    html = page(*found)
    reader = read(html)
    assert all(a.startswith(("#", "data:")) for a in reader.addresses)
    assert {a[1:] for a in reader.addresses if a.startswith("#")} <= set(reader.ids)
    assert len(reader.ids) == len(set(reader.ids))
    assert not re.search(r"https?:|//[a-z]|@import|url\(", html)
    assert "img" not in reader.tags
    scripts = re.findall(r"<script\b[^>]*>(.*?)</script>", html, re.DOTALL)
    assert len(scripts) == bool(any(f.command for d in found for f in d.findings))
    for script in scripts:  # the page's own, which its policy names and nothing else
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"; script-src 'sha256-{digest}'\"" in html
        assert not re.search("https?:|import|fetch|src=", script)
    assert html.count('<pre class="copy">') == html.count('class="copier"')
    assert "None" not in html
    assert "nan" not in html


def test_without_a_diagnosis_it_says_how_to_make_one() -> None:
    text = words(page())
    assert "No pair is diagnosed yet. In this folder, chipdrift diagnose ." in text
    assert "Drift along the depth" not in text


def test_each_finding_is_told_whole_and_the_worst_first() -> None:
    text = words(page(parted()))
    places = [text.index(w) for w in ("c4 (Conv) is wrong", "Another rounding in c2 and 1 other")]
    body = text[text.rindex("Verdict:") :]
    assert body.index("c4 (Conv) is wrong") < body.index("Another rounding in c2")
    assert places == sorted(places)
    for part in (
        "Verdict: no loss that 200 samples carry.",
        "the first activation that differs is that of c2, and it is also the first node",
        "At the output, y/out: 99.0 % of the values differ, up to 200 LSB, SQNR 2 dB.",
        "Shown by replayed c2 in the engine",
        "Fix keep this node on the CPU",
        "chipdrift checks wrong-answers",
        FIX.replace("'", "&#39;"),
        "1 of 5 nodes left the NPU: sm",
        "Note: the extra outputs changed the final answer",
    ):
        assert part in text


def test_pairs_with_worse_findings_come_first_and_the_float_model_last() -> None:
    floating = against_float().model_copy(update={"findings": parted().findings})
    made = diagnosed(MATRIX, [diagnosis(b=side(CPU)), floating, parted()])
    assert [case.title for case in made.cases] == [
        f"w8a8: {A} against {B}",
        f"w8a8: {A} against {CPU}",
        f"w8a8: {A} against float",
    ]
    (chart,) = made.charts  # those that are identical have no line
    assert [label for _, label in chart.lines] == [f"{A} against {B}", f"{A} against float"]


@pytest.mark.parametrize("forward_first", [True, False])
def test_of_a_pair_both_ways_round_the_newer_is_shown(forward_first: bool) -> None:
    early = parted().model_copy(update={"created": "2026-01-02T03:04:05+00:00"})
    late = parted().model_copy(
        update={"created": "2026-01-02T03:04:04-01:00", "a": side(B), "b": side(A)}
    )
    other = diagnosis(scheme="w8a16_pc")
    found = [early, late, other] if forward_first else [other, late, early]
    html = page(*found)
    assert html.count('<article class="case"') == 2
    text = words(html)
    assert f"w8a8: {B} against {A}" in text
    assert f"w8a8: {A} against {B}" not in text
    assert f"later than {A} against {B}, which is not shown" in text
    assert f"w8a16_pc: {A} against {B}" in text


def test_a_chips_loss_comes_before_worse_findings_with_a_caution_mark() -> None:
    loss = Verdict(cause="chip", words="one loses 3 points: it is the chip.", samples=200)
    found = [parted(), diagnosis(scheme="w8a16_pc", verdict=loss), diagnosis(b=side(CPU))]
    head = page(*found).split("<nav")[0]
    items = re.findall(r'<li class="(\w+)[^"]*">(.*?)</li>', head, re.DOTALL)
    said = [(kind, words(text)) for kind, text in items if "Diagnosed" in text]
    assert [kind for kind, _ in said] == ["caution", "caution", "note"]
    assert "one loses 3 points: it is the chip. Found: identical to the bit." in said[0][1]
    assert all("no loss that 200 samples carry. Found: " in text for _, text in said[1:])
    titles = [case.title for case in diagnosed(MATRIX, found).cases]
    assert titles[0].startswith("w8a16_pc")


@pytest.mark.parametrize(
    ("severity", "mark"), [("error", "caution"), ("warning", "caution"), ("note", "note")]
)
def test_the_summarys_mark_is_by_the_severity_and_comes_with_the_verdict(
    severity: str, mark: str
) -> None:
    first = parted().findings[0].model_copy(update={"severity": severity})
    verdict = Verdict(
        cause="unknown",
        words="a loss on one is likely, not proven: more samples decide. Seen: 7 points.",
        samples=200,
    )
    (said,) = sentences([diagnosis(findings=(first,), verdict=verdict)])
    assert said.kind == mark
    assert "not proven: more samples decide. Found: c4 (Conv) is wrong" in said.text
    assert "Seen" not in said.text


def test_a_likely_loss_is_no_reason_to_be_calm() -> None:
    notes = tuple(f.model_copy(update={"severity": "note"}) for f in parted().findings)
    likely = Verdict(cause="unknown", words="a loss is likely, not proven.", samples=200)
    assert not re.search(
        "No action is needed|ask for nothing", page(diagnosis(findings=notes, verdict=likely))
    )


def test_without_a_loss_it_says_so_before_the_notes_and_a_command_stands_once() -> None:
    first, second = parted().findings
    notes = tuple(
        second.model_copy(update={"severity": "note", "title": f"note {name}"}) for name in "xy"
    )
    warning = first.model_copy(update={"severity": "warning"})
    html = page(diagnosis(findings=(warning, *notes)))
    assert html.count('<pre class="copy">') == 1
    text = words(html)
    text = text[text.rindex("Verdict:") :]
    places = [
        text.index(w) for w in ("c4 (Conv)", "The notes below ask for nothing", "note x", "note y")
    ]
    assert places == sorted(places)
    assert "Command the same as for 2" in text
    assert "No action" not in text  # a warning asks for one
    for quiet in (
        diagnosis(findings=(first, *notes)),  # an error is no reason to be calm
        diagnosis(findings=(warning,)),
        diagnosis(findings=notes, verdict=Verdict(cause="quantization", words="lost.")),
    ):
        assert not re.search("No action is needed|ask for nothing", page(quiet))


def test_float_tensors_are_values_and_not_integers() -> None:
    far = distance(0.3, 60.0, None)
    found = diagnosis(
        scheme="fp16",
        activations=(activation("c1", 0, far),),
        outputs=(activation("y", 1, far, "output"),),
        own=(own("c1", 0, far),),
        first_layer="c1",
        first_op="c1",
    )
    text = words(page(found).partition('<section id="diagnosis">')[2].partition("</section>")[0])
    assert "fed with the same values on both" in text
    assert "integers" not in text
    assert "LSB" not in text


def test_the_head_of_the_report_names_the_worst_finding_and_a_chips_loss() -> None:
    head = words(page(parted(), diagnosis(b=side(CPU)))).split("Chip against chip")[0]
    none = "no loss that 200 samples carry"
    assert f"Diagnosed, w8a8: {A} against {B}: {none}. Found: c4 (Conv) is wrong" in head
    assert f"w8a8: {A} against {CPU}: {none}. Found: identical to the bit." in head
    assert "no loss seen" not in head
    loss = Verdict(cause="chip", words="it is the chip: 3 points.", samples=200)
    head = words(page(diagnosis(verdict=loss))).split("Chip against chip")[0]
    assert "it is the chip: 3 points." in head


def test_two_identical_targets_have_no_curve_and_no_finding() -> None:
    html = page(diagnosis())
    assert "The two are identical: every activation and every output of 16 samples" in html
    assert "No finding: nothing to mend." in html
    assert "Drift along the depth" not in html


def test_a_diagnosis_of_another_model_says_so() -> None:
    old = diagnosis(model_sha256="f" * 64)
    assert "Made of another model file than this run" in page(old)
    assert "Made of another model file" not in page(diagnosis())


def test_the_bar_gives_each_mechanism_its_share_and_the_rest_to_unexplained() -> None:
    (case,) = diagnosed(MATRIX, [parted()]).cases
    assert [(p.share, p.width) for p in case.parts] == [
        ("70 %", 69.86),
        ("under 1 %", 0.0),
        ("30 %", 30.14),
    ]
    assert "70 % another rounding (1 node)" in words(page(parted()))
    assert "30 % unexplained" in words(page(parted()))
    assert "-0 %" not in page(parted())


def test_shares_of_more_than_the_whole_still_fit_the_bar() -> None:
    many = tuple(
        Attribution(mechanism=name, nodes=("c1",), drift=0.8)
        for name in ("rounding", "dropped_bits")
    )
    (case,) = diagnosed(MATRIX, [diagnosis(attributions=many, unexplained=0.1)]).cases
    assert sum(part.width for part in case.parts) == pytest.approx(100, abs=0.02)


# The curve: what is drawn, read back from the path data by means of the ticks beside it.


def _points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+),([\d.]+)", path)]


def _values(panel: Panel, path: str) -> list[float | None]:
    """The values that a reader of the chart sees, None for "same"."""
    ticks = [(top * 2, text) for top, text in panel.ticks]
    levels = [(y, float(re.sub(r"[^\d.-]", "", text))) for y, text in ticks if text != "same"]
    (y0, v0), (y1, v1) = levels[0], levels[-1] if levels[-1][1] != levels[0][1] else levels[1]
    same = next((y for y, text in ticks if text == "same"), None)
    found: list[float | None] = []
    for _, y in _points(path):
        if same is not None and math.isclose(y, same, abs_tol=0.2):
            found.append(None)
        else:
            found.append(v0 + (y - y0) * (v1 - v0) / (y1 - y0))
    return found


def _near(found: Sequence[float | None], expected: Sequence[float | None], off: float) -> bool:
    return len(found) == len(expected) and all(
        (x is None) == (y is None) and (x is None or y is None or abs(x - y) <= off)
        for x, y in zip(found, expected, strict=True)
    )


def test_the_curve_shows_the_shares_and_decibels_that_were_measured() -> None:
    (chart,) = charts([parted()])
    shares, noise = chart.panels
    (line,) = shares.lines
    assert _near(_values(shares, line.path), [0, 25, 30, 20, 99, 99], 0.2)
    assert _near(_values(shares, line.dots), [0, 25, 0, 90], 0.2)
    (line,) = noise.lines
    assert _near(_values(noise, line.path), [None, 45, 38, 41, 2, 2], 0.2)
    assert _near(_values(noise, line.dots), [None, 45, None, 5], 0.2)
    assert (chart.first, chart.last) == ("c1 (Conv)", "y (output)")
    across = [x for x, _ in _points(line.path)]
    assert across == sorted(across)
    assert len(set(across)) == 6


@pytest.mark.parametrize("largest", [0.00004, 0.003, 0.03, 0.4, 1.0])
def test_small_shares_fill_the_chart_and_read_true(largest: float) -> None:
    shares = [0.0, largest / 3, largest]
    found = diagnosis(
        activations=tuple(
            activation(f"c{i}", i, distance(s, 50.0 if s else None)) for i, s in enumerate(shares)
        ),
        outputs=(),
        own=(),
    )
    (chart,) = charts([found])
    line = chart.panels[0].lines[0]
    assert _near(_values(chart.panels[0], line.path), [100 * s for s in shares], largest)
    heights = [y for _, y in _points(line.path)]
    assert max(heights) - min(heights) > 70  # of 200


def test_worse_is_higher_in_both_panels() -> None:
    (chart,) = charts([parted()])
    for panel in chart.panels:
        heights = [y for _, y in _points(panel.lines[0].path)]
        assert min(heights) == heights[-1]
        assert max(heights) == heights[0]


def test_what_lies_under_the_pointer_is_told_in_words() -> None:
    (chart,) = charts([parted()])
    assert chart.columns[1].title == (
        "c2 (Conv)\n25.0 % of the values differ, up to 1 LSB, SQNR 45 dB\n"
        "alone: 25.0 % of the values differ, up to 1 LSB, SQNR 45 dB"
    )


def test_pairs_under_one_scheme_share_a_chart_and_too_many_are_split() -> None:
    pairs = [
        parted().model_copy(update={"b": side(f"htp:sm{number}")}) for number in range(MOST + 1)
    ]
    other = parted().model_copy(update={"scheme": "w4a16"})
    made = charts([*pairs, other])
    assert [(c.scheme, len(c.lines)) for c in made] == [("w8a8", MOST), ("w8a8", 1), ("w4a16", 1)]
    assert len({line.number for line in made[0].panels[0].lines}) == MOST
    dots = {line.dots for line in made[0].panels[0].lines}
    assert len(dots) == MOST  # side by side, though their values are the same


@pytest.mark.parametrize(("decibels", "last"), [(150.0, "> 120 dB"), (90.0, "90 dB")])
def test_noise_below_a_millionth_does_not_stretch_the_axis(decibels: float, last: str) -> None:
    found = diagnosis(
        activations=(
            activation("c1", 0, distance(0.1, decibels)),
            activation("c2", 1, distance(0.2, 40.0)),
        ),
        own=(),
    )
    (chart,) = charts([found])
    assert chart.panels[1].ticks[-2][1] == last


# The graph.


def _edges(paths: Sequence[str]) -> set[tuple[int, int]]:
    """The graph that a reader sees: each line followed from where it leaves a node."""
    found = set()
    for row, path in enumerate(paths):
        if "M9,50V100" in path and row + 1 < len(paths) and "M9,0V50" in paths[row + 1]:
            found.add((row, row + 1))
        for lane in re.findall(r"M9,50C(\d+),50 \1,60 \1,100", path):
            for below in range(row + 1, len(paths)):
                if f"M{lane},0C{lane},40 {lane},50 9,50" in paths[below]:
                    found.add((row, below))
                if f"M{lane},0V100" not in paths[below]:
                    break
    return found


@pytest.mark.parametrize("seed", range(20))
def test_every_edge_is_drawn_and_no_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = 12
    edges = {
        (source, row)
        for row in range(1, count)
        for source in rng.choice(row, min(row, 1 + int(rng.integers(3))), replace=False).tolist()
    }
    nodes = tuple(
        own(f"n{row}", row, SAME, *(f"n{s}" for s, r in sorted(edges) if r == row))
        for row in range(count)
    )
    made = network(diagnosis(own=nodes))
    assert made.drawn
    assert _edges([row.path for row in made.rows]) == edges


def test_the_graph_is_coloured_by_what_each_node_adds() -> None:
    made = network(parted())
    assert [(row.node, row.tint) for row in made.rows] == [
        ("c1", 0),
        ("c2", 2),  # 45 dB are 0.6 % of the signal
        (EVIL, None),
        ("sum", 0),
        ("c4", 4),  # 5 dB are more than a half
    ]
    assert made.rows[1].own == ("25.0 %", "1 / 0.25", "45 dB")
    assert made.rows[4].arrived == ("99.0 %", "200 / 198", "2 dB")
    assert made.rows[1].why == "another rounding 75 %, unexplained 25 %"
    assert made.rows[1].note == f"inside the model {B} computes it otherwise than alone"
    joined = parted()
    entries = [
        o.model_copy(update={"together": ("c1", "sum")}) if o.node == "c2" else o
        for o in joined.own
    ]
    told = network(joined.model_copy(update={"own": tuple(entries)})).rows[1].note
    assert told.endswith("its own figures are with c1 and sum beside it")
    assert made.rows[2].note == "not run alone: the session does not start"
    assert made.rows[3].others == "sum/relu"
    html = page(parted())
    assert html.count('class="own4"') == 2  # the row and the key
    assert '<th scope="row" class="unrun"' in html


def test_without_the_edges_of_an_older_file_nodes_stand_alone() -> None:
    bare = tuple(entry.model_copy(update={"inputs": ()}) for entry in parted().own)
    made = network(parted().model_copy(update={"own": bare}))
    assert not made.drawn
    assert {row.path for row in made.rows} == {""}


# From the folder of a run.


def _run(folder: Path) -> Path:
    with Store.open(folder) as store:
        store.put_fact("samples", ["k0"])
        store.write_file("matrix.json", MATRIX.model_dump_json().encode())
    return folder


def test_the_report_of_a_run_has_its_diagnoses(tmp_path: Path) -> None:
    path = write_diagnosis(_run(tmp_path), parted())
    written = write_node_data(path, parted(), "net")
    assert len(written) == 2
    html = write_report(tmp_path).read_text(encoding="utf-8")
    assert "c4 (Conv) is wrong" in html
    assert html.count('<article class="case"') == 1


def test_a_broken_diagnosis_does_not_cost_the_others(tmp_path: Path) -> None:
    write_diagnosis(_run(tmp_path), parted())
    write_diagnosis(tmp_path, diagnosis(scheme="w8a16_pc")).write_text("{", encoding="utf-8")
    html = write_report(tmp_path).read_text(encoding="utf-8")
    assert "no diagnosis that this chipdrift can read" in html
    assert html.count('<article class="case"') == 1
    assert "c4 (Conv) is wrong" in html


def test_a_broken_diagnosis_does_not_cost_the_report(tmp_path: Path) -> None:
    path = write_diagnosis(_run(tmp_path), parted())
    path.write_text("{", encoding="utf-8")
    html = write_report(tmp_path).read_text(encoding="utf-8")
    assert "no diagnosis that this chipdrift can read" in html
    assert '<section id="matrix">' in html


def test_a_named_pipe_among_the_diagnoses_is_not_waited_for(tmp_path: Path) -> None:
    path = write_diagnosis(_run(tmp_path), parted())
    os.mkfifo(path.parent / "a.json")
    html = write_report(tmp_path).read_text(encoding="utf-8")
    assert "a.json: no diagnosis that this chipdrift can read" in html
    assert "c4 (Conv) is wrong" in html
