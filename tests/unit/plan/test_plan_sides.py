"""Which target stands for a chip, who searches for it, and which chips are searched together."""

from __future__ import annotations

import pytest

from chipdrift.errors import ChipdriftError
from chipdrift.plan.sides import judged_by_target, resolve_sides
from chipdrift.schemes import Layer, get_scheme
from chipdrift.targets import get_target

pytest.importorskip("onnxruntime_qnn")


def searched(*names: str) -> list[tuple[str, str]]:
    return [(side.chip.target, side.chip.searcher) for side in resolve_sides(names)]


@pytest.mark.htp
def test_a_chip_is_confirmed_by_its_simulator_and_searched_by_its_profile() -> None:
    found = resolve_sides(["sm8450", "SM8550", "sm7550"])
    assert [(s.chip.name, s.chip.target, s.chip.searcher) for s in found] == [
        ("sm8450", "htp:sm8450", "sim:hexagon-v69"),
        ("SM8550", "htp:sm8550", "sim:hexagon-v73"),
        ("sm7550", "htp:sm7550", "sim:hexagon-v73"),
    ]
    # The catalogue's facts; ro.soc.model is what Android says on such a phone.
    assert [s.chip.fp16 for s in found] == [True, True, False]
    assert [s.chip.soc_model for s in found] == [36, 43, found[2].chip.soc_model]
    assert [s.chip.ro_soc_models for s in found] == [("SM8450",), ("SM8550",), ("SM7550",)]
    assert {s.chip.evidence for s in found} == {"vendor-simulator"}


@pytest.mark.htp
def test_chips_of_equal_numerics_and_features_are_one_group() -> None:
    by_name = {s.chip.name: s.chip.group for s in resolve_sides(["sm8450", "sm8475", "sm8550"])}
    assert by_name["sm8450"] == by_name["sm8475"] != by_name["sm8550"]
    # The same numerics (v73), one without FP16.
    first, second = resolve_sides(["sm8550", "sm7550"])
    assert first.chip.searcher == second.chip.searcher
    assert first.chip.group != second.chip.group


def test_targets_by_name() -> None:
    assert searched("ort:cpu", "sim:hypothesis-int16-accumulator", "sim:hexagon-v73") == [
        ("ort:cpu", "sim:ort-mlas"),
        ("sim:hypothesis-int16-accumulator",) * 2,
        ("sim:hexagon-v73",) * 2,
    ]
    (side,) = resolve_sides(["sim:hypothesis-int16-accumulator"])
    assert (side.chip.evidence, side.chip.why) == ("hypothesis", "the target is the engine itself")
    assert (side.silicon, side.chip.soc, side.chip.fp16, side.chip.ro_soc_models) == (
        *(None, None, None),
        (),
    )
    assert searched("ort:cpu+x64quantprecision=1") == [("ort:cpu+x64quantprecision=1",) * 2]


@pytest.mark.htp
def test_searching_on_the_target_leaves_the_group_of_the_engine() -> None:
    one, two = resolve_sides(["sm8450", "sm8475"])
    moved = judged_by_target(one, {"uint8": "because"})
    assert (moved.chip.searcher, moved.searcher.name) == ("htp:sm8450", "htp:sm8450")
    assert moved.target is one.target
    assert "because" in moved.chip.why
    assert moved.chip.group not in (one.chip.group, two.chip.group)
    assert moved.ranker.name == "sim:hexagon-v69"  # it ranks the layers all the same


@pytest.mark.htp
def test_only_activations_where_the_engine_is_far_are_judged_by_the_target() -> None:
    side = resolve_sides(["sm8550"])[0]
    assert judged_by_target(side, {}) is side
    moved = judged_by_target(side, {"uint16": "because"})
    names = ("w8a8", "w8a16_pc", "fp16")
    assert [moved.judge_of(get_scheme(name)).name for name in names] == [
        "sim:hexagon-v73",
        "htp:sm8550",
        "htp:sm8550",
    ]
    raised = get_scheme("w8a8").model_copy(
        update={"layer": (Layer.model_validate({"nodes": ["a"], "activations": "uint16"}),)}
    )
    assert moved.judge_of(raised).name == "htp:sm8550"
    assert side.judge_of(raised).name == "sim:hexagon-v73"
    assert moved.chip.group != side.chip.group


@pytest.mark.htp
@pytest.mark.parametrize("twin", ["htp:sm8550", "SM8550", "htp:SM8550"])
def test_the_same_target_twice_is_refused(twin: str) -> None:
    with pytest.raises(ChipdriftError, match=r"are the same target \(htp:sm8550\). Leave one out"):
        resolve_sides(["sm8550", "sm8450", twin])


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "No chip is named"),
        (["sm9999"], "'sm9999'"),
        (["kirin9000"], "kirin9000"),
        (["htp:kirin9000"], "kirin9000"),
        (["nowhere:cpu"], "nowhere"),
        (["ort:gpu"], "gpu"),
    ],
)
def test_names_that_are_none_are_refused(names: list[str], words: str) -> None:
    with pytest.raises(ChipdriftError, match=words) as caught:
        resolve_sides(names)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["s5e9945", "MT6991"])
def test_a_chip_that_no_simulator_knows_is_told_what_could_stand_in(name: str) -> None:
    with pytest.raises(ChipdriftError, match=r"no simulator can stand in for it here.*sim:FILE"):
        resolve_sides([name])


def test_an_option_keeps_a_target_apart_from_the_plain_one() -> None:
    plain, tuned = resolve_sides(["ort:cpu", "ort:cpu+disable_quant_qdq=1"])
    assert plain.chip.group != tuned.chip.group
    assert tuned.target == get_target("ort:cpu+disable_quant_qdq=1")
