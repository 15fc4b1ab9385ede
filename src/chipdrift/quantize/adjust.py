"""What a scheme says of one model: its ranges, its weights' ranges, its weights and biases."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from chipdrift.errors import ChipdriftError
from chipdrift.quantize.blockwise import reduced_axis
from chipdrift.quantize.layers import clamped
from chipdrift.quantize.mixed import Overrides
from chipdrift.quantize.ranges import Range
from chipdrift.schemes import Scheme, read_adjustment

# Ops whose input 2 is a bias of one number for each output channel, and may be left out.
_BIASED = frozenset({"Conv", "ConvTranspose", "Gemm"})
_BIAS = 2
# The least range that the quantizer is told to take (MinimumRealRange of its QNN configuration).
_LEAST_RANGE = 1e-4
_RAISED = f"are narrower than {_LEAST_RANGE:g}, the least that is quantized, and are raised to it"


def adjust_weights(source: onnx.ModelProto, scheme: Scheme) -> None:
    """Put the arrays of the scheme's .npz in place of the model's; ``source`` is changed.

    Raises ChipdriftError for a node that is not there, an input that is no float32 constant, and
    another shape.
    """
    if not scheme.adjust:
        return
    where = f"Scheme {scheme.name}, {scheme.adjust}"
    nodes = {node.name: node for node in source.graph.node}
    inits = {init.name: init for init in source.graph.initializer}
    users = Counter(name for node in source.graph.node for name in node.input)
    for key, array in sorted(read_adjustment(scheme.adjustment, where).items()):
        name, _, number = key.rpartition("#")
        node, slot = _node(nodes, name, f"{where}: {key}"), int(number)
        held = node.input[slot] if slot < len(node.input) else ""
        if held and held not in inits:
            raise ChipdriftError(
                f"{where}: {key}: input {slot} of {name} ({node.op_type}) is no constant of the "
                "model. Give the arrays of inputs that are weights or biases."
            )
        if not held:
            _append_bias(source, node, slot, array, inits, f"{where}: {key}")
            continue
        init = inits[held]
        if init.data_type != onnx.TensorProto.FLOAT or tuple(init.dims) != array.shape:
            kind = onnx.TensorProto.DataType.Name(init.data_type).lower()
            raise ChipdriftError(
                f"{where}: {key}: float32 of shape {list(array.shape)}, and the model has "
                f"{kind} of shape {list(init.dims)} there. The file is of another model, or of "
                "one that was prepared otherwise."
            )
        if users[held] > 1:
            users[held] -= 1
            init = source.graph.initializer.add()
            init.name = node.input[slot] = _fresh(f"{held}_of_{name}", inits)
            inits[init.name] = init
        init.CopyFrom(numpy_helper.from_array(array, init.name))


def deciding(
    source: onnx.ModelProto, measured: Collection[str], in_float: Collection[str]
) -> set[str]:
    """Those of the measured tensors whose ranges the model depends on.

    What a Clip or Relu alone reads gets that one's range, unless the clamp stays in float.
    """
    made = {out: node.name for node in source.graph.node for out in node.output}
    inner = {before for before, clamp in clamped(source) if clamp not in in_float}
    return {name for name in measured if made.get(name) not in inner}


def given_ranges(source: onnx.ModelProto, scheme: Scheme, notes: list[str]) -> dict[str, Range]:
    """The scheme's own ranges; raises ChipdriftError for a tensor that the model does not have.

    What a Relu or Clip makes gets no range beyond its bounds: the quantizer takes the clamp for
    done by the range, and removes it.
    """
    makers = {out for node in source.graph.node for out in node.output}
    known = makers | {value.name for value in source.graph.input}
    bounds = _bounds(source)
    given: dict[str, Range] = {}
    cut, widened, raised = [], [], []
    for tensor, (low, high) in scheme.ranges.items():
        if tensor not in known:
            raise ChipdriftError(
                f"Scheme {scheme.name}, [ranges]: {tensor!r} is no activation of the model as it "
                f"is prepared.{_near(tensor, known)}"
            )
        least, most = bounds.get(tensor, (-np.inf, np.inf))
        inner = (max(low, least), min(high, most))
        if not inner[0] < inner[1]:
            raise ChipdriftError(
                f"Scheme {scheme.name}, [ranges]: {tensor!r} lies between {least:g} and {most:g} "
                f"by its clamp, and none of that is in [{low:g}, {high:g}]."
            )
        # A step of float32 is no other range.
        if abs(low - inner[0]) + abs(high - inner[1]) > 1e-5 * (inner[1] - inner[0]):
            cut.append(tensor)
        whole = min(inner[0], 0.0), max(inner[1], 0.0)
        if whole != inner:
            widened.append(f"{tensor} ({whole[0]:g} to {whole[1]:g})")
        if whole[1] - whole[0] < _LEAST_RANGE * (1 - 1e-6):
            raised.append(tensor)
        given[tensor] = (np.array(inner[0], np.float32), np.array(inner[1], np.float32))
    said = {
        "go beyond what a Relu or Clip lets pass, and end there": cut,
        "do not hold 0, which every integer type must, and are widened to it": widened,
        _RAISED: raised,
    }
    for words, found in said.items():
        _note(notes, len(scheme.ranges), "ranges", words, found)
    return given


def _note(notes: list[str], every: int, noun: str, words: str, found: Sequence[str]) -> None:
    """Say of how many of the scheme's ranges ``words`` holds, and which; nothing of none."""
    if found:
        more = " and more" * (len(found) > 5)
        notes.append(f"{len(found)} of {every} {noun} {words}: {', '.join(found[:5])}{more}")


