"""Simulator against silicon: what is said, and that nothing of it is hidden."""

import io
from typing import Any

import pytest
from report_html import read
from report_matrices import CPU, EVIL, A, B, C, cell, matrix, without
from rich.console import Console

from chipdrift.records import Cell, Delta, Lsb, Matrix, MetricResult, Placement, SiliconCheck
from chipdrift.report import print_matrix
from chipdrift.report.checked import section
from chipdrift.report.page import render
from chipdrift.report.silicon import silicon

PHONE, LAB = "adb:R5CT", "import:runs/phone#lab"
BASE = cell("w8a8", CPU)


def check(
    scheme: str = "w8a8",
    simulator: str = C,
    real: str = PHONE,
    same: int = 194,
    observed: float = 0.88,
    p: float = 0.25,
    **more: Any,
) -> SiliconCheck:
    """A check on 200 samples: 91 % predicted."""
    fields: dict[str, Any] = {
        "simulator_evidence": "vendor-simulator",
        "silicon_evidence": "reported" if real == LAB else "device",
        "relation": "same-chip",
        "simulator_chip": "SM8550",
        "silicon_chip": "SM8550",
        "samples": 200,
        "measured": 200,
        "agreement": same / 200,
        "agreement_low": 0.936,
        "agreement_high": 0.986,
        "identical": same / 200,
        "lsb": Lsb(max=1234, mean=0.4567),
        "predicted": MetricResult(name="top1", value=0.91, low=0.86, high=0.94),
        "observed": MetricResult(name="top1", value=observed, low=0.83, high=0.92),
        "difference": Delta(
            value=observed - 0.91, low=-0.07, high=0.01, p_value=p, p_holm=p, significant=p < 0.05
        ),
    }
    return SiliconCheck(scheme=scheme, simulator=simulator, silicon=real, **(fields | more))


def device(scheme: str = "w8a8", target: str = PHONE, **more: Any) -> Cell:
    evidence = "reported" if target == LAB else "device"
    return cell(scheme, target, **({"evidence": evidence} | more))


def run(*checks: SiliconCheck, cells: tuple[Cell, ...] = ()) -> Matrix:
    there = cells or (BASE, cell("w8a8", C), device(), device(target=LAB))
    return matrix(*there, silicon=checks)


def said(found: Matrix) -> str:
    return " ".join(finding.text for finding in silicon(found))


def printed(found: Matrix, width: int = 200) -> str:
    stream = io.StringIO()
    print_matrix(found, Console(file=stream, width=width, force_terminal=False))
    return stream.getvalue()


def test_a_simulator_that_failed_on_some_samples_is_told_in_one_sentence() -> None:
    assert said(run(check())) == (
        "The simulator of SM8550 (htp:sm8550) gave the phone's answer (adb:R5CT) under w8a8 on 194 "
        "of 200 samples (95 % interval 93.6 to 98.6 %), up to 1,234 LSB apart, 0.457 on average; "
        "top1 91.0 % predicted, 88.0 % measured, which may be chance (p = 0.25, 95 % interval of "
        "the difference -7.0 to +1.0 points)."
    )
    (finding,) = silicon(run(check()))
    assert (finding.kind, finding.section) == ("caution", "silicon")


def test_what_chance_does_not_explain_is_called_so_and_comes_first() -> None:
    found = silicon(run(check(real=LAB), check(observed=0.80, p=0.0004)))
    assert [finding.kind for finding in found] == ["loss", "caution"]
    assert "80.0 % measured: 11.0 points worse than predicted" in found[0].text
    assert "chance does not explain (p < 0.001 after Holm's correction)" in found[0].text
    (better,) = silicon(run(check(observed=0.99, p=0.001)))
    assert better.kind == "caution" and "8.0 points better than predicted" in better.text


