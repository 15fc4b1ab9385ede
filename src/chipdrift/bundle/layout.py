"""A bundle's folder: each content once, and the whole of it there or nothing."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from chipdrift.bundle.records import BundleFile
from chipdrift.errors import ChipdriftError

MANIFEST, SIGNATURE, PUBLIC_KEY = "manifest.json", "manifest.json.sig", "key.pub"
_UNLISTED = frozenset({MANIFEST, SIGNATURE, PUBLIC_KEY})


@final
class Layout:
    """The files of a bundle by name; the same bytes are kept once."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self._names: dict[str, str] = {}

    def add(self, name: str, data: bytes) -> str:
        """The name under which ``data`` lies: ``name``, or that of the same bytes before."""
        digest = hashlib.sha256(data).hexdigest()
        if digest not in self._names:
            self._names[digest] = self.put(name, data)
        return self._names[digest]

    def put(self, name: str, data: bytes) -> str:
        """``name``, under which ``data`` has to lie whatever else there is."""
        if self.data.setdefault(name, data) != data:
            raise ValueError(f"two files of a bundle are called {name}")
        return name

    def files(self) -> tuple[BundleFile, ...]:
        """All of them, by name."""
        return tuple(
            BundleFile(name=name, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
            for name, data in sorted(self.data.items())
        )


def file_name(words: str, taken: set[str]) -> str:
    """``words`` as a part of a path that every file system takes; never one that is taken."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", words).strip(".-") or "variant"
    name, number = plain, 2
    # Some file systems take "A" and "a" for the same.
    while name.lower() in taken:
        name, number = f"{plain}-{number}", number + 1
    taken.add(name.lower())
    return name


def check_place(out: Path) -> int | None:
    """The serial of the bundle that is in ``out``; None where nothing is.

    Raises ChipdriftError where something else is there, or a bundle with files that are not of it.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ChipdriftError(f"-o {out}: this is no folder. Give another -o.")
    if not out.is_dir() or not any(out.iterdir()):
        return None
    foreign = f"-o {out}: this folder holds something else than a bundle. Give another -o."
    try:
        told = json.loads((out / MANIFEST).read_bytes())
        if told["format"] != "chipdrift-bundle":
            raise ChipdriftError(foreign)
        listed, serial = {entry["name"] for entry in told["files"]}, int(told["serial"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ChipdriftError(foreign) from error
    there = {str(f.relative_to(out)) for f in out.rglob("*") if f.is_symlink() or not f.is_dir()}
    strange = sorted(there - listed - _UNLISTED)
    if strange:
        raise ChipdriftError(
            f"-o {out}: beside a bundle it holds {strange[0]}, which would be lost. Move that "
            "away, or give another -o."
        )
    return serial


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that takes its place at the end, if nothing was raised.

    An earlier bundle in ``out`` goes only then.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    except OSError as error:
        raise ChipdriftError(f"-o {out}: cannot be written ({error.strerror}).") from error
    try:
        yield partial
        partial.chmod(0o755)
        for folder in [partial, *(d for d in partial.rglob("*") if d.is_dir())]:
            _sync(folder)
        _swap(partial, out)
    except OSError as error:
        raise ChipdriftError(f"-o {out}: cannot be written ({error.strerror}).") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_file(folder: Path, name: str, data: bytes) -> None:
    """Write one file so that it is on the disk before the folder is renamed."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def write_whole(file: Path, data: bytes, *, mode: int = 0o644, over: bool = True) -> None:
    """Write ``file`` whole or not at all; what stands beside it meanwhile is removed.

    Raises FileExistsError where it is there and ``over`` is False, OSError as it comes.
    """
    number, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".part", dir=file.parent)
    partial = Path(name)
    try:
        with os.fdopen(number, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        partial.chmod(mode)
        if over or not _linked(partial, file):
            partial.replace(file)
        _sync(file.parent)
    finally:
        partial.unlink(missing_ok=True)


def _linked(partial: Path, file: Path) -> bool:
    """Give a file its name, never another's; False where the file system has no second names."""
    try:
        os.link(partial, file)
    except FileExistsError:
        raise
    except OSError:
        if os.path.lexists(file):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(file)) from None
        return False
    return True


def _swap(partial: Path, out: Path) -> None:
    if not out.exists() or not any(out.iterdir()):
        # A rename goes over an empty folder.
        partial.replace(out)
        _sync(out.parent)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".old", dir=out.parent))
    out.replace(old)
    try:
        partial.replace(out)
    except OSError:
        old.replace(out)
        raise
    _sync(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