def _bounds(source: onnx.ModelProto) -> dict[str, tuple[float, float]]:
    """What each Relu and Clip holds its output between; a bound that is not constant is none."""
    held = {init.name: init for init in source.graph.initializer}
    found: dict[str, tuple[float, float]] = {}
    for node in source.graph.node:
        if node.op_type == "Relu":
            found[node.output[0]] = (0.0, float("inf"))
        elif node.op_type == "Clip":
            ends = [-float("inf"), float("inf")]
            for slot, name in enumerate(node.input[1:3]):
                if name in held:
                    ends[slot] = float(numpy_helper.to_array(held[name]).reshape(-1)[0])
            found[node.output[0]] = (ends[0], ends[1])
    return found


def note_unused_ranges(quantized: onnx.ModelProto, scheme: Scheme, notes: list[str]) -> None:
    """Say which of the scheme's ranges stand nowhere: the tensor has no quantizer."""
    there = {
        node.input[0].removesuffix("_QuantizeLinear_Input")
        for node in quantized.graph.node
        if node.op_type == "QuantizeLinear"
    }
    gone = [tensor for tensor in scheme.ranges if tensor not in there]
    words = (
        "have no effect, for no quantizer stands there (a Relu or Clip behind it has one, or it is "
        "in float)"
    )
    _note(notes, len(scheme.ranges), "ranges", words, gone)


def limit_weights(
    source: onnx.ModelProto,
    scheme: Scheme,
    overrides: Overrides,
    blocked: Collection[str],
    notes: list[str],
) -> None:
    """Add the scheme's ranges of weights to what the quantizer is told (``overrides``).

    ``blocked`` names the nodes whose weights are quantized in blocks. Raises ChipdriftError for a
    node without such a weight, and for another number of channels.
    """
    nodes = {node.name: node for node in source.graph.node}
    inits = {init.name: init for init in source.graph.initializer}
    raised = []
    for name, given in scheme.weight_ranges.items():
        where = f"Scheme {scheme.name}, [weight_ranges]: {name}"
        node = _node(nodes, name, where)
        axis = reduced_axis(node, inits)
        if axis is None:
            raise ChipdriftError(
                f"{where}: it is a {node.op_type} that sums over no constant weight. Name a Conv, "
                "ConvTranspose, Gemm or MatMul."
            )
        weight = node.input[1]
        if name in blocked:
            raise ChipdriftError(
                f"{where}: its weights have a scale for each block, found from the weights alone. "
                'Leave the range out, or set granularity = "channel" for it.'
            )
        held = overrides.get(weight, [{}])[0]
        per_channel = "axis" in held
        channels = inits[weight].dims[1 - axis]
        each = given if isinstance(given, tuple) else (given,) * (channels if per_channel else 1)
        if isinstance(given, tuple) and (not per_channel or len(given) != channels):
            raise ChipdriftError(
                f"{where}: {len(given)} numbers, and its weight has "
                f"{f'{channels} output channels' if per_channel else 'one scale for the whole'}. "
                "Give one number, or one for each output channel of a weight per channel."
            )
        first, *others = ({"rmin": np.float32(-m), "rmax": np.float32(m)} for m in each)
        overrides[weight] = [{**held, **first}, *others]
        if 2 * min(each) < _LEAST_RANGE * (1 - 1e-6):
            raised.append(name)
    _note(notes, len(scheme.weight_ranges), "weight ranges", _RAISED, raised)


def _append_bias(
    source: onnx.ModelProto,
    node: onnx.NodeProto,
    slot: int,
    array: np.ndarray[Any, Any],
    inits: dict[str, onnx.TensorProto],
    where: str,
) -> None:
    axis = reduced_axis(node, inits)
    if node.op_type not in _BIASED or slot != _BIAS or axis is None:
        raise ChipdriftError(
            f"{where}: {node.name} ({node.op_type}) has {len(node.input)} inputs, and only a Conv, "
            "ConvTranspose or Gemm with a constant weight can be given a bias, as input 2."
        )
    groups = next((a.i for a in node.attribute if a.name == "group"), 1)
    dims = inits[node.input[1]].dims
    channels = dims[1 - axis] * (groups if node.op_type == "ConvTranspose" else 1)
    if array.shape != (channels,):
        raise ChipdriftError(
            f"{where}: float32 of shape {list(array.shape)}, and a bias of {node.name} has the "
            f"shape [{channels}]."
        )
    name = _fresh(f"{node.name}/bias", inits)
    source.graph.initializer.append(numpy_helper.from_array(array, name))
    inits[name] = source.graph.initializer[-1]
    del node.input[slot:]
    node.input.append(name)


def _fresh(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _node(nodes: Mapping[str, onnx.NodeProto], name: str, where: str) -> onnx.NodeProto:
    if name not in nodes:
        raise ChipdriftError(
            f"{where}: the model as it is prepared has no node {name!r}.{_near(name, nodes)}"
        )
    return nodes[name]


def _near(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=4, cutoff=0.5)
    shown = close or sorted(known)[:8]
    return f" {'Near names' if close else 'Names'}: {', '.join(shown)}."
