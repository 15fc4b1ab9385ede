"""QDQ models of one op with integers in and out, run by onnxruntime and by the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from chipdrift.graph.program import program_of
from chipdrift.numerics.profile import Profile
from chipdrift.targets.sim.session import SimSession

Array = np.ndarray[Any, Any]
_TYPES = {n: getattr(TensorProto, n.upper()) for n in ("int4", "uint4", "int8", "uint8", "int16")}
_TYPES |= {n: getattr(TensorProto, n.upper()) for n in ("uint16", "int32", "int64", "bool")}


@dataclass(frozen=True, eq=False)
class Q:
    """A quantized tensor: ``values`` are its integers, part of the model if ``constant``."""

    dtype: str
    scale: Any
    zero_point: Any = 0
    values: Any = None
    constant: bool = False
    axis: int = 1
    block_size: int = 0


@dataclass(frozen=True, eq=False)
class Live:
    """Plain values that come at run time: indices, a condition."""

    values: Any


@dataclass(frozen=True, eq=False)
class Case:
    """One op; an input is a Q, a Live, a plain array that the model holds, or None."""

    op: str
    inputs: Sequence[Q | Live | Array | None]
    output: Q
    attributes: Mapping[str, Any] | None = None
    opset: int = 21
    domain: str = ""
    outputs: int = 1
    index: int = 0
    relu: bool = False


def model_of(case: Case) -> onnx.ModelProto:
    """The model; its inputs are x0, x1, ... and its output y, all integers."""
    nodes, constants, inputs, names = [], [], [], []

    def constant(name: str, values: Any, kind: int) -> str:
        array = np.asarray(values)
        constants.append(helper.make_tensor(name, kind, array.shape, array.reshape(-1).tolist()))
        return name

    def quantizer(key: str, q: Q) -> list[str]:
        scale = np.asarray(q.scale, np.float32)
        zero = np.broadcast_to(np.asarray(q.zero_point), scale.shape)
        return [
            constant(f"{key}_s", scale, TensorProto.FLOAT),
            constant(f"{key}_z", zero, _TYPES[q.dtype]),
        ]

    for i, one in enumerate(case.inputs):
        key = f"x{i}"
        if one is None:
            names.append("")
        elif isinstance(one, Q):
            if one.constant:
                constant(key, one.values, _TYPES[one.dtype])
            else:
                shape = np.shape(one.values)
                inputs.append(helper.make_tensor_value_info(key, _TYPES[one.dtype], shape))
            extra = {"axis": one.axis} if np.ndim(one.scale) else {}
            if one.block_size:
                extra["block_size"] = one.block_size
            ends = [key, *quantizer(key, one)]
            nodes.append(
                helper.make_node("DequantizeLinear", ends, [f"{key}_f"], f"dq{i}", **extra)
            )
            names.append(f"{key}_f")
        elif isinstance(one, Live):
            kind = _TYPES[str(np.asarray(one.values).dtype)]
            inputs.append(helper.make_tensor_value_info(key, kind, np.shape(one.values)))
            names.append(key)
        else:
            constants.append(numpy_helper.from_array(np.asarray(one), key))
            names.append(key)
    made = [f"o{i}" for i in range(case.outputs)]
    attributes = dict(case.attributes or {})
    nodes.append(
        helper.make_node(case.op, names, made, "the_node", domain=case.domain, **attributes)
    )
    last = made[case.index]
    if case.relu:
        nodes.append(helper.make_node("Relu", [last], ["r"], "relu"))
        last = "r"
    ends = [last, *quantizer("y", case.output)]
    nodes.append(helper.make_node("QuantizeLinear", ends, ["y"], "q"))
    info = helper.make_tensor_value_info("y", _TYPES[case.output.dtype], None)
    graph = helper.make_graph(nodes, "one", inputs, [info], constants)
    domains = [helper.make_opsetid("", case.opset), helper.make_opsetid("com.microsoft", 1)]
    if case.domain not in ("", "com.microsoft"):
        domains.append(helper.make_opsetid(case.domain, 1))
    return helper.make_model(graph, opset_imports=domains, ir_version=10)


def feed_of(case: Case) -> dict[str, Array]:
    """What comes at run time."""
    feed: dict[str, Array] = {}
    for i, one in enumerate(case.inputs):
        if isinstance(one, Q) and not one.constant:
            kind = {"int4": "int8", "uint4": "uint8"}.get(one.dtype, one.dtype)
            feed[f"x{i}"] = np.asarray(one.values).astype(kind)
        elif isinstance(one, Live):
            feed[f"x{i}"] = np.asarray(one.values)
    return feed


def by_onnxruntime(case: Case, optimized: bool = True) -> Array:
    """onnxruntime's CPU provider; ``optimized`` lets it fuse QDQ into its integer kernels."""
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.intra_op_num_threads = 1
    settings.add_session_config_entry("session.x64quantprecision", "1")
    if not optimized:
        off = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        settings.graph_optimization_level = off
    data = model_of(case).SerializeToString()
    session = onnxruntime.InferenceSession(data, settings, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feed_of(case))[0])


def profile(**parts: Any) -> Profile:
    """onnxruntime's arithmetic (float32 throughout), with the given parts of a profile instead."""
    requantize = {"scale": "float32", "multiplier": "float32", "rounding": "HALF_EVEN"}
    tables = {"requantize": requantize, "elementwise": {}, "function": {}}
    return Profile(**{"name": "test", **tables, **parts})


def session_of(case: Case, rules: Profile | None = None) -> SimSession:
    """The engine's reference functions on the model."""
    return SimSession(program_of(model_of(case)), rules or profile(), fast=False)


def by_engine(case: Case, **parts: Any) -> Array:
    """The engine; fails where the op did not run in integers."""
    session = session_of(case, profile(**parts))
    assert not session.opened().reasons, session.opened().reasons
    return session.run(feed_of(case))[0]


def differing(case: Case, optimized: bool = True, **parts: Any) -> tuple[float, int]:
    """(share of integers that differ from onnxruntime's, the largest difference)."""
    ours, theirs = by_engine(case, **parts), by_onnxruntime(case, optimized)
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape, (ours.shape, theirs.shape)
    gap = np.abs(ours.astype(np.int64) - theirs.astype(np.int64))
    return float((gap > 0).mean()), int(gap.max(initial=0))
