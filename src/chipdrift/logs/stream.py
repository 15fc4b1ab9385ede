"""A file as chunks of whole lines in UTF-8, whatever it was written in: plain, gzip, UTF-16.

Memory is bounded: a chunk is some MB, and of a line longer than :data:`~chipdrift.logs.scan
.MAX_LINE` only the start is kept. What could not be read is noted, and reading goes on.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from chipdrift.logs.errors import LogError
from chipdrift.logs.scan import MAX_LINE

BLOCK = 4 << 20
"""Bytes that are read at once."""

WRITER = 5.0
"""Seconds that a named pipe may take to get somebody who writes to it."""
_PAUSE = 0.05

Note = Callable[[str], None]
"""Called with a sentence for each part that could not be read as it should."""

_PACKED = {
    b"PK\x03\x04": ("zip", "unzip"),
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
    b"7z\xbc\xaf": ("7-Zip", "7z x"),
}
# zero, full, random and urandom.
_ENDLESS = frozenset({(1, 5), (1, 7), (1, 8), (1, 9)})
_GZIP = b"\x1f\x8b"
_PIECE = 1 << 16
_MARKS = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
# onnxruntime writes an event a line; what was formatted anew begins otherwise.
_PROFILE = re.compile(rb'\s*(?:\[\s*)?\{(?s:.){0,2000}?"cat"\s*:')
_DECODER = json.JSONDecoder()
# The list of events may be the member of an object.
_WRAPPED = re.compile(r'\s*\{\s*"traceEvents"\s*:\s*\[')
_NEXT_EVENT = re.compile(r',\s*\{(?=\s*"cat"\s*:)')
_EVENT_A_LINE = re.compile(rb'\s*\[\s*\n\s*\{"cat"[^\n]*\},?\s*\n')


def chunks(path: Path, note: Note) -> Iterator[bytes]:
    """Whole lines of ``path``, some MB at a time; only the last may lack its newline.

    Raises :class:`LogError` where there is no such file, it is a folder or empty, may not be read,
    or is packed in another way than gzip.
    """
    return _chunks(_opened(path), str(path), note)


def chunks_of(file: BinaryIO, name: str, note: Note) -> Iterator[bytes]:
    """As :func:`chunks`, of an open file or pipe, called ``name`` in errors."""
    return _chunks(_blocks(file, name), name, note)


def _chunks(source: Iterator[bytes], name: str, note: Note) -> Iterator[bytes]:
    blocks = _text(_unpacked(source, note), note)
    first = next(blocks, b"")
    while first and len(first) < 4096 and (more := next(blocks, b"")):
        first += more
    joined = _chain(first, blocks)
    if _PROFILE.match(first[:4096]) and not _EVENT_A_LINE.match(first[:65536]):
        joined = _events(joined, name, note)
    return _lines(joined)


def _opened(path: Path) -> Iterator[bytes]:
    if path.is_dir():
        raise LogError(f"Log {path}: this is a folder. Give the path of one log file.")
    if path.is_char_device() and _device(path) in _ENDLESS:
        raise LogError(f"Log {path}: this device never ends. Give the path of one log file.")
    try:
        file, head = _pipe(path) if path.is_fifo() else (path.open("rb"), b"")
        with file:
            yield from _blocks(file, str(path), head)
    except FileNotFoundError:
        raise LogError(f"Log {path}: no such file. Give the path of a log file.") from None
    except OSError as error:
        raise LogError(f"Log {path}: it cannot be read ({error.strerror}).") from error


def _device(path: Path) -> tuple[int, int]:
    number = path.stat().st_rdev
    return os.major(number), os.minor(number)


def _pipe(path: Path) -> tuple[BinaryIO, bytes]:
    """A named pipe, opened once somebody writes to it, and what was read to find that out.

    Opening it plainly would wait for a writer for ever. :class:`LogError` where there is none.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    end = time.monotonic() + WRITER
    try:
        while (head := _begun(handle)) is None:
            if time.monotonic() >= end:
                raise LogError(
                    f"Log {path}: it is a pipe, and nobody wrote to it within {WRITER:g} s. Start "
                    "what writes to it first, or pipe into chipdrift logs -."
                )
            time.sleep(_PAUSE)
        os.set_blocking(handle, True)
    except BaseException:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb"), head


def _begun(handle: int) -> bytes | None:
    """None while a pipe, open without blocking, has no writer; else its first byte, or nothing."""
    try:
        return os.read(handle, 1) or None
    except BlockingIOError:  # a writer that has not written yet
        return b""


def _blocks(file: BinaryIO, name: str, head: bytes = b"") -> Iterator[bytes]:
    first = head + file.read(BLOCK)
    if not first:
        raise LogError(f"Log {name}: it is empty. Was the log written at all?")
    for magic, (kind, command) in _PACKED.items():
        if first.startswith(magic):
            raise LogError(
                f"Log {name}: it is packed with {kind}, and chipdrift reads plain text and gzip. "
                f"Unpack it first ({command})."
            )
    yield first
    while block := file.read(BLOCK):
        yield block


