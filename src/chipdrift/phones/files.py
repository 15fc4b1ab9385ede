"""chipdrift's folder on a phone: files that are there under their own hash are never sent again.

A name is not believed: what lies there is hashed by the phone at the start of every session, and
what is not what its name says is sent anew. Names of what is still being written are each
session's own, so that several may push the same file at once.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import final

from chipdrift.phones.phone import Phone, Ran
from chipdrift.phones.server import PhoneError, PhoneGoneError

FOLDER = "/data/local/tmp/chipdrift"
"""Where the shell user of every Android may write and run programs."""
_SPARE = 1 << 20  # room that is left for what a run writes
_SLOW = 250_000  # bytes a second that the slowest link and phone are taken to have
_HASHING = 3600.0  # seconds for all of what lies there; the worker's own limit comes first
_SUM = re.compile(r"^([0-9a-f]{64})  (?:\./)?(.+)$")
# A file has its name only once it is whole; another session may have been faster.
_KEEP = (
    'd=$(sha256sum {part}) || {{ echo "sha256sum cannot be run"; exit 3; }}; case "$d" in '
    "{digest}*) if [ -d {file} ]; then rm -rf {file}; fi; mv {part} {file};; *) rm -f {part}; "
    'echo "$d"; exit 4;; esac'
)


@final
class PhoneFiles:
    """What is on the phone, and what is sent there. ``sent`` counts bytes.

    ``before`` are this session's files until the phone went away: what they had begun is removed.
    """

    def __init__(
        self, phone: Phone, folder: str = FOLDER, before: PhoneFiles | None = None
    ) -> None:
        self._phone = phone
        self.folder = folder
        self.sent = 0
        self._token: str = secrets.token_hex(4) if before is None else before._token
        made = phone.shell(f"mkdir -p {folder}/files {folder}/kits {folder}/runs")
        if made.code:
            words = " ".join((made.err or made.out).split())
            raise PhoneError(
                f"Phone {phone.serial}: the folder {folder} cannot be made: "
                f"{_room_words(phone, 0) or words}. Whatever else lies there goes with chipdrift "
                f"phones clean {phone.serial}."
            )
        # A folder would swallow the file that is moved to its name.
        phone.shell(f"find {folder}/files -mindepth 1 -maxdepth 1 -type d -exec rm -rf {{}} +")
        if before is not None:
            phone.shell(f"rm -f {folder}/files/*.{self._token}.part")
        self._there = {name for name, digest in self._hashed("files").items() if name == digest}

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
        """The folder on the phone that holds these files under their names, whole.

        Each file comes there by itself, in one step, and only where it is not there already:
        another session may run from the folder, or fill it, at the same time.
        """
        digests = {name: _digest(path) for name, path in sorted(files.items())}
        name = hashlib.sha256("".join(f"{n}={d};" for n, d in digests.items()).encode()).hexdigest()
        place = f"{self.folder}/kits/{name}"
        there = self._hashed(f"kits/{name}")
        if there == digests:
            return place
        strange = (f"rm -f {shlex.quote(f'{place}/{file}')}; " for file in there.keys() - digests)
        self._phone.check(
            f"[ -d {place} ] || rm -f {place}; mkdir -p {place}; {''.join(strange)}"
            f"find {place} -mindepth 1 -type d -exec rm -rf {{}} +"
        )
        for file, path in files.items():
            if there.get(file) != digests[file]:
                self._send(path, f"{place}/{file}", digests[file], executable=True)
        return place

    def _hashed(self, below: str) -> dict[str, str]:
        """SHA-256 of every file in a folder, as the phone computes it; none where it is not."""
        told = self._phone.shell(
            f"cd {self.folder}/{below} 2>/dev/null && find . -type f -exec sha256sum {{}} +",
            _HASHING,
        )
        lines = (_SUM.match(line) for line in told.out.splitlines())
        return {match[2]: match[1] for match in lines if match is not None}

    def _send(self, data: Path | bytes, remote: str, digest: str, executable: bool) -> None:
        size = len(data) if isinstance(data, bytes) else data.stat().st_size
        if size > _SPARE and (words := _room_words(self._phone, size)) is not None:
            raise PhoneError(f"Phone {self._phone.serial}: {words}")
        # Apart from the kits: what lies in a kit's folder is a file of the kit.
        part = f"{self.folder}/files/{digest}.{self._token}.part"
        try:
            self.sent += self._phone.push(data, part, executable)
        except PhoneGoneError:
            raise
        except PhoneError as error:
            words = _room_words(self._phone, size)
            self._phone.shell(f"rm -f {part}")
            raise PhoneError(
                str(error) if words is None else f"Phone {self._phone.serial}: {words}"
            ) from error
        keep = _KEEP.format(part=part, file=remote, digest=digest)
        told = self._phone.shell(keep, 60 + size / _SLOW)
        if told.code:
            self._phone.shell(f"rm -f {part}")
            raise PhoneError(f"Phone {self._phone.serial}: {remote} {_not_kept(told, digest)}")


def free_bytes(phone: Phone, folder: str = "/data/local/tmp") -> int | None:
    """What is free on the phone's file system; None where ``df`` does not tell."""
    lines = phone.shell(f"df -k {folder}").out.split("\n")
    fields = next((line.split() for line in reversed(lines) if "%" in line), [])
    # Filesystem, size, used, available, per cent, mounted on: the first may stand on its own line.
    figures = fields[-5:-2]
    if len(figures) < 3 or not all(figure.isdecimal() for figure in figures):
        return None
    size, _, available = map(int, figures)
    return available * 1024 if available <= size else None


def _not_kept(told: Ran, digest: str) -> str:
    found = _SUM.match(told.out.strip())
    if found is not None:
        return f"arrived damaged (sha256 {found[1][:12]}, not {digest[:12]}). Try another cable."
    words = " ".join(f"{told.out} {told.err}".split())[-200:]
    return f"was pushed and cannot be kept: {words or f'exit code {told.code}'}."


def _room_words(phone: Phone, size: int) -> str | None:
    free = free_bytes(phone)
    if free is None or free >= size + _SPARE:
        return None
    return (
        f"there is no room: {free / 1e6:.1f} MB are free in /data/local/tmp, and "
        f"{(size + _SPARE) / 1e6:.1f} MB are needed. Free some, or remove what chipdrift left "
        f"there: chipdrift phones clean {shlex.quote(phone.serial)}"
    )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
