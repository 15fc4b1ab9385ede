"""The sentences claim no more than the records carry."""

import re
from typing import Any

import pytest
from report_matrices import (
    CPU,
    SAMPLES,
    SIM,
    A,
    B,
    C,
    cell,
    engine,
    everything,
    matrix,
    metric,
    pair,
    placed,
    without,
)

from chipdrift.records import CalibrationInfo, Cell, Group, Lsb, Matrix, NodePlace
from chipdrift.report.summary import findings

CLAIMS = re.compile(r"\b(loses|gains|loss|gain|drop|dropped|worsens)\b")
BASE = cell("fp32", CPU)


def sentences(found: Matrix, kind: str | None = None) -> list[str]:
    return [f.text for f in findings(found) if kind is None or f.kind == kind]


def said(found: Matrix) -> str:
    return "\n".join(sentences(found))


@pytest.mark.parametrize("change", [-0.5, -0.05, -0.0001, 0.0, 0.03, 0.5])
@pytest.mark.parametrize("spread", [0.01, None])
@pytest.mark.parametrize("higher", [True, False])
def test_what_is_not_significant_is_never_called_a_loss_or_a_gain(
    change: float, spread: float | None, higher: bool
) -> None:
    cells = [cell("w8a8", target, 0.9 + change, change, spread=spread) for target in (CPU, A)]
    found = matrix(BASE, *cells, metric=metric(higher_is_better=higher))
    assert not CLAIMS.search(said(found))
    assert sentences(found)[0].startswith("No chip's top1 differs from the float model's by more")


def test_an_interval_without_zero_is_still_no_loss_until_holm_says_so() -> None:
    found = matrix(BASE, cell("w4", A, 0.88, -0.02, spread=0.015))
    assert not CLAIMS.search(said(found))
    assert "It may be chance: p = 0.4 after Holm's correction" in said(found)
    assert "leave room for up to 3.5 points worse (w4 on htp:sm8350)" in said(found)


def test_the_largest_differences_are_all_named_the_worse_first() -> None:
    """Of 200 samples one is half a point, as floats 0.005 and a little more or less."""
    half, less = 0.735 - 0.73, 0.73 - 0.735
    assert half != 0.005
    found = matrix(
        BASE,
        cell("w8a8", CPU, change=half),
        cell("w8a8", A, change=less),
        cell("w8a8", B, change=0.005),
        cell("w8a16_pc", CPU, change=0.005),
        cell("w8a16_pc", A, change=0.0),
        cell("w8a16_pc", B, change=0.005, spread=0.03),
    )
    text = next(t for t in sentences(found) if t.startswith("The largest"))
    assert text.startswith(
        "The largest differences seen are -0.5 points (w8a8 on htp:sm8350, 95 % interval -2.5 to "
        "+1.5) and +0.5 points (w8a8 and w8a16_pc on ort:cpu and htp:sm8450). They may be chance: "
        "p = 0.4 after Holm's correction"
    )


def test_of_several_p_values_the_least_is_told() -> None:
    cells = [cell("w8a8", A, change=-0.01), cell("w8a8", B, change=0.01)]
    delta = cells[1].delta
    assert delta is not None
    other = cells[1].model_copy(update={"delta": delta.model_copy(update={"p_holm": 0.9})})
    text = said(matrix(BASE, cells[0], other))
    assert (
        "p = 0.4 or more after Holm's correction for all cells compared (uncorrected 0.04)" in text
    )


def test_a_loss_on_one_chip_is_named_with_its_interval_and_the_others_are_not_blamed() -> None:
    found = matrix(BASE, cell("w8a8", CPU), cell("w8a8", A, 0.8, -0.1, True), cell("w8a8", B))
    assert sentences(found, "loss") == [
        "w8a8 loses 10.0 points on htp:sm8350 (95 % interval -12.0 to -8.0, Holm-corrected p "
        "0.004); on ort:cpu and htp:sm8450 no difference is shown."
    ]
    assert "quantization" not in said(found)


def test_the_same_loss_everywhere_with_the_host_is_the_quantization() -> None:
    losses = [cell("w4", t, 0.9 - d, -d, True) for t, d in ((CPU, 0.05), (A, 0.06), (B, 0.06))]
    assert sentences(matrix(BASE, *losses), "loss") == [
        "w4 loses 5.0 to 6.0 points on every target that ran it, ort:cpu included, alike: that is "
        "the quantization, not the chip."
    ]


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([cell("w4", A, 0.8, -0.1, True), cell("w4", B, 0.8, -0.1, True)], "every chip"),
        (
            [cell("w4", CPU, 0.85, -0.05, True), cell("w4", A, 0.6, -0.3, True)],
            "not alike: the 95 % intervals of htp:sm8350 (-30.0) and ort:cpu (-5.0) do not overlap",
        ),
        (
            [
                cell("w4", CPU, 0.85, -0.05, True, spread=None),
                cell("w4", A, 0.84, -0.06, True, spread=None),
            ],
            "every target that ran it.",
        ),
    ],
    ids=["host did not run it", "intervals apart", "no intervals"],
)
def test_no_cause_is_named_where_the_records_do_not_carry_it(cells: list[Cell], words: str) -> None:
    (loss,) = sentences(matrix(BASE, *cells), "loss")
    assert words in loss
    assert "that is the quantization" not in loss


