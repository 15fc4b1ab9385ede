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

Kind = Literal["float32", "float16", "qdq", "asis"]
Calibration = Literal["minmax", "percentile", "entropy", "mse"]


class Scheme(Record):
    """A quantization recipe.

    ``weights`` and ``activations`` are integer types; ``granularity`` says what shares a weight
    scale; ``calibration`` how activation ranges are found from the samples (``percentile`` is used
    by that method alone, in percent of the values kept). ``preprocess`` brings the model to opset
    21, folds constants and batch norms, and fuses Gelu and LayerNorm, as QNN wants them.
    ``sha256`` is of the TOML's text.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")
    description: str = ""
    kind: Kind
    weights: Literal["int8", "uint8", "int4"] = "int8"
    activations: Literal["uint8", "uint16"] = "uint8"
    granularity: Literal["tensor", "channel", "block"] = "tensor"
    block_size: int | None = Field(default=None, ge=2, le=4096)
    calibration: Calibration = "minmax"
    percentile: float = Field(default=99.99, gt=50, le=100)
    preprocess: bool = True
    sha256: str = ""

    @property
    def needs_calibration(self) -> bool:
        """Whether activation ranges must be measured on samples."""
        return self.kind == "qdq"

    @model_validator(mode="after")
    def _consistent(self) -> Scheme:
        if (self.granularity == "block") != (self.block_size is not None):
            raise ValueError('block_size and granularity = "block" go together')
        if self.granularity == "block" and self.weights != "int4":
            raise ValueError('granularity = "block" needs weights = "int4"')
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
        key = ".".join(map(str, first["loc"])) or "scheme"
        found = "" if first["type"] == "missing" else f" (found {first.get('input')!r})"
        allowed = ", ".join(f for f in Scheme.model_fields if f != "sha256")
        raise ChipdriftError(f"{where}: {key}: {first['msg']}{found}. Keys: {allowed}.") from error


def _rank(scheme: Scheme) -> tuple[int, int, int]:
    return (
        {"int8": 0, "uint8": 1, "int4": 2}[scheme.weights],
        {"uint8": 0, "uint16": 1}[scheme.activations],
        {"tensor": 0, "channel": 1, "block": 2}[scheme.granularity],
    )
