"""What phones told: on the page and in the terminal, and never an emulator's time as a phone's."""

import io
import re
from html import unescape
from typing import Any

import pytest
from report_html import read
from report_matrices import CPU, EVIL, SAMPLES, cell, matrix, without
from rich.console import Console

from chipdrift.records import Cell, Matrix, NodeTime, OutputDiff, PhoneRun, PhoneState
from chipdrift.report import print_matrix
from chipdrift.report.page import render
from chipdrift.report.phones import heat, lines, state
from chipdrift.report.silicon import not_checked

PHONE, OTHER, EMULATED = "adb:R5CT90ABCDE", "adb:192.168.1.20:5555/cpu", "adb:emulator-5554"
COOL = PhoneState(battery=84, battery_celsius=27.6, charging=True, thermal=0, hottest_celsius=36.25)
HOT = COOL.model_copy(update={"thermal": 3, "hottest_celsius": 91.0})
LIGHT = COOL.model_copy(update={"thermal": 1, "hottest_celsius": 44.0})
# 8 ms in all; the sixth and seventh are summed up as others.
NODES = tuple(
    NodeTime(node=f"block{i}/conv", op="QLinearConv", seconds=milliseconds / 1000)
    for i, milliseconds in enumerate((4.0, 2.0, 1.0, 0.5, 0.3, 0.16, 0.04))
)


def told(median: float | None = 0.0019, **more: Any) -> PhoneRun:
    """What a cool phone told of all samples."""
    fields: dict[str, Any] = {"before": COOL, "after": COOL, "samples": SAMPLES, "sent": 25_383_915}
    if median is not None:
        fields |= {"median_seconds": median, "slowest_seconds": 3.3 * median, "nodes": NODES}
    return PhoneRun(**(fields | more))


def on(target: str, scheme: str, run: PhoneRun, **more: Any) -> Cell:
    """A phone's cell; ``EMULATED`` is none."""
    fields: dict[str, Any] = {"evidence": "device", "phone": run}
    fields["versions"] = {"soc": "SM8550", "android": "14", "build": "maker/phone:14/A1"}
    if target == EMULATED:
        fields |= {"evidence": "emulated-runtime", "reason": "not silicon: ro.kernel.qemu is 1"}
    return cell(scheme, target, **(fields | more))


def run(*cells: Cell, **changes: Any) -> Matrix:
    return matrix(
        *(cell(s, CPU) for s in dict.fromkeys(c.scheme for c in cells)), *cells, **changes
    )


def every_kind() -> Matrix:
    """Cool, hot, warmed, away, mute, failed; a second phone, an emulated one; names like HTML."""
    log = "logs/w8a8-adb-R5CT90ABCDE-0123abcd.txt"
    long = NODES[0].model_copy(update={"node": "/" + "layer/" * 40, "seconds": 0.02})
    waited: dict[str, Any] = {"before": HOT, "after": HOT, "cooled": 180.2}
    fault = PhoneRun(trouble=f"Phone R5CT90ABCDE: it went away. {EVIL}")
    return run(
        on(PHONE, "w8a8", told(log=log, away=2)),
        on(PHONE, "w8a16_pc", told(0.0063, nodes=(*NODES, long), **waited)),
        on(PHONE, "fp32", told(0.0031, after=LIGHT, cooled=35.1, samples=12, sent=0)),
        on(PHONE, "w4a16_pc", fault),
        without("fp16", PHONE, "failed", "it did not come back", evidence="device", phone=told()),
        on(OTHER, "w8a8", told(None)),
        on(EMULATED, "w8a8", told(0.7777, before=HOT, log=f"logs/{EVIL}?.txt")),
        target_names={PHONE: "Maker Phone, Snapdragon 8 Gen 2, onnxruntime, CPU"},
    )


def part(html: str) -> str:
    (found,) = re.findall(r'<section id="phones">.*?</section>', html, re.S)
    return str(found)


def words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html.replace("<wbr>", ""))).split())


def rows(html: str) -> dict[tuple[int, str], str]:
    """Words of each row, by the table's number and the scheme."""
    found = {}
    for number, table in enumerate(re.findall(r"<tbody>.*?</tbody>", part(html), re.S)):
        for row in re.findall(r"<tr>.*?</tr>", table, re.S):
            found[number, words(row).split()[0]] = words(row)
    return found


