"""A plan's page: its figures are the plan's, it is whole and escaped, a miss is said in words."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from report_html import read
from report_matrices import CPU, A, C, cell, engine, matrix
from report_plans import (
    CHOOSING,
    CONFIRMING,
    EVERY,
    LONG,
    bare,
    choice,
    hostile,
    loss,
    lower,
    missed,
    modelled,
    plan,
    score,
    searched,
    top1,
)

from chipdrift.errors import RunError
from chipdrift.plan.records import Budget, Plan, Tried
from chipdrift.records import Interval
from chipdrift.report import write_report
from chipdrift.report.plan_page import render_plan


def section(html: str, name: str) -> str:
    """A section's text without its tags, spaces folded."""
    found = re.search(rf'<section id="{name}">(.*?)</section>', html, re.DOTALL)
    assert found is not None
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", found[1].replace("<wbr>", ""))).split())


def summary(html: str) -> list[tuple[str, str]]:
    """The sentences at the top with their classes."""
    head = html[html.index('id="plan-summary"') : html.index("<nav")]
    found = re.findall(r'<li class="([a-z ]+)">(.*?)</li>', head, re.DOTALL)
    return [(kind, unescape(re.sub(r"<[^>]*>", "", text)).strip()) for kind, text in found]


@pytest.mark.parametrize("make", EVERY)
def test_every_page_is_balanced_and_fetches_nothing(make: Callable[[], Plan]) -> None:
    html = render_plan(make())
    reader = read(html)
    assert all(a.startswith(("#", "data:")) for a in reader.addresses)
    assert {a[1:] for a in reader.addresses if a.startswith("#")} <= set(reader.ids)
    assert len(reader.ids) == len(set(reader.ids))
    assert "script" not in reader.tags
    assert not re.search(r"https?:|//[a-z]|@import|url\(", html)
    assert "None" not in html
    assert not re.search(r"\bnan\b|\binf\b", html)


@pytest.mark.parametrize("make", EVERY)
def test_every_page_holds_the_confirming_run_below(make: Callable[[], Plan]) -> None:
    html = render_plan(make(), (matrix(cell("w8a16", CPU), cell("w8a16", A)), {}, [], None))
    reader = read(html)
    assert len(reader.ids) == len(set(reader.ids))
    assert {a[1:] for a in reader.addresses if a.startswith("#")} <= set(reader.ids)
    assert html.index('id="candidates"') < html.index('id="confirmed"') < html.index('id="matrix"')
    assert "Placement" in html


def test_names_that_are_html_are_shown_and_not_obeyed() -> None:
    html = render_plan(hostile())
    reader = read(html)
    assert not reader.tags & {"script", "img"}
    assert "<script" not in html
    assert "<img" not in html
    # Not one of the poisoned names stands as it was written, in text or in an attribute.
    assert "<b>xxx" not in html
    assert "&lt;script&gt;" in html
    # A quote in a name would end the title it stands in.
    assert not re.search(r'title="[^"]*"(?![\s>])', html)


def test_the_figures_are_the_plans() -> None:
    text = section(render_plan(plan()), "choices")
    assert "89.5 % 87.5 to 91.5" in text
    assert "-0.5 points -0.9 to -0.1" in text
    assert "1.85 × w8a8 by the cost model, a typical error of which gives 1.39 to 2.31" in text
    assert "w8a16 1.85x (a phone)" in text
    assert f"htp:sm8450 (vendor-simulator), {CONFIRMING} confirming samples" in text
    assert "0.5 points to spare; at the interval's worse end 0.1 points to spare" in text
    assert "same top class as float: 99.00 %" in text
    assert "why sm8450 gets it" in text
    assert "Phone chip sm8450" in text
    variants = section(render_plan(plan()), "variants")
    assert "w8a16 sm8450 words of w8a16 28,092 bytes models/w8a16.onnx" in variants
    assert "fp32 the safe one" in variants
    assert "24,451 bytes" in variants


