"""``chipdrift probe`` and ``chipdrift profiles``: a target's arithmetic, found and known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chipdrift.cli.console import MOST_SECONDS, print_json, say, split
from chipdrift.cli.options import Json
from chipdrift.errors import ChipdriftError

if TYPE_CHECKING:
    from chipdrift.probe import ProbeResult


def probe(
    target: Annotated[
        list[str], typer.Argument(help="Targets to ask: htp:sm8450, ort:cpu, sim:mine.toml.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="One target: the profile to write, say v69.toml (its page lies beside it, "
            "v69.md). Several: a folder.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="The same seed, the same questions.")
    ] = 0,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", min=1, max=MOST_SECONDS, help="Seconds that one question may take."
        ),
    ] = 120.0,
    width: Annotated[
        list[str] | None,
        typer.Option("--width", help="Activations of 8 bits, 16 bits or both (8,16)."),
    ] = None,
    json: Json = False,
) -> None:
    """Ask a target small questions and write down its arithmetic as a profile for sim:.

    How it rounds, how wide its accumulator is and what it does when that overflows, which bits it
    drops, how precise its scale is. Takes minutes and needs nothing but answers.

    Example: chipdrift probe htp:sm8450 -o v69.toml
    """
    from chipdrift.probe import difference_page, probe_page, run_probe
    from chipdrift.targets import get_target

    names = list(dict.fromkeys(split(target)))
    if not names:
        raise ChipdriftError("No target to probe. Name one, say ort:cpu (chipdrift targets).")
    targets = [get_target(name) for name in names]
    widths = _widths(width)
    files = _files(names, out)
    for path in files:
        if path is not None:
            _write(path.with_suffix(".md"), "")  # what cannot be written is told before the wait
    results: list[ProbeResult] = []
    for found, path in zip(targets, files, strict=True):
        profile_name = path.stem if path else _plain(found.name)
        say(f"Asking {found.name} ({found.description or found.evidence})")
        try:
            result = run_probe(
                found,
                profile_name,
                seed,
                timeout,
                tell=lambda words: say(f"  {words}"),
                widths=widths,
            )
        except KeyboardInterrupt:
            done = ", ".join(r.target for r in results) or "none"
            say(f"\nStopped. No profile of {found.name} was written; finished before: {done}.")
            raise typer.Exit(130) from None
        results.append(result)
        if path is not None:
            _write(path, result.profile)
            _write(path.with_suffix(".md"), probe_page(result))
            say(f"  profile {path}, evidence {path.with_suffix('.md')}")
    if out is not None and len(results) > 1:
        _write(out / "differences.md", difference_page(results))
        say(f"What they do differently: {out / 'differences.md'}")
    if json:
        document = [result.model_dump(mode="json") for result in results]
        print_json({"schema_version": 1, "probes": document})
        return
    for result in results:
        _print(result)
    if out is None:
        say("Nothing was written: -o v69.toml keeps the profile, and sim:v69.toml runs it.")


def profiles(
    json: Json = False,
) -> None:
    """List the numeric profiles that come with chipdrift, each a target sim:<name>.

    Example: chipdrift profiles
    """
    from chipdrift.numerics.profiles import builtin_profiles

    found = builtin_profiles()
    if json:
        print_json(
            {
                "schema_version": 1,
                "profiles": [profile.model_dump(mode="json") for profile in found.values()],
            }
        )
        return
    wide = max(map(len, found), default=0)
    for name, profile in found.items():
        typer.echo(f"sim:{name:<{wide}}  {profile.evidence:<10}  {profile.description}")
    say(
        "prediction: rules read from answers or from published code; hypothesis: a claim, to be "
        "tried, about no chip. A TOML of your own works as well: sim:path/to/mine.toml."
    )


def _widths(given: list[str] | None) -> list[int]:
    found = []
    for value in split(given or ["8", "16"]):
        if value not in ("8", "16"):
            raise ChipdriftError(f"--width {value}: expected 8, 16 or both (8,16).")
        found.append(int(value))
    return sorted(set(found))


def _files(names: list[str], out: Path | None) -> list[Path | None]:
    if out is None:
        return [None] * len(names)
    if len(names) == 1:
        if out.suffix != ".toml":
            raise ChipdriftError(
                f"-o {out}: for one target this is the profile's file; give it a name that ends in "
                ".toml, say v69.toml."
            )
        return [out]
    if out.suffix == ".toml" or out.is_file():
        raise ChipdriftError(
            f"-o {out}: {len(names)} targets make {len(names)} profiles; give a folder."
        )
    return [out / f"{_plain(name)}.toml" for name in names]


def _plain(name: str) -> str:
    """A target's name as a file's."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name.split("/")[-1])


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ChipdriftError(f"{path}: cannot be written ({error.strerror}).") from error


def _print(result: ProbeResult) -> None:
    """The rules that were found, a line each; unknown ones last."""
    import textwrap

    typer.echo(
        f"\n{result.target} ({result.evidence}): {result.models} models in {result.seconds:.0f} s"
    )
    for subject in dict.fromkeys(f.subject for f in result.findings):
        found = [f for f in result.findings if f.subject == subject]
        known = [
            f"{f.rule} {f.value}"
            for f in found
            if f.value is not None and not _dull(f.rule, f.value)
        ]
        unknown = [
            f"{f.rule} unknown ({f.words})"
            for f in found
            if f.value is None and f.explained < max(1, f.asked)
        ]
        first = next((f for f in found if f.asked), None)
        counts = f": {first.explained:,} of {first.asked:,} outputs explained" if first else ""
        typer.echo(f"{subject}{counts}")
        for line in textwrap.wrap(", ".join(known + unknown) or "nothing unusual", 96):
            typer.echo(f"    {line}")


def _dull(rule: str, value: object) -> bool:
    """Whether a value goes without saying."""
    plain = {
        "steps": "single", "drop": 0, "parts": "together", "bias_drop": "TOWARD_ZERO",
        "correction_drop": "HALF_UP", "bias": "exact", "bias_rounding": "HALF_AWAY", "block": 0,
        "block_width": 32, "block_overflow": "wrap", "order": "channels_first",
        "operands": "centred", "drop_rounding": "FLOOR", "zero_point": "output",
    }  # fmt: skip
    return plain.get(rule) == value
