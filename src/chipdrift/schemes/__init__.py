"""Quantization recipes, one TOML each: the built-in ones beside this file, and the user's own."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from chipdrift.errors import ChipdriftError
from chipdrift.named import own_text, parsed, shipped, shipped_one
from chipdrift.schemes.adjustment import beside, read_adjustment, write_adjustment
from chipdrift.schemes.layers import Layer, Setting
from chipdrift.schemes.scheme import Calibration, Kind, Scheme
from chipdrift.schemes.toml import scheme_toml

__all__ = [
    "Calibration",
    "Kind",
    "Layer",
    "Scheme",
    "Setting",
    "builtin_schemes",
    "get_scheme",
    "read_adjustment",
    "scheme_toml",
    "write_adjustment",
]


# Of a value that is complained of, so many characters are shown.
_LONGEST = 60


@cache
def builtin_schemes() -> dict[str, Scheme]:
    """The schemes that come with chipdrift, by name."""
    found = {name: _parse(text, name, f"scheme {name}") for name, text in shipped(__package__)}
    order = list(Kind.__args__)  # type: ignore[attr-defined]
    return dict(sorted(found.items(), key=lambda item: (order.index(item[1].kind), _rank(item[1]))))


def get_scheme(name: str) -> Scheme:
    """A built-in scheme by name, or the user's own by the path of its TOML file."""
    text = own_text("scheme", name)
    if text is None:
        return shipped_one("scheme", name, builtin_schemes())
    scheme = _parse(text, Path(name).stem, f"Scheme {name}", Path(name))
    if scheme.name in builtin_schemes():
        raise ChipdriftError(
            f"Scheme {name}: the name {scheme.name!r} is a built-in scheme's. "
            "Rename the file, or set another name in it."
        )
    return scheme


def _parse(text: str, name: str, where: str, path: Path | None = None) -> Scheme:
    fields = parsed(text, where)
    digest = hashlib.sha256(text.encode())
    derived: dict[str, Any] = {}
    if path is not None and isinstance(fields.get("adjust"), str):
        derived["adjustment"] = beside(fields["adjust"], path, where)
        read_adjustment(derived["adjustment"], f"{where}: adjust: {fields['adjust']}")
        digest.update(b"\0" + derived["adjustment"])
    derived["sha256"] = digest.hexdigest()
    try:
        return Scheme(**{"name": name, **fields, **derived})
    except ValidationError as error:
        # A key that nobody knows is most often the cause of one that is missing.
        # Of a value that may be a number or a list, a list is complained of as a list.
        first = sorted(
            error.errors(),
            key=lambda e: (e["type"] != "extra_forbidden", isinstance(e.get("input"), list)),
        )[0]
        place, known = tuple(first["loc"]), Scheme.model_fields
        if place[:1] == ("weight_ranges",):
            # pydantic names the kinds of value that it tried, too.
            place = (*place[:2], *(step for step in place[2:] if isinstance(step, int)))
        if len(place) > 1 and place[0] == "layer":
            where = f"{where}: [[layer]] {int(place[1]) + 1}"
            place, known = place[2:], Layer.model_fields
        key = ".".join(map(str, place)) or "scheme"
        given = first.get("input")
        # A whole table is no value to show.
        shown = first["type"] != "missing" and not isinstance(given, dict)
        found = f" (found {repr(given)[:_LONGEST]})" if shown else ""
        words = first["msg"].removeprefix("Value error, ")
        allowed = ", ".join(f for f in known if f not in ("adjustment", "sha256"))
        raise ChipdriftError(f"{where}: {key}: {words}{found}. Keys: {allowed}.") from error


def _rank(scheme: Scheme) -> tuple[int, int, int]:
    return (
        {"int8": 0, "uint8": 1, "int4": 2}[scheme.weights],
        {"uint8": 0, "uint16": 1}[scheme.activations],
        {"tensor": 0, "channel": 1, "block": 2}[scheme.granularity],
    )
