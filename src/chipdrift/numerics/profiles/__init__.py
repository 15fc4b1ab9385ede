"""Profiles, one TOML each: the built-in ones beside this file, and the user's own."""

from __future__ import annotations

import difflib
import hashlib
import itertools
import re
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from chipdrift.errors import ChipdriftError, UnknownNameError
from chipdrift.numerics.profile import Override, Profile

_Place = tuple[str | int, ...]


# Generations that follow another's rules in everything a probe asked (docs/generations.md).
_SAME_RULES = {
    "hexagon-v68": "hexagon-v69",
    "hexagon-v75": "hexagon-v73",
    "hexagon-v79": "hexagon-v73",
    "hexagon-v81": "hexagon-v73",
}


@cache
def builtin_profiles() -> dict[str, Profile]:
    """The profiles that come with chipdrift, by name."""
    found = {}
    for entry in sorted(resources.files(__package__).iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".toml"):
            name = entry.name.removesuffix(".toml")
            found[name] = _read(entry.read_text(encoding="utf-8"), name, f"Profile {name}")
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
        return parse_profile(text, _name_of(path.stem), f"Profile {name}")
    known = builtin_profiles()
    name = _SAME_RULES.get(name.lower(), name)
    if name.lower() not in known:
        raise UnknownNameError.of("profile", name, known, "A path to a TOML file works, too.")
    return known[name.lower()]


def parse_profile(text: str, name: str, where: str) -> Profile:
    """The profile in ``text``; ``where`` begins every complaint, which names the line and the fix.

    Raises ChipdriftError.
    """
    profile = _read(text, name, where)
    # Not for the built-in ones, which tests hold to it: it takes the ops half a second to load.
    _refuse_strangers(profile, text, where)
    _refuse_contradictions(profile, text, where)
    return profile


