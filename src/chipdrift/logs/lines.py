"""One line, without what was put around its message: logcat's prefix, colours, NUL bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DATE = rb"(?:(?:\d{4}-)?\d\d-\d\d )\d\d:\d\d:\d\d[.,]\d+ +(?:[+-]\d{4} +)?"
_FORMS = tuple(
    re.compile(form)
    for form in (
        # threadtime: date pid tid level tag: (with or without the uid)
        rb"^" + _DATE + rb"(?:\w+ +)?(?P<pid>\d+) +(?P<tid>\d+) "
        rb"(?P<level>[VDIWEFAS]) (?P<tag>\[[^\]]*\]|[^:]*?) *: ?",
        # Android Studio's old one: date pid-tid/package level/tag:
        rb"^"
        + _DATE
        + rb"(?P<pid>\d+)-(?P<tid>\d+)/\S* +(?P<level>[VDIWEFA])/(?P<tag>[^:]*?) *: ?",
        # Android Studio's: date pid-tid tag package level
        rb"^" + _DATE + rb"(?P<pid>\d+)-(?P<tid>\d+) +(?P<tag>\S+) +(?:\S+ +)?"
        rb"(?P<level>[VDIWEFA]) {2}",
        # time and brief: date? level/tag(pid):
        rb"^(?:"
        + _DATE
        + rb")?(?P<level>[VDIWEFA])/(?P<tag>[^:(]*?) *\( *(?P<pid>\d+)(?P<tid>)\): ?",
        # tag: date? level/tag:
        rb"^(?:" + _DATE + rb")?(?P<level>[VDIWEFA])/(?P<tag>[^:]{1,60}?) *(?P<pid>)(?P<tid>): ?",
    )
)
_COLOUR = re.compile(rb"\x1b\[[0-9;]*m")
_STAMP = re.compile(
    rb"^\W{0,3}(?:\d{4}[-/])?\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d|^\W{0,3}\d\d:\d\d:\d\d\b"
)


@dataclass(frozen=True)
class Prefix:
    """Logcat's prefix: ``stream`` is process and thread, ``end`` where the message starts."""

    stream: tuple[bytes, bytes]
    level: str
    tag: bytes
    end: int


def clean(line: bytes) -> bytes:
    """``line`` without NUL bytes, colours and a carriage return at its end."""
    if b"\0" in line:
        line = line.replace(b"\0", b"")
    if b"\x1b" in line:
        line = _COLOUR.sub(b"", line)
    return line.rstrip(b"\r") if line.endswith(b"\r") else line


def prefix_of(line: bytes) -> Prefix | None:
    """Logcat's prefix of a clean line, in any of its formats; None where it has none."""
    head = line[:300]
    if not head or head[0] not in b"0123456789VDIWEFA":
        return None
    if head[4:5] == b"-" and head[29:31] == b" [":  # onnxruntime's own stamp, in nanoseconds
        return None
    for pattern in _FORMS:
        if match := pattern.match(head):
            return Prefix(
                (match["pid"], match["tid"]),
                match["level"].decode(),
                match["tag"].strip(),
                match.end(),
            )
    return None


def looks_logged(head: bytes) -> bool:
    """Whether a share of the lines at a file's start begins as a log's lines do."""
    lines = [clean(line) for line in head.split(b"\n")[:400]]
    lines = [line for line in lines if line.strip()]
    logged = sum(1 for line in lines if prefix_of(line) or _STAMP.match(line))
    return bool(lines) and logged >= max(1, len(lines) // 10)


def words(raw: bytes) -> str:
    """Bytes as text: UTF-8, and where it is none Latin-1, which any bytes are."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return "".join(c if c.isprintable() else " " for c in text) if not text.isprintable() else text