@pytest.mark.parametrize(("change", "kind"), [(0.04, "loss"), (-0.04, "gain")])
def test_lower_is_better_turns_losses_and_gains_around(change: float, kind: str) -> None:
    found = matrix(
        BASE,
        cell("w8a8", A, 0.1 + change, change, True),
        metric=metric("bootstrap", name="cer", higher_is_better=False),
    )
    (only,) = sentences(found, kind)
    assert only.startswith(f"w8a8 {'loses' if kind == 'loss' else 'gains'} 0.0400 on htp:sm8350")


def test_losses_are_said_before_gains_and_before_everything_else() -> None:
    kinds = [finding.kind for finding in findings(everything())]
    assert kinds[:2] == ["loss", "gain"]


def test_a_shared_loss_names_the_chips_that_share_it() -> None:
    shared = cell("w8a8", B, 0.8, -0.1, True, copied_from=A, audited=4)
    found = matrix(BASE, cell("w8a8", CPU), cell("w8a8", A, 0.8, -0.1, True), shared)
    assert "and likewise on htp:sm8450 (shared results)" in sentences(found, "loss")[0]


def test_without_any_result_nothing_is_claimed() -> None:
    found = matrix(without("w8a8", A, "failed", "died"))
    assert sentences(found)[0].startswith("Nothing could be set against the float model")
    assert "htp:sm8350: failed: died" in said(found) or "w8a8 on htp:sm8350: failed: died" in said(
        found
    )


@pytest.mark.parametrize(
    ("measured", "words"),
    [(4, "on the 4 samples that each of them ran"), (SAMPLES, f"on all {SAMPLES} samples.")],
)
def test_identical_chips_are_named_with_what_that_rests_on(measured: int, words: str) -> None:
    group = Group(scheme="w8a8", targets=(A, B), samples=SAMPLES, measured=measured)
    found = matrix(BASE, cell("w8a8", A), cell("w8a8", B), groups=(group,))
    text = next(s for s in sentences(found) if "same bits" in s)
    assert text.startswith("htp:sm8350 and htp:sm8450 give the same bits under w8a8")
    assert words in text


def test_the_worst_pair_and_the_worst_pair_of_chips_are_named() -> None:
    found = matrix(
        *(cell("w8a8", t) for t in (CPU, A, B)),
        pairs=(
            pair("w8a8", CPU, A, 0.9, lsb=Lsb(max=7, mean=0.25)),
            pair("w8a8", A, B, 0.95, max_abs=0.5),
            pair("w8a8", CPU, B, 0.99),
        ),
    )
    text = next(s for s in sentences(found) if "agrees least" in s)
    assert "ort:cpu and htp:sm8350 under w8a8, same top class on 90.0 % (20 of 200" in text
    assert "up to 7 LSB apart, 0.25 on average" in text
    assert "Between two chips: htp:sm8350 and htp:sm8450 under w8a8" in text


def test_float_noise_is_not_farther_than_steps_of_eight_bits() -> None:
    """All answers agree: 5e-06 on every sample against 6 steps of 0.07 on some."""
    noise = pair("fp32", CPU, A, 1.0, identical=0.0, max_abs=4.77e-06)
    steps = pair("w8a8", CPU, A, 1.0, identical=0.9, max_abs=0.43, lsb=Lsb(max=6, mean=0.3))
    wide = pair("w8a16", CPU, A, 1.0, identical=0.0, max_abs=0.11, lsb=Lsb(max=407, mean=58.6))
    broken = pair("w4a8", CPU, A, 1.0, identical=0.99)  # not finite: no distance
    cells = [cell(s, t) for s in ("fp32", "w8a8", "w8a16", "w4a8") for t in (CPU, A)]
    for pairs, worst in (
        ((noise, steps, wide), "w8a8"),
        ((noise, wide), "w8a16"),
        ((noise, steps, broken), "w4a8"),
    ):
        text = said(matrix(*cells, pairs=pairs))
        assert f"The pair that agrees least: ort:cpu and htp:sm8350 under {worst}," in text


