"""What a peer's QDQ model costs, by chipdrift's cost model: how each of its nodes runs.

``chipdrift plan`` prices its own variants from what its quantizer did. A peer's file tells by its
quantizers alone: a node that reads and writes integers is of the widest of their types, any other
is float, which the NPU computes in FP16 where it has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from chipdrift.chips import get_chip
from chipdrift.graph import LoadedModel
from chipdrift.plan.cost import shipped_model
from chipdrift.plan.work import Runs, VariantWork, count_runs, model_work

# What passes integers on as they are, or is taken into the node before it.
_PASSING = frozenset({"Relu", "Clip", "Flatten", "Reshape", "Transpose", "MaxPool", "Identity"})
_QUANTIZE, _REAL = "QuantizeLinear", "DequantizeLinear"


class Pricelist:
    """Prices of a float model's variants, in times of the same model under w8a8 on the chip."""

    def __init__(self, model: LoadedModel) -> None:
        self._work = model_work(model)

    def price(self, file: Path, chip: str | None, left: Iterable[str] = ()) -> float:
        """``left`` names the nodes that left the NPU; a chip of None or a
        target's name is one that nobody has seen."""
        variant = self._variant(file)
        names = {node.name for node in self._work}
        known = [name for name in left if name in names]
        silicon = None if chip is None or ":" in chip else get_chip(chip)
        return shipped_model().cost(variant, silicon, known).value

    def words(self, file: Path) -> str:
        """How many layers run in what."""
        counts = count_runs(self._variant(file))
        return ", ".join(f"{count} {how}" for how, count in counts.items())

    def _variant(self, file: Path) -> VariantWork:
        ways = ways_of(onnx.load(file))
        # What is not there was folded away before the peer had it.
        hosts = [ways.get(node.joined or node.name, ways.get(node.name)) for node in self._work]
        runs: list[Runs] = [how or "w8a8" for how in hosts]
        return VariantWork(self._work, tuple(runs))


def ways_of(model: onnx.ModelProto) -> dict[str, Runs]:
    """How each node but the quantizers runs, by name."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def bits(node: onnx.NodeProto) -> int:
        return 8 * numpy_helper.to_array(constants[node.input[2]]).dtype.itemsize

    def read(name: str) -> int:
        """Bits of a tensor where it is read: 0 for a real one, -1 for a constant's integers."""
        maker = makers.get(name)
        if maker is not None and maker.op_type == _REAL:
            return -1 if maker.input[0] in constants else bits(maker)
        if maker is not None and maker.op_type in _PASSING:
            return read(maker.input[0])
        return 0

    def written(name: str) -> int:
        found = [
            bits(node) if node.op_type == _QUANTIZE else written(node.output[0])
            for node in readers.get(name, ())
            if node.op_type == _QUANTIZE or node.op_type in _PASSING
        ]
        return max(found, default=0)

    ways: dict[str, Runs] = {}
    for node in graph.node:
        if node.op_type in (_QUANTIZE, _REAL):
            continue
        weighs = [name for name in node.input[:2] if name and not _whole(constants.get(name))]
        widths = [read(name) for name in weighs] + [written(node.output[0])]
        if node.op_type in _PASSING and max(widths) > 0:
            widths = [max(widths)]
        if 0 in widths:
            ways[node.name] = "fp16"
        else:
            ways[node.name] = "w8a16" if 16 in widths else "w8a8"
    return ways


def _whole(constant: onnx.TensorProto | None) -> bool:
    """Whether it is a constant of whole numbers: a shape, or axes."""
    return constant is not None and not np.issubdtype(
        onnx.helper.tensor_dtype_to_np_dtype(constant.data_type), np.floating
    )