# What is changed, where it is to be seen, and as what.
PLANTED = [
    ({"metric": top1(0.871)}, "choices", "87.1 % 85.1 to 89.1"),
    ({"loss": loss(-0.003, 0.004)}, "choices", "+0.3 points -0.1 to +0.7"),
    ({"cost": modelled(2.5)}, "choices", "2.50 × w8a8"),
    ({"samples": 77}, "choices", "77 confirming samples"),
    ({"looks": 3}, "choices", "interval widened for 3 looks"),
    ({"fallback": 1}, "choices", "⚠ 1 node left the NPU"),
    ({"evidence": "device"}, "choices", "htp:sm8450 (device)"),
    ({"options": {"fusion": "off"}}, "choices", "options: fusion=off"),
    ({"why": "another reason"}, "choices", "another reason"),
    ({"standing": "within"}, "choices", "⚠ within, not proven"),
]


@pytest.mark.parametrize(("change", "where", "words"), PLANTED)
def test_a_planted_field_is_seen(change: dict[str, object], where: str, words: str) -> None:
    made = plan()
    (old,) = made.choices
    planted = made.model_copy(update={"choices": (old.model_copy(update=change),)})
    assert words not in section(render_plan(made), where).replace("✓ confirmed:", "")
    assert words in section(render_plan(planted), where)


def test_a_missed_budget_is_red_and_said_in_words_with_the_nearest() -> None:
    html = render_plan(missed())
    said = summary(html)
    assert said[0] == ("loss first", missed().words[0])
    words = "bad MISSES the budget by 1.4 points: none of 1 candidate that its confirming samples"
    assert [kind for kind, text in said if text.startswith(words) and "w8a8" in text] == ["loss"]
    assert ("loss", "none gets nothing: Nothing that was tried runs on it: no session.") in said
    rows = re.findall(r'<tr class="(held|near|missed)">(.*?)</tr>', html, re.DOTALL)
    standing = [
        (tint, re.sub(r"<[^>]*>", "", row).split("why ")[0].strip().split()[0])
        for tint, row in rows
    ][:4]
    assert standing == [
        ("held", "goodPhone"),
        ("near", "nearPhone"),
        ("missed", "badPhone"),
        ("missed", "nonePhone"),
    ]
    text = section(html, "choices")
    assert "✗ MISSED 1.4 points beyond the budget" in text
    assert "∅ NOTHING RUNS no figure" in text
    assert "at the interval's worse end 0.8 points beyond the budget" in text
    assert "--miss: #b00020" in html
    assert ".missed .standing b" in html


def test_the_first_sentence_is_calm_only_where_all_is_confirmed() -> None:
    assert summary(render_plan(plan()))[0][0] == "calm first"
    within = plan(choices=(choice("sm8450", "w8a16", "within"),))
    assert summary(render_plan(within))[0][0] == "caution first"


def test_costs_say_whether_they_were_measured() -> None:
    some = render_plan(missed())
    text = section(some, "choices")
    assert "12.3 ms measured on the phone median of 20 samples on adb:P" in text
    assert "by the cost model" in text
    assert any("2 of 3 costs are by the cost model" in text for _, text in summary(some))
    size = render_plan(lower())
    assert "28,092 bytes exact the model file" in section(size, "choices")
    assert "cost model" not in " ".join(text for _, text in summary(size))
    assert any(
        text.startswith("Costs are by the cost model, measured on no")
        for _, text in summary(render_plan(plan()))
    )


def test_choosing_and_confirming_figures_are_named_as_such() -> None:
    html = render_plan(searched())
    assert f"the {CONFIRMING} confirming samples" in section(html, "choices")
    front = section(html, "frontier")
    assert f"on the {CHOOSING} choosing samples" in front
    assert f"Answered by sim:v69 (prediction), {CHOOSING} choosing samples" in front
    assert "not the confirmed ones" in front
    tooltips = re.findall(r'class="sign [^"]*" style[^>]*title="([^"]*)"', html)
    assert tooltips
    assert all("choosing samples" in tip and "cost model" in tip for tip in tooltips)


