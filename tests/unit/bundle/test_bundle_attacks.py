"""Whatever happens to a bundle on its way, the Python selector refuses it with one sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import bundle_fixtures
import pytest
from bundle_attacks import attacks, handed_out, resign
from selector_process import PythonSelector

from chipdrift.bundle import Made, SigningKey
from chipdrift.bundle.selectors.python import chipdrift_bundle as selector

pytestmark = pytest.mark.htp
plan = bundle_fixtures.plan
key_file = bundle_fixtures.key_file
made = bundle_fixtures.made
folder = bundle_fixtures.folder


def test_every_attack_is_refused_with_its_own_words(
    made: Made, key_file: Path, tmp_path: Path
) -> None:
    key, asked, seen = SigningKey.read(key_file), PythonSelector(), 0
    for number, attack in enumerate(attacks(made.folder)):
        place = tmp_path / str(number)
        folder = Path(shutil.copytree(made.folder, place / "bundle"))
        attack.change(folder, key)
        told = asked.ask("open", str(folder), made.key.hex, "1000")
        if not told.startswith("refused"):
            told = asked.ask("select", "SM8550", "QTI", "2.51.0")
        assert told.startswith("refused\t"), attack.name
        assert attack.words in told, (attack.name, told)
        assert "\n" not in told, attack.name
        shutil.rmtree(place)
        seen += 1
    assert seen > 200


def test_the_same_bundle_unharmed_is_taken(made: Made) -> None:
    asked = PythonSelector()
    assert asked.ask("open", str(made.folder), made.key.hex, "1000").startswith("digits\t")
    assert asked.ask("select", "SM8550", "QTI", "2.51.0").startswith("w8a8_pc\t")


def test_any_byte_of_any_file_is_seen(made: Made, folder: Path) -> None:
    """Files that no chip is handed out are seen by check_files alone."""
    seen = set()
    for entry in made.manifest.files:
        path = folder / entry.name
        good = path.read_bytes()
        for at in {0, len(good) // 3, len(good) - 1}:
            path.write_bytes(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
            opened = selector.open_bundle(str(folder), made.key.hex)
            with pytest.raises(selector.BundleError, match="is not what was signed"):
                opened.check_files()
            seen.add(entry.name)
        path.write_bytes(good)
    assert selector.open_bundle(str(folder), made.key.hex).check_files() == len(seen)
    assert set(handed_out(folder)) < seen


def test_a_chip_needs_its_own_files_alone(made: Made, folder: Path) -> None:
    """An app may leave out what its phone does not load."""
    needed = {*handed_out(folder), "models/fp32.onnx"}
    for entry in made.manifest.files:
        if entry.name not in needed:
            (folder / entry.name).unlink()
    opened = selector.open_bundle(str(folder), made.key.hex)
    assert opened.select("SM8550", "QTI", "2.51.0").variant == "w8a8_pc"
    with pytest.raises(selector.BundleError, match="it is not whole"):
        opened.select("SM8450")


def test_the_key_in_the_folder_proves_nothing(made: Made, folder: Path) -> None:
    """Somebody signs another manifest, and puts the key beside it."""
    other = SigningKey.fresh()
    (folder / "key.pub").write_text(other.public.pem)
    resign(folder, other)
    with pytest.raises(selector.BundleError, match="not signed by the app's key"):
        selector.open_bundle(str(folder), made.key.hex)


@pytest.mark.parametrize("key", ["", "12", "g" * 64, "0" * 63, "0" * 65, "é" * 64])
def test_a_key_that_is_none(made: Made, key: str) -> None:
    with pytest.raises(selector.BundleError, match="no 64 hexadecimal digits"):
        selector.open_bundle(str(made.folder), key)


def test_an_older_bundle_is_refused(made: Made) -> None:
    serial = made.manifest.serial
    assert selector.open_bundle(str(made.folder), made.key.hex, serial).serial == serial
    with pytest.raises(selector.BundleError, match=f"{serial} is older than {serial + 1}"):
        selector.open_bundle(str(made.folder), made.key.hex, serial + 1)
