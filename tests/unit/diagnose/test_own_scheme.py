"""A scheme of the user's own is named by its file, so that what is printed can be pasted."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from chipdrift import run_matrix
from chipdrift.demo import DemoPaths
from chipdrift.diagnose import run_diagnosis
from chipdrift.errors import RunError
from chipdrift.findings import Diagnosis
from chipdrift.matrix.reopen import reopen

if TYPE_CHECKING:
    from conftest import Cli

A, B = "sim:hexagon-v69", "sim:avx2-saturating"
SCHEME = (
    'name = "mine"\nkind = "qdq"\nweights = "int8"\nactivations = "uint8"\n'
    'granularity = "channel"\ncalibration = "percentile"\npercentile = 99.9\n'
)


@pytest.fixture(scope="module")
def folder(demo: DemoPaths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an own scheme, and then, by a second command, of a built-in one beside it."""
    folder = tmp_path_factory.mktemp("own scheme")
    (folder / "my scheme.toml").write_text(SCHEME, encoding="utf-8")
    samples = np.load(demo.data)
    np.savez(folder / "eval.npz", image=samples["image"][:60], labels=samples["labels"][:60])
    for schemes in ([str(folder / "my scheme.toml")], ["w8a8"]):
        run_matrix(
            demo.model, folder / "eval.npz", schemes=schemes, targets=[A, B],
            calibration=demo.calibration, out=folder / "run",
        )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def diagnosed(folder: Path, demo: DemoPaths) -> Diagnosis:
    run_matrix(
        demo.model, folder / "eval.npz", schemes=[str(folder / "my scheme.toml"), "w8a8"],
        targets=[A, B], calibration=demo.calibration, out=folder / "run",
    )  # fmt: skip
    # Commands are for the folder that they are printed in.
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return run_diagnosis("run", scheme="mine", target=A, against=B, samples=4)


def test_the_commands_of_findings_can_be_pasted(
    diagnosed: Diagnosis, folder: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    commands = {f.command for f in diagnosed.findings if f.command}
    assert commands
    for command in commands:
        program, *words = shlex.split(command)
        schemes = words[words.index("--scheme") + 1].split(",")
        assert program == "chipdrift" and schemes[0] == "my scheme.toml"
        code, _, told = cli(*words, *([] if "--dry-run" in words else ["--dry-run"]))
        assert code == 0, told


def test_a_scheme_of_an_earlier_command_stays_known(folder: Path, diagnosed: Diagnosis) -> None:
    run = reopen(folder / "run")
    assert run.scheme_file("mine") == str(folder / "my scheme.toml")
    assert run.scheme_file("w8a8") is None


def test_a_file_that_changed_is_not_named(folder: Path, diagnosed: Diagnosis) -> None:
    run = reopen(folder / "run")
    changed = {"mine": (run.schemes["mine"][0], "0" * 64)}
    assert replace(run, schemes=changed).scheme_file("mine") is None
    gone = {"mine": (str(folder / "gone.toml"), run.schemes["mine"][1])}
    assert replace(run, schemes=gone).scheme_file("mine") is None


def test_diagnose_takes_the_file_for_the_name(folder: Path, diagnosed: Diagnosis) -> None:
    again = run_diagnosis(
        folder / "run", scheme=str(folder / "my scheme.toml"), target=A, against=B, samples=1
    )
    assert again.scheme == "mine"
    other = folder / "other.toml"
    other.write_text(SCHEME.replace("99.9", "99.99"), encoding="utf-8")
    with pytest.raises(RunError, match="is not the scheme mine that was measured"):
        run_diagnosis(folder / "run", scheme=str(other), target=A, against=B, samples=1)


def test_consistency_names_the_file(
    folder: Path, demo: DemoPaths, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from chipdrift.diagnose.consistency import check_consistency

    found = check_consistency(
        demo.model, ["ort:cpu", B], data=folder / "eval.npz", calibration=demo.calibration,
        scheme=str(folder / "my scheme.toml"), samples=1,
    )  # fmt: skip
    assert found.scheme == "mine" and found.excesses
    monkeypatch.chdir(tmp_path)
    words = shlex.split(found.excesses[0].command)
    assert words[words.index("--scheme") + 1] == str(folder / "my scheme.toml")
    code, _, told = cli(*words[1:], "--samples", "1", "--limit", "4", "-o", tmp_path / "run")
    assert code == 0, told
