"""Options of a runtime in a target's name."""

from __future__ import annotations

import numpy as np
import pytest

from chipdrift import cell_outputs, run_matrix
from chipdrift.demo import DemoPaths
from chipdrift.errors import ChipdriftError, UnknownNameError
from chipdrift.matrix.identity import identity_of
from chipdrift.plan.options import options_of
from chipdrift.plan.sides import resolve_sides
from chipdrift.targets import get_target
from chipdrift.targets.tuned import Option, alternatives, bare, split_options, with_options

KNOWN = {
    "speed": Option("provider.speed", ("1", "2", "3"), "how fast"),
    "clamp": Option("session.clamp", ("0", "1"), "whether it clamps"),
}


def test_what_stands_before_the_first_plus_and_behind_it() -> None:
    assert split_options("htp", "sm8550", KNOWN) == ("sm8550", {})
    assert split_options("htp", "sm8550+speed=3", KNOWN) == ("sm8550", {"speed": "3"})
    for order in ("+speed=3+clamp=0", "+clamp=0+speed=3"):
        base, given = split_options("htp", f"sm8550{order}", KNOWN)
        assert (base, list(given.items())) == ("sm8550", [("clamp", "0"), ("speed", "3")])
    assert split_options("ort", "+clamp=1", KNOWN) == ("", {"clamp": "1"})


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("sm8550+speed=4", "speed is set to '4', expected 1 or 2 or 3, as in .speed=1"),
        ("sm8550+speed", "speed is set to '', expected 1 or 2 or 3"),
        ("sm8550+speed=", "speed is set to ''"),
        ("sm8550+clamp=0+clamp=0", "clamp is set twice"),
        ("sm8550+clamp=0=1", "clamp is set to '0=1'"),
        ("sm8550+", "option of htp"),
        ("sm8550+clmp=0", "'clmp'.*Near names: clamp"),
        ("sm8550+provider.speed=1", "option of htp"),
    ],
)
def test_what_is_wrong_is_told(rest: str, words: str) -> None:
    with pytest.raises(ChipdriftError, match=words):
        split_options("htp", rest, KNOWN)


def test_an_option_changes_name_options_and_family_and_drops_the_profile() -> None:
    plain = get_target("ort:cpu")
    tuned = with_options(plain, {"clamp": "1"}, KNOWN)
    assert tuned.name == "ort:cpu+clamp=1"
    assert tuned.options == {**plain.options, "session.clamp": "1"}
    assert (tuned.runtime, tuned.evidence, tuned.refuses) == (
        plain.runtime,
        plain.evidence,
        plain.refuses,
    )
    assert tuned.description.endswith("clamp=1")
    assert with_options(plain, {}, KNOWN) is plain


def test_an_option_more_is_one_beside_the_others_in_one_order() -> None:
    plain = get_target("ort:cpu")
    two = {"speed": "3", "clamp": "1"}
    at_once = with_options(plain, dict(sorted(two.items())), KNOWN)
    for first, second in (("speed", "clamp"), ("clamp", "speed")):
        step = with_options(plain, {first: two[first]}, KNOWN)
        other = with_options(step, {second: two[second]}, KNOWN)
        assert (other.name, other.options, other.family) == (
            at_once.name,
            at_once.options,
            at_once.family,
        )
    changed = with_options(at_once, {"clamp": "0"}, KNOWN)
    assert changed.name == "ort:cpu+clamp=0+speed=3"
    assert changed.options["session.clamp"] == "0"


def test_without_its_options_and_its_release() -> None:
    assert bare("htp:sm8550+offload_graph_io_quantization=0@2.50") == "htp:sm8550"
    assert bare("htp:sm8550@2.50") == "htp:sm8550"
    assert bare("ort:cpu+x64quantprecision=1") == "ort:cpu"
    assert bare("sim:a.toml") == "sim:a.toml"


def test_every_option_with_every_value() -> None:
    assert list(alternatives(KNOWN)) == [
        *(("speed", value) for value in "123"),
        *(("clamp", value) for value in "01"),
    ]


@pytest.mark.parametrize("name", ["ort:cpu+x64quantprecision=1", "ort:cpu+disable_quant_qdq=1"])
def test_onnxruntimes_options_are_in_a_target(name: str) -> None:
    target = get_target(name)
    assert target.name == name
    key = "session." + name.partition("+")[2].partition("=")[0]
    assert target.options[key] == "1"
    with pytest.raises(UnknownNameError, match="option of ort"):
        get_target("ort:cpu+x64quantprecison=1")


def test_a_target_without_options_says_so() -> None:
    with pytest.raises(ChipdriftError):
        get_target("sim:hexagon-v73+clamp=1")
    assert options_of(get_target("sim:hexagon-v73")) == {}


@pytest.mark.htp
def test_a_simulated_chip_keeps_its_identity_and_loses_its_profile() -> None:
    pytest.importorskip("onnxruntime_qnn")
    plain = get_target("htp:sm8550")
    tuned = get_target("htp:SM8550+offload_graph_io_quantization=0")
    assert tuned.name == "htp:sm8550+offload_graph_io_quantization=0"
    assert (plain.profile, tuned.profile) == ("hexagon-v73", "")
    assert plain.family != tuned.family
    assert tuned.options["offload_graph_io_quantization"] == "0"
    assert {k: v for k, v in tuned.options.items() if k != "offload_graph_io_quantization"} == {
        k: v for k, v in plain.options.items() if k != "offload_graph_io_quantization"
    }
    (side,) = resolve_sides([tuned.name])
    assert (side.chip.soc, side.chip.fp16) == ("SM8550", True)
    assert side.silicon is not None and side.silicon.soc == "SM8550"
    assert side.chip.searcher == tuned.name  # no engine stands for it
    assert "SM8550" in side.chip.ro_soc_models


@pytest.mark.htp
def test_a_release_stands_behind_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime_qnn")
    monkeypatch.setattr("chipdrift.targets.htp.sdk_packages", lambda pin: (f"the {pin.name}",))
    name = "htp:sm8550+offload_graph_io_quantization=0@2.50"
    target = get_target(name)
    assert target.name == name
    assert target.family == "htp@2.50+offload_graph_io_quantization=0"
    assert (target.profile, target.packages) == ("", ("the 2.50",))
    with pytest.raises(ChipdriftError):
        get_target("htp:sm8550@2.50+offload_graph_io_quantization=0")


@pytest.mark.htp
def test_on_the_simulator_offload_0_changes_bits_and_offload_1_is_what_it_is_anyway(
    demo: DemoPaths, tmp_path: object
) -> None:
    pytest.importorskip("onnxruntime_qnn")
    plain = "htp:sm8550"
    zero, one = (f"{plain}+offload_graph_io_quantization={value}" for value in "01")
    out = f"{tmp_path}/run"
    matrix = run_matrix(
        demo.model,
        demo.data,
        schemes=["w8a8_pc"],
        targets=[plain, zero, one],
        out=out,
        calibration=demo.calibration,
        limit=16,
        jobs=1,
    )
    found = {t: cell_outputs(out, "w8a8_pc", t)[0]["logits"] for t in (plain, zero, one)}
    assert np.array_equal(found[plain], found[one])
    assert not np.array_equal(found[plain], found[zero])
    shown = {cell.target: cell for cell in matrix.cells}
    chips = [identity_of(shown[target], "").chip for target in (plain, zero, one)]
    assert [chip is not None and chip.soc for chip in chips] == ["SM8550"] * 3
