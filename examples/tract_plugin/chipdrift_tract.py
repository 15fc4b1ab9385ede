"""Sonos' tract, an inference engine in Rust, as a target of chipdrift: ``tract:cpu``.

chipdrift finds this module by its entry point (``chipdrift.targets`` in ``pyproject.toml``) and
needs three functions of it: ``resolve``, ``listed`` and ``open_session``. The first two run in
chipdrift's own process, so they do not import tract; the third runs in a worker process.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata, util
from typing import Any

import numpy as np

from chipdrift.errors import ChipdriftError, UnknownNameError
from chipdrift.graph import load_model
from chipdrift.targets import Opened, RefusedError, Session, Target, TargetInfo

Array = np.ndarray[Any, Any]


def missing() -> str | None:
    """Why tract cannot be had on this machine, or None."""
    if util.find_spec("tract") is not None:
        return None
    return "tract is not installed: pip install tract"


def resolve(rest: str) -> Target:
    """``tract:cpu``. Errors are chipdrift's own classes: one sentence, no traceback."""
    if rest != "cpu":
        raise UnknownNameError.of("target", f"tract:{rest}", ["tract:cpu"])
    reason = missing()
    if reason is not None:
        raise ChipdriftError(f"Target tract:cpu cannot run here: {reason}.")
    return Target(
        name="tract:cpu",
        # The module that the worker imports: this one.
        runtime=__name__,
        evidence="host-runtime",
        has_npu=False,
        description="tract, this host",
        # All that decides an answer: results are kept under these.
        versions={"tract": metadata.version("tract"), "machine": platform.machine()},
    )


def listed() -> list[TargetInfo]:
    """What ``chipdrift targets`` and ``chipdrift doctor`` show."""
    reason = missing()
    return [
        TargetInfo(
            name="tract:cpu",
            evidence="host-runtime",
            available=reason is None,
            description="Sonos' tract on this host's CPU",
            reason=reason,
        )
    ]


def open_session(path: str, options: Mapping[str, str]) -> Session:
    """The model, ready to run; RefusedError with tract's words where it does not take it."""
    import tract

    model = load_model(path)
    try:
        runnable = tract.onnx().load(path).into_model().into_runnable()
    except tract.TractError as error:
        words = " ".join(str(error).partition("Stack backtrace")[0].split())
        raise RefusedError(f"tract: {words}") from error
    return TractSession(
        runnable,
        [spec.name for spec in model.info.inputs],
        tuple(("cpu", node.name, node.op_type) for node in model.proto.graph.node),
    )


class TractSession(Session):
    """A runnable model of tract, which takes inputs by their place."""

    def __init__(
        self, runnable: Any, inputs: list[str], nodes: tuple[tuple[str, str, str], ...]
    ) -> None:
        self._runnable, self._inputs, self._nodes = runnable, inputs, nodes

    def opened(self) -> Opened:
        """Every node of the model, on the CPU."""
        return Opened(self._nodes)

    def run(self, feed: Mapping[str, Array]) -> list[Array]:
        """One sample's outputs, in the order of the model's outputs."""
        given = [np.ascontiguousarray(feed[name]) for name in self._inputs]
        return [tensor.to_numpy() for tensor in self._runnable.run(given)]