def test_agreement_is_told_too() -> None:
    exact = check(same=200, observed=0.91, p=1.0, agreement_high=1.0, lsb=Lsb(max=0, mean=0.0))
    (finding,) = silicon(run(exact))
    assert finding.kind == "calm"
    assert "on all 200 samples (95 % interval 93.6 to 100 %), to the bit; top1" in finding.text
    assert finding.text.endswith("to the bit; top1 91.0 %, predicted and measured.")
    near = exact.model_copy(update={"identical": 0.5, "lsb": Lsb(max=2, mean=0.1)})
    (finding,) = silicon(run(near))
    assert finding.kind == "note"
    assert "though the outputs are identical on 50.0 % only, up to 2 LSB" in finding.text


def test_the_scheme_that_failed_most_leads_and_the_others_are_summed_up() -> None:
    exact = {"same": 200, "observed": 0.91, "p": 1.0}
    text = said(run(check("w8a8", **exact), check("w4a8", same=180), check("w8a16", **exact)))
    assert text.startswith(
        "The simulator of SM8550 (htp:sm8550) gave the phone's answer (adb:R5CT)"
    )
    assert "under w4a8 on 180 of 200" in text
    assert "Under the other 2 schemes: every output the same, to the bit." in text
    # A difference that is real leads before a lower agreement, and a second one is not hidden.
    text = said(
        run(check("w8a8", p=0.01), check("w4a8", same=150), check("w8a16", p=0.02, same=199))
    )
    assert "under w8a8 on 194" in text
    assert "the same answer on 75.0 % of samples or more." in text
    assert "more than chance explains under w8a16, too." in text


def test_what_was_reported_is_never_called_measured() -> None:
    found = run(check(real=LAB), cells=(BASE, cell("w8a8", C), device(target=LAB)))
    text = said(found)
    assert "gave the answer reported of import:runs/phone#lab under w8a8" in text
    assert "91.0 % predicted, 88.0 % reported" in text
    assert "measured" not in text and "phone's answer" not in text
    html = render(found, {})
    table = html.split('<section id="silicon">')[1].split("</section>")[0]
    assert "reported" in table and "<small>measured" not in table
    table = printed(found).split("Simulator against silicon")[1].split("- No ")[0]
    assert "88.0 % reported" in table and "measured" not in table


def test_other_sdks_and_other_explanations_stand_beside_the_figures() -> None:
    text = said(
        run(
            check(same_sdk=False, simulator_sdk="2.51", silicon_sdk="QNN 2.31", cautions=("a", "b"))
        )
    )
    assert text.endswith("The SDKs differ: 2.51 simulated, QNN 2.31 there. Mind: a; b.")


def test_a_simulator_of_another_chip_is_beside_and_checks_nothing() -> None:
    other = check(
        simulator=B, relation="other-generation", simulator_chip="SM8450", observed=0.5, p=1e-9
    )
    near = check(
        simulator="sim:hexagon-v73",
        simulator_evidence="prediction",
        relation="same-generation",
        simulator_chip=None,
        simulator_generation="v73",
    )
    (finding,) = silicon(run(other, near))
    assert finding.kind == "note"
    assert finding.text.startswith(
        "No simulator here is of adb:R5CT's chip (SM8550), so none was checked by it. Nearest "
        "(same generation): the forecast for v73 (sim:hexagon-v73) gave the phone's answer"
    )
    twin = near.model_copy(update={"simulator_chip": "SM7550"})
    assert "Nearest (same generation, other chip)" in said(run(other, twin))
    # Beside one of the same chip they are in the table alone.
    (finding,) = silicon(run(other, near, check()))
    assert "SM8450" not in finding.text
    shown = section(run(other, near, check()))
    assert shown is not None and (len(shown.same), len(shown.others)) == (1, 2)


