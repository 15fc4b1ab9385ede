"""A page on the terminal: sections, sentences, tables of figures."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

ROWS = 12
"""Entries of a section that are shown; the rest is counted."""


# Names longer than a wide terminal's line: the two ends say which. --json has them whole.
_LONG = re.compile(r"(\S{70})\S{50,}(\S{40})")


class Page:
    """Sections with a heading each, an empty line between them."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def section(self, title: str, style: str = "bold") -> None:
        """A heading after an empty line."""
        self._console.print()
        self.say(title, style)

    def say(self, text: str, style: str = "", indent: int = 0) -> None:
        """A sentence, wrapped within its indent."""
        from rich.padding import Padding
        from rich.text import Text

        self._console.print(
            Padding(Text(brief(text), style=style), (0, 0, 0, indent), expand=False)
        )

    def rows(self, rows: Iterable[tuple[str, ...]], right: int = 1) -> None:
        """A table without lines; the first ``right`` columns are figures."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        made = list(rows)
        for index in range(len(made[0]) if made else 0):
            table.add_column(
                justify="right" if index < right else "left",
                no_wrap=index < right,
                overflow="fold",
            )
        for row in made:
            table.add_row(*(Text(brief(cell)) for cell in row))
        if made:
            from rich.padding import Padding

            self._console.print(Padding(table, (0, 0, 0, 2), expand=False))


def brief(text: str) -> str:
    """``text`` with each word of 160 characters or more cut to its two ends."""
    return _LONG.sub(r"\1...\2", text)


def listed(names: list[str], most: int, last: str = ", ") -> str:
    """``a, b and 3 more``; ``last`` stands before the last name where all are shown."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return last.join(filter(None, (", ".join(names[:-1]), *names[-1:])))