def test_no_figure_is_rounded_onto_the_limit() -> None:
    """A loss of 1.04 points misses a budget of 1 %, and is not written as 1.0."""
    made = plan(choices=(choice("sm8450", "w8a16", "missed", loss=loss(0.0104)),))
    text = section(render_plan(made), "choices")
    assert "-1.04 points" in text
    assert "0.04 points beyond the budget" in text
    bound = Budget(text="top1 >= 89.5%", metric="top1", kind="least", limit=0.895)
    near = plan(budget=bound, choices=(choice("sm8450", "w8a16", "missed", metric=top1(0.8949)),))
    assert "89.49 %" in section(render_plan(near), "choices")


def test_what_techniques_brought_is_told_with_their_figures() -> None:
    text = section(render_plan(searched()), "techniques")
    assert "31.25 dB 33.5 dB +2.25 dB ✓ kept" in text
    assert "33.5 dB 33.25 dB -0.25 dB not kept" in text
    assert "97 samples not used to make it" in text
    assert "made calibrated-one" in text
    assert text.index("rounding") < text.index("1 that changed no figure") < text.index("fusion")
    assert "Nothing was tried" in section(render_plan(plan()), "techniques")


def test_a_change_below_what_is_shown_is_none() -> None:
    tried = Tried(technique="fusion off", target="a", base="b", before=11.83, after=11.83 - 1e-8)
    text = section(render_plan(plan(tried=(tried,))), "techniques")
    assert "1 that changed no figure" in text
    assert "e-08" not in text.split("1 that changed no figure")[0]


def test_the_most_sensitive_layers_stand_first_and_the_rest_is_counted() -> None:
    html = render_plan(searched())
    text = section(html, "layers")
    assert "w8a8 raised to 16-bit activations, on sim:v69" in text
    assert "For sm8450, sm8475 and sm7450. On 48 of the choosing samples; 12 tried" in text
    assert "+1.50 dB" in text
    assert text.index("layer1 +1.30 dB 2") < text.index("layer7 +0.10 dB 2")
    assert "4 gain nothing or lose." in text
    assert 'style="width:100.0%"' in html
    whole = html.replace("<wbr>", "")
    assert LONG not in whole  # 200 characters are cut, and the cut name still tells itself
    assert LONG[:70] in whole
    assert "No layer was asked" in section(render_plan(plan()), "layers")


def test_two_bases_of_the_same_layers_are_not_mixed() -> None:
    made = searched()
    first = made.sensitivity[0]
    other = first.model_copy(update={"base": "w8a16", "gain_db": 9.0})
    text = section(
        render_plan(made.model_copy(update={"sensitivity": (first, first, other)})), "layers"
    )
    assert "w8a8 raised to 16-bit activations" in text
    assert "w8a16 raised to 16-bit activations" in text
    assert text.count("+1.50 dB") == 1  # asked twice with one answer, told once


def test_candidates_are_collapsed_and_have_their_exact_sizes() -> None:
    html = render_plan(searched())
    at = html.index('<section id="candidates">')
    assert html[at:].lstrip().split("<details")[1].startswith(">")  # closed
    text = section(html, "candidates")
    assert "mixed-one for sm8450, sm8475, sm7450" in text
    assert "hybrid: layers on the CPU of w8a8 28,092 3, 1 of them to or from the CPU" in text
    assert "2 more c , d" in text
    assert "no scheme made a model" in section(render_plan(bare()), "candidates")


def test_a_cap_on_variants_is_told_beside_the_chip_that_pays() -> None:
    capped = choice("sm8450", "w8a16", "confirmed", alone="w8a8", alone_cost=modelled(1.0))
    made = plan(choices=(capped,), max_variants=1, cap_words="At most 1 variant: 85 %.")
    html = render_plan(made)
    assert "Without the cap on variants: w8a8 (1.00 × w8a8, by the cost model" in section(
        html, "choices"
    )
    assert "At most 1 variant: 85 %." in section(html, "variants")
    # Without a cap it is another for the confirming samples' sake, and the reason beside says so.
    assert "Without the cap" not in render_plan(plan(choices=(capped,)))


