"""chipdrift's folder on a phone: files that are there under their own hash are never sent again."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import final

from chipdrift.phones.phone import Phone
from chipdrift.phones.server import PhoneError, PhoneGoneError

FOLDER = "/data/local/tmp/chipdrift"
"""Where the shell user of every Android may write and run programs."""
_SPARE = 1 << 20  # room that is left for what a run writes
_SLOW_LINK = 250_000  # bytes a second that the slowest link is taken to have

# A file has its name only once it is whole.
_KEEP = (
    's=$(sha256sum {file}.part); case "$s" in {digest}*) mv {file}.part {file};; '
    '*) rm -f {file}.part; echo "$s"; false;; esac'
)


@final
class PhoneFiles:
    """What is on the phone, and what is sent there. ``sent`` counts bytes."""

    def __init__(self, phone: Phone, folder: str = FOLDER) -> None:
        self._phone = phone
        self.folder = folder
        self.sent = 0
        made = phone.shell(f"mkdir -p {folder}/files {folder}/kits")
        if made.code:
            words = " ".join((made.err or made.out).split())
            raise PhoneError(
                f"Phone {phone.serial}: {folder} cannot be made ({words}). "
                f"{_room_words(phone, 0) or 'Its shell must be able to write there.'}"
            )
        listed = phone.check(f"ls {folder}/files {folder}/kits")
        self._there = set(listed.split())

    def put(self, data: Path | bytes) -> str:
        """The file's path on the phone, sent only where it is not there yet."""
        digest = hashlib.sha256(data if isinstance(data, bytes) else data.read_bytes()).hexdigest()
        remote = f"{self.folder}/files/{digest}"
        if digest not in self._there:
            self._send(data, remote, digest, executable=False)
            self._there.add(digest)
        return remote

    def place(self, content: bytes) -> tuple[str, bool]:
        """Where a file of that content is on the phone, or would be; whether it is there."""
        digest = hashlib.sha256(content).hexdigest()
        return f"{self.folder}/files/{digest}", digest in self._there

    def arrived(self, remote: str, size: int) -> None:
        """A file of ``size`` bytes came to its :meth:`place` by another way, whole."""
        self._there.add(remote.rpartition("/")[2])
        self.sent += size

    def explain(self, words: str) -> PhoneError:
        """What the phone said, or that it has no room, where that is why."""
        room = _room_words(self._phone, 0)
        return PhoneError(f"Phone {self._phone.serial}: {room or words.rstrip('.')}")

    def put_kit(self, files: Mapping[str, Path]) -> str:
        """The folder on the phone that holds these files under their names, whole."""
        digests = {name: _digest(path) for name, path in sorted(files.items())}
        name = hashlib.sha256("".join(f"{n}={d};" for n, d in digests.items()).encode()).hexdigest()
        place = f"{self.folder}/kits/{name}"
        if name not in self._there:
            partial = f"{place}.part"
            self._phone.check(f"rm -rf {partial} && mkdir -p {partial}")
            for file, path in files.items():
                self._send(path, f"{partial}/{file}", digests[file], executable=True)
            self._phone.check(f"rm -rf {place} && mv {partial} {place}")
            self._there.add(name)
        return place

    @staticmethod
    def clean(phone: Phone, folder: str = FOLDER) -> None:
        """Remove all of it from the phone."""
        phone.check(f"rm -rf {shlex.quote(folder)}")

    def _send(self, data: Path | bytes, remote: str, digest: str, executable: bool) -> None:
        size = len(data) if isinstance(data, bytes) else data.stat().st_size
        if size > _SPARE and (words := _room_words(self._phone, size)) is not None:
            raise PhoneError(f"Phone {self._phone.serial}: {words}")
        try:
            self.sent += self._phone.push(data, f"{remote}.part", executable)
        except PhoneGoneError:
            raise
        except PhoneError as error:
            words = _room_words(self._phone, size)
            raise PhoneError(
                str(error) if words is None else f"Phone {self._phone.serial}: {words}"
            ) from error
        told = self._phone.shell(_KEEP.format(file=remote, digest=digest), 60 + size / _SLOW_LINK)
        if told.code:
            found = (told.out.split() or told.err.split() or ["none"])[0]
            raise PhoneError(
                f"Phone {self._phone.serial}: {remote} arrived damaged (sha256 {found[:12]}, not "
                f"{digest[:12]}). Try another cable."
            )


def free_bytes(phone: Phone, folder: str = "/data/local/tmp") -> int | None:
    """What is free on the phone's file system; None where ``df`` does not tell."""
    lines = phone.shell(f"df -k {folder}").out.split("\n")
    fields = next((line.split() for line in reversed(lines) if "%" in line), [])
    # Filesystem, size, used, available, per cent, mounted on: the first may stand on its own line.
    return int(fields[-3]) * 1024 if len(fields) >= 4 and fields[-3].isdecimal() else None


def _room_words(phone: Phone, size: int) -> str | None:
    free = free_bytes(phone)
    if free is None or free >= size + _SPARE:
        return None
    return (
        f"there is no room: {free / 1e6:.1f} MB are free in /data/local/tmp, and "
        f"{(size + _SPARE) / 1e6:.1f} MB are needed. Free some, or remove what chipdrift left "
        f"there: chipdrift phones clean {phone.serial}"
    )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
