"""Full disks, pipes, odd bytes, serials at the end, plans changed by hand: one sentence each."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import bundle_fixtures
import pytest
from bundles import change_plan

import chipdrift.bundle.layout as layout
from chipdrift.bundle import Made, SigningKey, make_bundle, write_selector
from chipdrift.bundle.selectors.python import chipdrift_bundle as selector
from chipdrift.data import load_data, write_part
from chipdrift.errors import ChipdriftError
from chipdrift.matrix import read_matrix

pytestmark = pytest.mark.htp
plan = bundle_fixtures.plan
own_plan = bundle_fixtures.own_plan
made = bundle_fixtures.made
folder = bundle_fixtures.folder
MOST = 2**53


def refused(cli: Any, words: str, *args: Any) -> None:
    """Exit code 2 and one sentence with these words."""
    code, printed, said = cli(*args)
    assert (code, printed) == (2, "")
    assert words in said
    assert said.count("\n") == 1
    assert said.isprintable() or said[:-1].isprintable()


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A disk that takes names and no content."""

    def sync(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(layout.os, "fsync", sync)
    return monkeypatch


def test_a_full_disk_leaves_no_key_behind(
    cli: Any, full: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refused(cli, "cannot be written (No space left", "bundle-key", "-o", tmp_path / "k.pem")
    assert list(tmp_path.iterdir()) == []
    full.undo()
    code, _, _ = cli("bundle-key", "-o", tmp_path / "k.pem")
    assert code == 0
    assert [(f.name, f.stat().st_mode & 0o777) for f in tmp_path.iterdir()] == [("k.pem", 0o600)]


def test_a_full_disk_leaves_no_sources_behind(full: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ChipdriftError, match="No space left"):
        write_selector("java", tmp_path)
    assert [f for f in tmp_path.rglob("*") if f.is_file()] == []
    full.undo()
    assert len(write_selector("java", tmp_path)) == 9


def test_a_file_system_without_second_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(layout.os, "link", link)
    SigningKey.fresh().write(tmp_path / "k.pem")
    before = (tmp_path / "k.pem").read_bytes()
    with pytest.raises(FileExistsError):
        layout.write_whole(tmp_path / "k.pem", b"", over=False)
    assert (tmp_path / "k.pem").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_the_last_serial(cli: Any, plan: Path, tmp_path: Path) -> None:
    common = ("bundle", plan, "-o", tmp_path / "b", "--golden", "0")
    refused(cli, f"--serial {MOST + 1}: the highest", *common, "--serial", MOST + 1)
    code, _, _ = cli(*common, "--serial", MOST)
    assert code == 0
    refused(cli, f"has the serial {MOST}, and none", *common)
    refused(cli, f"has the serial {MOST}, and none", *common, "--serial", MOST)


def test_a_serial_that_is_no_number(cli: Any, plan: Path, folder: Path) -> None:
    told = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**told, "serial": 1e999}))
    refused(cli, "holds something else than a bundle", "bundle", plan, "-o", folder)


@pytest.mark.parametrize("option", ["--name", "--off"])
@pytest.mark.parametrize("word", ["caf\udce9", "a\x1b[2Jb", "a\nb"])
def test_words_that_no_manifest_holds(
    cli: Any, plan: Path, tmp_path: Path, option: str, word: str
) -> None:
    refused(cli, f"{option} {word!a}: it holds", "bundle", plan, "-o", tmp_path / "b", option, word)
    assert list(tmp_path.iterdir()) == []


def test_keys_that_never_end(cli: Any, plan: Path, made: Made, tmp_path: Path) -> None:
    pipe, long = tmp_path / "pipe", tmp_path / "long.pem"
    os.mkfifo(pipe)
    long.write_bytes(b"\n" * (1 << 16) + b"x")
    for file, words in (
        ("/dev/zero", "it is no plain file"),
        (pipe, "it is no plain file"),
        (long, "it is longer than 65,536 bytes"),
    ):
        refused(cli, words, "bundle", plan, "-o", tmp_path / "b", "--key", file)
        refused(cli, "neither 64", "bundle-check", made.folder, "--public-key", file)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_model_that_never_ends(cli: Any, own_plan: Path, tmp_path: Path, kind: str) -> None:
    model = own_plan / "models" / "w8a8.onnx"
    model.unlink()
    if kind == "pipe":
        os.mkfifo(model)
    else:
        model.symlink_to("/dev/zero")
    refused(cli, "cannot be read (it is no plain file)", "bundle", own_plan, "-o", tmp_path / "b")


