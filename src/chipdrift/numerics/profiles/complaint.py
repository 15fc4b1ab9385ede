"""What is wrong with a profile's file, in one sentence with the line and the fix."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError

from chipdrift.numerics.profile import Override, Profile

# Where something stands in a profile: ("requantize", "bits"), ("rule", 0, "ops").
Place = tuple[str | int, ...]


def complaint(error: ValidationError, text: str, where: str) -> str:
    """One sentence on the first fault: line, what was found, what would be right."""
    first = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")[0]
    place: Place = first["loc"]
    message = first["msg"].removeprefix("Value error, ")
    cause = getattr(first.get("ctx", {}).get("error"), "__cause__", None)
    if not place and isinstance(cause, ValidationError):
        # A rule that contradicts the profile's own tables: "rule 2: " and an error of its own.
        number = re.match(r"rule (\d+): ", message)
        place = ("rule", int(number[1]) - 1) if number else ()
        message = cause.errors()[0]["msg"].removeprefix("Value error, ")
    spot, key = spot_of(where, text, place), key_of(place)
    match first["type"]:
        case "extra_forbidden":
            known = _keys_at(place[:-1])
            near = difflib.get_close_matches(str(place[-1]), known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            return f"{spot}: {key}: no such rule.{hint} Known here: {', '.join(known)}."
        case "value_error":
            return f"{spot}: {f'{key}: ' if key else ''}{message}."
        case "missing":
            return f"{spot}: {key} is missing; add it."
        case "model_type" | "model_attributes_type":
            wanted = f"a table, [{key}] with its rules below it, or {{ ... }} on one line"
        case "tuple_type" if place == ("rule",):
            wanted = "a list of tables: write [[rule]], in two pairs of brackets"
        case "tuple_type":
            wanted = 'a list in brackets, say ["Conv", "MatMul"]'
        case "string_pattern_mismatch":
            wanted = "letters, digits and . _ + - (64 at most, a letter or digit first)"
        case "int_type" | "int_parsing" | "int_from_float":
            wanted = "a whole number"
        case _:
            wanted = message.removeprefix("Input should be ")
            wanted = wanted.replace("less than or equal to", "at most")
            wanted = wanted.replace("greater than or equal to", "at least")
    return f"{spot}: {key}: found {first.get('input')!r}, expected {wanted}."


def key_of(place: Place) -> str:
    """A place as people write it: rules are counted from one."""
    parts = list(place)
    if parts[:1] == ["rule"] and len(parts) > 1:
        rest = ".".join(map(str, parts[2:]))
        return f"rule {int(parts[1]) + 1}" + (f", {rest}" if rest else "")
    return ".".join(map(str, parts))


def _keys_at(place: Place) -> list[str]:
    """The rules that may stand at ``place``."""
    model: type[BaseModel] = Profile
    for part in place:
        if part == "rule":
            model = Override
        elif part in model.model_fields:
            inner = model.model_fields[str(part)].annotation
            candidates = [inner, *getattr(inner, "__args__", ())]
            found = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
            if found:
                model = found[0]
    return [name for name in model.model_fields if name != "sha256"]


def spot_of(where: str, text: str, place: Place) -> str:
    """``where`` with the line of what stands at ``place``, or of the nearest thing around it."""
    lines = _lines(text)
    for depth in range(len(place), 0, -1):
        if place[:depth] in lines:
            return f"{where}, line {lines[place[:depth]]}"
    return where


def _lines(text: str) -> dict[Place, int]:
    """The line on which every table and key of a TOML file begins.

    Statement by statement: what TOML's own reader takes as a whole is one.
    """
    found: dict[Place, int] = {}
    table: Place = ()
    statement, begins = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        begins = begins if statement else number
        statement += line + "\n"
        try:
            parsed = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue  # a list or a string that goes on
        if statement.lstrip().startswith("["):
            table = _numbered(_deepest(parsed), found)
            found.setdefault(table, begins)
        else:
            for place in _places(parsed):
                found.setdefault((*table, *place), begins)
        statement = ""
    return found


def _numbered(place: Place, found: dict[Place, int]) -> Place:
    """A table's place with the numbers of the lists in it, which its header does not tell."""
    out: Place = ()
    for index, part in enumerate(place):
        if part == 0 and index == len(place) - 1:  # [[rule]]: one more
            return (*out, sum(len(p) == len(out) + 1 and p[:-1] == out for p in found))
        out = (*out, part)
        last = [p[-1] for p in found if len(p) == len(out) + 1 and p[:-1] == out]
        if last and isinstance(last[-1], int) and place[index + 1 : index + 2] != (0,):
            out = (*out, last[-1])  # [rule.requantize]: of the latest rule
    return out


def _deepest(parsed: Any) -> Place:
    items = enumerate(parsed) if isinstance(parsed, list) else parsed.items()
    return next(((key, *_deepest(value)) for key, value in items), ())


def _places(parsed: Any) -> Iterable[Place]:
    if isinstance(parsed, dict | list):
        items = enumerate(parsed) if isinstance(parsed, list) else parsed.items()
        for key, value in items:
            yield (key,)
            yield from ((key, *inner) for inner in _places(value))
