"""chipdrift-runner's put and get: files on the line on which requests and answers go."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path

import numpy as np
import pytest
import runner_models as models
from runner_built import SANITIZED, Command, built, on
from runner_process import request

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Command:
    return [built(tmp_path_factory, SANITIZED)]


def exchange(command: Command, model: Path, said: bytes) -> tuple[bytes, int]:
    """All that it answers to ``said``, and its exit code."""
    full = [*command, *map(str, on(model))]
    done = subprocess.run(full, input=said, capture_output=True, timeout=120)
    assert b"Sanitizer" not in done.stderr, done.stderr.decode()
    return done.stdout, done.returncode


def taken_apart(out: bytes) -> list[object]:
    """The JSON lines, with the bytes that follow a ``got`` in their place."""
    found: list[object] = []
    while out:
        line, _, out = out.partition(b"\n")
        told = json.loads(line)
        found.append(told)
        if "got" in told:
            size = told["got"]["bytes"]
            found.append(out[:size])
            out = out[size:]
    return found


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 3_000_000])
def test_a_file_comes_back_as_it_was_sent(runner: Command, size: int, tmp_path: Path) -> None:
    data = random.Random(size).randbytes(size)
    path = tmp_path / "file with\ttab"
    name = str(path).replace("\t", "\\t")
    said = f"put\t{name}\t{size}\n".encode() + data + f"get\t{name}\nend\n".encode()
    out, code = exchange(runner, models.identity(tmp_path / "m.onnx"), said)
    _, put, got, back, ended = taken_apart(out)
    assert (put, got, back) == ({"put": {"bytes": size}}, {"got": {"bytes": size}}, data)
    assert code == 0 and "ended" in str(ended)
    assert path.read_bytes() == data
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.endswith(".part")) == []


def test_a_sample_there_and_back_in_one_breath(runner: Command, tmp_path: Path) -> None:
    model = models.identity(tmp_path / "m.onnx")
    x = np.arange(6, dtype="f4").reshape(2, 3)
    np.save(tmp_path / "x.npy", x)
    data = (tmp_path / "x.npy").read_bytes()
    there = tmp_path / "phone.npy"
    run = request(tmp_path / "out", {"x": there}).encode()
    said = f"put\t{there}\t{len(data)}\n".encode() + data + run
    said += f"get\t{tmp_path / 'out' / '0.npy'}\n".encode()
    out, _ = exchange(runner, model, said)
    _, _, ran, _, back, _ = taken_apart(out)
    assert "ran" in str(ran)
    assert back == (tmp_path / "out" / "0.npy").read_bytes()


def test_a_file_that_cannot_be_written_takes_its_bytes_with_it(
    runner: Command, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The next request is found behind them, though they look like requests."""
    data = b"end\n" * 50_000
    nowhere = tmp_path / "no folder" / "file"
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(small)], check=True)
    request.addfinalizer(lambda: subprocess.run(["umount", str(small)], check=True))
    full = small / "full"
    said = b"".join(f"put\t{path}\t{len(data)}\n".encode() + data for path in (nowhere, full))
    said += f"get\t{nowhere}\nget\t{tmp_path}\nend\n".encode()
    out, code = exchange(runner, models.identity(tmp_path / "m.onnx"), said)
    _, *errors, ended = taken_apart(out)
    words = [str(error) for error in errors]
    assert len(words) == 4 and "ended" in str(ended) and code == 0
    assert "No such file or directory" in words[0] and "cannot be written" in words[0]
    assert "No space left on device" in words[1]
    assert all("cannot be read" in word for word in words[2:])
    assert not nowhere.exists() and not full.exists()


def test_a_line_that_ends_within_a_file_leaves_none(runner: Command, tmp_path: Path) -> None:
    path = tmp_path / "half"
    path.write_bytes(b"before")
    said = f"put\t{path}\t100000\n".encode() + b"x" * 99_999
    out, _ = exchange(runner, models.identity(tmp_path / "m.onnx"), said)
    assert "ended after 99999 of 100000 bytes" in str(taken_apart(out)[1])
    assert path.read_bytes() == b"before"
    assert not list(tmp_path.glob("half.*"))


@pytest.mark.parametrize("size", ["", "x", "-1", "1 ", "99999999999999999999999"])
def test_a_size_that_is_none_ends_it(runner: Command, size: str, tmp_path: Path) -> None:
    """Nobody knows where the next request begins."""
    said = f"put\t{tmp_path / 'f'}\t{size}\n".encode() + request(tmp_path / "out", {}).encode()
    out, _ = exchange(runner, models.identity(tmp_path / "m.onnx"), said)
    _, error, ended = taken_apart(out)
    assert "expected a number of bytes" in str(error) and "ended" in str(ended)
    assert not (tmp_path / "f").exists()


def test_a_document_has_no_room_for_a_file(runner: Command, tmp_path: Path) -> None:
    requests = tmp_path / "requests"
    requests.write_text(f"get\t{requests}\n")
    given = [str(word) for word in on(models.identity(tmp_path / "m.onnx"))]
    command = [*runner, *given[:-1], str(requests)]
    done = subprocess.run(command, capture_output=True, timeout=120)
    assert "'get' needs --requests -" in str(json.loads(done.stdout)["ran"])


def test_lines_of_chance_never_crash_it(runner: Command, tmp_path: Path) -> None:
    """Verbs, sizes, tabs and bytes in any order; it ends by itself and says only JSON."""
    rng = random.Random(11)
    paths = [os.fsencode(tmp_path / name) for name in "ab"]
    words = [b"put", b"get", b"run", b"end", b"5", b"12345", b"70000", *paths]
    pieces = [*words, b"\t", b"\t", b"\n", b"\0", b"\\", b"="]
    model = models.identity(tmp_path / "m.onnx")
    for _ in range(60):
        said = b"".join(rng.choice(pieces) for _ in range(rng.randrange(1, 80))) + b"\n"
        out, code = exchange(runner, model, said)
        assert code == 0, said
        assert "opened" in str(taken_apart(out)[0])