def printed(found: Matrix, width: int) -> str:
    stream = io.StringIO()
    print_matrix(found, Console(file=stream, width=width, force_terminal=False))
    return stream.getvalue()


def test_a_run_without_a_phone_has_no_such_section() -> None:
    html = render(matrix(cell("w8a8", CPU)), {})
    assert "phones" not in html and "On the phones" not in printed(matrix(cell("w8a8", CPU)), 80)


def test_silicon_is_told_with_times_nodes_heat_and_what_was_pushed() -> None:
    html = render(every_kind(), {})
    row = rows(html)[0, "w8a8"]
    for said in (
        "1.9 ms slowest 6.27 ms 200 samples",
        # Of 8 ms: 4, 2, 1, 0.5, 0.3, and 0.2 of two others.
        "50 % QLinearConv block0/conv 25 % QLinearConv block1/conv 12 % QLinearConv block2/conv "
        "6 % QLinearConv block3/conv 4 % QLinearConv block4/conv 2 % in 2 other nodes, of 8 ms in",
        "before and after: thermal status none, hottest 36 °C, battery 84 %, 28 °C, charging",
        "went away and came back 2 times",
        "25.4 MB pushed",
    ):
        assert said in row, said
    assert "hot:" not in row and "waited" not in row and "⚠" not in row
    assert 'href="logs/w8a8-adb-R5CT90ABCDE-0123abcd.txt">the phone\'s log</a>' in part(html)
    head = words(part(html)).split("Scheme")[0]
    assert (
        "Silicon (evidence: device), measured on the phone itself: chip SM8550, Android 14" in head
    )
    assert "Maker Phone, Snapdragon 8 Gen 2, onnxruntime, CPU" in head
    assert html.count('<a href="#phones">On the phones</a>') == 1


def test_a_hot_phone_is_a_warning_in_its_row_and_in_the_summary() -> None:
    html = render(every_kind(), {})
    row = rows(html)[0, "w8a16_pc"]
    assert "6.3 ms ⚠ hot" in row
    assert "⚠ still hot after 180 s of waiting when it was measured: severe" in row
    warmed = rows(html)[0, "fp32"]
    assert "3.1 ms ⚠ hot" in warmed and "⚠ hot at the end: light" in warmed
    assert "waited 35 s for it to cool down" in warmed
    assert "the last 12 of 200 samples" in warmed and "nothing pushed: all of it was" in warmed
    own, emulated = heat(every_kind())
    assert (own.kind, own.section) == ("caution", "phones")
    assert own.text == (
        "adb:R5CT90ABCDE was still hot (thermal status severe) when it was measured under "
        "w8a16_pc, after 180 s of waiting for it to cool; and hot (thermal status light) at the "
        "end of fp32. A hot phone is slowed down: its times may be longer than it needs when cool."
    )
    assert emulated.text.endswith("It is emulated: its times mean nothing, hot or cool.")
    assert own.text in " ".join(printed(every_kind(), 400).split())
    assert heat(run(on(PHONE, "w8a8", told()))) == []


@pytest.mark.parametrize("before", [None, PhoneState(), COOL])
def test_a_phone_that_tells_no_heat_is_called_neither_hot_nor_cool(
    before: PhoneState | None,
) -> None:
    made = run(on(PHONE, "w8a8", told(before=before, after=before, cooled=0.4)))
    assert heat(made) == []
    ((line, hot),) = lines(made)
    assert not hot
    known = before is COOL
    assert line.endswith("thermal status none" if known else "thermal status not told")
    assert ("before and after: not told" in rows(render(made, {}))[0, "w8a8"]) != known
    assert state(PhoneState(battery=5, charging=False)) == "battery 5 %, not charging"


def test_what_lacks_is_told_with_its_trouble() -> None:
    html = render(every_kind(), {})
    row = rows(html)[0, "w4a16_pc"]
    assert "no times: Phone R5CT90ABCDE: it went away. <script>" in row
    assert row.count("it went away") == 1 and "pushed" not in row
    assert "fp16 the cell has no result" in rows(html)[0, "fp16"]
    assert "no times: what ran the model tells none before and after" in rows(html)[1, "w8a8"]
    assert "charging not told 25.4 MB pushed no log" in rows(html)[1, "w8a8"]
    mute = run(on(EMULATED, "w8a8", PhoneRun(trouble="it went away")))
    assert rows(render(mute, {}))[0, "w8a8"].endswith("not told ⚠ it went away no log")


