"""What a plan consists of: ops between quantizers, quantizers alone, nodes in float."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chipdrift.graph.program import Step
from chipdrift.numerics.smallfloat import SmallFloat
from chipdrift.numerics.tensors import OpSpec, Quant

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class IntegerUnit:
    """An op between quantizers; ``inputs`` name the integer tensors that come at run time."""

    step: Step
    spec: OpSpec
    inputs: tuple[str, ...]
    output: str
    fused: tuple[Step, ...] = ()


@dataclass(frozen=True, eq=False)
class QuantizeUnit:
    """Real numbers to integers."""

    step: Step
    source: str
    output: str
    quant: Quant


@dataclass(frozen=True, eq=False)
class DequantizeUnit:
    """Integers to real numbers."""

    step: Step
    source: str
    output: str
    quant: Quant


@dataclass(frozen=True, eq=False)
class FloatUnit:
    """A node that runs in float, and why; ``small`` are the profile's rules for small floats."""

    step: Step
    inputs: tuple[str, ...]
    reason: str
    small: SmallFloat | None = None


Unit = IntegerUnit | QuantizeUnit | DequantizeUnit | FloatUnit


@dataclass(frozen=True, eq=False)
class Plan:
    """Units in order; ``constants`` are the tensors that the model holds and units read."""

    units: tuple[Unit, ...]
    constants: Mapping[str, Array]
    outputs: tuple[str, ...]
    inputs: tuple[str, ...]
