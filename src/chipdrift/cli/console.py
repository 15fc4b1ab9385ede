"""What the verbs share: lists in options, JSON on stdout, people's text on stderr, progress."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import typer

from chipdrift.errors import ChipdriftError

if TYPE_CHECKING:
    from chipdrift.matrix import Progress

_PLAIN_EVERY = 10.0


def split(values: list[str]) -> list[str]:
    """``["a,b", "c"]`` to ``["a", "b", "c"]``."""
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def parse_shapes(values: list[str]) -> dict[str, list[int]]:
    """``["x=1,3,8,8"]`` to ``{"x": [1, 3, 8, 8]}``."""
    shapes = {}
    for value in values:
        name, equals, dims = value.rpartition("=")
        try:
            shapes[name] = [int(part) for part in dims.split(",")]
        except ValueError:
            equals = ""
        if not equals or not name:
            raise ChipdriftError(
                f"--shape {value}: expected the input's name and all its dimensions, "
                "as in --shape input=1,3,224,224."
            )
    return shapes


def print_json(document: Any) -> None:
    """One JSON document on stdout; records are written by their own rules."""
    if hasattr(document, "model_dump_json"):
        typer.echo(document.model_dump_json(indent=1))
    else:
        typer.echo(json.dumps(document, indent=1, allow_nan=False))


# A limit in seconds is a wait of the system's, which counts milliseconds in 31 bits.
MOST_SECONDS = 86400.0


def say(text: str) -> None:
    """A line for people, on stderr."""
    typer.echo(text, err=True)


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def how(progress: Progress) -> str:
    """Before it is known which chips share, the time left is only bounded."""
    return "at most" if progress.at_most else "about"


@contextlib.contextmanager
def show_progress() -> Iterator[Callable[[Progress], None]]:
    """A progress bar with the time left on a terminal, a line now and then elsewhere."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bar

        columns = (
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.description}"),
        )
        with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=None, left="")

            def update(progress: Progress) -> None:
                left = progress.seconds_left
                bar.update(
                    task,
                    completed=progress.done,
                    total=progress.planned,
                    description=progress.doing,
                    left="" if left is None else f"{how(progress)} {duration(left)} left",
                )

            yield update
        return
    last = time.monotonic()

    def tell(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= _PLAIN_EVERY:
            last = time.monotonic()
            left = progress.seconds_left
            say(
                f"{progress.done} of {progress.planned} samples run"
                + ("" if left is None else f", {how(progress)} {duration(left)} left")
                + (f" ({progress.doing})" if progress.doing else "")
            )

    yield tell
