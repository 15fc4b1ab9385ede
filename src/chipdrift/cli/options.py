"""Options that several verbs have, said once."""

from __future__ import annotations

from typing import Annotated

import typer

from chipdrift.cli.console import MOST_SECONDS

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Jobs = Annotated[
    int | None, typer.Option("--jobs", min=1, help="Worker processes. Default: one per core.")
]
Shape = Annotated[
    list[str] | None,
    typer.Option("--shape", help="Pin an input's open dimensions: input=1,3,224,224."),
]
Output = Annotated[
    str | None, typer.Option("--output", help="Output the metric reads. Default: the first.")
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N samples.")]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout", min=0.1, max=MOST_SECONDS, help="Seconds for one session or one sample."
    ),
]
