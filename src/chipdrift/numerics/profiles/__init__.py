"""Profiles, one TOML each: the built-in ones beside this file, and the user's own."""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from chipdrift.errors import ChipdriftError, UnknownNameError
from chipdrift.numerics.profile import Override, Profile


@cache
def builtin_profiles() -> dict[str, Profile]:
    """The profiles that come with chipdrift, by name."""
    found = {}
    for entry in sorted(resources.files(__package__).iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".toml"):
            name = entry.name.removesuffix(".toml")
            found[name] = parse_profile(entry.read_text(encoding="utf-8"), name, f"profile {name}")
    return found


def get_profile(name: str) -> Profile:
    """A built-in profile by name, or the user's own by the path of its TOML file."""
    if name.endswith(".toml") or "/" in name:
        path = Path(name)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ChipdriftError(
                f"Profile {name}: cannot be read ({getattr(error, 'strerror', None) or error}). "
                "Give the path of a TOML file, or a built-in name (chipdrift profiles)."
            ) from error
        return parse_profile(text, path.stem, f"Profile {name}")
    known = builtin_profiles()
    if name.lower() not in known:
        raise UnknownNameError.of("profile", name, known, "A path to a TOML file works, too.")
    return known[name.lower()]


def parse_profile(text: str, name: str, where: str) -> Profile:
    """The profile in ``text``; ``where`` begins every complaint, which names the line and the fix.

    Raises ChipdriftError.
    """
    try:
        fields: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ChipdriftError(f"{where}: not valid TOML: {error}.") from error
    digest = hashlib.sha256(text.encode()).hexdigest()
    try:
        return Profile(**{"name": name, **fields, "sha256": digest})
    except ValidationError as error:
        raise ChipdriftError(_complaint(error, text, where)) from error


def _complaint(error: ValidationError, text: str, where: str) -> str:
    """One sentence on the first fault: line, what was found, what would be right."""
    first = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")[0]
    path = [str(part) for part in first["loc"]]
    line = _line_of(text, [p for p in path if p != "sha256"])
    key = ".".join(path) or "profile"
    spot = f"{where}, line {line}" if line else where
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = _keys_at(path[:-1])
        near = difflib.get_close_matches(path[-1], known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        return f"{spot}: unknown rule {key}.{hint} Known here: {', '.join(known)}."
    if first["type"] == "value_error":
        return f"{spot}: {key + ': ' if path else ''}{message}."
    return f"{spot}: {key}: found {first.get('input')!r}; {message[0].lower()}{message[1:]}."


def _keys_at(path: list[str]) -> list[str]:
    """The rules that may stand at ``path``."""
    model: type[BaseModel] = Profile
    for part in path:
        if part == "rule":
            model = Override
        elif part in model.model_fields:
            inner = model.model_fields[part].annotation
            candidates = [inner, *getattr(inner, "__args__", ())]
            found = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
            if found:
                model = found[0]
    return [name for name in model.model_fields if name != "sha256"]


def _line_of(text: str, path: list[str]) -> int | None:
    """The line on which the key at ``path`` stands, as near as a plain reading tells."""
    lines = text.splitlines()
    start = 0
    tables = [part for part in path if not part.isdigit()]
    numbers = [int(part) for part in path if part.isdigit()]
    for depth, part in enumerate(tables):
        table = re.compile(rf"^\s*\[+\s*(?:[\w.\"]+\.)?{re.escape(part)}\s*\]+")
        key = re.compile(rf"(?:^|[\s{{,.]){re.escape(part)}\s*[.=]")
        hits = [i for i in range(start, len(lines)) if table.match(lines[i])]
        if part == "rule" and numbers and len(hits) > numbers[0]:
            start = hits[numbers[0]]
            continue
        keyed = [i for i in range(start, len(lines)) if key.search(lines[i])]
        found = hits or keyed if depth < len(tables) - 1 else keyed or hits
        if not found:
            return start + 1 if depth else None
        start = found[0]
    return start + 1 if tables else None