def test_how_far_litert_s_own_ways_lie_apart_is_one_line() -> None:
    def diff(output: str, mean: float, dtype: str = "int8") -> OutputDiff:
        return OutputDiff(output=output, dtype=dtype, runs=10, mean=mean, deviation=0)

    several = (diff("a", 0), diff(EVIL, 2e-5, "float32"), diff("c", 0.25), diff("d", 0))
    made = run(
        on(PHONE, "w8a8", told(diffs=several, sent=0)),
        on(PHONE, "fp32", told(diffs=(diff("a" * 80, 1),))),
        on(PHONE, "fp16", told()),
    )
    found = rows(render(made, {}))
    assert (
        "nothing pushed: all of it was there XNNPACK against LiteRT's plain kernels, 10 random "
        f"inputs (inference_diff), mean distance: c 0.25 steps, {EVIL} 2e-05 and 2 more"
    ) in found[0, "w8a8"]
    assert f"distance: {'a' * 57}... 1 steps" in found[0, "fp32"]
    assert "inference_diff" not in found[0, "fp16"]


def test_no_time_of_an_emulated_phone_is_shown_as_a_phone_s() -> None:
    html = render(every_kind(), {})
    row = rows(html)[2, "w8a8"]
    assert "ms" not in row.split() and "block0" not in row
    why = "(evidence: emulated-runtime; not silicon: ro.kernel.qemu is 1)"
    assert f"⚠ An emulated phone {why}. Its times mean nothing" in words(part(html))
    alone = run(on(EMULATED, "w8a8", told(0.7777)))
    for text in (words(render(alone, {})), printed(alone, 200)):
        assert "778" not in text and "777" not in text
    own = "the phone's own for one sample"
    assert own in words(part(html)) and own not in words(part(render(alone, {})))
    assert "no phone's latency, which is" in html
    assert "no phone's latency. The same rows" in render(alone, {})
    assert lines(alone)[0][0] == (
        "adb:emulator-5554: emulated, its times mean nothing; thermal status none"
    )


def test_the_terminal_has_one_line_per_phone() -> None:
    both = run(on(PHONE, "w8a8", told()), on(PHONE, "fp32", told(0.0031)))
    said = "adb:R5CT90ABCDE: 1.9 ms a sample under w8a8, 3.1 ms under fp32; thermal status none"
    assert lines(both) == [(said, False)]
    assert len(lines(every_kind())) == 3
    (line, hot), *_ = lines(every_kind())
    assert hot and line.endswith(
        "under fp32 (no times under w4a16_pc); HOT: thermal status severe under w8a16_pc and light "
        "under fp32"
    )
    many = run(*(on(PHONE, f"s{i}", told(0.001 * (5 - i))) for i in range(5)))
    assert "1 ms a sample under s4 to 5 ms under s0, 5 schemes; " in lines(many)[0][0]
    # A failed cell's time is of no result.
    failed = without("w8a8", PHONE, "failed", "gone", evidence="device", phone=told())
    assert "no times: no cell has a result; " in lines(run(failed))[0][0]
    long = run(on(PHONE, "w8a8", PhoneRun(trouble="it went away\n" + "trace " * 100)))
    assert lines(long)[0][0] == ("adb:R5CT90ABCDE: no times: it went away; thermal status not told")


@pytest.mark.parametrize("width", [40, 80, 140])
def test_the_terminal_stays_within_its_width(width: int) -> None:
    text = printed(every_kind(), width)
    assert max(map(len, text.splitlines())) <= width
    assert "On the phones" in text


def test_the_page_is_whole_and_obeys_no_name() -> None:
    html = render(every_kind(), {})
    reader = read(html)
    assert "script" not in reader.tags and "img" not in reader.tags
    assert "None" not in html
    outside = [a for a in reader.addresses if not a.startswith(("#", "data:"))]
    assert outside[0].startswith("logs/") and len(outside) == 2
    assert all(not re.search(r"[<>:?'\"]|^/", a) for a in outside)
    # A name longer than a line of a wide terminal is cut.
    assert "layer/" * 5 in words(html) and "layer/" * 40 not in words(html)


def test_an_emulated_phone_is_not_said_to_lack() -> None:
    """There is a phone among the targets: what lacks is silicon."""
    (finding,) = not_checked(run(on(EMULATED, "w8a8", told())))
    assert "adb:emulator-5554 is emulated, and no silicon is among the targets" in finding.text
