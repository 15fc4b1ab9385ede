"""Read a log: scan for literals, read the lines that hold one, count the rest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from chipdrift.logs.conclude import conclude
from chipdrift.logs.errors import LogError
from chipdrift.logs.findings import LogFindings
from chipdrift.logs.gather import Gathered
from chipdrift.logs.grammar import Fact, Form, Source, all_sources
from chipdrift.logs.lines import clean, looks_logged, prefix_of
from chipdrift.logs.scan import MAX_LINE, Automaton, Hits, automaton, scan
from chipdrift.logs.shapes import Shapes
from chipdrift.logs.stream import chunks, chunks_of

SHOWN = 200
"""Shapes of unknown lines in the findings."""

# Facts that say the same whatever process wrote them.
_ALONE = frozenset(
    {
        Fact.NOTHING,
        Fact.VERSION,
        Fact.OPTION,
        Fact.ASSIGNED,
        Fact.FUSION,
        Fact.TENSOR,
        Fact.TIME,
        Fact.EVENT,
    }
)


class Reads(NamedTuple):
    """A form in its source; ``alone``: it says the same whatever process wrote it."""

    search: Callable[[bytes], re.Match[bytes] | None]
    form: Form
    source: str
    alone: bool


@dataclass(frozen=True)
class Grammar:
    """All sources as one automaton.

    Literals are numbered so that the most telling of a line wins: up to ``weak`` tags and marks, up
    to ``known`` chatter, then the forms' anchors, longer ones later.
    """

    machine: Automaton
    weak: int
    known: int
    owners: tuple[str, ...]
    anchors: tuple[bytes, ...]
    forms: dict[int, tuple[Reads, ...]]


@cache
def grammar() -> Grammar:
    """The grammar of every source that there is."""
    return build(all_sources())


def build(sources: tuple[Source, ...]) -> Grammar:
    """The grammar of these sources."""
    weak = {literal: source.name for source in sources for literal in (*source.tags, *source.marks)}
    chatter = {literal: source.name for source in sources for literal in source.chatter}
    anchors: dict[bytes, list[Reads]] = {}
    for source in sources:
        for form in source.forms:
            reads = Reads(form.pattern.search, form, source.name, form.fact in _ALONE)
            anchors.setdefault(form.anchor, []).append(reads)
    ordered = sorted(anchors, key=lambda literal: (len(literal), literal))
    literals = [*weak, *chatter, *ordered]
    known = len(weak) + len(chatter)
    return Grammar(
        automaton(literals),
        len(weak),
        known,
        (*weak.values(), *chatter.values()),
        tuple(ordered),
        {known + 1 + index: tuple(anchors[literal]) for index, literal in enumerate(ordered)},
    )


def read_log(path: str | Path) -> LogFindings:
    """Everything that the log ``path`` says: plain text, gzip or UTF-16, of any length.

    Lines of an unknown form are counted by their shape; damaged parts are noted and passed over.
    Raises :class:`LogError` where there is no file, it is no log at all, or nothing can be read.
    """
    path = Path(path)
    reader = _Reader(grammar())
    return reader.read(chunks(path, reader.note), str(path), path.name)


def read_stream(file: BinaryIO, name: str = "stdin") -> LogFindings:
    """As :func:`read_log`, of an open file or a pipe; ``name`` stands in its errors."""
    reader = _Reader(grammar())
    return reader.read(chunks_of(file, name, reader.note), name, name)


def read_text(text: bytes, name: str = "text") -> LogFindings:
    """Everything that ``text`` says: what a process wrote, say. Never raises, nor asks for more."""
    reader = _Reader(grammar())
    if text:
        reader.take(text)
    return reader.findings(name)


class _Reader:
    """Takes chunks in order; memory depends on what is said, not on how often."""

    def __init__(self, known: Grammar) -> None:
        self._grammar = known
        self._gathered = Gathered()
        self._shapes = Shapes(all_sources())
        self._known: Counter[str] = Counter()
        self._odd: Counter[str] = Counter()
        self._head = b""
        self._bytes = 0
        self._lines = 0
        self._blank = 0

    def note(self, what: str) -> None:
        """A part that could not be read, near the line that was reached."""
        self._gathered.note(what, self._lines + 1)

    def take(self, text: bytes) -> None:
        """The next whole lines of the file."""
        if len(self._head) < 65536:
            self._head += text[:65536]
        hits = scan(text, self._grammar.machine, self._grammar.weak)
        known = self._grammar.known
        self._count_chatter(hits)
        self._count_weak(text, hits)
        chosen = hits.literals > known
        for start, end, number, literal in zip(
            hits.starts[chosen].tolist(),
            hits.ends[chosen].tolist(),
            hits.numbers[chosen].tolist(),
            hits.literals[chosen].tolist(),
            strict=True,
        ):
            self._take_line(clean(text[start:end]), literal, self._lines + number + 1)
        if hits.nuls:
            self._gathered.damage.add(
                "NUL bytes, stepped over", self._lines + 1, lambda: None, hits.nuls
            )
        if hits.overlong:
            self._gathered.damage.add(
                f"lines longer than {MAX_LINE:,} bytes, of which only the start was read",
                self._lines + 1,
                lambda: None,
                hits.overlong,
            )
        self._bytes += len(text)
        self._lines += hits.lines
        self._blank += hits.blank

    def _count_chatter(self, hits: Hits) -> None:
        weak, known = self._grammar.weak, self._grammar.known
        inside = hits.literals[(hits.literals > weak) & (hits.literals <= known)]
        for index, count in enumerate(np.bincount(inside, minlength=1).tolist()):
            if count:
                self._known[self._grammar.owners[index - 1]] += count

    def _count_weak(self, text: bytes, hits: Hits) -> None:
        chosen = np.flatnonzero(hits.literals <= self._grammar.weak)
        if not chosen.size:
            return
        likenesses, firsts, counts = np.unique(
            hits.hashes[chosen], return_index=True, return_counts=True
        )
        order = np.argsort(firsts)
        for likeness, first, count in zip(
            likenesses[order].tolist(), firsts[order].tolist(), counts[order].tolist(), strict=True
        ):
            at = int(chosen[first])
            line = clean(text[int(hits.starts[at]) : int(hits.ends[at])])
            self._unknown(line, likeness, self._lines + int(hits.numbers[at]) + 1, count)

    def _take_line(self, line: bytes, literal: int, number: int) -> None:
        for reads in self._grammar.forms[literal]:
            if match := reads.search(line):
                break
        else:
            found = self._shorter(line, literal)
            if found is None:
                self._unknown(line, hash(line.translate(None, b"0123456789")), number, 1)
                return
            reads, match = found
        stream = None
        if not reads.alone and (prefix := prefix_of(line)):
            stream = prefix.stream
        self._known[reads.source] += 1
        self._gathered.take(reads.form, match, reads.source, stream, number)

    def _shorter(self, line: bytes, literal: int) -> tuple[Reads, re.Match[bytes]] | None:
        """A form with a shorter anchor than the line's longest, which no form reads."""
        known = self._grammar.known
        for index in range(literal - 1, known, -1):
            if self._grammar.anchors[index - known - 1] in line:
                for reads in self._grammar.forms[index]:
                    if match := reads.search(line):
                        return reads, match
        return None

    def _unknown(self, line: bytes, likeness: int, number: int, count: int) -> None:
        source = self._shapes.add(line, likeness, number, count)
        if source is not None:
            self._odd[source] += count

    def read(self, pieces: Iterable[bytes], path: str, name: str) -> LogFindings:
        """All of a file; ``path`` is how errors call it, ``name`` how the findings do."""
        for piece in pieces:
            self.take(piece)
        self.check(path)
        return self.findings(name)

    def check(self, path: str) -> None:
        """Raises :class:`LogError` where it was no log."""
        logged = bool(self._shapes.lines) or looks_logged(self._head)
        if not self._known.total() and (_is_binary(self._head) or not logged):
            raise LogError(f"Log {path}: {_what(self._head)}")

    def findings(self, name: str) -> LogFindings:
        """What was found in the file of that name."""
        self._gathered.settle()
        return conclude(
            self._gathered,
            file=name,
            size=self._bytes,
            lines=self._lines,
            blank=self._blank,
            read=self._known.total(),
            sources=dict((self._known + self._odd).most_common()),
            unknown_lines=self._shapes.lines,
            unknown_shapes=self._shapes.distinct,
            unknown=self._shapes.commonest(SHOWN),
        )


def _is_binary(head: bytes) -> bool:
    """Whether a share of the bytes is none of a text's; NUL bytes alone pad many a log."""
    control = sum(head.count(byte) for byte in range(1, 32) if byte not in (9, 10, 13, 27))
    return control > len(head) // 50


def _what(head: bytes) -> str:
    if _is_binary(head) and (b"OpId_" in head or b"Graph Sequencing for Target" in head):
        return (
            "this is QNN's own binary profile. Make a CSV of it with qnn-profile-viewer, or give "
            "the CSV that onnxruntime wrote beside it."
        )
    if _is_binary(head):
        return (
            "this is a binary file, and no line of it is a log's. Give a logcat, onnxruntime's "
            "log or profile, or QNN's CSV."
        )
    return (
        "no line of it is of a log that chipdrift knows. Give a logcat, onnxruntime's log or "
        "profile, or QNN's CSV."
    )
