"""``chipdrift bundle``, ``bundle-key``, ``bundle-selector`` and ``bundle-check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chipdrift.cli.console import print_json, say, split
from chipdrift.cli.options import Json
from chipdrift.errors import ChipdriftError

if TYPE_CHECKING:
    from chipdrift.bundle import Made


def bundle(
    plan: Annotated[Path, typer.Argument(help="A folder that chipdrift plan wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write, whole or not.")],
    key: Annotated[
        Path | None, typer.Option("--key", help="Ed25519 private key, PEM: chipdrift bundle-key.")
    ] = None,
    contexts: Annotated[
        bool,
        typer.Option("--contexts", help="Compile the variants for their chips on this host."),
    ] = False,
    off: Annotated[
        list[str] | None,
        typer.Option("--off", help="Chips whose NPU stays off, by comma or repeated."),
    ] = None,
    golden: Annotated[
        int, typer.Option("--golden", min=0, max=64, help="Samples for the self-check; 0: none.")
    ] = 4,
    data: Annotated[
        str | None,
        typer.Option("--data", help="The plan's samples, if they are no longer where they were."),
    ] = None,
    allow_missed: Annotated[
        bool,
        typer.Option("--allow-missed", help="Ship the nearest where nothing holds the budget."),
    ] = False,
    name: Annotated[
        str | None, typer.Option("--name", help="What the bundle is called, if not the model.")
    ] = None,
    serial: Annotated[
        int | None,
        typer.Option("--serial", min=0, help="Has to rise; seconds since 1970 unless given."),
    ] = None,
    json: Json = False,
) -> None:
    """Write what each chip gets as a signed folder that an app loads.

    Example: chipdrift bundle-key -o release-key.pem

    Example: chipdrift bundle runs/plan -o bundle --key release-key.pem --contexts

    Example: chipdrift bundle-selector java -o app/src/main/java
    """
    from chipdrift.bundle import make_bundle

    made = make_bundle(
        plan,
        out,
        key=key,
        contexts=contexts,
        off=split(off or []),
        golden=golden,
        data=data,
        allow_missed=allow_missed,
        name=name,
        serial=serial,
    )
    if json:
        print_json(
            {
                "schema_version": 1,
                "folder": str(made.folder),
                "public_key": made.key.hex,
                "fingerprint": made.key.fingerprint,
                "size": made.size,
                "models": {"alone": made.alone, "shipped": made.shared},
                "manifest": made.manifest.model_dump(mode="json"),
                "warnings": list(made.warnings),
            }
        )
    else:
        _print(made)
    for warning in made.warnings:
        say(f"Warning: {_visible(warning)}")
    if made.manifest.throwaway_key:
        say(
            "Warning: signed with a key made for this bundle and thrown away: it shows damage, and "
            "nobody can ever sign an update for an app that trusts it. For an app: chipdrift "
            "bundle-key -o KEY.pem, then --key KEY.pem"
        )
    say(f"Bundle: {made.folder}")


def bundle_key(
    out: Annotated[Path, typer.Option("--out", "-o", help="The PEM file to write.")],
    json: Json = False,
) -> None:
    """Make a key to sign bundles with. Whoever has the file can sign in your app's name.

    Example: chipdrift bundle-key -o release-key.pem
    """
    from chipdrift.bundle import SigningKey

    made = SigningKey.fresh()
    made.write(out)
    if json:
        print_json(
            {
                "schema_version": 1,
                "file": str(out),
                "public_key": made.public.hex,
                "fingerprint": made.public.fingerprint,
            }
        )
    else:
        typer.echo(f"public key   {made.public.hex}")
        typer.echo(f"fingerprint  {made.public.fingerprint}")
    say(f"Private key: {out}. Keep it secret, and keep it: without it no update can be signed.")


def bundle_selector(
    language: Annotated[str, typer.Argument(help="java, cpp or python.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of the app's sources.")],
    json: Json = False,
) -> None:
    """Write the sources that an app carries to open a bundle and to pick what its phone gets.

    Example: chipdrift bundle-selector java -o app/src/main/java
    """
    from chipdrift.bundle import LANGUAGES, write_selector
    from chipdrift.errors import UnknownNameError

    if language not in LANGUAGES:
        raise UnknownNameError.of("language", language, LANGUAGES)
    files = write_selector(language, out)
    if json:
        print_json({"schema_version": 1, "files": [str(file) for file in files]})
    else:
        for file in files:
            typer.echo(file)


def bundle_check(
    folder: Annotated[Path, typer.Argument(help="A bundle.")],
    public_key: Annotated[
        str, typer.Option("--public-key", help="Its 64 hexadecimal digits, or a PEM file.")
    ],
    chip: Annotated[
        str | None, typer.Option("--chip", help="Tell what the phone with this ro.soc.model gets.")
    ] = None,
    manufacturer: Annotated[
        str, typer.Option("--manufacturer", help="The phone's ro.soc.manufacturer.")
    ] = "",
    sdk: Annotated[str, typer.Option("--sdk", help="The app's QNN release, as in 2.51.0.")] = "",
    least_serial: Annotated[
        int, typer.Option("--least-serial", min=0, help="Refuse a bundle older than this.")
    ] = 0,
    json: Json = False,
) -> None:
    """Open a bundle as an app does, and check every file of it. Exit code 1: it is refused.

    Example: chipdrift bundle-check bundle --public-key bundle/key.pub --chip SM8550
    """
    from chipdrift.bundle import read_public
    from chipdrift.bundle.selectors.python.chipdrift_bundle import BundleError, open_bundle

    key = read_public(public_key)
    if not folder.is_dir():
        raise ChipdriftError(f"Bundle {folder}: no such folder. chipdrift bundle writes one.")
    try:
        opened = open_bundle(str(folder), key.hex, least_serial)
        files = opened.check_files()
        choice = None if chip is None else opened.select(chip, manufacturer, sdk)
    except BundleError as error:
        if json:
            print_json({"schema_version": 1, "refused": str(error)})
        say(f"Refused: {error}.")
        raise typer.Exit(1) from None
    if json:
        found: dict[str, object] = {
            "schema_version": 1,
            "refused": None,
            "name": opened.name,
            "serial": opened.serial,
            "files": files,
        }
        if choice is not None:
            found["choice"] = {
                "variant": choice.variant,
                "model": choice.model,
                "npu": choice.npu,
                "options": choice.options,
                "context": None if choice.context is None else choice.context.model,
                "golden": len(choice.golden),
                "why": choice.why,
            }
        print_json(found)
        return
    name = _visible(opened.name)
    typer.echo(f"{name}, serial {opened.serial}: signed by {key.fingerprint}, {files} files")
    if choice is not None:
        place = "NPU" if choice.npu else "CPU"
        ready = " (compiled for it)" if choice.context is not None else ""
        typer.echo(
            f"{chip}: {_visible(choice.variant)} on the {place}{ready}: {_visible(choice.why)}"
        )


def _print(made: Made) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for head in ("chip", "ro.soc.model", "variant", "on", "compiled", "self-check"):
        table.add_column(head, overflow="fold")
    for chip in made.manifest.chips:
        golden = chip.golden
        allowed = (
            "" if golden is None else ", ".join(_limit(x.steps, x.most) for x in golden.limits)
        )
        table.add_row(
            Text(_visible(chip.name)),
            Text(_visible(", ".join(chip.names)) or "none"),
            Text(_visible(chip.variant)),
            "NPU" if chip.npu else "CPU",
            f"SDK {chip.context.sdk}" if chip.context is not None else "",
            f"{len(golden.expected)} samples, {allowed}" if golden is not None else "",
        )
    table.add_row("any other", "", Text(_visible(made.manifest.safe)), "CPU", "", "")
    console = Console(highlight=False)
    console.print(table)
    console.print()
    for chip in made.manifest.chips:
        console.print(Text(_visible(f"{chip.name}: {chip.why}")), soft_wrap=True)
    saved = made.alone - made.shared
    shared = f", {saved:,} fewer for what they have in common" if saved else ""
    say(f"Models: {made.shared:,} bytes{shared}; the bundle: {made.size:,} bytes")
    typer.echo(f"public key   {made.key.hex}")
    typer.echo(f"fingerprint  {made.key.fingerprint}")


def _visible(text: str) -> str:
    """Without what a terminal obeys: a plan is a file that others may have written."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def _limit(steps: int | None, most: float) -> str:
    return f"up to {most:.3g} off" if steps is None else f"up to {steps} steps off"
