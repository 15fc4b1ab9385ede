"""OpenVINO's CPU plugin on this host: ``openvino:cpu``.

It reads the ONNX file as it is. Where activations have 8 bits its convolutions and products run in
int8 and their sums are scaled in float32; the integers are not always onnxruntime's (the how-to on
other runtimes has the counts). Quantizers of 16 bits it takes out of the graph before anything
runs, and with them the clamps that they hold (a Relu that was absorbed): what would answer then is
another network, in float32, so such a model is refused.

Left alone, OpenVINO picks bfloat16 on a host that has it, quantizes activations of compressed
products as it goes, and uses all cores: answers would depend on the host's size. ``OPTIONS`` fixes
these.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata, util
from typing import TYPE_CHECKING, Any, final

import numpy as np

from chipdrift.errors import ChipdriftError, ModelError, UnknownNameError
from chipdrift.targets.base import (
    Opened,
    Part,
    RefusedError,
    Session,
    Target,
    TargetInfo,
    pip_install,
)
from chipdrift.targets.ort import host_isa

if TYPE_CHECKING:
    from chipdrift.graph import LoadedModel

OPTIONS = {
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
    "EXECUTION_MODE_HINT": "ACCURACY",
    "INFERENCE_NUM_THREADS": "1",
    "INFERENCE_PRECISION_HINT": "f32",
    "NUM_STREAMS": "1",
}
"""The plugin's properties, as its documentation names them."""
_DESCRIPTION = "OpenVINO on this host's CPU: 8-bit models in int8, no 16-bit activations"
_INT16 = ("int16", "uint16")

Array = np.ndarray[Any, Any]


def missing() -> str | None:
    """Why OpenVINO cannot be had on this machine, or None."""
    if util.find_spec("openvino") is not None:
        return None
    return f"openvino is not installed: {pip_install('openvino')} (or openvino)"


def resolve(rest: str) -> Target:
    """``openvino:cpu``."""
    if rest != "cpu":
        raise UnknownNameError.of("target", f"openvino:{rest}", ["openvino:cpu"])
    reason = missing()
    if reason is not None:
        raise ChipdriftError(f"Target openvino:cpu cannot run here: {reason}.")
    return Target(
        name="openvino:cpu",
        runtime=__name__,
        evidence="host-runtime",
        has_npu=False,
        description="OpenVINO, this host",
        options=OPTIONS,
        versions={
            "openvino": metadata.version("openvino"),
            "machine": platform.machine(),
            "isa": " ".join(host_isa()) or "unknown",
        },
    )


def listed() -> list[TargetInfo]:
    """One target."""
    reason = missing()
    return [
        TargetInfo(
            name="openvino:cpu",
            evidence="host-runtime",
            available=reason is None,
            description=_DESCRIPTION,
            reason=reason,
        )
    ]


def parts(rest: str) -> list[Part]:
    """What ``openvino:cpu`` is made of."""
    found = metadata.version("openvino") if missing() is None else None
    return [Part("openvino", found, pip_install("openvino"))]


def preload() -> None:
    """Import OpenVINO."""
    import openvino  # noqa: F401


def open_session(path: str, options: Mapping[str, str]) -> Session:
    """Compile the model; ``options`` are properties of the CPU plugin.

    Raises RefusedError with OpenVINO's words where it does not take the model, and in ours where
    it takes the quantizers out of it.
    """
    import openvino

    from chipdrift.graph import load_model

    try:
        model = load_model(path)
    except ModelError as error:
        raise RefusedError(str(error)) from error
    core = openvino.Core()
    try:
        compiled = core.compile_model(core.read_model(path), "CPU", dict(options))
    except RuntimeError as error:
        raise RefusedError(f"OpenVINO: {_cause(str(error))}") from error
    _no_quantizer_lost(model, compiled)
    return OpenvinoSession(model, compiled)


def _cause(text: str) -> str:
    """OpenVINO's message without the files of its own source that it begins with."""
    lines = [line.strip() for line in text.splitlines()]
    said = [line for line in lines if line and not line.startswith("Exception from ")]
    return " ".join(said or lines)[:400]


def _no_quantizer_lost(model: LoadedModel, compiled: Any) -> None:
    """Raise RefusedError where none of the model's 16-bit quantizers is in the compiled graph.

    A single one may be gone for a reason: two in a row with the same scale are one.
    """
    from chipdrift.graph.quantizers import tensor_quantizers

    quantizers = tensor_quantizers(model.proto)
    wide = {
        node.name
        for node in model.proto.graph.node
        if node.op_type == "QuantizeLinear"
        and node.output[0] in quantizers
        and quantizers[node.output[0]].dtype in _INT16
    }
    if not wide:
        return
    kept: set[str] = set()
    for layer in compiled.get_runtime_model().get_ops():
        kept.update(str(layer.get_rt_info()["originalLayersNames"].astype(str)).split(","))
    if wide.isdisjoint(kept):
        raise RefusedError(
            f"OpenVINO took all {len(wide)} QuantizeLinear nodes of 16 bits out of the graph, and "
            "the clamps they hold: what it computes is another network, in float32"
        )


@final
class OpenvinoSession(Session):
    """A compiled model and one request of it."""

    def __init__(self, model: LoadedModel, compiled: Any) -> None:
        self._nodes = [(node.name, node.op_type) for node in model.proto.graph.node]
        self._request = compiled.create_infer_request()
        self._count = len(model.info.outputs)
        devices = compiled.get_property("EXECUTION_DEVICES")
        if list(devices) != ["CPU"]:
            raise RuntimeError(f"OpenVINO placed the model on {devices}, not on the CPU alone")

    def opened(self) -> Opened:
        """Every node of the ONNX model, on the CPU: OpenVINO names no other device."""
        return Opened(tuple(("cpu", name, op) for name, op in self._nodes))

    def run(self, feed: Mapping[str, Array]) -> list[Array]:
        """One sample's outputs, in the order of the model's outputs."""
        self._request.infer({name: np.ascontiguousarray(array) for name, array in feed.items()})
        # The request writes its next answers into the same memory.
        return [self._request.get_output_tensor(at).data.copy() for at in range(self._count)]