def _name_of(stem: str) -> str:
    """A file's stem as a profile's name, for files that give none."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._+-") else "-" for c in stem)
    return plain.lstrip("._+-")[:64] or "profile"


def _read(text: str, name: str, where: str) -> Profile:
    try:
        fields: dict[str, Any] = tomllib.loads(text)
    # Not all that is wrong with a text is a TOMLDecodeError: depth, and numbers of 5,000 digits.
    except (ValueError, RecursionError) as error:
        raise ChipdriftError(f"{where}: not valid TOML: {error}.") from error
    if "sha256" in fields:
        spot = _spot(where, text, ("sha256",))
        raise ChipdriftError(f"{spot}: sha256 is made from the file; remove it.")
    digest = hashlib.sha256(text.encode()).hexdigest()
    try:
        return Profile(**{"name": name, **fields, "sha256": digest})
    except ValidationError as error:
        raise ChipdriftError(_complaint(error, text, where)) from error


def _refuse_strangers(profile: Profile, text: str, where: str) -> None:
    """Refuse op types that no rule reaches: a misspelt one would change nothing, in silence."""
    if not profile.fallback.ops and not profile.rule:
        return
    from chipdrift.numerics.ops import reference_ops  # the ops are loaded where they are named

    named: list[tuple[_Place, Iterable[str]]] = [(("fallback", "ops"), profile.fallback.ops)]
    named += [(("rule", i, "ops"), rule.ops or ()) for i, rule in enumerate(profile.rule)]
    for place, ops in named:
        for op in ops:
            if op not in reference_ops():
                near = difflib.get_close_matches(op, reference_ops(), n=1)
                hint = f"Did you mean {near[0]}?" if near else "Remove it."
                raise ChipdriftError(
                    f"{_spot(where, text, place)}: {_key(place)}: {op} is no op that the engine "
                    f"computes in integers, so nothing would change. {hint}"
                )
    for i, rule in enumerate(profile.rule):
        takers = {"MatMul"} if rule.kernel == "dynamic" else {"Conv", "ConvTranspose"}
        if rule.kernel and rule.ops and not takers & set(rule.ops):
            place = ("rule", i, "kernel")
            raise ChipdriftError(
                f'{_spot(where, text, place)}: {_key(place)} = "{rule.kernel}" contradicts ops = '
                f"{list(rule.ops)}: only Conv and ConvTranspose have kernels, and MatMul the "
                "kernel dynamic; remove kernel."
            )


def _refuse_contradictions(profile: Profile, text: str, where: str) -> None:
    """Put rules together in every way in which an op can meet them; some contradict only then."""
    ops = dict.fromkeys(["", *(op for rule in profile.rule for op in rule.ops or ())])
    kernels = dict.fromkeys([None, *(rule.kernel for rule in profile.rule)])
    for op, activation, kernel in itertools.product(ops, (8, 16), kernels):
        try:
            profile.rules_for(op, activation, kernel)
        except ValidationError as error:
            met = [i for i, r in enumerate(profile.rule) if r.selects(op, activation, kernel)]
            place: _Place = ("rule", met[-1]) if met else ("requantize",)
            words = error.errors()[0]["msg"].removeprefix("Value error, ")
            by = f"{op or 'an op'}, {activation} bits{f', {kernel}' if kernel else ''}"
            numbers = ", ".join(str(i + 1) for i in met)
            more = f"rules {numbers} together ({by}): " if len(met) > 1 else ""
            raise ChipdriftError(f"{_spot(where, text, place)}: {more}{words}.") from error


def _complaint(error: ValidationError, text: str, where: str) -> str:
    """One sentence on the first fault: line, what was found, what would be right."""
    first = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")[0]
    place: _Place = first["loc"]
    message = first["msg"].removeprefix("Value error, ")
    cause = getattr(first.get("ctx", {}).get("error"), "__cause__", None)
    if not place and isinstance(cause, ValidationError):
        # A rule that contradicts the profile's own tables: "rule 2: " and an error of its own.
        number = re.match(r"rule (\d+): ", message)
        place = ("rule", int(number[1]) - 1) if number else ()
        message = cause.errors()[0]["msg"].removeprefix("Value error, ")
    spot, key = _spot(where, text, place), _key(place)
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


def _key(place: _Place) -> str:
    """A place as people write it: rules are counted from one."""
    parts = list(place)
    if parts[:1] == ["rule"] and len(parts) > 1:
        rest = ".".join(map(str, parts[2:]))
        return f"rule {int(parts[1]) + 1}" + (f", {rest}" if rest else "")
    return ".".join(map(str, parts))


def _keys_at(place: _Place) -> list[str]:
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


def _spot(where: str, text: str, place: _Place) -> str:
    """``where`` with the line of what stands at ``place``, or of the nearest thing around it."""
    lines = _lines(text)
    for depth in range(len(place), 0, -1):
        if place[:depth] in lines:
            return f"{where}, line {lines[place[:depth]]}"
    return where


def _lines(text: str) -> dict[_Place, int]:
    """The line on which every table and key of a TOML file begins.

    Statement by statement: what TOML's own reader takes as a whole is one.
    """
    found: dict[_Place, int] = {}
    table: _Place = ()
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


def _numbered(place: _Place, found: dict[_Place, int]) -> _Place:
    """A table's place with the numbers of the lists in it, which its header does not tell."""
    out: _Place = ()
    for index, part in enumerate(place):
        if part == 0 and index == len(place) - 1:  # [[rule]]: one more
            return (*out, sum(len(p) == len(out) + 1 and p[:-1] == out for p in found))
        out = (*out, part)
        last = [p[-1] for p in found if len(p) == len(out) + 1 and p[:-1] == out]
        if last and isinstance(last[-1], int) and place[index + 1 : index + 2] != (0,):
            out = (*out, last[-1])  # [rule.requantize]: of the latest rule
    return out


def _deepest(parsed: Any) -> _Place:
    items = enumerate(parsed) if isinstance(parsed, list) else parsed.items()
    return next(((key, *_deepest(value)) for key, value in items), ())


def _places(parsed: Any) -> Iterable[_Place]:
    if isinstance(parsed, dict | list):
        items = enumerate(parsed) if isinstance(parsed, list) else parsed.items()
        for key, value in items:
            yield (key,)
            yield from ((key, *inner) for inner in _places(value))
