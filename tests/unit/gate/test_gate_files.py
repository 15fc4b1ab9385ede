"""JUnit, SARIF and Markdown, read as their readers do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from gate_runs import CPU, A, B, Case, cell, lost, matrix, placed, without
from markdown_it import MarkdownIt
from report_diagnoses import parted, side
from report_matrices import EVIL

from chipdrift.gate import Gate, junit_xml, markdown, sarif_json

ODD = "a|b`c`*d*_e_<b>@f&\x07]]>.toml"
POLICY = """
[default]
drop = 1
fallback = 0
[[rule]]
targets = ["htp:sm8450"]
unproven = "fail"
"""


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


@pytest.fixture
def gate(case: Case, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Broken, unproven both ways, and held; nodes and targets of any characters."""
    nodes = [("Conv", f"n{i}") for i in range(30)] + [("Erf", EVIL)]
    case.holds(
        matrix(
            cell("fp32", CPU, placement=placed(3)),
            lost("w8a8", A, 3.0, 1.2, 4.9, placement=placed(9, *nodes)),
            lost("w8a8", B, 1.1, 0.2, 1.9, placement=placed(9)),
            lost("w8a8", ODD, 1.1, 0.2, 1.9, placement=placed(9)),
            without("w8a8", EVIL, "failed", f"died\x00 of {EVIL}"),
        ),
        parted().model_copy(
            update={"scheme": "w8a8", "model_sha256": "a" * 64, "a": side(CPU), "b": side(A)}
        ),
    )
    monkeypatch.chdir(case.folder)
    found = case.gate(POLICY)
    return found.model_copy(update={"policy": "ci/my policy.toml"})


def kinds(gate: Gate) -> dict[str, int]:
    return {
        "tests": len(gate.checks),
        "failures": sum(
            c.outcome == "fail" or (c.outcome == "unproven" and c.breaks) for c in gate.checks
        ),
        "skipped": sum(c.outcome == "unproven" and not c.breaks for c in gate.checks),
    }


def test_the_case_has_all_kinds(gate: Gate) -> None:
    assert [(c.limit, c.outcome, c.breaks) for c in gate.checks if c.outcome != "pass"] == [
        ("drop", "fail", True),
        ("fallback", "fail", True),
        ("drop", "unproven", True),
        ("drop", "unproven", False),
        ("status", "fail", True),
    ]


# Jenkins' schema (junit-10.xsd): the attributes an element may have, those it must, its children.
SCHEMA: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, set(), {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname", "id"},
        {"name", "tests", "failures", "errors"},
        {"testcase"},
    ),
    "testcase": ({"name", "classname", "time", "group"}, {"name"}, {"failure", "skipped", "error"}),
    "failure": ({"type", "message"}, set(), set()),
    "skipped": ({"type", "message"}, set(), set()),
}


def test_junit(gate: Gate) -> None:
    root = ElementTree.fromstring(junit_xml(gate))
    assert root.tag == "testsuites"
    for element in root.iter():
        may, must, children = SCHEMA[element.tag]
        assert must <= set(element.keys()) <= may
        assert {child.tag for child in element} <= children
        assert element.get("time", "0").isdecimal()
    counts = kinds(gate)
    for name, tag in (("tests", "testcase"), ("failures", "failure"), ("skipped", "skipped")):
        assert len(list(root.iter(tag))) == counts[name]
        told = [int(suite.get(name, "x")) for suite in root]
        assert sum(told) == counts[name]
        assert told == [len(list(suite.iter(tag))) for suite in root]
    assert root.get("failures") == str(counts["failures"])
    # GitLab takes two cases of one name and class for one.
    names = [(c.get("classname"), c.get("name")) for c in root.iter("testcase")]
    assert len(set(names)) == len(names)
    assert all(str(place).count(".") == 1 for place, _ in names)
    (unproven,) = [f for f in root.iter("failure") if f.get("type") == "unproven"]
    assert "prove neither" in str(unproven.get("message"))
    (skipped,) = root.iter("skipped")
    assert "prove neither" in str(skipped.get("message"))
    assert any(EVIL in str(f.text) for f in root.iter("failure"))


def test_junit_of_one_gate_is_one_text(gate: Gate) -> None:
    assert junit_xml(gate) == junit_xml(gate)
    assert "2026" not in junit_xml(gate)


def check_required(log: dict[str, Any]) -> None:
    """What SARIF 2.1.0 and GitHub's reader of it demand of a log, section by section."""
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-2.1.0.json")
    for run in log["runs"]:
        driver = run["tool"]["driver"]
        rules = [rule["id"] for rule in driver["rules"]]
        assert driver["name"]
        assert len(set(rules)) == len(rules)
        for rule in driver["rules"]:
            assert rule["shortDescription"]["text"]
            assert rule["defaultConfiguration"]["level"] in ("none", "note", "warning", "error")
        for result in run["results"]:
            assert result["message"]["text"]
            assert rules[result["ruleIndex"]] == result["ruleId"]
            assert result["level"] in ("none", "note", "warning", "error")
            assert result["locations"], "GitHub refuses the whole file"
            assert all(isinstance(v, str) for v in result["partialFingerprints"].values())
            for location in result["locations"]:
                place = location["physicalLocation"]
                uri = place["artifactLocation"]["uri"]
                assert not uri.startswith("/")
                assert " " not in uri
                assert place["region"]["startLine"] >= 1
                for logical in location["logicalLocations"]:
                    assert logical["fullyQualifiedName"]


