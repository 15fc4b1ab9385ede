"""Whatever a log was written in, the same lines come out; what is lost is said."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import random
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipdrift.logs import LogError, read_log, stream
from chipdrift.logs.stream import chunks

if TYPE_CHECKING:
    from conftest import Cli

DATA = Path(__file__).parents[2] / "data" / "logs"
LOG = DATA / "ort_qnn_w8a8_sm8450.log"


def text_of(path: Path) -> tuple[bytes, list[str]]:
    notes: list[str] = []
    return b"".join(chunks(path, notes.append)), notes


@pytest.fixture
def text() -> bytes:
    return LOG.read_bytes()


@given(blocks=st.lists(st.integers(1, 40), min_size=1, max_size=30), data=st.data())
@settings(max_examples=100, deadline=None)
def test_chunks_are_whole_lines_whatever_the_blocks(blocks: list[int], data: st.DataObject) -> None:
    text = data.draw(st.binary(min_size=sum(blocks), max_size=sum(blocks)))
    cut, at = [], 0
    for size in blocks:
        cut.append(text[at : at + size])
        at += size
    made = list(stream._lines(cut))
    assert b"".join(made) == text
    assert all(chunk.endswith(b"\n") for chunk in made[:-1])


@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        lambda text: gzip.compress(text[:7000]) + gzip.compress(text[7000:]),
        lambda text: text.decode("utf-8").encode("utf-16"),
        lambda text: b"\xfe\xff" + text.decode("utf-8").encode("utf-16-be"),
        lambda text: text.decode("utf-8").encode("utf-16-le"),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: gzip.compress(text.decode("utf-8").encode("utf-16")),
    ],
    ids=["gzip", "two-members", "utf-16", "utf-16-be", "no-mark", "utf-8-mark", "gzip-utf-16"],
)
def test_the_same_text_from_every_packing(pack: object, text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(pack(text))  # type: ignore[operator]
    assert text_of(path) == (text, [])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_gzip_cut_off_gives_its_start(share: float, text: bytes, tmp_path: Path) -> None:
    packed = gzip.compress(text)
    path = tmp_path / "cut.gz"
    path.write_bytes(packed[: int(share * len(packed))])
    found, notes = text_of(path)
    # gzip's own program gives all that can be had.
    wanted = subprocess.run(["gzip", "-dc", path], capture_output=True, check=False).stdout
    assert text.startswith(found)
    assert len(found) >= len(wanted) > 0
    assert notes == ["the gzip file is cut off: read up to the cut"]


def test_a_gzip_with_a_broken_middle_gives_its_start(text: bytes, tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(text * 20))
    middle = len(packed) // 2
    packed[middle : middle + 40] = random.Random(1).randbytes(40)
    path = tmp_path / "broken.gz"
    path.write_bytes(packed)
    wanted = subprocess.run(["gzip", "-dc", path], capture_output=True, check=False).stdout
    found, notes = text_of(path)
    assert len(found) >= len(wanted) > len(text) * 8
    assert found.startswith(text * 8)
    assert "damaged" in notes[0]


def test_a_small_gzip_that_unpacks_large_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"0" * 79 + b"\n", 9) + gzip.compress(b"\0" * (60 << 20)))
    sizes = [len(chunk) for chunk in chunks(path, lambda _: None)]
    assert max(sizes) <= 2 * stream.BLOCK + stream.MAX_LINE
    path.write_bytes(gzip.compress((b"0" * 79 + b"\n") * 500_000, 9))
    assert sum(len(chunk) for chunk in chunks(path, lambda _: None)) == 40_000_000


def test_utf_16_that_was_appended_to_utf_8(text: bytes, tmp_path: Path) -> None:
    """PowerShell's >> after another program's output."""
    half = text.index(b"\n", len(text) // 2) + 1
    path = tmp_path / "mixed.log"
    path.write_bytes(text[:half] + text[half:].decode("utf-8").encode("utf-16"))
    mixed, whole = read_log(path), read_log(LOG)
    assert mixed.fallbacks == whole.fallbacks
    assert mixed.quantizers == whole.quantizers
    # The last newline's second byte stands alone on a line of its own.
    assert (mixed.lines, mixed.read) == (whole.lines + 1, whole.read)
    assert "NUL bytes" in mixed.damage[0].what


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("log.xz", lzma.compress(b"hello\n" * 99), "unxz"),
        ("log.bz2", bz2.compress(b"hello\n" * 99), "bunzip2"),
        ("bugreport.zip", b"PK\x03\x04" + bytes(99), "unzip"),
        ("empty.log", b"", "empty"),
    ],
)
def test_what_is_no_log_at_all(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(LogError, match=words):
        read_log(path)


LAYOUTS = {
    "native": lambda events, text: text,
    "compact": lambda events, text: json.dumps(events, separators=(",", ":")).encode(),
    "indented": lambda events, text: json.dumps(events, indent=2).encode(),
    "object": lambda events, text: json.dumps({"traceEvents": events, "x": 1}).encode(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_profile_in_any_layout(layout: str, tmp_path: Path) -> None:
    text = (DATA / "ort_profile_sm8450.json").read_bytes()
    events = json.loads(text)
    path = tmp_path / "profile.json"
    path.write_bytes(LAYOUTS[layout](events, text))
    found = read_log(path)
    wanted: dict[str, list[float]] = {}
    for event in events:
        if event["cat"] == "Node":
            wanted.setdefault(event["name"].removesuffix("_kernel_time"), []).append(event["dur"])
    times = {t.name: t for t in found.timings if t.kind == "node"}
    assert {name: (t.count, t.total) for name, t in times.items()} == {
        name: (len(values), sum(values)) for name, values in wanted.items()
    }
    assert found.damage == ()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_profile_cut_in_the_middle(layout: str, tmp_path: Path) -> None:
    text = (DATA / "ort_profile_sm8450.json").read_bytes()
    whole = LAYOUTS[layout](json.loads(text), text)
    at = whole.index(b'"erf_kernel_time"') + 300
    path = tmp_path / "profile.json"
    path.write_bytes(whole[:at])
    found = read_log(path)
    assert {t.name for t in found.timings} >= {"model_loading_uri", "x_QuantizeLinear"}
    assert "erf" not in {t.name for t in found.timings}
    # An event amid the others is lost alone.
    path.write_bytes(whole[: at - 200] + whole[at:])
    found = read_log(path)
    names = {t.name for t in found.timings}
    assert names >= {"model_loading_uri", "x_QuantizeLinear", "y_DequantizeLinear", "erf"}


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "a pipe"
    os.mkfifo(path)
    return path


def test_a_pipe_that_nobody_writes_to_is_told(
    pipe: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "WRITER", 0.2)
    code, out, err = cli("logs", pipe)
    assert (code, out) == (2, "")
    assert err == (
        f"Error: Log {pipe}: it is a pipe, and nobody wrote to it within 0.2 s. Start what writes "
        "to it first, or pipe into chipdrift logs -.\n"
    )


@pytest.mark.parametrize(("before", "within"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.3)])
def test_a_pipe_with_a_writer_is_read_to_its_end(pipe: Path, before: float, within: float) -> None:
    """Who opens it late, and who writes late, is waited for; not a byte is lost."""
    text = (DATA / "ort_qnn_fp16_sm7550.log").read_bytes()

    def write() -> None:
        time.sleep(before)
        with pipe.open("wb") as file:
            time.sleep(within)
            file.write(text[: len(text) // 2])
            file.flush()
            time.sleep(within)
            file.write(text[len(text) // 2 :])

    writer = threading.Thread(target=write)
    writer.start()
    found = read_log(pipe)
    writer.join()
    whole = read_log(DATA / "ort_qnn_fp16_sm7550.log")
    assert found.model_copy(update={"file": whole.file}) == whole


DEEP = "[" * 5000 + "]" * 5000
FIRST = '{"cat" : "Node","pid" :1,"tid" :2,"dur" :3,"ts" :4,"ph" : "X","name" :"a","args" : '


@pytest.mark.parametrize(
    "text",
    [f'{{"traceEvents": [{FIRST}{DEEP}}}]}}', f"[{FIRST}{DEEP}}}]", f"[{FIRST}{'[' * 200000}"],
)
def test_a_profile_that_is_nested_too_deep_is_told(text: str, tmp_path: Path, cli: Cli) -> None:
    path = tmp_path / "deep.json"
    path.write_text(text)
    code, out, err = cli("logs", path)
    assert (code, out) == (2, "")
    assert err == (
        f"Error: Log {path}: an event of this profile is nested so deep that no profiler wrote it. "
        "Give the profile as it was written.\n"
    )


def test_one_event_of_many_that_is_nested_too_deep_is_left_out(tmp_path: Path) -> None:
    """An event a line, as onnxruntime writes them: the others are read."""
    last = FIRST.replace('"a"', '"b_kernel_time"') + '{"op_name" : "Conv"}}'
    path = tmp_path / "deep.json"
    path.write_text(f"[\n{last},\n{FIRST}{DEEP}}},\n{last}\n]\n")
    found = read_log(path)
    assert [(t.name, t.count) for t in found.timings] == [("b", 2)]
    assert [damage.what for damage in found.damage] == [
        "an event of the profile is broken and was left out"
    ]


@pytest.mark.parametrize("name", ["\\ud800", "\\udc00x", "\\ud83d\\ude00"])
def test_half_a_character_in_an_event(tmp_path: Path, cli: Cli, name: str) -> None:
    """JSON may escape half of a pair: it cannot be written again, and becomes a mark."""
    text = FIRST.replace('"a"', f'"{name}_kernel_time"')
    path = tmp_path / "profile.json"
    path.write_text(f'[\n{text}{{"op_name" : "Conv", "provider" : "CPUExecutionProvider"}}}}\n]\n')
    for more in ((), ("--json",)):
        code, _, said = cli("logs", path, *more)
        assert code == 0, said


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom"])
def test_a_device_that_never_ends(cli: Cli, device: str) -> None:
    code, _, said = cli("logs", device)
    assert code == 2 and f"Log {device}: this device never ends" in said
