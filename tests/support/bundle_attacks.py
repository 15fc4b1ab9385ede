"""What may happen to a bundle on its way to a phone, each with the words that must be in a refusal.

A case changes a copy of a bundle in place. Those that sign anew do it with the app's own key: what
is signed is still not to lead out of the bundle.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chipdrift.bundle import SigningKey

Change = Callable[[Path, SigningKey], None]
SIGNED = "is not signed by the app's key"
CHANGED = "it was changed or not fully copied"
GONE = "is not there: it is not whole"


@dataclass(frozen=True)
class Attack:
    """``change`` a bundle, and the selector refuses what SM8550 gets with these ``words``."""

    name: str
    change: Change
    words: str


def handed_out(folder: Path, chip: str = "sm8550") -> list[str]:
    """The files of the bundle that this chip is given."""
    told = json.loads((folder / "manifest.json").read_text())
    entry = next(one for one in told["chips"] if one["name"] == chip)
    variant = next(one for one in told["variants"] if one["name"] == entry["variant"])
    samples = [*told["golden"]["samples"], *entry["golden"]["expected"]]
    names = [variant["file"], *variant["beside"]]
    names += [entry["context"]["file"], entry["context"]["binary"]]
    return names + [name for files in samples for name in files]


def attacks(folder: Path) -> Iterator[Attack]:
    """All of them for a bundle like the one in ``folder``."""
    size = (folder / "manifest.json").stat().st_size
    for at in [*range(0, size, max(1, size // 40)), size - 1]:
        yield Attack(f"manifest byte {at}", flipped("manifest.json", at), SIGNED)
    for at in range(64):
        yield Attack(f"signature byte {at}", flipped("manifest.json.sig", at), SIGNED)
    for name in ("manifest.json", "manifest.json.sig"):
        yield Attack(f"{name} cut", cut(name), SIGNED)
        yield Attack(f"{name} empty", lambda f, _, n=name: (f / n).write_bytes(b""), SIGNED)
        yield Attack(f"{name} gone", lambda f, _, n=name: (f / n).unlink(), GONE)
        yield Attack(f"{name} a link", linked(name), "is no plain file")
        yield Attack(f"{name} a folder", as_folder(name), "is no plain file")
    yield Attack("signature longer", longer("manifest.json.sig"), "too long")
    yield Attack("manifest longer", longer("manifest.json"), SIGNED)
    for name in handed_out(folder):
        last = (folder / name).stat().st_size - 1
        for at in sorted({0, last // 2, last}):
            yield Attack(f"{name} byte {at}", flipped(name, at), "is not what was signed")
        yield Attack(f"{name} cut", cut(name), CHANGED)
        yield Attack(f"{name} longer", longer(name), CHANGED)
        yield Attack(f"{name} gone", lambda f, _, n=name: (f / n).unlink(), GONE)
        yield Attack(f"{name} a link", linked(name), "is no plain file")
        yield Attack(f"{name} a folder", as_folder(name), "is no plain file")
    yield Attack("folder a link", linked("models"), "is no plain file")
    yield Attack("two files changed places", swapped, "was signed")
    yield Attack("another's key", lambda f, _: resign(f, SigningKey.fresh()), SIGNED)
    yield Attack("an older one", changed(serial=1), "an older bundle was put in its place")
    yield Attack("a later schema", changed(schema_version=2), "has schema version 2")
    yield Attack("another format", changed(format="zip"), "has schema version")
    for name in (
        "../x",
        "/etc/hosts",
        "models/../../x",
        "a//b",
        "a/./b",
        ".hidden",
        "a\\b",
        "",
        "a/",
    ):
        yield Attack(f"a file called {name!r}", renamed(name), "names a file outside of it")
    for words in ("", "{", "[]", "null", "{}", '{"format":', "\x00", '{"a":1,"a":2}', "[" * 9999):
        yield Attack(f"signed {words[:10]!r}", rewritten(words.encode()), "is signed and cannot be")
    yield Attack("signed bytes", rewritten(b'{"format": "\xff\xfe"}'), "is signed and cannot be")
    for key in ("variants", "chips", "off", "golden", "files", "safe", "serial"):
        yield Attack(f"without {key}", without(key), "is signed and cannot be")
        yield Attack(f"{key} a number", changed(**{key: "x"}), "is signed and cannot be")
    yield Attack("safe is nobody", changed(safe="nobody"), "is signed and cannot be")
    yield Attack("a name twice", twice, "is signed and cannot be")
    yield Attack("fewer answers", fewer_answers, "is signed and cannot be")


def resign(folder: Path, key: SigningKey) -> None:
    """Sign the manifest as it is now."""
    (folder / "manifest.json.sig").write_bytes(key.sign((folder / "manifest.json").read_bytes()))


def flipped(name: str, at: int) -> Change:
    def change(folder: Path, _: SigningKey) -> None:
        data = bytearray((folder / name).read_bytes())
        data[at] ^= 1 << at % 8
        (folder / name).write_bytes(bytes(data))

    return change


def cut(name: str) -> Change:
    def change(folder: Path, _: SigningKey) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return change


def longer(name: str) -> Change:
    def change(folder: Path, _: SigningKey) -> None:
        (folder / name).write_bytes((folder / name).read_bytes() + b"\n")

    return change


def linked(name: str) -> Change:
    """The same bytes, from outside of the bundle."""

    def change(folder: Path, _: SigningKey) -> None:
        away = folder.parent / "away"
        shutil.move(folder / name, away)
        (folder / name).symlink_to(away)

    return change


def as_folder(name: str) -> Change:
    def change(folder: Path, _: SigningKey) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


def swapped(folder: Path, _: SigningKey) -> None:
    a, b = folder / "models" / "w8a8_pc.onnx", folder / "models" / "w8a8.onnx"
    a_bytes, b_bytes = a.read_bytes(), b.read_bytes()
    a.write_bytes(b_bytes)
    b.write_bytes(a_bytes)


def changed(**values: Any) -> Change:
    def change(folder: Path, key: SigningKey) -> None:
        told = {**json.loads((folder / "manifest.json").read_text()), **values}
        rewritten(json.dumps(told).encode())(folder, key)

    return change


def without(name: str) -> Change:
    def change(folder: Path, key: SigningKey) -> None:
        told = json.loads((folder / "manifest.json").read_text())
        del told[name]
        rewritten(json.dumps(told).encode())(folder, key)

    return change


def renamed(name: str) -> Change:
    """The chip's model has this name, in a manifest that the app's key signed."""

    def change(folder: Path, key: SigningKey) -> None:
        text = (folder / "manifest.json").read_text()
        told = json.loads(text.replace('"models/w8a8_pc.onnx"', json.dumps(name)))
        rewritten(json.dumps(told).encode())(folder, key)

    return change


def twice(folder: Path, key: SigningKey) -> None:
    """Whole and right, but for a second list of chips to be off."""
    text = (folder / "manifest.json").read_text().strip()
    rewritten(f'{text[:-1]}, "off": []}}'.encode())(folder, key)


def fewer_answers(folder: Path, key: SigningKey) -> None:
    told = json.loads((folder / "manifest.json").read_text())
    told["chips"][0]["golden"]["expected"].pop()
    rewritten(json.dumps(told).encode())(folder, key)


def rewritten(data: bytes) -> Change:
    def change(folder: Path, key: SigningKey) -> None:
        (folder / "manifest.json").write_bytes(data)
        resign(folder, key)

    return change