def test_where_no_pair_differs_none_agrees_least() -> None:
    same = pair("w8a8", A, B, 1.0, identical=1.0, max_abs=0.0, lsb=Lsb(max=0, mean=0.0))
    apart = pair("w8a8", CPU, A, 1.0, max_abs=0.1)
    cells = [cell("w8a8", t) for t in (CPU, A, B)]
    assert "agrees least" not in said(matrix(*cells, pairs=(same,)))
    text = said(matrix(*cells, pairs=(same, apart)))
    assert "agrees least: ort:cpu and htp:sm8350" in text and "Between two chips" not in text


@pytest.mark.parametrize(
    ("placement", "words"),
    [
        (placed(9, ("Softmax", "s1")), "w8a8 on htp:sm8350: 1 of 10 nodes left the NPU (Softmax"),
        (placed(0, ("Conv", "a"), ("Conv", "b")), "nothing ran on the NPU; all 2 nodes left it"),
        (placed(10), "No fallback: in all 1 cell on chips every node ran on the NPU"),
    ],
)
def test_fallback_is_told(placement: Any, words: str) -> None:
    assert words in said(matrix(BASE, cell("w8a8", A, placement=placement)))


def test_what_is_no_chip_is_called_none_and_has_no_npu() -> None:
    text = said(engine())
    assert "No target's top1 differs from the float model's by more" in text
    assert not re.search(r"\bNPU\b|\bchips?'?s?\b", text.replace("chipdrift", ""))


def test_fallback_is_a_matter_of_chips_and_the_engine_is_told_apart() -> None:
    text = said(engine(cell("w8a8", A, placement=placed(11))))
    assert "No target's top1 differs" in text
    assert "No fallback: in all 1 cell on chips every node ran on the NPU" in text
    assert (
        "w8a16 on sim:probed.toml: 1 of 11 nodes ran in onnxruntime on the host's CPU, not under "
        "the profile's rules (Resize up)."
    ) in text


def test_an_engine_that_left_every_node_says_so_once() -> None:
    beside = cell(
        "fp32",
        SIM,
        evidence="prediction",
        placement=placed(0, ("Conv", "a")),
        reason="all 1 nodes ran on the host's CPU in onnxruntime",
    )
    told = [text for text in sentences(engine(beside)) if text.startswith("fp32 on sim")]
    assert told == [
        "fp32 on sim:probed.toml: none of 1 node ran under the profile's rules, all in onnxruntime "
        "on the host's CPU (Conv a)."
    ]


def test_nodes_that_rest_on_an_unknown_rule_are_named() -> None:
    (told,) = [text for text in sentences(engine(), "caution") if "unknown rule" in text]
    assert told.startswith(
        "w8a16 on sim:probed.toml: 2 of 11 nodes rest on an unknown rule (Add sum and Softmax "
        "attention)"
    )


def test_a_change_of_quantizer_counts_where_its_rule_is_unknown() -> None:
    """Quantize nodes are not among the counted, so they must not be more than all."""
    nodes = tuple(NodePlace(op="QuantizeLinear", node=f"q{i}") for i in range(3))
    place = placed(2).model_copy(update={"assumed": nodes})
    text = said(matrix(BASE, cell("w8a8", SIM, evidence="prediction", placement=place)))
    assert "3 of 5 nodes rest on an unknown rule (3 QuantizeLinear)" in text


def test_every_target_but_the_host_is_said_only_of_chips_as_every_chip() -> None:
    parts = [without("fp32", t, "unsupported", "no float32") for t in (A, SIM)]
    parts[1] = parts[1].model_copy(update={"evidence": "prediction"})
    assert sentences(matrix(BASE, *parts), "missing") == [
        "fp32 on every target but ort:cpu: not available: no float32"
    ]


def test_each_reason_is_said_once_for_all_its_cells() -> None:
    found = matrix(BASE, *(without("fp32", t, "unsupported", "no float32") for t in (A, B, C)))
    assert sentences(found, "missing") == ["fp32 on every chip: not available: no float32"]


def test_overlap_warnings_and_an_unfinished_run_are_told() -> None:
    calibration = CalibrationInfo(name="cal", sha256="d" * 64, samples=20, overlap=3)
    found = matrix(BASE, calibration=calibration, complete=False, warnings=("a warning",))
    text = "\n".join(sentences(found, "caution"))
    assert "3 of 20 calibration samples are in the evaluation data" in text
    assert "not complete" in text
    assert "a warning" in text


def test_simulated_figures_are_never_passed_off_as_silicon() -> None:
    assert "It is not silicon" in said(matrix(BASE, cell("w8a8", A)))
