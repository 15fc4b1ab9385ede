"""Profiles, one TOML each: the built-in ones beside this file, and the user's own."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from chipdrift.errors import ChipdriftError
from chipdrift.named import own_text, parsed, shipped, shipped_one
from chipdrift.numerics.profile import Profile
from chipdrift.numerics.profiles.complaint import complaint, spot_of

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
    return {name: _read(text, name, f"Profile {name}") for name, text in shipped(__package__)}


def get_profile(name: str) -> Profile:
    """A built-in profile by name, or the user's own by the path of its TOML file."""
    text = own_text("profile", name)
    if text is not None:
        return parse_profile(text, _name_of(Path(name).stem), f"Profile {name}")
    return shipped_one("profile", _SAME_RULES.get(name.lower(), name), builtin_profiles())


def parse_profile(text: str, name: str, where: str) -> Profile:
    """The profile in ``text``; ``where`` begins every complaint, which names the line and the fix.

    Raises ChipdriftError.
    """
    profile = _read(text, name, where)
    # Not for the built-in ones, which tests hold to it: it takes the ops half a second to load.
    from chipdrift.numerics.profiles.idle import refuse_idle

    refuse_idle(profile, text, where)
    return profile


def _name_of(stem: str) -> str:
    """A file's stem as a profile's name, for files that give none."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._+-") else "-" for c in stem)
    return plain.lstrip("._+-")[:64] or "profile"


def _read(text: str, name: str, where: str) -> Profile:
    fields = parsed(text, where)
    if "sha256" in fields:
        spot = spot_of(where, text, ("sha256",))
        raise ChipdriftError(f"{spot}: sha256 is made from the file; remove it.")
    digest = hashlib.sha256(text.encode()).hexdigest()
    try:
        return Profile(**{"name": name, **fields, "sha256": digest})
    except ValidationError as error:
        raise ChipdriftError(complaint(error, text, where)) from error
