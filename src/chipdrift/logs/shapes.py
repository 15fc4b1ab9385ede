"""Lines that no form reads: whose they are, and what they look like without their figures."""

from __future__ import annotations

import re
from collections.abc import Sequence

from chipdrift.logs.findings import UnknownForm
from chipdrift.logs.grammar import Source
from chipdrift.logs.lines import prefix_of, words
from chipdrift.logs.tally import Tally

_STAMP = re.compile(rb"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.,]\d+ ")
# onnxruntime's own prefix, of which the function is kept, and nothing where QNN speaks.
_PLACE = re.compile(r"\[[VIWEF]:onnxruntime:[^\]]*?(\w*)\] *")
_SQUEEZED = (
    (re.compile(r'"[^"]*"'), '"…"'),
    (re.compile(r"'[^']*'"), "'…'"),
    (re.compile(r"`[^`]*`"), "`…`"),
    (re.compile(r"0x[0-9a-fA-F]+|\b[0-9a-f]{8,}\b|\d+"), "#"),
)
_ERROR = re.compile(rb"\[[EF]:onnxruntime|<E>|\[ *ERROR *\]|\bERROR\b|\[E\]")
_WARNING = re.compile(rb"\[W:onnxruntime|<W>|\[ *WARN(?:ING)? *\]|\bWARNING\b|\[W\]")
_LEVELS = {"E": "error", "F": "error", "A": "error", "W": "warning"}
_TEXT = 300
_KEPT = 20_000
_MEMO = 200_000

_Key = tuple[str, str, str]


class Shapes:
    """Unknown lines by shape. A line's hash (see ``scan``) saves looking at its like again."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._tags = {tag: source.name for source in sources for tag in source.tags}
        self._marks = tuple((mark, source.name) for source in sources for mark in source.marks)
        self._memo: dict[int, _Key | None] = {}
        self._seen: Tally[_Key, str] = Tally(_KEPT)
        self.lines = 0

    def add(self, line: bytes, likeness: int, number: int, count: int = 1) -> str | None:
        """Count ``count`` lines like this one; the source's name, or None for a foreign line."""
        key = self._memo.get(likeness, ())
        if key == ():
            if len(self._memo) >= _MEMO:
                self._memo.clear()
            key = self._memo[likeness] = self._look(line)
        if not key:
            return None
        self.lines += count
        self._seen.add(key, number, lambda: words(line)[:_TEXT], count)
        return key[0]

    def _look(self, line: bytes) -> _Key | None:
        prefix = prefix_of(line)
        # One program prints another's lines: the mark nearest to the message says whose it is.
        at, source = max((line.rfind(mark), name) for mark, name in self._marks)
        if at < 0:
            if prefix is None or prefix.tag not in self._tags:
                return None
            source = self._tags[prefix.tag]
        message = line if prefix is None else line[prefix.end :]
        if _ERROR.search(message):
            severity = "error"
        elif _WARNING.search(message):
            severity = "warning"
        else:
            severity = "other" if prefix is None else _LEVELS.get(prefix.level, "other")
        shape = words(_STAMP.sub(b"", message))[:_TEXT]
        shape = _PLACE.sub(lambda m: "" if m[1] == "QnnLogging" else f"{m[1]}: ", shape, count=1)
        for pattern, short in _SQUEEZED:
            shape = pattern.sub(short, shape)
        return source, severity, shape.strip()

    @property
    def distinct(self) -> int:
        """How many shapes there are, those beyond the kept ones counted line by line."""
        return len(self._seen) + self._seen.dropped

    def commonest(self, most: int) -> tuple[UnknownForm, ...]:
        """The first ``most``: errors, then warnings, then the others, each by their number."""
        ranks = {"error": 0, "warning": 1, "other": 2}
        ordered = sorted(self._seen, key=lambda entry: (ranks[entry[0][1]], -entry[1].count))
        return tuple(
            UnknownForm.model_validate(
                {
                    "source": source,
                    "severity": severity,
                    "shape": shape,
                    "example": seen.value,
                    "count": seen.count,
                    "line": seen.line,
                }
            )
            for (source, severity, shape), seen in ordered[:most]
        )
