"""Why a node has no integer form: checks that the ops share."""

from __future__ import annotations

from collections.abc import Callable

from chipdrift.numerics.tensors import OpSpec

Limit = Callable[[OpSpec], str | None]


def needs(*indices: int) -> Limit:
    """Inputs at ``indices`` (all, if none is named) need a quantizer with one scale."""

    def check(spec: OpSpec) -> str | None:
        for index in indices or range(len(spec.operands)):
            if index >= len(spec.operands):
                return f"input {index} is missing"
            quant = spec.operands[index].quant
            if quant is None:
                return f"input {index} has no quantizer"
            if not quant.per_tensor:
                return f"input {index} has more than one scale"
        return None

    return check


def narrow(*indices: int) -> Limit:
    """As :func:`needs`, and the integers have at most 16 bits."""
    first = needs(*indices)

    def check(spec: OpSpec) -> str | None:
        reason = first(spec)
        if reason is None:
            for index in indices or range(len(spec.operands)):
                if spec.quant(index).bits > 16:
                    return f"input {index} has {spec.quant(index).bits} bits, more than 16"
        return reason

    return check


def fixed(*indices: int) -> Limit:
    """Inputs at ``indices``, where they are there, must be known before the model runs."""

    def check(spec: OpSpec) -> str | None:
        for index in indices:
            if index < len(spec.operands):
                operand = spec.operands[index]
                if operand.constant is None and (operand.quant is not None or operand.live):
                    return f"input {index} comes at run time; it must be a constant"
        return None

    return check


def both(*limits: Limit) -> Limit:
    """The first reason that any of ``limits`` gives."""

    def check(spec: OpSpec) -> str | None:
        return next((reason for limit in limits if (reason := limit(spec)) is not None), None)

    return check
