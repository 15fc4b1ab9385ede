"""What is wrong with a file is said, and the rest is read; what is no log is one sentence."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logs_models import DATA, as_logcat

from chipdrift.logs import LogError, read_log, read_text

if TYPE_CHECKING:
    from conftest import Cli

LOG = DATA / "ort_qnn_w8a8_sm8450.log"


@pytest.fixture
def text() -> bytes:
    return LOG.read_bytes()


def wanted() -> tuple[object, ...]:
    found = read_log(LOG)
    return tuple((f.node, f.reason) for f in found.fallbacks)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: b"\xff\xfe\xfa broken \x80\n" + text.replace(b"Reserving", b"Res\xe9rving"),
        lambda text: bytes(4096) + text + bytes(4096),
        lambda text: b"x" * (11 << 20) + b"\n" + text + b"y" * (11 << 20),
        lambda text: text.replace(b"\n", b"\x1b[m\n"),
        lambda text: b"\n\n\n" + text.rstrip(b"\n"),
    ],
    ids=["crlf", "not-utf-8", "nul-bytes", "lines-of-11-MB", "colours", "no-end"],
)
def test_a_spoilt_log_says_the_same(change: object, text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "spoilt.log"
    path.write_bytes(change(text))  # type: ignore[operator]
    found = read_log(path)
    assert tuple((f.node, f.reason) for f in found.fallbacks) == wanted()
    assert (found.graph_io, found.conversions) == (2, 2)
    assert len(found.quantizers) == len(read_log(LOG).quantizers)


def test_what_was_spoilt_is_said(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "spoilt.log"
    path.write_bytes(bytes(77) + text + b"y" * (3 << 20) + b"\nend\n")
    damage = {d.what.split(",")[0]: d for d in read_log(path).damage}
    assert damage["NUL bytes"].count == 77
    assert damage["lines longer than 1"].count == 1


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_the_start_of_a_very_long_line_is_read(end: bytes, tmp_path: Path) -> None:
    line = b"[E:onnxruntime:, a.cc:1 Run] the tensor is " + b"0.125, " * (2 << 20)
    path = tmp_path / "long.log"
    path.write_bytes(b"\n" + line + end)
    found = read_log(path)
    (trouble,) = found.troubles
    assert trouble.text.startswith("the tensor is 0.125, 0.125")
    assert len(trouble.text) == 500
    assert (trouble.line, found.lines, found.damage[0].count) == (2, 2, 1)


def test_an_unknown_line_is_of_the_program_that_speaks(tmp_path: Path) -> None:
    line = b"[V:onnxruntime:Default, m.cc:5 QnnLogging]  <V> frobnicate\n"
    path = tmp_path / "who.log"
    path.write_bytes(line + b"01-05 10:00:00.001  4100  4123 V onnxruntime: " + line)
    (form,) = read_log(path).unknown
    assert (form.source, form.shape, form.count) == ("qnn", "<V> frobnicate", 2)


def test_a_name_in_latin_1_can_be_read(tmp_path: Path) -> None:
    lines = (
        b"[V:onnxruntime:, a.cc:1 Log] Validation FAILED for 1 nodes in NodeUnit (Erf) :\n"
        b"\tOperator type: Erf Node name: caf\xe9/erf Node index: 3\n"
        b"\tREASON : no caf\xc3\xa9\n"
    )
    path = tmp_path / "latin.log"
    path.write_bytes(lines)
    (fall,) = read_log(path).fallbacks
    assert (fall.node, fall.reason) == ("café/erf", "no café")


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_cut_and_no_noise_makes_it_fail(data: st.DataObject) -> None:
    """Any piece of the file, with any bytes in it, is read or refused in one sentence."""
    text = bytearray(LOG.read_bytes())
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    noise = random.Random(data.draw(st.integers(0, 99)))
    for _ in range(data.draw(st.integers(0, 30))):
        at = noise.randrange(len(text))
        text[at : at + 3] = noise.randbytes(3)
    path = Path(tempfile.gettempdir()) / f"chipdrift-cut-{os.getpid()}.log"
    path.write_bytes(text[start:end])
    try:
        found = read_log(path)
        piece = path.read_bytes()
        assert found.lines == piece.count(b"\n") + (not piece.endswith(b"\n"))
        found.model_dump_json()
        assert read_text(piece).fallbacks == found.fallbacks
    except LogError as error:
        assert str(error).count("\n") == 0
    finally:
        path.unlink()


def test_an_answer_cut_in_the_middle_is_said(text: bytes, tmp_path: Path) -> None:
    at = text.index(b"Validation PASSED for 5 nodes")
    cut = text.index(b"\n", text.index(b"\n", text.index(b"\n", at) + 1) + 1) + 1
    path = tmp_path / "cut.log"
    path.write_bytes(text[:cut])
    assert "lost some of its lines" in read_log(path).damage[0].what
    path.write_bytes(text[cut:])
    assert "stands apart" in read_log(path).damage[0].what


def test_lines_of_an_unknown_form_are_counted_and_shown(text: bytes, tmp_path: Path) -> None:
    odd = [
        b"01-05 10:00:00.%03d  4100  4123 %s QnnDsp  : frobnicate %d of 0x%x for '%s'"
        % (i % 1000, b"VE"[i % 2 : i % 2 + 1], i, i * 977, b"ab"[: i % 3])
        for i in range(500)
    ]
    foreign = [
        b"01-05 10:00:00.%03d  1000  1010 I WindowManager: focus %d QnnThing" % (i % 1000, i)
        for i in range(300)
    ]
    path = tmp_path / "odd.log"
    path.write_bytes(b"\n".join(odd + foreign) + b"\n" + text)
    found, plain = read_log(path), read_log(LOG)
    assert found.unknown_lines == plain.unknown_lines + 500
    assert found.foreign == plain.foreign + 300
    shown = [form for form in found.unknown if "frobnicate" in form.shape]
    # By level, errors first, and without figures and names.
    assert [(f.severity, f.count, f.shape) for f in shown] == [
        ("error", 250, "frobnicate # of # for '…'"),
        ("other", 250, "frobnicate # of # for '…'"),
    ]
    assert found.unknown[0] == shown[0]
    assert found.unknown[0].line == 2
    total = found.read + found.unknown_lines + found.foreign
    assert total == sum(1 for line in path.read_bytes().split(b"\n") if line.strip(b" \x1b[m\r"))


MEASURED = """
import sys
from pathlib import Path
from chipdrift.logs import read_log
found = read_log(sys.argv[1])
print(found.model_dump_json(include={"unknown_lines", "damage"}))
# Not ru_maxrss, which begins with what the parent held.
status = Path("/proc/self/status").read_text().splitlines()
peak = next(line for line in status if line.startswith("VmHWM:"))
print(len(found.troubles), int(peak.split()[1]) // 1024)
"""


def test_many_different_lines_stay_within_bounds(tmp_path: Path) -> None:
    """No two lines alike: what is kept has a limit, what is counted has none."""
    path = tmp_path / "many.log"
    noise = random.Random(4)
    with path.open("w") as file:
        for i in range(150_000):
            word = "".join(noise.choices("abcdefghijklmnopqrstuvwxyz", k=40))
            file.write(f"01-05 10:00:00.001  4100  4123 E QnnDsp  : {word} {i}\n")
            file.write(f"QnnDsp <E> {word}\n\tREASON : {word}\n")
    words = [sys.executable, "-c", MEASURED, str(path)]
    done = subprocess.run(words, capture_output=True, check=True, text=True).stdout
    document, figures = done.splitlines()
    found = json.loads(document)
    troubles, peak = (int(word) for word in figures.split())
    assert peak < 500
    assert found["unknown_lines"] == 150_000
    assert troubles == 10_000
    (dropped,) = [d for d in found["damage"] if "troubles" in d["what"]]
    assert dropped["count"] == 140_000


BINARY = b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 40


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (BINARY, "binary file"),
        (b"Dear all,\nthe model is slow.\nRegards\n", "no line of it is of a log"),
        (b"", "is empty"),
        (
            (b"\x14\x00\x01gemm:OpId_46 (cycles)\x00\x00\x03" + bytes(range(1, 32))) * 20,
            "profile-viewer",
        ),
    ],
    ids=["binary", "letter", "empty", "qnn-binary-profile"],
)
def test_no_log_at_all(content: bytes, words: str, cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "no.log"
    path.write_bytes(content)
    code, out, err = cli("logs", path)
    assert (code, out) == (2, "")
    assert err.startswith("Error: ")
    assert words in err
    assert err.count("\n") == 1


def test_no_file_and_a_folder(cli: Cli, tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none.log", "no such file"), (tmp_path, "folder")):
        code, out, err = cli("logs", path)
        assert (code, out) == (2, "")
        assert words in err
        assert err.count("\n") == 1


def test_a_logcat_of_others_is_a_log(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "logcat.txt"
    path.write_bytes(
        b"\n".join(
            b"01-05 10:00:00.001  1000  1010 I ActivityManager: start %d" % i for i in range(99)
        )
    )
    code, out, err = cli("logs", path, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["foreign"], found["read"], found["lines"]) == (99, 0, 99)
    code, out, _ = cli("logs", path)
    assert code == 0
    assert "no source that chipdrift knows" in out
    assert "does not say where nodes ran" in out


def test_counts_equal_greps(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "logcat.txt"
    path.write_bytes(b"\n".join(as_logcat(text, 1, 2) * 40) + b"\n")
    found = read_log(path)
    words = ["grep", "-c", "REASON : ", path]
    count = int(subprocess.run(words, capture_output=True, check=True).stdout)
    assert sum(r.count for r in found.refusals) == count
    words = ["grep", "-c", "", path]
    assert found.lines == int(subprocess.run(words, capture_output=True, check=True).stdout)
