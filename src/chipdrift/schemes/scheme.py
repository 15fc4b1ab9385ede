"""What a quantization recipe says."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from chipdrift.records import Record
from chipdrift.schemes.layers import Activations, Granularity, Layer, Setting, Weights

Kind = Literal["float32", "float16", "qdq", "asis"]
Calibration = Literal["minmax", "percentile", "entropy", "mse"]
# What the quantizer computes in: what is beyond it becomes a scale of infinity.
_MOST = float(np.finfo(np.float32).max)


def _real(value: Any) -> Any:
    """``value``, if it is a number that float32 holds; pydantic takes true and "1" for one."""
    if isinstance(value, bool | str):
        raise ValueError("a number is expected")
    if isinstance(value, int | float) and not abs(value) <= _MOST:
        raise ValueError(f"a number that float32 holds is expected: finite, at most {_MOST:.4g}")
    return value


Real = Annotated[float, BeforeValidator(_real)]
Magnitude = Annotated[float, BeforeValidator(_real), Field(gt=0)]


class Scheme(Record):
    """A quantization recipe.

    ``weights`` and ``activations`` are integer types; ``granularity`` says what shares a weight
    scale; ``calibration`` how activation ranges are found from the samples (``percentile`` is used
    by that method alone, in percent of the values kept). ``preprocess`` brings the model to opset
    21, folds constants and batch norms, and fuses Gelu and LayerNorm, as QNN wants them.
    ``layer`` holds the ``[[layer]]`` tables: nodes that are treated otherwise. Where several name a
    node, the last alone holds for it.

    ``ranges`` gives activations (tensors of the float model as preprocessing leaves it) the low and
    high that were not measured; ``weight_ranges`` gives weights, by their node, the magnitude that
    the largest integer stands for, one or one for each output channel. ``adjust`` names an .npz
    beside the TOML with weights and biases that replace the model's; ``adjustment`` are its bytes.
    ``sha256`` is of the TOML's text and of these.
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
    ranges: dict[str, tuple[Real, Real]] = Field(default_factory=dict)
    weight_ranges: dict[str, Magnitude | tuple[Magnitude, ...]] = Field(default_factory=dict)
    adjust: str | None = None
    adjustment: bytes = Field(default=b"", exclude=True, repr=False)
    sha256: str = ""

    @property
    def adjusted(self) -> bool:
        """Whether it carries ranges, weights or biases of one model."""
        return bool(self.ranges or self.weight_ranges or self.adjust)

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
        if self.adjusted and self.kind != "qdq":
            raise ValueError(
                f'ranges, weight_ranges and adjust need kind = "qdq", and this is "{self.kind}"'
            )
        for tensor, (low, high) in self.ranges.items():
            if not low < high:
                raise ValueError(f"ranges: {tensor!r}: {low} is not below {high}")
        if bool(self.adjust) != bool(self.adjustment):
            raise ValueError("adjust names a file beside the scheme's TOML: read it by its path")
        for number, layer in enumerate((None, *self.layer)):
            try:
                self.setting(layer)
            except ValidationError as error:
                words = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
                where = f"[[layer]] {number}, with the scheme's own keys: " if number else ""
                raise ValueError(f"{where}{words}") from error
        return self
