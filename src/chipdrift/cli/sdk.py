"""``chipdrift sdk``: the releases of the vendor's SDK that are kept, and where."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chipdrift.cli.console import print_json, say
from chipdrift.cli.options import Json
from chipdrift.errors import ChipdriftError

if TYPE_CHECKING:
    from chipdrift.sdk import Pin

app = typer.Typer(
    help="List, install and remove releases of the vendor's SDK: targets like htp:sm8550@2.50.",
    epilog="Example: chipdrift sdk install 2.50",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Names = Annotated[list[str], typer.Argument(help="Releases: 2.48, 2.49, 2.50, 2.51.")]


def sdk_folder() -> Path | None:
    """Where SDKs are kept: below XDG_CACHE_HOME, else below .cache in the home folder.

    A relative XDG_CACHE_HOME is passed over, as the specification asks. None without any of them.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    if not Path(given).is_absolute():
        try:
            given = str(Path.home() / ".cache")
        except RuntimeError:
            return None
    return Path(given) / "chipdrift" / "sdk"


@app.command(name="list")
def list_(json: Json = False) -> None:
    """List the releases that are known, which of them are here, and what they take.

    Example: chipdrift sdk list
    """
    from chipdrift.sdk import known_pins

    found = [_told(pin) for pin in known_pins().values()]
    if json:
        print_json({"schema_version": 1, "folder": _place(), "sdks": found})
        return
    for one in found:
        if one["installed_wheel"]:
            where = "the installed wheel"
        elif one["path"]:
            where = f"here, {one['bytes'] / 1e6:.0f} MB"
        elif one["reason"]:
            where = "not to be had"
        else:
            where = f"not here; {one['fetched_mb']} MB to fetch"
        typer.echo(f"{one['name']}  QNN {one['qnn']:<8} onnxruntime-qnn {one['wheel']}  {where}")
    for reason in filter(None, (one["reason"] for one in found)):
        say(reason)
    say(f"Kept in {_place()}; chipdrift sdk install fetches one, and so does its first use.")


@app.command()
def install(names: _Names, json: Json = False) -> None:
    """Fetch releases and keep them: no package index is needed afterwards.

    Example: chipdrift sdk install 2.48 2.50

    Exit code 0: they are here and run. 2: one could not be fetched, or does not run; nothing of it
    is kept.
    """
    from chipdrift.sdk import get_pin
    from chipdrift.targets.releases import sdk_packages

    for pin in [get_pin(name) for name in names]:
        packages = sdk_packages(pin)
        where = packages[0] if packages else "it is the installed wheel, nothing was fetched"
        say(f"SDK {pin.label}: {where}")
    _print(names, json)


@app.command()
def remove(names: _Names, json: Json = False) -> None:
    """Remove releases; runs that were measured with them stay as they are.

    Example: chipdrift sdk remove 2.48
    """
    from chipdrift.errors import UnknownNameError
    from chipdrift.sdk import current_shelf, known_pins

    pins = known_pins()
    for name in names:
        if name not in pins:
            raise UnknownNameError.of("SDK", name, pins, "chipdrift sdk list shows them.")
    shelf = current_shelf()
    for pin in dict.fromkeys(pins[name] for name in names):
        size = 0 if shelf is None else shelf.remove(pin)
        say(
            f"SDK {pin.name}: removed, {size / 1e6:.0f} MB"
            if size
            else f"SDK {pin.name}: not here, nothing to remove"
        )
    _print(names, json)


def _print(names: list[str], json: bool) -> None:
    from chipdrift.sdk import known_pins

    if json:
        found = [_told(known_pins()[name]) for name in dict.fromkeys(names)]
        print_json({"schema_version": 1, "folder": _place(), "sdks": found})


def _place() -> str | None:
    from chipdrift.sdk import current_shelf

    shelf = current_shelf()
    return None if shelf is None else str(shelf.folder)


def _told(pin: Pin) -> dict[str, Any]:
    """One release as ``--json`` prints it; ``reason`` says why it cannot be had here."""
    from chipdrift.sdk import current_shelf, get_pin

    shelf = current_shelf()
    here = shelf is not None and shelf.holds(pin)
    try:
        get_pin(pin.name)
        reason = None
    except ChipdriftError as error:
        reason = str(error)
    return {
        "name": pin.name,
        "qnn": pin.qnn,
        "wheel": pin.wheel,
        "installed_wheel": pin.is_installed,
        "path": str(shelf.place(pin)) if shelf is not None and here else None,
        "bytes": shelf.size(pin) if shelf is not None and here else 0,
        "fetched_mb": pin.fetched,
        "reason": reason,
    }
