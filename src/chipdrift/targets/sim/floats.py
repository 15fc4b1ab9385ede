"""Nodes that run in float32: each alone on onnxruntime's CPU provider, nothing fused (N73)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chipdrift.graph.program import Program, Step, single_node_model
from chipdrift.targets.base import RefusedError

Array = np.ndarray[Any, Any]


class FloatNode:
    """One node; its session is made for the types and ranks of the first inputs it sees.

    ``inputs`` names all that it reads, what the bodies of an If, Loop or Scan read included: alone,
    the node finds the tensors around it among its model's inputs.
    """

    def __init__(
        self,
        step: Step,
        inputs: Sequence[str],
        program: Program,
        constants: Mapping[str, Array],
    ) -> None:
        self._step, self._program = step, program
        self._constants = {name: constants[name] for name in inputs if name in constants}
        self._sessions: dict[tuple[Any, ...], Any] = {}

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """The node's outputs by name; raises RefusedError where onnxruntime will not run it."""
        import onnxruntime

        key = tuple((name, str(a.dtype), a.ndim) for name, a in sorted(feed.items()))
        names = [name for name in self._step.outputs if name]
        try:
            if key not in self._sessions:
                settings = onnxruntime.SessionOptions()
                settings.intra_op_num_threads = settings.inter_op_num_threads = 1
                settings.log_severity_level = 3
                data = single_node_model(
                    self._step,
                    self._program.opsets,
                    {name: (dtype, rank) for name, dtype, rank in key},
                    self._constants,
                )
                self._sessions[key] = onnxruntime.InferenceSession(
                    data, settings, providers=["CPUExecutionProvider"]
                )
            session = self._sessions[key]
            made = session.run(names, {k: np.asarray(v, order="C") for k, v in feed.items()})
        except Exception as error:
            raise RefusedError(
                f"node {self._step.name} ({self._step.op}) runs neither in integers nor in float: "
                f"{' '.join(str(error).split())[:300]}"
            ) from error
        return dict(zip(names, made, strict=True))