def _unpacked(blocks: Iterator[bytes], note: Note) -> Iterator[bytes]:
    """The text of gzip members one after the other; other blocks as they are."""
    first = next(blocks)
    if not first.startswith(_GZIP):
        yield first
        yield from blocks
        return
    machine = zlib.decompressobj(wbits=31)
    for rest in (
        b[i : i + _PIECE] for b in _chain(first, blocks) for i in range(0, len(b), _PIECE)
    ):
        while rest:
            if machine.eof:
                if not _GZIP.startswith(rest[:2]):
                    note("bytes after the end of the gzip data are not read")
                    return
                machine = zlib.decompressobj(wbits=31)
            before = machine.copy()
            try:
                # A small file may unpack to a very large one: never more than a block at once.
                text = machine.decompress(rest, BLOCK)
            except zlib.error as error:
                yield _up_to_damage(before, rest)
                note(f"the gzip data are damaged and end here ({error})")
                return
            if text:
                yield text
            rest = machine.unconsumed_tail or (machine.unused_data if machine.eof else b"")
    if not machine.eof:
        if tail := machine.flush():
            yield tail
        note("the gzip file is cut off: read up to the cut")


def _up_to_damage(machine: zlib._Decompress, piece: bytes) -> bytes:
    """What a broken piece holds before the break, byte by byte."""
    text = b""
    try:
        for at in range(len(piece)):
            text += machine.decompress(piece[at : at + 1])
    except zlib.error:
        return text
    return text


def _text(blocks: Iterator[bytes], note: Note) -> Iterator[bytes]:
    """UTF-16 as UTF-8; anything else as it is, without a byte order mark."""
    first = next(blocks, b"")
    encoding = next((name for mark, name in _MARKS if first.startswith(mark)), None)
    if b"\0" not in first[:4096]:  # no log is without a letter of ASCII
        encoding = None
    if encoding is None:
        encoding = _guessed(first[:4096])
        yield first.removeprefix(codecs.BOM_UTF8) if encoding is None else b""
    if encoding is None:
        yield from blocks
        return
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    for block in _chain(first, blocks):
        yield decoder.decode(block).removeprefix("\ufeff").encode("utf-8", "replace")
    if decoder.decode(b"", final=True):
        note("the UTF-16 text ends within a character")


def _guessed(head: bytes) -> str | None:
    """UTF-16 without its mark (a file cut at its start): every other byte of plain text is NUL."""
    half = len(head) // 2
    if half < 8:
        return None
    if head[1::2].count(0) > 0.7 * half and head[::2].count(0) < 0.05 * half:
        return "utf-16-le"
    if head[::2].count(0) > 0.7 * half and head[1::2].count(0) < 0.05 * half:
        return "utf-16-be"
    return None


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Blocks cut after their last newline; the rest goes before the next block."""
    rest = b""
    skipping = False
    for block in blocks:
        if skipping:
            end = block.find(b"\n")
            if end < 0:
                continue
            block = block[end:]
            skipping = False
        block = rest + block
        cut = block.rfind(b"\n") + 1
        if cut:
            yield block[:cut]
        rest = block[cut:]
        if len(rest) > MAX_LINE:
            # One byte more than is looked at, by which the scan sees that the line was cut.
            rest = rest[: MAX_LINE + 1]
            skipping = True
    if rest:
        yield rest


def _events(blocks: Iterable[bytes], name: str, note: Note) -> Iterator[bytes]:
    """A profile as one event a line, from JSON of any layout.

    Raises :class:`LogError` where an event is nested deeper than Python reads JSON.
    """
    utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
    text = ""
    for block in blocks:
        try:
            events, text = _split(text + utf8.decode(block), note)
        except RecursionError:
            raise LogError(
                f"Log {name}: an event of this profile is nested so deep that no profiler wrote "
                "it. Give the profile as it was written."
            ) from None
        yield b"".join(events)
        if len(text) > MAX_LINE:
            note("a part of the profile is no JSON event and was left out")
            text = ""
    if text.strip(" \t\r\n],}"):
        note("the profile ends within an event: read up to there")


def _split(text: str, note: Note) -> tuple[list[bytes], str]:
    """The whole events at the start of ``text``, and what is left of it."""
    events: list[bytes] = []
    wrapped = _WRAPPED.match(text)
    position = text.find("{", wrapped.end() if wrapped else 0)
    while position >= 0:
        try:
            event, end = _DECODER.raw_decode(text, position)
        except json.JSONDecodeError:
            following = _NEXT_EVENT.search(text, position + 1)
            if following is None:  # the rest of it is in the next block
                return events, text[position:]
            note("an event of the profile is broken and was left out")
            position = following.end() - 1
            continue
        events.append(json.dumps(event, separators=(",", ":")).encode() + b"\n")
        position = text.find("{", end)
    return events, ""


def _chain(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
