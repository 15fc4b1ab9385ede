"""The compiled scan against the obvious search, line by line, written here on its own."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chipdrift.logs import scan as module
from chipdrift.logs.scan import automaton, scan

LITERALS = [b"ab", b"b", b"abc", b"cab", b"Qnn", b"n:", b"aabb", b": x"]

texts = st.lists(
    st.one_of(
        st.sampled_from([*LITERALS, b"\n", b"\n", b"a", b"0x1f", b"17", b"\r\n", b"\0", b" "]),
        st.binary(max_size=3),
    ),
    max_size=60,
).map(b"".join)


def plain(text: bytes) -> list[tuple[int, int, int]]:
    """Number of the line, its start and the highest number of a literal that it holds."""
    lines = text.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    found = []
    at = 0
    for number, line in enumerate(lines):
        held = [n for n, word in enumerate(LITERALS, 1) if word in line.replace(b"\0", b"")]
        if held:
            found.append((number, at, max(held)))
        at += len(line) + 1
    return found


@given(texts)
@example(b"")
@example(b"\n")
@example(b"ab")
@example(b"a\0b\0\n")
@example(b"aab\nb")
@settings(max_examples=400, deadline=None)
def test_the_scan_finds_what_plain_search_finds(text: bytes) -> None:
    hits = scan(text, automaton(LITERALS), 0)
    found = np.stack([hits.numbers, hits.starts, hits.literals], axis=1)
    assert [tuple(row) for row in found.tolist()] == plain(text)
    spans = np.stack([hits.starts, hits.ends], axis=1).tolist()
    lines = [text[start:].split(b"\n")[0] for _, start, _ in plain(text)]
    assert [text[start:end] for start, end in spans] == lines
    assert hits.lines == text.count(b"\n") + bool(text and not text.endswith(b"\n"))
    assert hits.nuls == text.count(0)


def likeness(line: bytes) -> int:
    (value,) = scan(line + b" Qnn", automaton(LITERALS), len(LITERALS)).hashes.tolist()
    return int(value)


def squeezed(line: bytes) -> bytes:
    """What the module's text says a hash is taken of."""
    line = re.sub(rb"0x[0-9a-fA-F]*|[0-9]+x[0-9a-fA-F]*|[0-9]+", b"#", line)
    return line.replace(b"\r", b"").replace(b"\0", b"")


def test_lines_that_differ_in_figures_only_are_alike() -> None:
    same = [b"took 17 us at 0x7f3a", b"took 4 us at 0xDEADBEEF", b"took 123456 us at 0x0"]
    assert len({likeness(line) for line in same}) == 1
    other = [b"took us at 0x7f", b"took 1 ms at 0x7f", b"took 1 us at 7f", b"took  1 us at 0x7f"]
    assert len({likeness(line) for line in [*same, *other]}) == 5


@given(st.lists(st.text("ab 01x9f", max_size=12), min_size=2, max_size=8))
@settings(max_examples=200, deadline=None)
def test_a_hash_tells_shapes_apart(lines: list[str]) -> None:
    shapes: dict[bytes, set[int]] = {}
    for line in lines:
        # A run of digits goes on behind a hexadecimal number: outside of what logs print.
        if re.search(r"x[0-9a-f]*x|[1-9]x|[0-9]{2,}x", line):
            continue
        shapes.setdefault(squeezed(line.encode()), set()).add(likeness(line.encode()))
    assert all(len(values) == 1 for values in shapes.values())
    values = [next(iter(v)) for v in shapes.values()]
    assert len(set(values)) == len(values)


def test_a_long_line_is_looked_at_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LINE", 100)
    text = b"x" * 97 + b"abc\n" + b"x" * 99 + b"abc\nab\n"
    hits = scan(text, automaton(LITERALS), 0)
    assert hits.overlong == 1
    assert hits.numbers.tolist() == [0, 2]
    assert hits.lines == 3


def test_blank_lines_are_counted() -> None:
    hits = scan(b"\n\r\n  \t\nword\n\x1b[m\n\x1b[0m\nQnn\n\0\n", automaton(LITERALS), 0)
    assert (hits.lines, hits.blank) == (8, 6)
