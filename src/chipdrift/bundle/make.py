"""Make a bundle of a plan: choose, compile, collect, sign, try it, and put it in its place."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import final

from chipdrift.bundle.assign import assign, off_names
from chipdrift.bundle.collect import collect_chips, collect_golden_set, collect_variants
from chipdrift.bundle.contexts import Compiled, compile_contexts
from chipdrift.bundle.golden import make_golden
from chipdrift.bundle.keys import PublicKey, SigningKey
from chipdrift.bundle.layout import (
    MANIFEST,
    PUBLIC_KEY,
    SIGNATURE,
    Layout,
    check_place,
    whole_folder,
    write_file,
)
from chipdrift.bundle.records import MOST_SERIAL, Manifest
from chipdrift.bundle.source import check_safe, open_plan
from chipdrift.bundle.tried import try_bundle
from chipdrift.errors import ChipdriftError
from chipdrift.matrix import read_matrix

SCHEMA_FILE = "manifest.schema.json"
DEFAULT_GOLDEN = 4


@final
@dataclass(frozen=True)
class Made:
    """``alone`` is what the variants' files are in bytes without sharing, ``shared`` with it."""

    folder: Path
    manifest: Manifest
    key: PublicKey
    alone: int
    shared: int
    size: int
    warnings: tuple[str, ...]


def make_bundle(
    plan: str | Path,
    out: str | Path,
    *,
    key: str | Path | None = None,
    contexts: bool = False,
    off: Sequence[str] = (),
    golden: int = DEFAULT_GOLDEN,
    data: str | Path | None = None,
    allow_missed: bool = False,
    name: str | None = None,
    serial: int | None = None,
) -> Made:
    """Write the bundle ``out`` of the plan in the folder ``plan``, whole or not at all.

    ``key`` is a PEM file with an Ed25519 private key; without it the bundle is signed with one that
    is thrown away. ``contexts`` compiles the variants for their chips on this host; ``off`` are
    chips whose NPU stays off; ``golden`` samples make the self-check (0: none), from ``data`` if
    they are no longer where they were. Raises ChipdriftError.
    """
    out = Path(out)
    before = check_place(out)
    signing = SigningKey.read(Path(key)) if key is not None else SigningKey.fresh()
    number = _serial(out, serial, before)
    for option, words in (("--name", [name or ""]), ("--off", off)):
        _check_words(option, words)
    source = open_plan(Path(plan))
    has_run = (source.confirm / "matrix.json").is_file()
    matrix = read_matrix(source.confirm) if has_run else None
    check_safe(source, matrix)
    names, warnings = off_names(off)
    cells = {(c.scheme, c.target): c for c in matrix.cells} if matrix is not None else {}
    assigned, told = assign(source, cells, names, allow_missed)
    found = make_golden(source, matrix, assigned, golden, str(data or ""))
    warnings += [*told, *found.warnings]
    compiled: Mapping[str, Compiled] = {}
    if contexts:
        compiled, told = compile_contexts(
            assigned, source.models, found.feeds, source.plan.model.inputs
        )
        warnings += told
    layout = Layout()
    variants, alone, shared = collect_variants(source, assigned, layout)
    chips = collect_chips(source, assigned, found, compiled, layout)
    golden_set = collect_golden_set(matrix, found, layout)
    layout.put(SCHEMA_FILE, schema_bytes())
    manifest = Manifest(
        chipdrift=metadata.version("chipdrift"),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        serial=number,
        name=name or source.plan.model.name,
        model=source.plan.model,
        data=source.plan.data,
        metric=source.plan.metric,
        budget=source.plan.budget.text,
        throwaway_key=key is None,
        safe=source.plan.safe,
        variants=variants,
        chips=chips,
        off=names,
        golden=golden_set,
        files=layout.files(),
        warnings=tuple(warnings),
    )
    with whole_folder(out) as folder:
        for file, content in layout.data.items():
            write_file(folder, file, content)
        _sign(folder, manifest, signing)
        write_file(folder, PUBLIC_KEY, signing.public.pem.encode())
        # As an app will, before anybody else can.
        told = try_bundle(folder, signing.public.hex, manifest)
        if told:
            warnings += told
            manifest = manifest.model_copy(update={"warnings": tuple(warnings)})
            _sign(folder, manifest, signing)
            try_bundle(folder, signing.public.hex, manifest)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return Made(out, manifest, signing.public, alone, shared, size, tuple(warnings))


def schema_bytes() -> bytes:
    """``manifest.schema.json``, as it lies in every bundle."""
    return resources.files(__package__).joinpath(SCHEMA_FILE).read_bytes()


def _sign(folder: Path, manifest: Manifest, signing: SigningKey) -> None:
    text = manifest.model_dump_json(indent=1).encode() + b"\n"
    write_file(folder, MANIFEST, text)
    write_file(folder, SIGNATURE, signing.sign(text))


def _check_words(option: str, words: Sequence[str]) -> None:
    """A manifest is UTF-8 and its names are printed: what is neither is refused."""
    strange = next((one for one in words if not one.isprintable()), None)
    if strange is not None:
        raise ChipdriftError(
            f"{option} {strange!a}: it holds bytes that are no UTF-8, or characters that "
            "cannot be printed. Give it in plain letters."
        )


def _serial(out: Path, asked: int | None, before: int | None) -> int:
    """Seconds since 1970 unless asked for another; always above that of the bundle before."""
    if asked is not None and asked > MOST_SERIAL:
        raise ChipdriftError(
            f"--serial {asked}: the highest that all readers of JSON hold is {MOST_SERIAL} (2^53). "
            "Give a lower one, or none."
        )
    if before is not None and before >= MOST_SERIAL:
        raise ChipdriftError(
            f"-o {out}: the bundle that is there has the serial {before}, and none that all "
            "readers of JSON hold is above it. Give another -o, and apps that saw that one a new "
            "key and a fresh count."
        )
    if asked is None:
        return max(int(time.time()), (before or 0) + 1)
    if before is not None and asked <= before:
        raise ChipdriftError(
            f"--serial {asked}: the bundle that is there has {before}, and apps refuse one that "
            "does not rise. Give a higher one, or none."
        )
    return asked