def test_a_metric_against_the_float_model_has_no_change_to_tell() -> None:
    own = plan().metric.model_copy(update={"against_baseline": True, "name": "agreement"})
    bound = Budget(text="agreement >= 80%", metric="agreement", kind="least", limit=0.8)
    html = render_plan(plan(metric=own, budget=bound))
    assert "Against float" not in html
    assert "9.5 points to spare; at the interval's worse end 7.5 points to spare" in section(
        html, "choices"
    )


def test_a_runs_own_report_is_as_before() -> None:
    from chipdrift.report.page import render

    html = render(engine(cell("w8a8", C)), {})
    assert "plan" not in html.lower()


def test_a_plans_score_without_a_figure_says_why() -> None:
    made = plan(scores=(score("sm8450", "w8a8", None, 0.0, metric=None, loss=None, error="<b>"),))
    html = render_plan(made)
    assert "no figures: &lt;b&gt;" in html
    assert "nothing to draw" in section(html, "frontier")


RAW = (
    "Nothing was confirmed on htp:x: [ONNXRuntimeError] : 1 : FAIL : Node 'c5' OpType:Conv was "
    f"inserted using the NHWC format as requested by QNNExecutionProvider, but {'was not ' * 40}it."
)


def test_a_raw_error_is_one_line_on_top_and_whole_below() -> None:
    made = missed()
    choices = tuple(
        c.model_copy(update={"why": RAW} if c.chip == "none" else {}) for c in made.choices
    )
    html = render_plan(made.model_copy(update={"choices": choices}))
    (shown,) = [text for _, text in summary(html) if "gets nothing" in text]
    assert shown.startswith(
        "none gets nothing: Nothing was confirmed on htp:x: Node 'c5' OpType:Conv"
    )
    assert shown.endswith(" ...") and len(shown) < 190
    assert "ONNXRuntimeError" not in shown
    assert RAW in section(html, "choices")
    assert html.count("in full</summary>") == 1
    assert "in full</summary>" not in render_plan(made)


def test_a_metric_against_the_float_model_never_shows_a_loss() -> None:
    """To be 112 dB worse than a float model that has no noise says nothing."""
    own = plan().metric.model_copy(update={"against_baseline": True, "name": "sqnr"})
    far = Interval(value=111.97, low=110.5, high=113.25)
    scores = tuple(s.model_copy(update={"loss": far}) for s in plan().scores)
    for kind in ("least", "drop"):
        bound = Budget(text="sqnr", metric="sqnr", kind=kind, limit=0.8)
        made = plan(
            metric=own,
            budget=bound,
            scores=scores,
            choices=(choice("sm8450", "w8a16", "within", loss=far),),
        )
        html = render_plan(made)
        for figure in ("111.9", "112", "110.5", "113.2", "Against float", "against float"):
            assert figure not in html, figure


def test_a_plan_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(plan(schema_version=99).model_dump_json())
    with pytest.raises(
        RunError, match=r"plan\.json has schema_version 99, and this chipdrift knows 1"
    ):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()
    (tmp_path / "plan.json").write_text(plan().model_dump_json())
    assert write_report(tmp_path).exists()


def test_a_read_only_folder_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only file system refuses to remove even a file that is not there."""
    (tmp_path / "plan.json").write_text(plan().model_dump_json())

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(
        RunError, match=r"report\.html: cannot be written \(Read-only file system\)"
    ):
        write_report(tmp_path)


def test_the_confirming_run_below_shows_no_loss_either() -> None:
    run = engine(cell("w8a8", C))
    assert 'class="change"' in render_plan(plan(), (run, {}, []))
    own = run.metric.model_copy(update={"against_baseline": True})
    html = render_plan(plan(metric=own), (run.model_copy(update={"metric": own}), {}, []))
    assert 'class="change"' not in html and "Colour follows" not in html
    assert "the darker the more" not in html and "Δ:" not in html
    assert 'id="matrix"' in html
