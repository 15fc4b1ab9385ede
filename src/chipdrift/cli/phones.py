"""``chipdrift phones``: what the adb server sees, and what chipdrift left on a phone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chipdrift.cli.console import print_json, say
from chipdrift.cli.options import Json
from chipdrift.cli.sdk import sdk_folder

if TYPE_CHECKING:
    from chipdrift.phones import AdbServer

app = typer.Typer(
    help="List phones over adb, and clean what was pushed to them: targets like adb:SERIAL.",
    epilog="Example: chipdrift phones list",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def kits_folder() -> Path | None:
    """Where phones' kits are looked for: beside the SDKs, below the cache folder."""
    sdks = sdk_folder()
    return None if sdks is None else sdks.parent / "phones"


def adb_server() -> AdbServer:
    """The server that adb itself would use: ADB_SERVER_SOCKET, else its address and port.

    Raises PhoneError where they cannot be read.
    """
    from chipdrift.phones.server import DEFAULT_PORT, AdbServer, PhoneError

    given = os.environ.get("ADB_SERVER_SOCKET", "")
    if given:
        kind, _, rest = given.partition(":")
        if kind != "tcp":
            raise PhoneError(
                f"ADB_SERVER_SOCKET is {given!r}, and chipdrift can use tcp:HOST:PORT alone."
            )
        words = rest if ":" in rest else f"127.0.0.1:{rest}"
        named = f"ADB_SERVER_SOCKET is {given!r}"
    else:
        host = os.environ.get("ANDROID_ADB_SERVER_ADDRESS") or "127.0.0.1"
        port = os.environ.get("ANDROID_ADB_SERVER_PORT") or str(DEFAULT_PORT)
        words = f"{host}:{port}"
        named = f"ANDROID_ADB_SERVER_ADDRESS and ANDROID_ADB_SERVER_PORT make {words!r}"
    try:
        return AdbServer.at(words)
    except PhoneError as error:
        raise PhoneError(f"{named}: {error}") from error


@app.command(name="list")
def list_(json: Json = False) -> None:
    """List every phone: what it is, its chip's row in the catalogue, how hot it is.

    Example: chipdrift phones list
    """
    from chipdrift.phones import current_server

    server = current_server()
    found = [_told(one.serial, one.trouble) for one in server.phones()]
    if json:
        print_json({"schema_version": 1, "server": str(server), "phones": found})
        return
    for one in found:
        typer.echo(f"adb:{one['serial']}")
        for words in one["words"]:
            typer.echo(f"  {words}")
    if not found:
        say(
            f"The adb server at {server} sees no phone. Plug one in with USB debugging on, or adb "
            "connect HOST:PORT."
        )


@app.command()
def clean(
    serial: Annotated[str, typer.Argument(help="The phone; with only one it may be ''.")],
) -> None:
    """Remove from a phone all that chipdrift pushed to it: models, inputs, programs.

    Example: chipdrift phones clean SERIAL
    """
    from chipdrift.phones import clean_phone, current_server, find_phone, free_bytes

    phone = find_phone(serial, current_server())
    before = free_bytes(phone)
    clean_phone(phone)
    after = free_bytes(phone)
    freed = f", {(after - before) / 1e6:.1f} MB" if before is not None and after is not None else ""
    say(f"Phone {phone.serial}: removed what chipdrift had pushed{freed}")


def _told(serial: str, trouble: str | None) -> dict[str, Any]:
    """One phone as ``--json`` prints it, with its ``words`` for people."""
    from chipdrift.errors import ChipdriftError
    from chipdrift.phones import Phone, current_server, identify, take_health

    if trouble is not None:
        return {"serial": serial, "trouble": trouble, "words": [f"It {trouble}."]}
    phone = Phone(serial, current_server())
    try:
        identity, health = identify(phone), take_health(phone)
    except ChipdriftError as error:
        return {"serial": serial, "trouble": str(error), "words": [str(error)]}
    chip = identity.chip
    row = "not in the catalogue" if chip is None else chip.label
    if chip is not None and chip.hexagon is not None:
        row += f", Hexagon {chip.hexagon}"
    silicon = "silicon" if identity.emulated is None else f"no silicon: {identity.emulated}"
    return {
        "serial": serial,
        "trouble": None,
        "model": identity.model,
        "soc_manufacturer": identity.soc_manufacturer,
        "soc_model": identity.soc_model,
        "chip": None if chip is None else chip.soc,
        "hexagon": None if chip is None else chip.hexagon,
        "android": identity.android,
        "build": identity.build,
        "abi": identity.abi,
        "machine": identity.machine,
        "emulated": identity.emulated,
        "health": vars(health),
        "words": [
            f"{identity.model or 'It does not tell its model'}; {silicon}",
            f"Chip {identity.soc_model or 'not told'}: {row}",
            f"Android {identity.android or 'none'}, {identity.abi}, build "
            f"{identity.build or 'not told'}",
            health.words,
        ],
    }
