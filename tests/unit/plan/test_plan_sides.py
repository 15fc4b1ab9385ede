"""Which target stands for a chip, who searches for it, and which chips are searched together."""

from __future__ import annotations

import pytest

from chipdrift.errors import ChipdriftError
from chipdrift.plan.sides import resolve_sides, search_on_target
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
    moved = search_on_target(one, "because")
    assert (moved.chip.searcher, moved.searcher.name) == ("htp:sm8450", "htp:sm8450")
    assert moved.target is one.target
    assert moved.chip.why.startswith("because; sim:hexagon-v69 ranks")
    assert moved.chip.group not in (one.chip.group, two.chip.group)
    assert moved.ranker.name == "sim:hexagon-v69"  # it ranks the layers all the same
    assert search_on_target(two, "because").chip.group != moved.chip.group


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
