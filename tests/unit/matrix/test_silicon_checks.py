"""Checks of simulators against silicon: which pairs, how they are related, and the figures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from chipdrift.matrix.identity import identity_of, relation_of
from chipdrift.matrix.silicon import corrected, silicon_checks
from chipdrift.metrics import Outputs, answers_agree, evaluate, get_metric, identical_share
from chipdrift.records import Cell, Lsb, NodePlace, Pair, Placement, SiliconCheck

N, CLASSES = 120, 5
TOP1 = get_metric("top1")


def logits(labels: np.ndarray[Any, Any], wrong: Sequence[int] = ()) -> np.ndarray[Any, Any]:
    """Outputs that are right but on the samples ``wrong``."""
    made = np.zeros((N, CLASSES), np.float32)
    made[np.arange(N), labels] = 1
    for i in wrong:
        made[i] = np.roll(made[i], 1)
    return made


LABELS = np.arange(N) % CLASSES


def checks(
    cells: Sequence[tuple[Cell, np.ndarray[Any, Any]]], names: dict[str, str] | None = None
) -> list[SiliconCheck]:
    """The checks of cells with these outputs, labels right."""
    reference = Outputs(arrays={"y": logits(LABELS)}, primary="y", labels=LABELS)
    outputs = {
        cell.target: Outputs(arrays={"y": y}, primary="y", labels=LABELS, reference=reference)
        for cell, y in cells
    }
    made = [
        cell.model_copy(update={"metric": evaluate(TOP1, outputs[cell.target])})
        for cell, _ in cells
    ]
    pairs = []
    for i, a in enumerate(made):
        for b in made[i + 1 :]:
            x, y = outputs[a.target], outputs[b.target]
            agrees = answers_agree(TOP1.answers(x), TOP1.answers(y))
            pairs.append(
                Pair(
                    scheme=a.scheme, a=a.target, b=b.target, samples=N, measured=N,
                    agreement=agrees.value, agreement_low=agrees.low, agreement_high=agrees.high,
                    identical=identical_share(x, y), lsb=Lsb(max=3, mean=0.25),
                )
            )  # fmt: skip
    return silicon_checks(TOP1, made, outputs, pairs, names or {})


def cell(target: str, evidence: str, scheme: str = "w8a8", **more: Any) -> Cell:
    fields = {"status": "ok", "samples": N, "measured": N} | more
    return Cell.model_validate({"scheme": scheme, "target": target, "evidence": evidence} | fields)


def simulator(target: str = "htp:sm8550", scheme: str = "w8a8", **more: Any) -> Cell:
    fields: dict[str, Any] = {"versions": {"qnn": "2.51.0"}, "placement": Placement(npu=9, cpu=0)}
    return cell(target, "vendor-simulator", scheme, **(fields | more))


def phone(target: str = "adb:1", scheme: str = "w8a8", **more: Any) -> Cell:
    versions = {"soc": "SM8550", "qnn": "2.51.1"}
    fields: dict[str, Any] = {"versions": versions, "placement": Placement(npu=9, cpu=0)}
    return cell(target, "device", scheme, **(fields | more))


def test_the_figures_of_one_check_are_those_of_statsmodels() -> None:
    """The phone is wrong on 9 samples; the simulator on one of them and on 2 others.

    On 20 more the phone has the same class by other values.
    """
    answered = logits(LABELS, range(9))
    answered[100:] *= 2
    found = checks([(simulator(), logits(LABELS, [0, 40, 41])), (phone(), answered)])
    (check,) = found
    assert (check.simulator, check.silicon, check.relation) == ("htp:sm8550", "adb:1", "same-chip")
    assert (check.simulator_chip, check.silicon_chip) == ("SM8550", "SM8550")
    same = N - 8 - 2
    assert check.agreement == same / N
    assert check.identical == (same - 20) / N
    low, high = proportion_confint(same, N, method="wilson")
    assert check.agreement_low == pytest.approx(low, abs=1e-12)
    assert check.agreement_high == pytest.approx(high, abs=1e-12)
    assert check.predicted.value == (N - 3) / N
    assert check.observed.value == (N - 9) / N
    assert check.difference.value == pytest.approx(-6 / N)
    exact = mcnemar([[N - 11, 8], [2, 1]], exact=True).pvalue
    assert check.difference.p_value == pytest.approx(exact)
    assert check.lsb == Lsb(max=3, mean=0.25)
    assert (check.same_sdk, check.simulator_sdk, check.silicon_sdk) == (True, "2.51.0", "2.51.1")
    assert check.cautions == ()


def test_a_phone_that_answers_as_predicted_differs_in_nothing() -> None:
    y = logits(LABELS, [1, 2])
    (check,) = checks([(simulator(), y), (phone(), y.copy())])
    assert (check.agreement, check.identical, check.difference.value) == (1.0, 1.0, 0.0)
    assert check.difference.p_value == 1.0


def test_only_simulators_meet_silicon_and_only_where_both_answered() -> None:
    y = logits(LABELS)
    arm = cell("ort:arm64", "emulated-runtime", versions={"machine": "aarch64"})
    x86 = cell("ort:avx2", "emulated-runtime", versions={"machine": "x86_64"})
    found = checks(
        [
            (simulator(), y),
            (cell("ort:cpu", "host-runtime"), y),
            (cell("sim:guess", "hypothesis"), y),
            (x86, y),
            (arm, y),
            (phone(), y),
            (cell("import:r", "reported"), y),
        ]
    )
    # The phone's NPU ran, which an emulated CPU does not stand for; of the import nothing is known.
    assert {(c.simulator, c.silicon) for c in found} == {
        ("htp:sm8550", "adb:1"),
        ("htp:sm8550", "import:r"),
        ("ort:arm64", "import:r"),
    }
    on_cpu = phone(placement=Placement(npu=0, cpu=9))
    found = checks([(simulator(), y), (arm, y), (on_cpu, y)])
    assert [(c.simulator, c.relation) for c in found] == [("ort:arm64", "unknown")]
    silent = phone("adb:2", status="unsupported")
    assert silicon_checks(TOP1, [simulator(), silent], {}, [], {}) == []


PROFILE = "Hexagon v73 to v81 as Qualcomm's simulator answers."


@pytest.mark.parametrize(
    ("one", "other", "words", "relation"),
    [
        (simulator(), phone(), "", "same-chip"),
        (simulator("htp:sm8550@2.48"), phone(), "", "same-chip"),
        (simulator(), phone(versions={"chip": "Snapdragon 8 Gen 2"}), "", "same-chip"),
        (simulator("htp:sm8750"), phone(versions={"soc": "SM8750-AC"}), "", "same-chip"),
        (simulator("htp:sm7550"), phone(), "", "same-generation"),
        (simulator("htp:sm8450"), phone(), "", "other-generation"),
        (simulator(), phone(versions={"chip": "Tensor G4"}), "", "other-generation"),
        (simulator(), phone(versions={"chip": "my own chip"}), "", "unknown"),
        (simulator(), phone(versions={}), "", "unknown"),
        (cell("sim:hexagon-v73", "prediction"), phone(), PROFILE, "same-generation"),
        (
            cell("sim:hexagon-v73", "prediction"),
            phone(versions={"soc": "SM8650"}),
            PROFILE,
            "same-generation",
        ),
        (cell("sim:v69.toml", "prediction"), phone(), "Hexagon v68 and v69.", "other-generation"),
        (cell("sim:x.toml", "prediction"), phone(), "Snapdragon 8 Gen 2, v73", "same-chip"),
        (cell("sim:ort-mlas", "prediction"), phone(), "onnxruntime's kernels", "unknown"),
        (cell("ort:arm64", "emulated-runtime"), phone(), "onnxruntime, Cortex-A76", "unknown"),
        (cell("adb:e", "emulated-runtime", versions={"soc": "SM8550"}), phone(), "", "unknown"),
        (simulator(), phone(versions={"soc": "unknown"}), "", "unknown"),
        # A folder may be called like a chip; only what the import says of itself counts.
        (
            cell("import:SM8550", "vendor-simulator", versions={"imported": "1"}),
            phone(),
            "",
            "unknown",
        ),
        (
            cell("import:x", "vendor-simulator", versions={"imported": "1", "chip": "SM8550"}),
            phone(),
            "",
            "same-chip",
        ),
    ],
)
def test_how_the_two_chips_are_related(one: Cell, other: Cell, words: str, relation: str) -> None:
    assert relation_of(identity_of(one, words), identity_of(other, "Phone, v69")) == relation


@pytest.mark.parametrize(
    ("own", "its", "same"),
    [
        ("2.51.0", "2.51.0.241014", True),
        ("2.51.0", "QNN 2.31", False),
        ("2.51.0", "SNPE 2.51.7", True),
        ("2.51.0", "SNPE v1.65", False),
        ("2.51.0", "Neuron 2.51", None),
        ("2.51.0", "", None),
    ],
)
def test_whether_the_sdks_are_one_release(own: str, its: str, same: bool | None) -> None:
    y = logits(LABELS)
    versions = {"soc": "SM8550", **({"sdk": its} if its else {})}
    (check,) = checks([(simulator(versions={"qnn": own}), y), (phone(versions=versions), y)])
    assert check.same_sdk is same


def family() -> tuple[list[SiliconCheck], list[Cell]]:
    """Three schemes on one phone: its own chip's simulator, and three others of which two share."""
    found: list[SiliconCheck] = []
    cells: list[Cell] = []
    for scheme, wrong in (("w8a8", 8), ("w8a16", 6), ("w4a16", 2)):
        members = [
            (simulator("htp:sm8450", scheme), logits(LABELS)),
            (simulator("htp:sm8475", scheme, copied_from="htp:sm8450", audited=4), logits(LABELS)),
            (simulator("htp:sm8650", scheme), logits(LABELS, [100])),
            (simulator("htp:sm8550", scheme), logits(LABELS)),
            (phone("adb:1", scheme), logits(LABELS, range(wrong))),
        ]
        found += checks(members)
        cells += [cell for cell, _ in members]
    return found, cells


