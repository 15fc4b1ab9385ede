"""Write a profile as TOML: tables in the order of the record, one rule a line, why beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chipdrift.numerics.profile import Profile
from chipdrift.records import Record


def profile_toml(profile: Profile, head: str, notes: Mapping[str, str] | None = None) -> str:
    """The profile's text, which :func:`chipdrift.numerics.profiles.parse_profile` reads back.

    ``head`` becomes the opening comment; ``notes`` maps a key's dotted place ("input.rounding",
    "rule.0") to a comment that stands above it.
    """
    notes = notes or {}
    lines = [f"# {line}".rstrip() for line in head.splitlines()]
    lines += [f"name = {_value(profile.name)}", f"description = {_value(profile.description)}"]
    lines.append(f"evidence = {_value(profile.evidence)}")
    if profile.seed:
        lines.append(f"seed = {profile.seed}")
    for name in Profile.model_fields:
        part = getattr(profile, name)
        if isinstance(part, Record) and part.model_fields_set:
            lines += ["", f"[{name}]"]
            for key, value in part.model_dump(mode="json", exclude_unset=True).items():
                if value is None:
                    continue
                note = notes.get(f"{name}.{key}")
                lines += [f"# {note}"] if note else []
                lines.append(f"{key} = {_value(value)}")
    for index, rule in enumerate(profile.rule):
        lines += ["", "[[rule]]"]
        note = notes.get(f"rule.{index}")
        lines += [f"# {line}" for line in (note or "").splitlines()]
        for key, value in rule.model_dump(mode="json", exclude_unset=True).items():
            if value is not None:
                lines.append(f"{key} = {_value(value)}")
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    if isinstance(value, dict):
        inner = ", ".join(f"{k} = {_value(v)}" for k, v in value.items() if v is not None)
        return "{ " + inner + " }" if inner else "{}"
    return repr(value)
