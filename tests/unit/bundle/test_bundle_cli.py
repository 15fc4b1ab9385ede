"""``chipdrift bundle`` and the verbs beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bundle_fixtures
import pytest

from chipdrift.bundle import Made

pytestmark = pytest.mark.htp
plan = bundle_fixtures.plan
made = bundle_fixtures.made


def test_from_a_key_to_a_checked_bundle(cli: Any, plan: Path, tmp_path: Path) -> None:
    key, out = tmp_path / "key.pem", tmp_path / "bundle"
    code, printed, said = cli("bundle-key", "-o", key)
    assert code == 0
    public = printed.split()[2]
    assert "Keep it secret" in said
    assert "PRIVATE" not in printed + said
    code, printed, said = cli("bundle", plan, "-o", out, "--key", key, "--off", "SM8650,SM1234")
    assert code == 0
    assert f"public key   {public}" in printed
    assert "sm8550: w8a8_pc holds the budget, its interval reaches beyond" in printed
    assert "Warning: sm7550: the plan found nothing that holds the budget" in said
    assert "thrown away" not in said
    for words in (public, out / "key.pub"):
        code, printed, _ = cli("bundle-check", out, "--public-key", words, "--chip", "SM8550")
        assert code == 0
        assert "SM8550: w8a8_pc on the NPU: w8a8_pc holds" in printed
    code, printed, _ = cli(
        *("bundle-check", out, "--public-key", public, "--chip", "SM8650", "--json")
    )
    found = json.loads(printed)
    assert (found["refused"], found["choice"]["npu"]) == (None, False)
    (out / "models" / "w8a8.onnx").write_bytes(b"")
    code, printed, said = cli("bundle-check", out, "--public-key", public, "--json")
    assert code == 1
    assert said == (
        "Refused: models/w8a8.onnx has another size than was signed: it was changed or not fully "
        "copied.\n"
    )
    assert json.loads(printed)["refused"].startswith("models/w8a8.onnx")


def test_without_a_key_it_says_what_that_means(cli: Any, plan: Path, tmp_path: Path) -> None:
    code, printed, said = cli("bundle", plan, "-o", tmp_path / "b", "--golden", "0", "--json")
    assert code == 0
    found = json.loads(printed)
    assert found["manifest"]["throwaway_key"] is True
    assert "signed with a key made for this bundle and thrown away" in said
    code, _, _ = cli("bundle-check", tmp_path / "b", "--public-key", found["public_key"])
    assert code == 0


def test_bad_words(cli: Any, made: Made, tmp_path: Path) -> None:
    for words, expected in (
        (("bundle", tmp_path / "no", "-o", tmp_path / "b"), "no plan.json is there"),
        (("bundle-selector", "kotlin", "-o", tmp_path / "s"), "Unknown language 'kotlin'"),
        (("bundle-check", tmp_path / "no", "--public-key", "0" * 64), "no such folder"),
        (("bundle-check", made.folder, "--public-key", "zz"), "neither 64 hexadecimal digits nor"),
        (("bundle-key", "-o", tmp_path), "it exists"),
    ):
        code, printed, said = cli(*words)
        assert (code, printed) == (2, "")
        assert expected in said
        assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("java", "chipdrift/Bundle.java"),
        ("cpp", "chipdrift_bundle.h"),
        ("python", "chipdrift_bundle.py"),
    ],
)
def test_selectors_are_written(cli: Any, tmp_path: Path, language: str, expected: str) -> None:
    for _ in range(2):
        code, printed, _ = cli("bundle-selector", language, "-o", tmp_path)
        assert code == 0
        assert str(tmp_path / expected) in printed.split()
    assert not list(tmp_path.rglob("__init__.py"))
    (tmp_path / expected).write_text("mine")
    code, _, said = cli("bundle-selector", language, "-o", tmp_path)
    assert code == 2
    assert "is there and is another one" in said
    assert (tmp_path / expected).read_text() == "mine"


def test_the_python_selector_needs_nothing(cli: Any, made: Made, tmp_path: Path) -> None:
    """A bare interpreter, without site-packages."""
    import subprocess
    import sys

    cli("bundle-selector", "python", "-o", tmp_path)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from chipdrift_bundle import open_bundle; "
        "print(open_bundle(sys.argv[2], sys.argv[3]).select('SM8450', 'QTI').variant)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, tmp_path, made.folder, made.key.hex],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "w8a8\n"
