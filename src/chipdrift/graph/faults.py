"""Patterns that a vendor's runtime is known to answer wrongly, each measured by us.

``docs/known-faults.md`` has the measurements.
"""

from __future__ import annotations

import math

import onnx

_HARD_SWISH = 1 / 6


def wrong_in_float16(proto: onnx.ModelProto) -> list[str]:
    """Names of HardSigmoid nodes (alpha 1/6) whose output s is used as ``Mul(x, s)``.

    onnxruntime-qnn 2.7.0 fuses the two into a hard swish, in float graphs, where the HardSigmoid
    has a name, and answers with a signal-to-noise ratio of -9 dB. ``Mul(s, x)`` is right.
    """
    found = []
    gates = {
        node.output[0]: node
        for node in proto.graph.node
        if node.op_type == "HardSigmoid" and math.isclose(_alpha(node), _HARD_SWISH, rel_tol=1e-3)
    }
    for node in proto.graph.node:
        if node.op_type == "Mul" and node.input[1] in gates:
            gate = gates[node.input[1]]
            if gate.input[0] == node.input[0]:
                found.append(gate.name)
    return found


def _alpha(node: onnx.NodeProto) -> float:
    return next((float(a.f) for a in node.attribute if a.name == "alpha"), 0.2)