def test_sarif(gate: Gate) -> None:
    log = json.loads(sarif_json(gate))
    check_required(log)
    results = log["runs"][0]["results"]
    assert [(r["ruleId"], r["level"]) for r in results] == [
        ("chipdrift.drop", "error"),
        ("chipdrift.fallback", "error"),
        ("chipdrift.drop", "error"),
        ("chipdrift.drop", "warning"),
        ("chipdrift.status", "error"),
    ]
    places = [
        [location["logicalLocations"][0]["fullyQualifiedName"] for location in r["locations"]]
        for r in results
    ]
    # The nodes that the diagnosis named, worst first; those that left the NPU, not all; the model.
    assert places[0] == ["c4", "c2", EVIL]
    assert places[1] == [f"n{i}" for i in range(20)]
    assert places[4] == ["model"]
    first = results[0]["locations"][0]["physicalLocation"]
    assert first == {"artifactLocation": {"uri": "ci/my%20policy.toml"}, "region": {"startLine": 3}}
    prints = [r["partialFingerprints"]["chipdrift/v1"] for r in results]
    assert len(set(prints)) == len(prints)


def test_a_policy_elsewhere_is_no_path_of_this_machine(gate: Gate, tmp_path: Path) -> None:
    for given, uri in (
        (tmp_path / "x" / "p.toml", "x/p.toml"),
        (Path("/nowhere/p.toml"), "p.toml"),
    ):
        log = json.loads(sarif_json(gate.model_copy(update={"policy": str(given)})))
        check_required(log)
        place = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == uri


def test_a_gate_that_passed(case: Case) -> None:
    case.holds(matrix(cell("fp32", CPU), cell("w8a8", A)))
    gate = case.gate("[default]\ndrop = 50\n")
    assert not gate.failed
    log = json.loads(sarif_json(gate))
    check_required(log)
    assert log["runs"][0]["results"] == []
    root = ElementTree.fromstring(junit_xml(gate))
    assert (root.get("failures"), root.get("tests")) == ("0", "6")
    text = markdown(gate)
    assert text.startswith("### chipdrift gate: passed, 6 held\n")
    assert "|" not in text


def html(text: str) -> Any:
    made = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    return ElementTree.fromstring(f"<page>{made}</page>")


def test_markdown_is_a_table(gate: Gate) -> None:
    page = html(markdown(gate))
    (table,) = page.iter("table")
    heads = ["", "cell", "limit", "found", "95 % interval", "allowed", "evidence"]
    rows = [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")]
    assert rows[0] == heads
    assert all(len(row) == len(heads) for row in rows)
    assert rows[1] == [
        *("broken", f"w8a8 on {A}", "drop", "3", "1.2 to 4.9", "at most 1 point of top1"),
        "vendor-simulator",
    ]
    assert [row[0] for row in rows[1:]] == ["broken", "broken", "unproven", "broken", "unproven"]
    names = " ".join(row[1] for row in rows)
    assert "a|b`c`*d*_e_<b>@f& ]]>.toml" in names
    assert EVIL in names
    # Nothing of a name became markup.
    assert {element.tag for element in page.iter()} <= {
        *("page", "h3", "p", "code", "table", "thead", "tbody", "tr", "th", "td", "strong", "pre"),
        *("ul", "li"),
    }
    assert "failed, 4 limits broken, 1 unproven" in "".join(page.find("h3").itertext())  # type: ignore[union-attr]


def test_markdown_in_words_is_words(gate: Gate) -> None:
    words = f"{ODD}, [a](b) and ~~c~~ # of {EVIL}"
    page = html(markdown(gate.model_copy(update={"warnings": (words,)})))
    (item,) = page.iter("li")
    assert not list(item), "nothing of it became markup"
    assert item.text == words.replace("\x07", " ")


def test_markdown_tells_one_thing_of_many_targets_once(case: Case) -> None:
    chips = [f"htp:sm8{i}50" for i in range(3, 9)]
    cells = [lost("w8a8", chip, 3.0, 1.2, 4.9) for chip in chips]
    case.holds(matrix(cell("fp32", CPU), *cells))
    rows = list(html(markdown(case.gate("[default]\ndrop = 1\n"))).iter("tr"))
    assert len(rows) == 2
    assert "".join(rows[1][1].itertext()) == f"w8a8 on {', '.join(chips)}"


def test_markdown_stays_short(case: Case) -> None:
    cells = [lost("w8a8", f"htp:sm{i}", 3.0 + i / 10, 1.2, 4.9) for i in range(100)]
    case.holds(matrix(cell("fp32", CPU), *cells))
    text = markdown(case.gate("[default]\ndrop = 1\n"))
    assert "80 more rows are in the log." in text
    assert len(text) < 6000
