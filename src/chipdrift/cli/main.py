"""The ``chipdrift`` command: its verbs, and what happens to errors."""

from __future__ import annotations

import errno
import signal
import sys

import typer

from chipdrift.cli import (
    bundling,
    consistent,
    diagnosing,
    doctor,
    gating,
    importing,
    listing,
    logs,
    measuring,
    models,
    phones,
    planning,
    probing,
    regressing,
    results,
    sdk,
)
from chipdrift.cli.console import say
from chipdrift.cli.stopping import TERMINATED, TerminatedError, ends_in_order
from chipdrift.errors import ChipdriftError
from chipdrift.phones import adb_at, kits_in
from chipdrift.sdk import sdks_in

# What a shell makes of a process that Ctrl-C ended.
_INTERRUPTED = 128 + signal.SIGINT
_STOPPED = "\nStopped. What was measured is kept: run the same command again."

app = typer.Typer(
    name="chipdrift",
    help=(
        "How accurate is your model on each phone chip, under each quantization scheme? "
        "Which chips agree sample by sample, and which nodes silently left the NPU?"
    ),
    epilog="Start with: chipdrift demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for _verb in (
    measuring.demo,
    measuring.matrix,
    models.quantize,
    logs.logs,
    results.report,
    results.outputs,
    regressing.regress,
    planning.plan,
    bundling.bundle,
    bundling.bundle_key,
    bundling.bundle_selector,
    bundling.bundle_check,
    gating.gate,
    listing.chips,
    listing.targets,
    doctor.doctor,
    listing.schemes,
    probing.probe,
    probing.profiles,
    diagnosing.diagnose,
    consistent.consistency,
    diagnosing.checks,
):
    app.command()(_verb)
# A keyword of Python's, so the function has another name.
app.command(name="import")(importing.import_)
app.add_typer(sdk.app, name="sdk")
app.add_typer(phones.app, name="phones")


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        from importlib import metadata

        typer.echo(f"chipdrift {metadata.version('chipdrift')}")
        raise typer.Exit


def main() -> None:
    """Run the command line: 0 done, 1 a cell failed, 2 misuse, 143 ended by SIGTERM."""
    try:
        with (
            ends_in_order(),
            sdks_in(sdk.sdk_folder(), say),
            kits_in(phones.kits_folder()),
            adb_at(phones.adb_server),
        ):
            app()
    except TerminatedError:
        typer.echo("\nTerminated. What a run had measured is kept.", err=True)
        sys.exit(TERMINATED)
    except ChipdriftError as error:
        sys.stdout.flush()
        typer.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo(_STOPPED, err=True)
        sys.exit(_INTERRUPTED)
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # Ctrl-C while a verb ran: typer has made an exit of it
            typer.echo(_STOPPED, err=True)
        raise
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE):
            raise
        typer.echo(f"Error: {error.strerror}: {error.filename or 'standard output'}.", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
