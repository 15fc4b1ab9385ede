"""Sentences and commands on a terminal, within its width."""

from __future__ import annotations

import re
from textwrap import wrap
from typing import TYPE_CHECKING

from chipdrift.report.printing import command_lines, printable

if TYPE_CHECKING:
    from rich.console import Console

# Lines longer than this are hard to read on a wide terminal.
_WIDEST = 110


class Speaker:
    """Prints text wrapped between words, with a hanging indent."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.width = min(console.width, _WIDEST)

    def line(self, words: str = "", indent: int = 0, hang: int = 0, style: str = "") -> None:
        """``words`` after ``indent`` spaces; what does not fit goes on after ``indent + hang``."""
        from rich.text import Text

        # A figure is not parted from its unit.
        text = re.sub(r"(?<=\d) (?=(%|dB|LSB)\b|%)", "\u00a0", printable(self.console, words))
        lines = wrap(
            text,
            max(20, self.width),
            initial_indent=" " * indent,
            subsequent_indent=" " * (indent + hang),
            break_on_hyphens=False,
        )
        for found in lines or [""]:
            self.console.print(Text(found.replace("\u00a0", " "), style=style), soft_wrap=True)

    def command(self, command: str, indent: int) -> None:
        """A command, broken only where the shell takes it so."""
        from rich.text import Text

        text = printable(self.console, command)
        first, *rest = command_lines(text, max(20, self.console.width - indent - 2))
        lines = [f"{' ' * indent}$ {first}", *(f"{' ' * indent}  {line}" for line in rest)]
        for found in lines:
            self.console.print(Text(found, style="bold"), soft_wrap=True)
