"""Bad input is one sentence, and leaves nothing behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import bundle_fixtures
import pytest
from bundles import change_plan
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from chipdrift.bundle import Made, SigningKey, make_bundle
from chipdrift.errors import ChipdriftError

pytestmark = pytest.mark.htp
plan = bundle_fixtures.plan
own_plan = bundle_fixtures.own_plan
made = bundle_fixtures.made
folder = bundle_fixtures.folder


def beside(out: Path) -> list[str]:
    return sorted(f.name for f in out.parent.iterdir()) if out.parent.is_dir() else []


def refused(words: str, plan: Path, out: Path, **more: Any) -> str:
    """The sentence; nothing is left beside ``out``, and what was there is what it was."""
    there = beside(out)
    with pytest.raises(ChipdriftError, match=words) as caught:
        make_bundle(plan, out, **more)
    assert beside(out) == there
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_plan(tmp_path: Path) -> None:
    refused("no plan.json is there", tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "file").write_text("")
    refused("no plan.json is there", tmp_path / "file", tmp_path / "out")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "\xff", '{"schema_version": 1}'])
def test_a_damaged_plan(own_plan: Path, tmp_path: Path, text: str) -> None:
    (own_plan / "plan.json").write_bytes(text.encode("latin-1"))
    refused("plan.json cannot be read", own_plan, tmp_path / "out")


def test_another_version_s_plan(own_plan: Path, tmp_path: Path) -> None:
    change_plan(own_plan, schema_version=9)
    refused("schema version is 9|cannot be read", own_plan, tmp_path / "out")


def test_a_model_that_is_gone_or_changed(own_plan: Path, tmp_path: Path) -> None:
    model = own_plan / "models" / "w8a8.onnx"
    good = model.read_bytes()
    model.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    refused("models/w8a8.onnx is not the file that was measured", own_plan, tmp_path / "out")
    model.unlink()
    refused("models/w8a8.onnx of its variant w8a8 cannot be read", own_plan, tmp_path / "out")


@pytest.mark.parametrize("place", ["../w8a8.onnx", "/etc/hostname", "models/../../x"])
def test_a_model_outside_of_the_plan(own_plan: Path, tmp_path: Path, place: str) -> None:
    variants = json.loads((own_plan / "plan.json").read_text())["variants"]
    variants[0]["file"] = place
    change_plan(own_plan, variants=variants)
    refused("which is not in the plan's folder", own_plan, tmp_path / "out")


def test_a_plan_that_names_what_it_lacks(own_plan: Path, tmp_path: Path) -> None:
    change_plan(own_plan, safe="nobody")
    refused("names the variant 'nobody' and does not hold it", own_plan, tmp_path / "out")
    change_plan(own_plan, safe="fp32", chips=[])
    refused("names the chip 'sm7550' and does not hold it", own_plan, tmp_path / "out")


def test_samples_and_answers_that_are_gone(own_plan: Path, plan: Path, tmp_path: Path) -> None:
    """The run remembers where its samples were: in the plan that this is a copy of."""
    kept = plan / "confirm.npz"
    away = plan / "away.npz"
    kept.rename(away)
    try:
        refused("samples that confirmed it cannot be read again", own_plan, tmp_path / "out")
        refused("does not hold the samples", own_plan, tmp_path / "out", data=_others(tmp_path))
        assert make_bundle(own_plan, tmp_path / "a", data=away).manifest.golden.samples
        assert not make_bundle(own_plan, tmp_path / "b", golden=0).manifest.golden.samples
    finally:
        away.rename(kept)
    shutil.rmtree(own_plan / "confirm")
    refused("its folder confirm holds no run", own_plan, tmp_path / "out")
    made = make_bundle(own_plan, tmp_path / "c", golden=0)
    assert [chip.npu for chip in made.manifest.chips] == [True, True, False]


def _others(folder: Path) -> Path:
    import numpy as np

    file = folder / "others.npz"
    np.savez(file, image=np.zeros((9, 1, 8, 8), np.float32), labels=np.zeros(9, int))
    return file


def test_a_run_of_another_file(own_plan: Path, tmp_path: Path) -> None:
    """The plan's model was replaced, hash and all, since it was confirmed."""
    plan = json.loads((own_plan / "plan.json").read_text())
    variant = next(v for v in plan["variants"] if v["name"] == "w8a8")
    other = next(v for v in plan["variants"] if v["name"] == "w8a8_pc")
    shutil.copy(own_plan / other["file"], own_plan / variant["file"])
    variant["sha256"] = other["sha256"]
    change_plan(own_plan, variants=plan["variants"])
    refused("measured another file under w8a8", own_plan, tmp_path / "out")