def test_silicon_that_names_no_chip_is_told_how_to() -> None:
    mute = check(real=LAB, relation="unknown", silicon_chip=None)
    (finding,) = silicon(run(mute))
    assert finding.kind == "caution"
    assert "import:runs/phone#lab does not say which chip it is" in finding.text
    assert 'chip = "SM8550"' in finding.text
    odd = mute.model_copy(update={"silicon_chip": "Chip 9"})
    text = said(run(odd))
    assert "No simulator here is of import:runs/phone#lab's chip (Chip 9)" in text
    assert "Beside it" not in text
    arm = {"simulator": "ort:arm64", "simulator_evidence": "emulated-runtime"}
    text = said(run(odd.model_copy(update=arm)))
    assert "Beside it: the emulated runtime (ort:arm64) gave the answer reported of" in text


def test_a_run_without_silicon_says_in_one_line_that_nothing_was_checked() -> None:
    alone = matrix(BASE, cell("w8a8", A), cell("w8a8", C))
    (finding,) = silicon(alone)
    assert finding.text == (
        "Nothing here was checked against silicon: no phone (adb:SERIAL, import:RUN) is among the "
        "targets."
    )
    html = render(alone, {})
    assert html.count("Nothing here was checked against silicon") == 2  # summary and section
    assert "<table" not in html.split('<section id="silicon">')[1].split("</section>")[0]
    assert "Nothing here was checked" in " ".join(printed(alone).split())
    refused = without("w8a8", LAB, "unsupported", "other scheme", evidence="reported")
    text = said(matrix(BASE, cell("w8a8", A), refused))
    assert text.endswith("no simulator answered for what import:runs/phone#lab ran.")
    on_cpu = device(placement=Placement(npu=0, cpu=9))
    assert "no simulator answered for what adb:R5CT ran" in said(matrix(cell("w8a8", C), on_cpu))


def test_where_there_is_no_simulator_nothing_is_said() -> None:
    for found in (matrix(BASE), matrix(BASE, device())):
        assert silicon(found) == []
        html = render(found, {})
        assert 'id="silicon"' not in html and "Simulator against silicon" not in html


def test_a_run_from_before_the_check_says_so() -> None:
    old = matrix(BASE, cell("w8a8", C), device())
    dumped = old.model_dump(mode="json")
    del dumped["silicon"]
    again = Matrix.model_validate(dumped)
    assert again == old
    assert "older than the check of simulators against silicon" in said(again)


def test_the_page_has_every_check_and_escapes_names() -> None:
    checks = [
        check(cautions=(f"caution {EVIL}", "own")),
        check("w4a8", real=PHONE, cautions=(f"caution {EVIL}",)),
        check(real=EVIL, simulator=B, relation="unknown", silicon_chip=EVIL, observed=0.8, p=0.01),
    ]
    html = render(run(*checks), {})
    read(html)
    assert EVIL not in html
    part = html.split('<section id="silicon">')[1].split("</section>")[0]
    assert part.count("<tr>") == 3 + 2
    for words in ("194 of 200", "93.6 to 98.6 %", "1,234 / 0.457", "-3.0", "p 0.25", "★", "worse2"):
        assert words in part, words
    # A caution of every row of a phone is said once, below.
    assert part.count("caution &lt;script&gt;") == 1
    assert 'href="#silicon"' in html


@pytest.mark.parametrize("width", [40, 80, 140])
def test_the_terminal_shows_every_check_of_the_same_chip_within_its_width(width: int) -> None:
    others = [check(f"s{i}", simulator=B, relation="other-generation") for i in range(30)]
    long = check("w4a8", real="import:" + "/folder" * 30, same=193)
    text = printed(run(check(), long, *others), width)
    assert max(map(len, text.splitlines())) <= width
    joined = " ".join(text.split())
    assert "194 of 200" in joined and "193 of 200" in joined
    assert "30 comparisons with other chips, which check no simulator: see the report." in joined
    alone = " ".join(printed(run(*others), width).split())
    assert "Simulator against silicon of other chips" in alone
    assert "22 comparisons with other chips" in alone
