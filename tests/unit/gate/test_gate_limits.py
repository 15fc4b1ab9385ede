"""Every limit on matrices made by hand: what it finds, decides, says and leaves alone."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any

import pytest
from gate_runs import (
    CPU,
    A,
    B,
    C,
    Case,
    cell,
    lost,
    matrix,
    metric,
    pair,
    placed,
    without,
)
from report_diagnoses import diagnosis, parted, side

from chipdrift.errors import ChipdriftError
from chipdrift.gate import Gate
from chipdrift.records import Lsb, Matrix, MetricResult, NodePlace, PhoneRun, PhoneState, Placement

LOST = lost("w8a8", A, points=3.0, low=1.2, high=4.9)
RUN = matrix(cell("fp32", CPU), cell("w8a8", CPU), LOST)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


@pytest.mark.parametrize(
    ("limit", "outcome"),
    [(1.0, "fail"), (1.2, "unproven"), (3.0, "unproven"), (4.8, "unproven"), (4.9, "pass")],
)
def test_drop(limit: float, outcome: str, case: Case) -> None:
    check = case.holds(RUN).one(f"[default]\ndrop = {limit}\n", "drop")
    assert (check.found, check.low, check.high) == (3.0, 1.2, 4.9)
    assert check.outcome == outcome
    assert check.breaks is (outcome == "fail")


def measured(up: bool, share: bool, value: float, low: float, high: float) -> Matrix:
    """A run whose w8a8 has this metric."""
    found = cell("w8a8", A)
    figure = MetricResult(name="m", value=value, low=low, high=high)
    info = RUN.metric.model_copy(
        update={
            "name": "m",
            "higher_is_better": up,
            "interval": "Wilson 95 %" if share else "bootstrap 95 %",
        }
    )
    made = matrix(cell("fp32", CPU), found.model_copy(update={"metric": figure}))
    return made.model_copy(update={"metric": info})


@pytest.mark.parametrize(
    ("limit", "up", "outcome"),
    [
        *[(19.9, True, "pass"), (20.0, True, "unproven"), (22.1, True, "fail")],
        *[(19.9, False, "fail"), (20.0, False, "unproven"), (22.1, False, "pass")],
    ],
)
def test_the_metric_itself(limit: float, up: bool, outcome: str, case: Case) -> None:
    run = measured(up, False, 21.0, 19.95, 22.05)
    policy = f'[[rule]]\nschemes = ["w8a8"]\nmetric = {limit}\n'
    check = case.holds(run).one(policy, "metric")
    assert (check.found, check.low, check.high) == (21.0, 19.95, 22.05)
    assert check.outcome == outcome
    assert check.allowed == f"at {'least' if up else 'most'} {limit:g} of m"


def test_a_share_is_counted_in_points(case: Case) -> None:
    run = measured(True, True, 0.93, 0.92, 0.94)
    rule = '[[rule]]\nschemes = ["w8a8"]\nmetric = '
    check = case.holds(run).one(f"{rule}92\n", "metric")
    assert (check.found, check.low, check.high, check.outcome) == (93.0, 92.0, 94.0, "pass")
    assert case.holds(run).one(f"{rule}95\n", "metric").outcome == "fail"
    for limit, meant in ((0.9, "did you mean 90?"), (150.0, "points of 100."), (-3.0, "of 100.")):
        with pytest.raises(
            ChipdriftError, match=r"line 3, rule 1: metric = .* is no limit"
        ) as told:
            case.holds(run).gate(f"{rule}{limit}\n")
        assert str(told.value).endswith(meant)


def test_a_share_where_lower_is_better_may_be_below_a_point(case: Case) -> None:
    run = measured(False, True, 0.02, 0.01, 0.03)
    rule = '[[rule]]\nschemes = ["w8a8"]\nmetric = '
    outcomes = [case.holds(run).one(f"{rule}{n}\n", "metric").outcome for n in (0.5, 1, 2, 3)]
    assert outcomes == ["fail", "unproven", "unproven", "pass"]
    with pytest.raises(ChipdriftError, match=r"is no limit for m"):
        case.holds(run).gate(f"{rule}150\n")


@pytest.mark.parametrize(("limit", "outcome"), [(2.9, "fail"), (3.0, "pass")])
def test_drop_as_seen(limit: float, outcome: str, case: Case) -> None:
    policy = f'[default]\ndrop = {limit}\njudge = "value"\n'
    assert case.holds(RUN).one(policy, "drop").outcome == outcome


@pytest.mark.parametrize("seven", range(1, 100))
def test_a_share_of_whole_points_is_not_above_them(seven: int, case: Case) -> None:
    """100 * 0.07 is 7.000000000000001 in binary."""
    found = matrix(cell("fp32", CPU), lost("w8a8", A, seven, seven - 1, seven + 1))
    policy = f'[default]\ndrop = {seven}\njudge = "value"\n'
    if seven < 90:
        assert case.holds(found).one(policy, "drop").outcome == "pass"


@pytest.mark.parametrize(("word", "failed"), [("warn", False), ("fail", True)])
def test_what_is_unproven_fails_where_the_policy_says_so(
    word: str, failed: bool, case: Case
) -> None:
    found = case.holds(RUN).gate(f'[default]\ndrop = 2\nunproven = "{word}"\n')
    check = next(c for c in found.checks if c.outcome == "unproven")
    assert (found.failed, check.breaks) == (failed, failed)
    assert "the interval reaches across the limit, so 200 samples prove neither" in check.words


def test_a_rule_may_be_stricter_about_what_is_unproven(case: Case) -> None:
    policy = '[default]\ndrop = 2\n[[rule]]\ntargets = ["htp:*"]\nunproven = "fail"\n'
    assert case.holds(RUN).gate(policy).failed


def test_the_sentence_has_all_that_is_needed(case: Case) -> None:
    found = case.holds(RUN).gate("[default]\ndrop = 1\n")
    (check,) = found.broken
    for words in (
        "w8a8 on htp:sm8350: 3 points of top1 lost against the float model",
        "95 % interval 1.2 to 4.9",
        "200 samples",
        "vendor-simulator",
        "[default] asks for at most 1 point of top1 (line 2)",
        "chipdrift diagnose",
    ):
        assert words in check.words
    assert "\n" not in check.words
    assert check.words.endswith(".")
    # The other target under this scheme lost nothing: what is lost is this one's own.
    words = ["--scheme", "w8a8", "--target", A, "--against", CPU]
    assert check.command == shlex.join(["chipdrift", "diagnose", str(case.run), *words])


def test_where_all_lose_the_float_model_is_set_against_them(case: Case) -> None:
    both = matrix(cell("fp32", CPU), lost("w8a8", CPU, 2.9, 1.2, 4.7), LOST)
    check = case.holds(both).one("[default]\ndrop = 1\n", "drop")
    assert check.command is not None
    assert check.command.endswith("--against float")


def test_of_an_import_nothing_can_be_diagnosed(case: Case) -> None:
    imported = RUN.model_copy(update={"imported": "phone.csv"})
    check = case.holds(imported).one("[default]\ndrop = 1\n", "drop")
    assert check.command is None
    assert "measure the model itself" in check.words


def test_a_metric_of_which_less_is_better(case: Case) -> None:
    """An error rate that rises is lost, one that falls is gained."""
    rates = metric("bootstrap percentile", name="cer", higher_is_better=False)
    more = lost("w8a8", A, -3.0, -4.9, -1.2)  # its value is 0.03 more than the baseline's
    found = matrix(cell("fp32", CPU), more, lost("w8a8", B, 3.0, 1.2, 4.9), metric=rates)
    gate = case.holds(found).gate("[default]\ndrop = 0.01\n")
    (broken,) = gate.broken
    assert (broken.target, broken.limit) == (A, "drop")
    assert (broken.found, broken.low, broken.high) == (0.03, 0.012, 0.049)
    assert "0.03 of cer lost" in broken.words
    (gained,) = [c for c in gate.checks if (c.target, c.limit) == (B, "drop")]
    assert gained.outcome == "pass"
    assert "0.03 of cer gained" in gained.words


def test_without_an_interval_nothing_is_proven(case: Case) -> None:
    found = matrix(cell("fp32", CPU), cell("w8a8", A, spread=None))
    check = case.holds(found).one("[default]\ndrop = 1\n", "drop")
    assert check.outcome == "unproven"
    assert "no spread" in check.words


def test_the_baseline_itself_holds_any_limit(case: Case) -> None:
    found = matrix(cell("fp32", CPU, spread=None), LOST)
    gate = case.holds(found).gate("[default]\ndrop = 0\nagreement = 100\n")
    own = [c for c in gate.checks if c.scheme == "fp32" and c.limit in ("drop", "agreement")]
    assert [c.outcome for c in own] == ["pass", "pass"]


def test_few_samples_fail_whatever_they_showed(case: Case) -> None:
    few = matrix(cell("fp32", CPU), cell("w8a8", A, samples=10))
    gate = case.holds(few).gate("[default]\ndrop = 50\n")
    assert gate.failed
    (broken,) = gate.broken
    assert (broken.limit, broken.rule, broken.found) == ("min_samples", "built-in", 10)
    assert not case.gate("[default]\ndrop = 50\nmin_samples = 10\n").failed
    assert case.gate("[default]\ndrop = 50\nmin_samples = 11\n").failed


@pytest.mark.parametrize(
    ("limit", "outcome"), [(94, "pass"), (95, "unproven"), (99, "unproven"), (99.5, "fail")]
)
def test_agreement(limit: float, outcome: str, case: Case) -> None:
    """97 %, 94 to 99."""
    assert case.holds(RUN).one(f"[default]\nagreement = {limit}\n", "agreement").outcome == outcome


def test_agreement_of_pairs(case: Case) -> None:
    pairs = (pair("w8a8", CPU, A, 0.9, agreement_low=0.86, agreement_high=0.93),)
    found = RUN.model_copy(update={"pairs": pairs})
    policy = '[default]\nagree_with = { "ort:cpu" = 95 }\n'
    check = case.holds(found).one(policy, "agree_with")
    assert (check.outcome, check.found, check.against) == ("fail", 90.0, CPU)
    assert check.command is not None
    assert check.command.endswith("--against ort:cpu")
    # The target itself is no pair; a pair that is not there is not held.
    assert case.of(policy, "agree_with", CPU) == []
    lone = case.holds(RUN).one(policy, "agree_with")
    assert lone.outcome == "unproven"


def test_fallback(case: Case) -> None:
    left = (("Conv", "stem"), ("Erf", "gelu"), ("Erf", "gelu2"))
    found = matrix(cell("fp32", CPU), cell("w8a8", A, placement=placed(7, *left)))
    for limit, outcome in ((3, "pass"), (2, "fail"), (0, "fail")):
        check = case.holds(found).one(f"[default]\nfallback = {limit}\n", "fallback")
        assert (check.outcome, check.found) == (outcome, 3)
        assert check.nodes == ("stem", "gelu", "gelu2")
    assert "3 of 10 nodes left the NPU, Conv stem, Erf gelu, Erf gelu2" in check.words
    unknown = case.holds(RUN).one("[default]\nfallback = 0\n", "fallback")
    assert (unknown.outcome, unknown.found) == ("unproven", None)


def test_ops_that_must_stay_on_the_npu(case: Case, small_model: Any) -> None:
    left = (("Erf", "gelu"), ("Relu", "relu"))
    found = matrix(cell("fp32", CPU), cell("w8a8", A, placement=placed(7, *left)))
    schemes = tuple(s.model_copy(update={"file": "m.onnx"}) for s in found.schemes)
    case.run.mkdir()
    (case.run / "m.onnx").write_bytes(small_model.read_bytes())
    case.holds(found.model_copy(update={"schemes": schemes}))
    broken = case.one('[default]\nfallback = ["Relu", "Conv"]\n', "fallback")
    assert (broken.outcome, broken.nodes) == ("fail", ("relu",))
    assert case.one('[default]\nfallback = ["Gemm"]\n', "fallback").outcome == "pass"
    with pytest.raises(ChipdriftError, match=r"Unknown op 'Cnv'\. Near names: Conv"):
        case.gate('[default]\nfallback = ["Cnv"]\n')
    (case.run / "m.onnx").unlink()
    with pytest.raises(ChipdriftError, match="model files are gone"):
        case.gate('[default]\nfallback = ["Gemm"]\n')


def test_the_reason_of_a_fallback_is_told(case: Case) -> None:
    place = NodePlace(op="Conv", node="stem", reason="too\nwide")
    found = matrix(
        cell("fp32", CPU), cell("w8a8", A, placement=Placement(npu=1, cpu=1, fallback=(place,)))
    )
    assert "too wide" in case.holds(found).one("[default]\nfallback = 0\n", "fallback").words


def made(unexplained: float | None, **more: Any) -> Any:
    fields = {"scheme": "w8a8", "model_sha256": "a" * 64, "unexplained": unexplained, **more}
    return parted().model_copy(update={"a": side(CPU), "b": side(A), **fields})


def test_unexplained_drift(case: Case) -> None:
    case.holds(RUN, made(0.2))
    for limit, outcome in ((20, "pass"), (19, "fail")):
        check = case.one(f"[default]\nunexplained = {limit}\n", "unexplained")
        assert (check.found, check.outcome, check.against) == (20.0, outcome, CPU)


def test_of_no_drift_nothing_is_unexplained(case: Case) -> None:
    same = diagnosis(a=side(CPU), b=side(A)).model_copy(
        update={"scheme": "w8a8", "model_sha256": "a" * 64, "unexplained": None}
    )
    check = case.holds(RUN, same).one("[default]\nunexplained = 0\n", "unexplained")
    assert (check.outcome, check.found) == ("pass", 0.0)


@pytest.mark.parametrize(
    "change",
    [
        {"unexplained": None},
        {"scheme": "fp32"},
        {"model_sha256": "d" * 64},
        {"a": side("float")},
    ],
)
def test_a_diagnosis_that_says_nothing_of_the_cell(change: dict[str, Any], case: Case) -> None:
    check = case.holds(RUN, made(0.0).model_copy(update=change)).one(
        "[default]\nunexplained = 20\n", "unexplained"
    )
    assert (check.outcome, check.found) == ("unproven", None)


def test_without_a_diagnosis_it_says_how_to_make_one(case: Case) -> None:
    found = RUN.model_copy(update={"pairs": (pair("w8a8", CPU, A),)})
    check = case.holds(found).one("[default]\nunexplained = 20\n", "unexplained")
    assert check.outcome == "unproven"
    assert check.command is not None
    assert f"{check.command} makes one" in check.words
    assert check.command.endswith("--target htp:sm8350 --against ort:cpu")


def test_the_worst_of_several_diagnoses(case: Case) -> None:
    other = made(0.5).model_copy(update={"a": side(B)})
    found = matrix(*RUN.cells, cell("w8a8", B))
    checks = case.holds(found, made(0.0), other).of("[default]\nunexplained = 9\n", "unexplained")
    assert {c.against: c.outcome for c in checks} == {CPU: "pass", B: "fail"}


def test_a_file_that_is_no_diagnosis_is_told(case: Case) -> None:
    case.holds(RUN, made(0.0))
    (case.run / "diagnosis" / "x.json").write_text("{")
    gate = case.gate("[default]\nunexplained = 9\n")
    assert any("no diagnosis that this chipdrift can read" in words for words in gate.warnings)


def test_lsb(case: Case) -> None:
    found = matrix(cell("fp16", A), cell("w8a8", A, lsb=Lsb(max=3, mean=0.5)), cell("mine", A))
    case.holds(found)
    assert [c.outcome for c in case.of("[default]\nlsb = 3\n", "lsb")] == ["pass", "unproven"]
    gate = case.gate("[default]\nlsb = 2\n")
    assert [c.outcome for c in gate.checks if c.limit == "lsb"] == ["fail", "unproven"]
    # What a float scheme cannot have is no failing of it, until a rule asks just that.
    assert any("lsb is not held against 1 cell, fp16" in words for words in gate.warnings)
    asked = case.of('[[rule]]\nschemes = ["fp16"]\nlsb = 2\n', "lsb")
    assert [c.outcome for c in asked] == ["unproven"]
    # A rule for more than that guards the others.
    gate = case.gate('[[rule]]\ntargets = ["htp:*"]\nschemes = ["fp16", "w8a8"]\nlsb = 3\n')
    assert [(c.scheme, c.outcome) for c in gate.checks if c.limit == "lsb"] == [("w8a8", "pass")]
    assert any("lsb is not held against 1 cell, fp16" in words for words in gate.warnings)


PHONE = "adb:X"


def timed(seconds: float | None = 0.02, samples: int = 50, thermal: int = 0, **more: Any) -> Any:
    run = PhoneRun(
        samples=samples, median_seconds=seconds, after=PhoneState(thermal=thermal), **more
    )
    return cell("w8a8", PHONE, evidence="device", phone=run)


@pytest.mark.parametrize(
    ("phone", "outcome", "words"),
    [
        (timed(0.02), "pass", "20 ms for a sample"),
        (timed(0.0201), "fail", "20.1 ms for a sample"),
        (timed(0.001).model_copy(update={"evidence": "emulated-runtime"}), "unproven", "emulated"),
        (timed(0.001, samples=19), "unproven", "fewer than 20"),
        (timed(0.001, thermal=3), "unproven", "hot"),
        (timed(None, trouble="no clock"), "unproven", "no clock"),
    ],
)
def test_latency(phone: Any, outcome: str, words: str, case: Case) -> None:
    check = case.holds(matrix(cell("fp32", CPU), phone)).one(
        "[default]\nlatency_ms = 20\n", "latency_ms", PHONE
    )
    assert check.outcome == outcome
    assert words in check.words


def test_a_hosts_seconds_are_no_latency(case: Case) -> None:
    gate = case.holds(RUN).gate("[default]\nlatency_ms = 1\n")
    assert not [c for c in gate.checks if c.limit == "latency_ms"]
    assert any("latency_ms is not held against 3 cells" in words for words in gate.warnings)
    asked = case.one('[[rule]]\ntargets = ["htp:*"]\nlatency_ms = 1\n', "latency_ms")
    assert asked.outcome == "unproven"


def test_status(case: Case) -> None:
    found = matrix(
        cell("fp32", CPU),
        without("fp32", A, "unsupported", "no float32"),
        without("w8a8", A, "failed", "died\nof signal 11"),
    )
    gate = case.holds(found).gate("[default]\ndrop = 1\n")
    assert [(c.scheme, c.limit) for c in gate.broken] == [("fp32", "status"), ("w8a8", "status")]
    assert "failed, died of signal 11" in gate.broken[1].words
    # One thing is said of a cell without answers.
    assert [c.limit for c in gate.checks if c.target == A] == ["status", "status"]
    rule = '[[rule]]\ntargets = ["htp:*"]\nschemes = ["fp32"]\nstatus = ["ok", "unsupported"]\n'
    gate = case.gate("[default]\ndrop = 1\n" + rule)
    assert [(c.scheme, c.limit) for c in gate.broken] == [("w8a8", "status")]
    assert any("accepted by status" in words for words in gate.warnings)


def test_evidence(case: Case) -> None:
    def broken(policy: str) -> list[str]:
        return [c.target for c in case.gate(policy).broken if c.limit == "evidence"]

    found = matrix(
        cell("fp32", CPU),
        cell("w8a8", A),
        cell("w8a8", B, evidence="device"),
        cell("w8a8", C, evidence="hypothesis"),
    )
    case.holds(found)
    assert broken('[default]\nevidence = "vendor-simulator"\n') == [CPU, C]
    assert broken('[[rule]]\ntargets = ["htp:*"]\nevidence = "device"\n') == [A, C]
    assert broken('[default]\nevidence = ["hypothesis", "host-runtime"]\n') == [A, B]
    excused = '[[rule]]\ntargets = ["ort:cpu"]\nevidence = "off"\n'
    assert broken('[default]\nevidence = "hypothesis"\n' + excused) == []


def test_what_is_no_number_is_broken(case: Case) -> None:
    delta = LOST.delta
    assert delta is not None
    nan = LOST.model_copy(update={"delta": delta.model_copy(update={"value": math.nan})})
    from chipdrift.gate.answers import drop
    from chipdrift.gate.reading import Reading

    (judged,) = drop(Reading("run", matrix(cell("fp32", CPU), nan)), nan, 50.0, "interval")
    assert judged.outcome == "fail"


def test_a_run_that_cannot_be_judged(case: Case) -> None:
    with pytest.raises(ChipdriftError, match="no such run"):
        case.gate("[default]\ndrop = 1\n")
    case.holds(RUN.model_copy(update={"complete": False}))
    with pytest.raises(ChipdriftError, match="not complete"):
        case.gate("[default]\ndrop = 1\n")
    (case.run / "matrix.json").unlink()
    (case.run / "store.sqlite").write_bytes(b"")
    with pytest.raises(ChipdriftError, match="begun and not finished"):
        case.gate("[default]\ndrop = 1\n")


def test_a_run_that_is_being_measured(case: Case) -> None:
    from chipdrift.store import Store

    case.holds(RUN)
    with Store.open(case.run), pytest.raises(ChipdriftError, match="measuring into it now"):
        case.gate("[default]\ndrop = 1\n")
    assert isinstance(case.gate("[default]\ndrop = 50\n"), Gate)
    with Store.open(case.run):  # asking has left no lock
        pass


def test_cells_without_any_limit_are_held_to_be_there(case: Case) -> None:
    gate = case.holds(RUN).gate('[[rule]]\ntargets = ["htp:*"]\ndrop = 50\n')
    assert {(c.target, c.limit) for c in gate.checks} == {
        *((t, limit) for t in (CPU, A) for limit in ("status", "min_samples")),
        (A, "drop"),
    }
