"""Text as a terminal can print it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chipdrift.report.figures import pieces

if TYPE_CHECKING:
    from rich.console import Console

# A word of a shell command: quotes, escaped characters, and what is neither.
_WORD = r"""(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s'"\\])+"""


def printable(console: Console, text: str) -> str:
    """Without control characters, which a name may hold, and in the terminal's own encoding."""
    encoding = console.encoding
    text = "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.replace("±", "+-").encode(encoding, "replace").decode(encoding)
    return text


def folded(name: str, width: int | None) -> str:
    """``name`` on lines of at most ``width`` characters, cut between its pieces where it can."""
    if width is None or len(name) <= width:
        return name
    lines = [""]
    for part in pieces(name):
        if len(lines[-1]) + len(part) > width and lines[-1]:
            lines.append("")
        lines[-1] += part
        while len(lines[-1]) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return "\n".join(lines)


def shortened(op: str, width: int) -> str:
    """An op's name in at most ``width`` characters, the longest of its words cut first.

    ``GlobalAveragePool`` is ``GlobAverPool`` in twelve.
    """
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^A-Z]+|[A-Z]", op)
    while sum(map(len, words)) > width and max(map(len, words)) > 1:
        longest = max(range(len(words)), key=lambda i: len(words[i]))
        words[longest] = words[longest][:-1]
    return "".join(words)[:width]


def command_lines(command: str, width: int) -> list[str]:
    r"""A shell command on lines of at most ``width`` characters that can be copied as they are.

    It is broken before an option where it can, else between words, each line but the last ending
    in a backslash; a word longer than ``width`` stays whole, and so do quotes.
    """
    if re.fullmatch(rf"\s*(?:{_WORD}(?:\s+|$))*", command) is None:
        return [command]  # quotes without an end: better one long line than another command
    groups: list[list[str]] = []
    for word in re.findall(_WORD, command):
        if groups and not word.startswith("-") and groups[-1][0].startswith("-"):
            groups[-1].append(word)
        else:
            groups.append([word])
    room = width - 2  # for the backslash
    parts: list[str] = []
    for group in groups:
        whole = " ".join(group)
        parts += [whole] if len(whole) <= room else group
    lines = [""]
    for part in parts:
        if lines[-1] and len(lines[-1]) + 1 + len(part) > room:
            lines.append(part)
        else:
            lines[-1] = f"{lines[-1]} {part}".lstrip()
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]
