"""Pairs of public phones, and chips found in a few words."""

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from chipdrift.chips import get_chip, phone_pairs, recognize, same_silicon

ROOT = Path(__file__).parents[3]
PAIRS = ROOT / "src" / "chipdrift" / "chips" / "phone_pairs.csv"
SCRIPT = ROOT / "scripts" / "make_phone_pairs.py"


def test_two_v69_phones_under_one_sdk_are_alike_on_65_of_100() -> None:
    (pair,) = (
        p
        for p in phone_pairs()
        if p.task == "mobilebert" and {p.a_soc, p.b_soc} == {"SM7450", "SM8475"}
    )
    assert (pair.identical, pair.samples, pair.max_lsb, pair.mean_lsb) == (65, 100, 21.0, 0.2792)
    assert pair.same_generation and pair.same_sdk and pair.same_scale == "yes"
    assert pair.a_hexagon == "v69" == get_chip("SM8475").hexagon


def test_every_pair_has_sources_and_differs_in_one_thing_at_most() -> None:
    with PAIRS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(phone_pairs()) == 87
    assert {row["task"] for row in rows} == {"mobilebert", "mobiledet", "mnedgetpu", "mnv4"}
    for row, pair in zip(rows, phone_pairs(), strict=True):
        assert pair.a_source.startswith("mlcommons/mobile_results") and ":" in pair.b_source
        assert pair.same_generation or pair.same_sdk
        assert 0 <= pair.identical <= pair.samples
        assert (pair.max_lsb is None) == (row["max_lsb"] == "") == (pair.same_scale != "yes")
        # The submission's own chip: the catalogue knows it, and its generation where it is sure.
        for soc, hexagon in ((pair.a_soc, pair.a_hexagon), (pair.b_soc, pair.b_hexagon)):
            assert get_chip(soc).hexagon in (hexagon, None)
    assert all(p.identical == p.samples for p in phone_pairs() if p.task == "mnv4")


FACTS = (
    "task,n,a_key,a_chipset,a_soc,a_arch,a_unit,a_sdk,b_key,b_chipset,b_soc,b_arch,b_unit,b_sdk,"
    "identical_samples,identical_frac,same_output_scale,max_abs_lsb,mean_abs_lsb,"
    "argmax_start_agree,argmax_end_agree,extra,class,note,source_a,source_b"
)


def fact(
    task: str = "t", kind: str = "same_arch_same_sdk", note: str = "", source: str = "o/r:p"
) -> str:
    return (
        f"{task},100,k1,c,SM1,v1,NPU,S 1,k2,c,SM2,v1,NPU,S 1,65,0.65,yes,21.0,0.3,1,1,,{kind},"
        f"{note},{source},o/r:q"
    )


def make(folder: Path, *rows: str) -> "subprocess.CompletedProcess[str]":
    (folder / "real_device_agreement.csv").write_text("\n".join([FACTS, *rows, ""]))
    command = [sys.executable, str(SCRIPT), str(folder), str(folder / "out.csv")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_script_keeps_what_differs_in_one_thing(tmp_path: Path) -> None:
    rows = [
        fact(),
        fact(kind="same_arch_diff_sdk"),
        fact(kind="diff_arch_diff_sdk"),
        fact(kind="npu_vs_cpu"),
        fact(note="not independent"),
        fact("t_offline"),
    ]
    assert make(tmp_path, *rows).returncode == 0
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        kept = list(csv.DictReader(file))
    assert Counter(row["task"] for row in kept) == {"t": 2}
    assert kept[0]["identical"] == "65" and kept[0]["b_source"] == "o/r:q"


@pytest.mark.parametrize("source", ["", "~/logs/a.json"])
def test_the_script_refuses_a_row_without_a_public_source(tmp_path: Path, source: str) -> None:
    done = make(tmp_path, fact(), fact(source=source))
    assert done.returncode != 0
    assert "row 3 has no public source" in done.stderr


@pytest.mark.parametrize(
    ("words", "soc"),
    [
        ("SM8550", "SM8550"),
        ("sm8550", "SM8550"),
        ("Snapdragon 8 Gen 2", "SM8550"),
        ("Qualcomm Snapdragon 8 Gen 2 (SM8550)", "SM8550"),
        ("SM8650-AC", "SM8650"),
        ("sm8650ac", "SM8650"),
        ("SM8750-AC", "SM8750-AC"),
        ("Tensor G4", "Tensor_G4"),
        ("Snapdragon 8 Gen 3 for Galaxy", None),  # no row has this name, and Gen 3 is another
        ("8 Gen", None),
        ("SM8550 or SM8650", None),
        ("xSM8550", None),
        ("Snapdragon", None),
        ("a phone", None),
        ("", None),
    ],
)
def test_the_chip_that_words_name(words: str, soc: str | None) -> None:
    chip = recognize(words)
    assert (chip.soc if chip else None) == soc


def test_bins_are_one_piece_of_silicon() -> None:
    assert same_silicon(get_chip("SM8750-AC"), get_chip("SM8750"))
    assert not same_silicon(get_chip("SM8550"), get_chip("SM7550"))


def test_every_chip_is_recognized_by_its_own_id() -> None:
    from chipdrift.chips import all_chips

    for chip in all_chips():
        assert recognize(chip.soc) == chip, chip.soc
