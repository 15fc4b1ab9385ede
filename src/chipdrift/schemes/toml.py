"""A scheme as the text of a TOML file."""

from __future__ import annotations

import json
from typing import Any

from chipdrift.schemes.layers import Layer
from chipdrift.schemes.scheme import Scheme

_TABLES = ("ranges", "weight_ranges")


def scheme_toml(scheme: Scheme, name: str | None = None) -> str:
    """The text from which :func:`get_scheme` reads the same scheme (its .npz is another file).

    What is as by default is left out. ``name`` is another name for it.
    """
    fields = scheme.model_dump(exclude_defaults=True, exclude={"sha256", "layer", *_TABLES})
    fields |= {"name": name or scheme.name, "kind": scheme.kind}
    parts = [f"{key} = {_value(value)}" for key, value in fields.items()]
    for table in _TABLES:
        entries: dict[str, Any] = getattr(scheme, table)
        if entries:
            parts += ["", f"[{table}]", *(f"{_key(k)} = {_value(v)}" for k, v in entries.items())]
    for layer in scheme.layer:
        parts += ["", "[[layer]]", *_layer(layer)]
    return "\n".join(parts) + "\n"


def _layer(layer: Layer) -> list[str]:
    fields = layer.model_dump(exclude_defaults=True)
    return [f"{key} = {_value(value)}" for key, value in fields.items()]


def _key(text: str) -> str:
    return _value(text)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # TOML's basic strings escape as JSON's do, but for the one control character beyond ASCII.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(entry) for entry in value)}]"
    return repr(value)
