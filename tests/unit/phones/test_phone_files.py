"""Files of chipdrift's folder, on a phone that is this host's shell: two sessions at once."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from chipdrift.phones import PhoneError, PhoneFiles, PhoneGoneError
from chipdrift.phones.phone import Ran

KIT = {"runner": b"\x7fELF runs", "libonnxruntime.so": b"\x7fELF answers"}


class HostPhone:
    """A phone's commands, by this host's shell. ``meanwhile`` happens before a file is pushed."""

    serial = "HOST"

    def __init__(self) -> None:
        self.meanwhile: Callable[[str], None] = lambda remote: None
        self.pushed: list[str] = []

    def shell(self, command: str, seconds: float = 60) -> Ran:
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
        return Ran(done.returncode, done.stdout, done.stderr)

    def check(self, command: str, seconds: float = 60) -> str:
        ran = self.shell(command)
        if ran.code:
            raise PhoneError(f"{command}: {ran.err}")
        return ran.out

    def push(self, data: Path | bytes, remote: str, executable: bool = False) -> int:
        self.meanwhile(remote)
        content = data if isinstance(data, bytes) else data.read_bytes()
        Path(remote).write_bytes(content)
        Path(remote).chmod(0o755 if executable else 0o644)
        self.pushed.append(remote)
        return len(content)


@pytest.fixture
def kit(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "kit").mkdir()
    for name, data in KIT.items():
        (tmp_path / "kit" / name).write_bytes(data)
    return {name: tmp_path / "kit" / name for name in KIT}


def held(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path within it."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def whole(folder: Path, place: str) -> None:
    """The kit is there, may be run, and nothing else lies about."""
    assert held(Path(place)) == KIT
    assert all(os.access(path, os.X_OK) for path in Path(place).iterdir())
    assert [path.name for path in (folder / "kits").iterdir()] == [Path(place).name]
    assert not list(folder.rglob("*.part")) + list(folder.rglob("*.old"))


@pytest.mark.parametrize("at", range(len(KIT)))
def test_two_sessions_push_one_kit_at_once(
    at: int, kit: Mapping[str, Path], tmp_path: Path
) -> None:
    """The other one comes and goes while this one pushes its first file, or its second."""
    folder = tmp_path / "phone"
    phone, other = HostPhone(), HostPhone()
    mine = PhoneFiles(phone, str(folder))
    places: list[str] = []

    def meanwhile(remote: str) -> None:
        if len(phone.pushed) == at:
            places.append(PhoneFiles(other, str(folder)).put_kit(kit))
            whole(folder, places[0])

    phone.meanwhile = meanwhile
    place = mine.put_kit(kit)
    assert places == [place]
    whole(folder, place)
    later = HostPhone()
    assert PhoneFiles(later, str(folder)).put_kit(kit) == place
    assert later.pushed == []


def test_many_sessions_at_once(kit: Mapping[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "phone"
    start = threading.Barrier(6)
    places: list[str] = []

    def session() -> None:
        phone = HostPhone()
        phone.meanwhile = lambda _: start.wait() if not phone.pushed else None
        places.append(PhoneFiles(phone, str(folder)).put_kit(kit))

    threads = [threading.Thread(target=session) for _ in range(start.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (place,) = set(places)
    assert len(places) == start.parties
    whole(folder, place)


def test_what_is_damaged_or_strange_is_mended_and_the_rest_left(
    kit: Mapping[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "phone"
    place = Path(PhoneFiles(HostPhone(), str(folder)).put_kit(kit))
    kept = (place / "runner").stat().st_ino
    (place / "libonnxruntime.so").write_bytes(b"zeros")
    (place / "it's strange").write_bytes(b"x")
    (place / "nested").mkdir()
    (place / "nested" / "runner").write_bytes(b"x")
    phone = HostPhone()
    assert PhoneFiles(phone, str(folder)).put_kit(kit) == str(place)
    assert len(phone.pushed) == 1
    whole(folder, str(place))
    assert not (place / "nested").exists()
    assert (place / "runner").stat().st_ino == kept


@pytest.mark.parametrize("what", ["file", "folder of that name"])
def test_something_else_lies_where_a_kit_belongs(
    what: str, kit: Mapping[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "phone"
    place = Path(PhoneFiles(HostPhone(), str(folder)).put_kit(kit))
    if what == "file":
        subprocess.run(["rm", "-r", place], check=True)
        place.write_bytes(b"x")
    else:
        (place / "runner").unlink()
        (place / "runner").mkdir()
    PhoneFiles(HostPhone(), str(folder)).put_kit(kit)
    whole(folder, str(place))


def test_a_push_that_fails_leaves_nothing(kit: Mapping[str, Path], tmp_path: Path) -> None:
    folder, phone = tmp_path / "phone", HostPhone()
    files = PhoneFiles(phone, str(folder))

    def cut(remote: str) -> None:
        Path(remote).write_bytes(b"the half of it")
        raise error

    phone.meanwhile = cut
    error: PhoneError = PhoneError("the daemon refused")
    with pytest.raises(PhoneError, match="the daemon refused"):
        files.put_kit(kit)
    assert not list(folder.rglob("*.part"))
    error = PhoneGoneError("Phone HOST went away")
    with pytest.raises(PhoneGoneError):
        files.put_kit(kit)
    assert len(list(folder.rglob("*.part"))) == 1  # nobody is there who could remove it
    phone.meanwhile = lambda remote: None
    whole(folder, PhoneFiles(phone, str(folder), files).put_kit(kit))


def test_what_cannot_be_kept_leaves_nothing(kit: Mapping[str, Path], tmp_path: Path) -> None:
    """It arrives, and the phone cannot move it to its place."""
    folder, phone = tmp_path / "phone", HostPhone()
    files = PhoneFiles(phone, str(folder))

    def away(remote: str) -> None:
        for place in (folder / "kits").iterdir():
            place.rmdir()

    phone.meanwhile = away
    with pytest.raises(PhoneError, match="was pushed and cannot be kept"):
        files.put_kit(kit)
    assert len(phone.pushed) == 1
    assert not list(folder.rglob("*.part"))
