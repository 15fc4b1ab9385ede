"""Find the lines that hold any of many literals, at memory speed.

The literals are made one Aho-Corasick automaton, a table from (state, byte) to the next state,
which a compiled loop walks once over the text: some 2 ns a byte, whatever the lines hold. A line's
literal is the one of highest number that it holds. NUL bytes are stepped over, so UTF-16 text that
was appended to a file in UTF-8 is read, too, and of a line longer than ``MAX_LINE`` only that much
is looked at.

A line's hash is taken without digits and hexadecimal numbers: lines that differ in them only have
the same one. It is FNV-1a of 64 bits; ``0x`` with its digits, and a run of digits, count as one
byte ``#`` each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numba
import numpy as np

MAX_LINE = 1 << 20
"""Bytes of a line that are looked at."""

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Automaton:
    """Literals as a table.

    ``classes`` (256) uint8 tells which column is a byte's: bytes that no state tells apart share
    one. ``following`` (states x columns) uint32 has rows by state and holds where the next state's
    row begins. ``found`` (states) int32 is the highest number of a literal that ends in the state,
    from 1; 0 is none, and rows that begin before ``first`` have none.
    """

    classes: _Array
    following: _Array
    found: _Array
    first: int

    @property
    def columns(self) -> int:
        """How many kinds of byte there are."""
        return self.following.size // self.found.size


@dataclass(frozen=True)
class Hits:
    """The lines with a literal in a chunk, in order, and how many lines there were.

    ``numbers`` counts lines from 0 within the chunk; ``literals`` are the literals' numbers;
    ``blank`` counts lines without text, ``overlong`` those cut at ``MAX_LINE``.
    """

    starts: _Array
    ends: _Array
    numbers: _Array
    literals: _Array
    hashes: _Array
    lines: int
    blank: int
    nuls: int
    overlong: int


def automaton(literals: Sequence[bytes]) -> Automaton:
    """The automaton of ``literals``, numbered from 1 in their order; none may be empty."""
    goto: list[dict[int, int]] = [{}]
    found = [0]
    for number, literal in enumerate(literals, 1):
        state = 0
        for byte in literal:
            if byte not in goto[state]:
                goto[state][byte] = len(goto)
                goto.append({})
                found.append(0)
            state = goto[state][byte]
        found[state] = max(found[state], number)
    following = np.zeros((len(goto), 256), np.uint16)
    fallback = [0] * len(goto)
    queue: deque[int] = deque()
    for byte, state in goto[0].items():
        following[0, byte] = state
        queue.append(state)
    while queue:
        state = queue.popleft()
        following[state] = following[fallback[state]]
        found[state] = max(found[state], found[fallback[state]])
        for byte, child in goto[state].items():
            fallback[child] = int(following[fallback[state], byte])
            following[state, byte] = child
            queue.append(child)
    # Those that end a literal last: the loop then looks at a number, not into a table.
    order = sorted(range(len(goto)), key=lambda state: (found[state] > 0, state))
    place = np.empty(len(goto), np.uint16)
    place[order] = np.arange(len(goto), dtype=np.uint16)
    following = place[following[order]]
    following[:, 0] = np.arange(len(goto), dtype=np.uint16)  # NUL bytes are stepped over
    ends = np.array(found, np.int32)[order]
    table, classes = np.unique(following, axis=1, return_inverse=True)
    columns = table.shape[1]
    return Automaton(
        classes.reshape(-1).astype(np.uint8),
        (table.astype(np.uint32) * np.uint32(columns)).reshape(-1),
        ends,
        int(np.count_nonzero(ends == 0)) * columns,
    )


def scan(text: bytes, machine: Automaton, weak: int) -> Hits:
    """Every line of ``text`` that holds a literal; a last line without its newline counts.

    Lines whose literal is numbered ``weak`` or less have their hash; that of others is 0.
    """
    room = text.count(b"\n") + 1
    spans = np.empty((4, room), np.int64)
    hashes = np.empty(room, np.uint64)
    counts = np.zeros(3, np.int64)
    size = _scan(
        np.frombuffer(text, np.uint8),
        machine.classes,
        machine.following,
        machine.found,
        np.uint32(machine.first),
        np.uint32(machine.columns),
        MAX_LINE,
        weak,
        spans,
        hashes,
        counts,
    )
    starts, ends, numbers, literals = spans[:, :size]
    lines, blank, overlong = (int(count) for count in counts)
    nuls = text.count(b"\0") if b"\0" in text else 0
    return Hits(starts, ends, numbers, literals, hashes[:size], lines, blank, nuls, overlong)


def _jit(function: _Function) -> _Function:
    """Compiled at the first call; kept on disk where a folder can be written."""
    try:
        compiled: Any = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder to keep the code in
        compiled = numba.njit(nogil=True)(function)
    typed: _Function = compiled
    return typed


@_jit
def _hash(data: _Array, start: int, end: int) -> Any:
    value = np.uint64(0xCBF29CE484222325)
    prime = np.uint64(0x100000001B3)
    mark = np.uint64(35)
    hexadecimal = False
    digits = False
    for index in range(start, end):
        byte = data[index]
        if byte == 0 or byte == 13:
            continue
        digit = 48 <= byte <= 57
        if hexadecimal:
            if digit or 97 <= byte <= 102 or 65 <= byte <= 70:
                continue
            hexadecimal = False
        if digits and (byte == 120) and data[index - 1] == 48:
            hexadecimal = True
            continue
        if digit:
            if not digits:
                digits = True
                value = (value ^ mark) * prime
            continue
        digits = False
        value = (value ^ np.uint64(byte)) * prime
    return value


@_jit
def _scan(
    data: _Array,
    classes: _Array,
    following: _Array,
    found: _Array,
    first: Any,
    columns: Any,
    longest: int,
    weak: int,
    spans: _Array,
    hashes: _Array,
    counts: _Array,
) -> int:
    size = 0
    start = 0
    length = data.size
    while start < length:
        state = np.uint32(0)
        best = 0
        limit = min(start + longest, length)
        index = start
        while index < limit:
            byte = data[index]
            if byte == 10:
                break
            state = following[state + classes[byte]]
            if state >= first:
                best = max(best, found[state // columns])
            index += 1
        end = index
        if index == limit and index < length and data[index] != 10:
            counts[2] += 1
            while index < length and data[index] != 10:
                index += 1
        if best:
            spans[0, size] = start
            spans[1, size] = end
            spans[2, size] = counts[0]
            spans[3, size] = best
            hashes[size] = _hash(data, start, end) if best <= weak else 0
            size += 1
        elif end - start <= 6 and _is_blank(data, start, end):
            counts[1] += 1
        counts[0] += 1
        start = index + 1
    return size


@_jit
def _is_blank(data: _Array, start: int, end: int) -> Any:
    """Nothing but white space, or the end of a colour."""
    if start < end and data[start] == 27:
        return True
    for index in range(start, end):
        byte = data[index]
        if byte != 32 and byte != 13 and byte != 9 and byte != 0:
            return False
    return True
