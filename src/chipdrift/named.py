"""What comes as one TOML each: the files beside a module, and the user's own by path."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from chipdrift.errors import ChipdriftError, UnknownNameError

T = TypeVar("T")

_LARGEST = 1 << 20


def shipped(package: str | None) -> Iterator[tuple[str, str]]:
    """(name, text) of every TOML file in ``package``, by name."""
    assert package is not None
    for entry in sorted(resources.files(package).iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".toml"):
            yield entry.name.removesuffix(".toml"), entry.read_text(encoding="utf-8")


def shipped_one(kind: str, name: str, known: Mapping[str, T]) -> T:
    """What is ``known`` by ``name``, in any case; raises UnknownNameError with the near names."""
    if name.lower() not in known:
        raise UnknownNameError.of(kind, name, known, "A path to a TOML file works, too.")
    return known[name.lower()]


def own_text(kind: str, name: str) -> str | None:
    """The text of the user's own file, or None where ``name`` is no path.

    Raises ChipdriftError where it cannot be read.
    """
    if not name.endswith(".toml") and "/" not in name:
        return None
    path = Path(name)
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ChipdriftError(
                f"{kind.capitalize()} {name}: it is no regular file. Give the path of a TOML file, "
                f"or a built-in name (chipdrift {kind}s)."
            )
        if path.stat().st_size > _LARGEST:
            raise ChipdriftError(
                f"{kind.capitalize()} {name}: {path.stat().st_size} bytes are no {kind}, which has "
                f"{_LARGEST} at most. Give the path of a TOML file."
            )
        return path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise ChipdriftError(
            f"{kind.capitalize()} {name}: cannot be read "
            f"({getattr(error, 'strerror', None) or error}). "
            f"Give the path of a TOML file, or a built-in name (chipdrift {kind}s)."
        ) from error


def parsed(text: str, where: str) -> dict[str, Any]:
    """The fields of ``text``; ``where`` begins the complaint if it is no TOML (ChipdriftError)."""
    try:
        return tomllib.loads(text)
    # Not all that is wrong with a text is a TOMLDecodeError: depth, and numbers of 5,000 digits.
    except (ValueError, RecursionError) as error:
        raise ChipdriftError(f"{where}: not valid TOML: {error}.") from error
