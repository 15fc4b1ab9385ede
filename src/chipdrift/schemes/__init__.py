"""Quantization recipes, one TOML each: the built-in ones beside this file, and the user's own."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from chipdrift.errors import ChipdriftError
from chipdrift.named import own_text, parsed, shipped, shipped_one
from chipdrift.records import Record
from chipdrift.schemes.layers import Activations, Granularity, Layer, Setting, Weights

__all__ = ["Calibration", "Kind", "Layer", "Scheme", "Setting", "builtin_schemes", "get_scheme"]

Kind = Literal["float32", "float16", "qdq", "asis"]
Calibration = Literal["minmax", "percentile", "entropy", "mse"]


class Scheme(Record):
    """A quantization recipe.

    ``weights`` and ``activations`` are integer types; ``granularity`` says what shares a weight
    scale; ``calibration`` how activation ranges are found from the samples (``percentile`` is used
    by that method alone, in percent of the values kept). ``preprocess`` brings the model to opset
    21, folds constants and batch norms, and fuses Gelu and LayerNorm, as QNN wants them.
    ``layer`` holds the ``[[layer]]`` tables: nodes that are treated otherwise. Where several name a
    node, the last alone holds for it. ``sha256`` is of the TOML's text.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")
    description: str = ""
    kind: Kind
    weights: Weights = "int8"
    activations: Activations = "uint8"
    granularity: Granularity = "tensor"
    block_size: int | None = Field(default=None, ge=2, le=4096)
    calibration: Calibration = "minmax"
    percentile: float = Field(default=99.99, gt=50, le=100)
    preprocess: bool = True
    layer: tuple[Layer, ...] = ()
    sha256: str = ""

    @property
    def needs_calibration(self) -> bool:
        """Whether activation ranges must be measured on samples."""
        return self.kind == "qdq"

    def setting(self, layer: Layer | None = None) -> Setting:
        """What holds for the nodes of ``layer``, or where no table holds."""
        own = layer if layer is not None else Layer(ops=("*",))
        granularity = own.granularity or self.granularity
        inherited = self.block_size if granularity == "block" or layer is None else None
        return Setting(
            kind=own.kind,
            weights=own.weights or self.weights,
            activations=own.activations or self.activations,
            granularity=granularity,
            block_size=own.block_size or inherited,
        )

    @model_validator(mode="after")
    def _consistent(self) -> Scheme:
        if self.layer and self.kind != "qdq":
            raise ValueError(f'[[layer]] needs kind = "qdq", and this is "{self.kind}"')
        for number, layer in enumerate((None, *self.layer)):
            try:
                self.setting(layer)
            except ValidationError as error:
                words = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
                where = f"[[layer]] {number}, with the scheme's own keys: " if number else ""
                raise ValueError(f"{where}{words}") from error
        return self


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
    scheme = _parse(text, Path(name).stem, f"Scheme {name}")
    if scheme.name in builtin_schemes():
        raise ChipdriftError(
            f"Scheme {name}: the name {scheme.name!r} is a built-in scheme's. "
            "Rename the file, or set another name in it."
        )
    return scheme


def _parse(text: str, name: str, where: str) -> Scheme:
    fields = parsed(text, where)
    digest = hashlib.sha256(text.encode()).hexdigest()
    try:
        return Scheme(**{"name": name, **fields, "sha256": digest})
    except ValidationError as error:
        # A key that nobody knows is most often the cause of one that is missing.
        first = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")[0]
        place, known = tuple(first["loc"]), Scheme.model_fields
        if len(place) > 1 and place[0] == "layer":
            where = f"{where}: [[layer]] {int(place[1]) + 1}"
            place, known = place[2:], Layer.model_fields
        key = ".".join(map(str, place)) or "scheme"
        given = first.get("input")
        # A whole table is no value to show.
        shown = first["type"] != "missing" and not isinstance(given, dict)
        found = f" (found {given!r})" if shown else ""
        allowed = ", ".join(f for f in known if f != "sha256")
        raise ChipdriftError(f"{where}: {key}: {first['msg']}{found}. Keys: {allowed}.") from error


def _rank(scheme: Scheme) -> tuple[int, int, int]:
    return (
        {"int8": 0, "uint8": 1, "int4": 2}[scheme.weights],
        {"uint8": 0, "uint16": 1}[scheme.activations],
        {"tensor": 0, "channel": 1, "block": 2}[scheme.granularity],
    )
