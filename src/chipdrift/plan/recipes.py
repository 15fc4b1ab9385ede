"""Schemes that a search makes: a base scheme with other ``[[layer]]`` tables, as TOML files."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chipdrift.errors import RunError
from chipdrift.schemes import Layer, Scheme, get_scheme, scheme_toml

_KINDS = {"uint16": "at16", "float16": "half", "float32": "cpu"}
_LONGEST = 40
# Of a digest: thousands of sets of the same base and counts must not share a name.
_DIGITS = 8


@dataclass(frozen=True)
class Raise:
    """Nodes of the float model and what they are raised to: "uint16", "float16" or "float32".

    ``layers`` is what people count of them: a convolution and its clamp are one.
    """

    nodes: frozenset[str]
    to: str
    layers: int | None = None

    def table(self) -> Layer:
        """The ``[[layer]]`` table that says so."""
        key = "activations" if self.to == "uint16" else "kind"
        # A table's nodes are globs, and a node may be called add[1].
        names = [glob.escape(name) for name in sorted(self.nodes)]
        return Layer.model_validate({"nodes": names, key: self.to})


@dataclass(frozen=True, eq=False)
class Recipes:
    """The folder with a plan's own schemes. The same tables give the same name and file.

    ``words`` are what the schemes that the plan began with were called by: a name, or a file.
    """

    folder: Path
    words: Mapping[str, str] = field(default_factory=dict)
    made: dict[str, Scheme] = field(default_factory=dict)

    def raised(self, base: Scheme, raises: Sequence[Raise], words: str) -> Scheme:
        """``base`` with these nodes raised; ``words`` become its description."""
        raises = [one for one in raises if one.nodes]
        if not raises:
            return base
        layers = (*base.layer, *(one.table() for one in raises))
        scheme = base.model_copy(update={"layer": layers, "description": words})
        counts = "+".join(f"{one.layers or len(one.nodes)}{_KINDS[one.to]}" for one in raises)
        digest = hashlib.sha256(scheme_toml(scheme, "").encode()).hexdigest()[:_DIGITS]
        return self.write(scheme, f"{base.name[:_LONGEST]}+{counts}-{digest}")

    def write(self, scheme: Scheme, name: str) -> Scheme:
        """The scheme under ``name``, as a file of the plan, with its .npz beside it if it has one.

        The .npz is called by its content: all that are made from one scheme share it.
        """
        if name not in self.made:
            file = self.folder / f"{name}.toml"
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                if scheme.adjust:
                    arrays = f"{hashlib.sha256(scheme.adjustment).hexdigest()[:16]}.npz"
                    if not (self.folder / arrays).exists():
                        (self.folder / arrays).write_bytes(scheme.adjustment)
                    scheme = scheme.model_copy(update={"adjust": arrays})
                file.write_text(scheme_toml(scheme, name), encoding="utf-8")
            except OSError as error:
                raise RunError(f"{file}: cannot be written ({error.strerror}).") from error
            self.made[name] = get_scheme(str(file))
        return self.made[name]

    def place(self, scheme: Scheme) -> str:
        """What names the scheme to get_scheme: its file, or the name of a built-in one."""
        if scheme.name in self.made:
            return str(self.folder / f"{scheme.name}.toml")
        return self.words.get(scheme.name, scheme.name)