def pem(key: Any, password: bytes | None = None) -> bytes:
    sealed: Any = serialization.NoEncryption()
    if password is not None:
        sealed = serialization.BestAvailableEncryption(password)
    data: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed
    )
    return data


def test_key_files(plan: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "key.pem", tmp_path / "out"
    own = ed25519.Ed25519PrivateKey.generate()
    public = own.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for data, words in (
        (pem(rsa.generate_private_key(65537, 2048)), "it is an RSA key, and bundles are signed"),
        (pem(own, b"secret"), "it has a passphrase"),
        (public, "it is a public key"),
        (b"hello", "no private key in PEM"),
        (b"", "no private key in PEM"),
        (pem(own)[:60], "no private key in PEM"),
    ):
        file.write_bytes(data)
        said = refused(words, plan, out, key=file)
        assert "secret" not in said
    refused("cannot be read", plan, out, key=tmp_path / "nowhere.pem")
    refused("cannot be read", plan, out, key=tmp_path)


def test_a_key_is_for_its_owner_and_never_written_over(tmp_path: Path) -> None:
    file = tmp_path / "new" / "key.pem"
    SigningKey.fresh().write(file)
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_bytes()
    with pytest.raises(ChipdriftError, match="it exists, and a key that apps trust"):
        SigningKey.fresh().write(file)
    assert file.read_bytes() == before
    assert SigningKey.read(file).public == SigningKey.read(file).public


def test_a_place_that_is_something_else(plan: Path, made: Made, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("a file")
    refused("this is no folder", plan, out)
    out.unlink()
    out.symlink_to(tmp_path)
    refused("this is no folder", plan, out)
    out.unlink()
    out.mkdir()
    (out / "mine.txt").write_text("")
    refused("holds something else than a bundle", plan, out)
    (out / "manifest.json").write_text("{}")
    refused("holds something else than a bundle", plan, out)
    shutil.rmtree(out)
    shutil.copytree(made.folder, out)
    (out / "mine.txt").write_text("")
    refused("beside a bundle it holds mine.txt", plan, out)
    assert (out / "mine.txt").exists()
    (tmp_path / "file.txt").write_text("")
    refused("cannot be written", plan, tmp_path / "file.txt" / "x")


def test_a_bundle_takes_another_s_place_and_its_serial_rises(
    plan: Path, made: Made, folder: Path
) -> None:
    before = made.manifest.serial
    newer = make_bundle(plan, folder, golden=0)
    assert newer.manifest.serial > before
    assert not (folder / "golden").exists()
    serial = newer.manifest.serial
    refused("apps refuse one that does not rise", plan, folder, serial=serial)
    assert make_bundle(plan, folder, golden=0, serial=serial + 7).manifest.serial == serial + 7
    later = make_bundle(plan, folder, golden=0)
    assert later.manifest.serial == serial + 8
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_what_fails_midway_leaves_the_old_one(
    plan: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up while the last files are written."""
    import chipdrift.bundle.make as make

    written = []

    def full(place: Path, name: str, data: bytes) -> None:
        written.append(name)
        if name == "manifest.json.sig":
            raise OSError(28, "No space left on device")
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)

    before = {f: f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    monkeypatch.setattr(make, "write_file", full)
    refused("cannot be written \\(No space left", plan, folder)
    assert "manifest.json" in written
    assert {f: f.read_bytes() for f in folder.rglob("*") if f.is_file()} == before
