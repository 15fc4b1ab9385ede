"""``[[layer]]`` tables: what a scheme does otherwise at some of the model's nodes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from chipdrift.records import Record

Weights = Literal["int8", "uint8", "int4"]
Activations = Literal["uint8", "uint16"]
Granularity = Literal["tensor", "channel", "block"]
LayerKind = Literal["qdq", "float32", "float16"]

_GRANULARITIES = {"tensor": "per tensor", "channel": "per channel", "block": "in blocks of"}


class Layer(Record):
    """Nodes that a scheme treats otherwise, and how.

    ``nodes`` are globs on the names of the float model's nodes (``*`` goes over ``/``, too) and
    ``ops`` op types; a node is meant that either names. ``kind`` "float32" keeps it in float on the
    CPU, "float16" computes it in half precision. What is None is as the scheme has it.
    """

    nodes: tuple[str, ...] = ()
    ops: tuple[str, ...] = ()
    kind: LayerKind = "qdq"
    weights: Weights | None = None
    activations: Activations | None = None
    granularity: Granularity | None = None
    block_size: int | None = Field(default=None, ge=2, le=4096)

    @model_validator(mode="after")
    def _consistent(self) -> Layer:
        if not self.nodes and not self.ops:
            raise ValueError('it names no nodes: give nodes = ["block1/*"] or ops = ["Softmax"]')
        integers = (self.weights, self.activations, self.granularity, self.block_size)
        if self.kind != "qdq" and any(value is not None for value in integers):
            raise ValueError(f'kind = "{self.kind}" has no integers: leave out the other keys')
        return self


class Setting(Record):
    """How one node is quantized, all defaults filled in."""

    kind: LayerKind = "qdq"
    weights: Weights
    activations: Activations
    granularity: Granularity
    block_size: int | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Setting:
        if (self.granularity == "block") != (self.block_size is not None):
            raise ValueError('block_size and granularity = "block" go together')
        if self.granularity == "block" and self.weights != "int4":
            raise ValueError('granularity = "block" needs weights = "int4"')
        return self

    @property
    def levels(self) -> int:
        """How many integers an activation has."""
        return 1 << (16 if self.activations == "uint16" else 8)

    def weights_differ(self, other: Setting) -> bool:
        """Whether the two give a weight other integers."""
        mine = (self.weights, self.granularity, self.block_size)
        return mine != (other.weights, other.granularity, other.block_size)

    def words(self, base: Setting) -> str:
        """What sets this apart from ``base``, for people; "" where nothing does."""
        if self.kind == "float32":
            return "kept in float32 on the CPU"
        if self.kind == "float16":
            return "computed in float16"
        found = []
        if self.weights_differ(base):
            size = f" {self.block_size}" if self.block_size else ""
            found.append(f"{self.weights} weights {_GRANULARITIES[self.granularity]}{size}")
        if self.activations != base.activations:
            found.append(f"{self.activations} activations")
        return ", ".join(found)