def test_holms_correction_is_that_of_statsmodels_in_each_family() -> None:
    found, cells = family()
    done = corrected(found, cells)
    assert [c.relation for c in done] == ["same-chip"] * 3 + ["other-generation"] * 9
    own = [c for c in done if c.relation == "same-chip"]
    wanted = multipletests([c.difference.p_value for c in own], method="holm")[1]
    assert [c.difference.p_holm for c in own] == pytest.approx(list(wanted))
    assert [c.difference.significant for c in own] == [True, False, False]
    # 6 comparisons of other chips, for SM8475's answers are SM8450's.
    others = [c for c in done if c.relation != "same-chip"]
    lead = [c for c in others if c.simulator != "htp:sm8475"]
    wanted = multipletests([c.difference.p_value for c in lead], method="holm")[1]
    assert [c.difference.p_holm for c in lead] == pytest.approx(list(wanted))
    by_name = {(c.scheme, c.simulator): c.difference.p_holm for c in others}
    for scheme in ("w8a8", "w8a16", "w4a16"):
        assert by_name[scheme, "htp:sm8475"] == by_name[scheme, "htp:sm8450"]


def test_what_else_may_explain_it_is_said() -> None:
    y = logits(LABELS)
    left = (NodePlace(node="n", op="Softmax"),)
    on_cpu = phone(placement=Placement(npu=0, cpu=1, fallback=left))
    said = {
        "1 node left the simulated NPU": (
            simulator(placement=Placement(npu=8, cpu=1, fallback=left)), phone()
        ),
        "on the silicon every node ran on the CPU": (simulator(), on_cpu),
        "1 node left the silicon's NPU": (
            simulator(), phone(placement=Placement(npu=8, cpu=1, fallback=left))
        ),
        "nothing says that the silicon's NPU ran the model": (
            simulator(), phone(placement=None, versions={"chip": "SM8550", "sdk": "QNN 2.31"})
        ),
        "which model file": (simulator(), phone(reason="it does not say which model file ran")),
    }  # fmt: skip
    for words, (one, other) in said.items():
        (check,) = checks([(one, y), (other, y)])
        assert len(check.cautions) == 1 and words in check.cautions[0], check.cautions
    told = phone(placement=None, versions={"chip": "SM8550", "runtime": "QNN on the NPU"})
    assert checks([(simulator(), y), (told, y)])[0].cautions == ()
