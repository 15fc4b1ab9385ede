import csv
import subprocess
import sys
from pathlib import Path

import pytest

from chipdrift.chips import Fact, all_chips, get_chip
from chipdrift.chips.chip import choose, strong_values

ROOT = Path(__file__).parents[3]
FACTS = ROOT / "src" / "chipdrift" / "chips" / "facts.csv"
SHARED = ROOT.parent / "shared" / "facts"
SCRIPT = ROOT / "scripts" / "make_chip_facts.py"


def fact(value: str, status: str, source: str) -> Fact:
    return Fact(value=value, status=status, source=source)


def make(folder: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), str(folder), str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_row_of_the_file_is_kept_as_a_fact() -> None:
    with FACTS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    kept = [f for chip in all_chips() for found in chip.facts.values() for f in found]
    assert len(kept) == len(rows)
    assert {(row["vendor"], row["soc"]) for row in rows} == {
        (chip.vendor, chip.soc) for chip in all_chips()
    }


def test_a_well_known_chip() -> None:
    chip = get_chip("SM8650")
    assert chip.label == "SM8650 (Snapdragon 8 Gen 3)"
    assert (chip.hexagon, chip.soc_model, chip.vtcm_mb) == ("v75", 57, 8)
    assert (chip.ro_soc_model, chip.ro_soc_manufacturer) == ("SM8650", "QTI")
    assert chip.codename == "Lanai"
    assert chip.conflicts == {}
    assert all(found.source for found in chip.facts["hexagon"])


def test_qcm6490_takes_the_value_of_most_sources_and_shows_the_other() -> None:
    chip = get_chip("QCM6490")
    assert chip.soc_model == 93
    assert [other.value for other in chip.conflicts["soc_model"]] == ["35"]


def test_weak_facts_alone_leave_the_value_unknown_and_stay_visible() -> None:
    chip = get_chip("SM8735")
    assert (chip.hexagon, chip.vtcm_mb, chip.soc_model) == (None, None, 85)
    assert {other.status for other in chip.conflicts["hexagon"]} == {"draft", "inference"}
    assert get_chip("SM7435").marketing_names == ()


def test_no_value_of_the_catalogue_rests_on_weak_facts() -> None:
    for chip in all_chips():
        for field, found in chip.facts.items():
            values = getattr(chip, field, None)
            for value in values if isinstance(values, tuple) else (values,):
                strong = [str(f.value) for f in found if not f.weak]
                assert value is None or str(value) in strong, (chip.soc, field)


@pytest.mark.parametrize("status", ["draft", "conflict", "inference", "unverified"])
def test_weak_statuses_never_win(status: str) -> None:
    weak = [fact("1", status, f"source {i}") for i in range(5)]
    assert choose([*weak, fact("2", "source-table (path unknown)", "a")]) == "2"
    assert choose(weak) is None
    assert strong_values(weak) == ()


def test_one_source_counts_once_and_ties_are_broken_the_same_way_each_time() -> None:
    twice = [fact("b", "source-table", "x"), fact("b", "vendor-doc", "x")]
    tie = [*twice, fact("a", "source-table", "y")]
    assert choose(tie) == choose(tie[::-1]) == "a"
    assert choose([*tie, fact("b", "source-table", "z")]) == "b"


def test_other_vendors_and_chips_without_a_name_are_in_the_catalogue() -> None:
    assert {chip.vendor for chip in all_chips()} == {"Qualcomm", "MediaTek", "Google", "Samsung"}
    assert get_chip("SM6475").marketing_names == ()
    assert get_chip("SM8750-AC").label == "SM8750-AC (Snapdragon 8 Elite For Galaxy)"


@pytest.mark.skipif(not SHARED.exists(), reason="the shared facts are not here")
def test_the_file_is_what_the_script_makes(tmp_path: Path) -> None:
    done = make(SHARED, tmp_path / "facts.csv")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "facts.csv").read_bytes() == FACTS.read_bytes()


@pytest.mark.parametrize(
    "source", ["https://" + "pypi.org/project/x", "/" + "home/someone/table.csv"]
)
def test_the_script_refuses_registries_and_machine_paths(tmp_path: Path, source: str) -> None:
    (tmp_path / "soc_facts_long.csv").write_text(
        f"vendor,soc,field,value,status,source\nQualcomm,SM1,vtcm_mb,2,draft,{source}\n"
    )
    done = make(tmp_path, tmp_path / "facts.csv")
    assert done.returncode == 1
    assert "row 2 names a package registry or a machine's path" in done.stderr
    assert not (tmp_path / "facts.csv").exists()