def test_a_moved_plan_takes_its_own_part(own_plan: Path, plan: Path, tmp_path: Path) -> None:
    """The run says where its samples were; there they are no more."""
    inputs = read_matrix(plan / "confirm").model.inputs
    kept, away = plan / "confirm.npz", tmp_path / "away.npz"
    shutil.copy(kept, away)
    (own_plan / "confirm.npz").unlink()
    samples = load_data(away, inputs)
    write_part(own_plan / "confirm.part.json", str(away), samples, range(len(samples)))
    kept.rename(kept.with_suffix(".gone"))
    try:
        made = make_bundle(own_plan, tmp_path / "b")
    finally:
        kept.with_suffix(".gone").rename(kept)
    assert len(made.manifest.golden.samples) == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p["choices"].pop(), "holds the chip 'sm7550' and no choice for it"),
        (lambda p: p["choices"].append(p["choices"][0]), "the choice for 'sm8450' more than once"),
        (lambda p: p["chips"].append(p["chips"][0]), "the chip 'sm8450' more than once"),
        (lambda p: p["variants"].append(p["variants"][0]), "more than once"),
        (lambda p: p.update(safe="w8a8"), "'w8a8' as the safe variant, which is not the model"),
        (lambda p: p.update(safe="gone"), "names the variant 'gone' and does not hold it"),
        (lambda p: p["variants"][0].update(file="models/\0.onnx"), r"'models/\x00.onnx'"),
        (lambda p: p["variants"][0].update(name="a\x1b[2J"), r"the name 'a\x1b[2J'"),
        (lambda p: p["chips"][0].update(name="a\x1b]0;x\x07"), r"the name 'a\x1b]0;x\x07'"),
        (lambda p: p["chips"][0].update(ro_soc_models=["a\nb"]), r"the name 'a\nb'"),
    ],
)
def test_a_plan_by_hand(cli: Any, own_plan: Path, tmp_path: Path, change: Any, words: str) -> None:
    told = json.loads((own_plan / "plan.json").read_text())
    change(told)
    change_plan(own_plan, **told)
    refused(cli, words, "bundle", own_plan, "-o", tmp_path / "b", "--golden", "0")


def test_a_safe_variant_is_told_by_the_plan_alone(own_plan: Path, tmp_path: Path) -> None:
    """Without the run, the list of candidates says what a scheme makes of the model."""
    shutil.rmtree(own_plan / "confirm")
    row = {"scheme": "w8a8", "how": "scheme", "words": "", "sha256": "", "model_sha256": ""}
    change_plan(own_plan, safe="w8a8", candidates=[{**row, "size": 1}])
    with pytest.raises(ChipdriftError, match="'w8a8' as the safe variant, which is not the model"):
        make_bundle(own_plan, tmp_path / "b", golden=0)


def test_what_a_terminal_obeys_is_not_printed(cli: Any, own_plan: Path, tmp_path: Path) -> None:
    budget = json.loads((own_plan / "plan.json").read_text())["budget"]
    change_plan(own_plan, budget={**budget, "text": "top1\x1b[2J <= 1%"})
    code, printed, said = cli("bundle", own_plan, "-o", tmp_path / "b", "--golden", "0")
    assert code == 0
    assert "\x1b[2J" not in printed + said
    assert r"top1\x1b[2J <= 1%" in printed
    public = tmp_path / "b" / "key.pub"
    _, printed, _ = cli("bundle-check", tmp_path / "b", "--public-key", public, "--chip", "SM8550")
    assert r"top1\x1b[2J <= 1%" in printed


@pytest.mark.parametrize("how", ["gone", "cut"])
def test_open_wants_the_safe_model(made: Made, folder: Path, how: str) -> None:
    """It is what an app falls back on when the self-check failed: too late to miss it then."""
    model = folder / "models" / "fp32.onnx"
    if how == "gone":
        model.unlink()
    else:
        model.write_bytes(model.read_bytes()[:-1])
    words = {"gone": "fp32.onnx of the bundle is not there", "cut": "fp32.onnx has another size"}
    with pytest.raises(selector.BundleError, match=words[how]):
        selector.open_bundle(str(folder), made.key.hex)
