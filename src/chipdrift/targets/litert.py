"""LiteRT (TensorFlow Lite) on this host's processor: ``litert:xnnpack``, ``litert:reference``.

The QDQ model is written as a TFLite model of the same integers, scales and zero points
(``chipdrift.tflite``); ``xnnpack`` runs it by LiteRT's XNNPACK delegate and, where that does
not take an op, by LiteRT's own optimized kernels; ``reference`` by its plain C++ kernels
(``BUILTIN_REF``).

A float input is rounded by LiteRT, too (measured with 2.3.0): by XNNPACK ``x * (1 / scale)`` in
float32, half to even; by the reference kernels ``x / scale``, half away from zero. onnxruntime has
``x / scale``, half to even. Inputs on ties (u8 / 255 at a scale of 2 / 255) make that 12.8 % of the
input's integers for the reference kernels and 0.4 % for XNNPACK; random ones 0.001 % at most. On
the way out ``(q - zero_point) * scale`` is the same float32 in all three.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata, util
from typing import TYPE_CHECKING, Any

import numpy as np

from chipdrift.errors import ChipdriftError, UnknownNameError
from chipdrift.targets.base import Opened, RefusedError, Session, Target, TargetInfo, pip_install
from chipdrift.targets.ort import host_isa

if TYPE_CHECKING:
    from chipdrift.tflite import Converted

# Raised when what the writer makes of a model changes: kept answers are then measured anew.
_WRITER = "1"
_KERNELS = {
    "xnnpack": "LiteRT with XNNPACK, this host",
    "reference": "LiteRT's reference kernels, this host",
}
_INTEGERS_ONLY = "not available: chipdrift writes TFLite files of quantized models only"


def missing() -> str | None:
    """Why LiteRT cannot be had on this machine, or None."""
    if util.find_spec("ai_edge_litert") is not None:
        return None
    return f"ai-edge-litert is not installed: {pip_install('litert')} (or ai-edge-litert)"


def resolve(rest: str) -> Target:
    """``litert:xnnpack`` or ``litert:reference``."""
    if rest not in _KERNELS:
        names = [f"litert:{name}" for name in _KERNELS]
        raise UnknownNameError.of("target", f"litert:{rest}", names)
    reason = missing()
    if reason is not None:
        raise ChipdriftError(f"Target litert:{rest} cannot run here: {reason}.")
    return Target(
        name=f"litert:{rest}",
        runtime=__name__,
        evidence="host-runtime",
        has_npu=False,
        description=_KERNELS[rest],
        profile=f"litert-{rest}",
        options={"kernels": rest},
        versions={
            "ai-edge-litert": metadata.version("ai-edge-litert"),
            "tflite-writer": _WRITER,
            "machine": platform.machine(),
            "isa": " ".join(host_isa()) or "unknown",
        },
        refuses={
            "float32": _INTEGERS_ONLY,
            "float16": _INTEGERS_ONLY,
            "uint16": "16-bit activations, which this writer does not write",
        },
    )


def listed() -> list[TargetInfo]:
    """Two targets."""
    reason = missing()
    return [
        TargetInfo(
            name=f"litert:{name}",
            evidence="host-runtime",
            available=reason is None,
            description=description,
            reason=reason,
        )
        for name, description in _KERNELS.items()
    ]


def preload() -> None:
    """Import LiteRT and the writer."""
    import ai_edge_litert.interpreter  # noqa: F401

    import chipdrift.tflite  # noqa: F401


def open_session(path: str, options: Mapping[str, str]) -> Session:
    """Write the model as TFLite and build its interpreter, with one thread.

    Raises RefusedError where the model cannot be written with the same integers, or where LiteRT's
    kernels do not take what was written.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    from chipdrift.tflite import UnwritableError, convert_file

    try:
        nodes, converted = convert_file(path)
    except UnwritableError as error:
        raise RefusedError(str(error)) from error
    reference = options["kernels"] == "reference"
    try:
        interpreter = Interpreter(
            model_content=converted.data,
            num_threads=1,
            experimental_op_resolver_type=(
                OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
            ),
        )
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise RefusedError(f"LiteRT: {' '.join(str(error).split())}") from error
    return LitertSession(interpreter, converted, nodes)


class LitertSession(Session):
    """An interpreter and the ONNX model's inputs and outputs.

    ``notes`` tells what the writer put in.
    """

    def __init__(
        self, interpreter: Any, converted: Converted, nodes: tuple[tuple[str, str], ...]
    ) -> None:
        self._interpreter = interpreter
        self._inputs = [
            (port, entry["index"])
            for port, entry in zip(converted.inputs, interpreter.get_input_details(), strict=True)
        ]
        self._outputs = [
            (port, entry["index"])
            for port, entry in zip(converted.outputs, interpreter.get_output_details(), strict=True)
        ]
        self._nodes = nodes
        self.notes = converted.notes

    def opened(self) -> Opened:
        """Every node of the ONNX model, on the CPU."""
        return Opened(tuple(("cpu", name, op) for name, op in self._nodes))

    def run(self, feed: Mapping[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        """One sample's outputs, in the order of the model's outputs."""
        for port, index in self._inputs:
            given = feed[port.name]
            if port.shift is not None:
                given = (given.astype(np.int16) - port.shift).astype(np.int8)
            self._interpreter.set_tensor(index, given)
        self._interpreter.invoke()
        answers = []
        for port, index in self._outputs:
            found = self._interpreter.get_tensor(index)
            if port.shift:
                found = (found.astype(np.int16) + port.shift).astype(np.uint8)
            answers.append(found)
        return answers
