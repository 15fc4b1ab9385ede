"""Sixteen bits for one node's sums: the check's figures against sums made here."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from exams import Exams, chain, engine, looked, rows

from chipdrift.demo import DemoPaths

NODE = "block3/pointwise"
PLANTED = '[[rule]]\nnodes = ["{}"]\naccumulator = {{ width = 16, overflow = "{}" }}\n'


def operands(data: bytes, tensors) -> tuple[np.ndarray, np.ndarray]:
    """A 1x1 convolution's integers, zero points taken off: (samples, C, pixels) and (M, C)."""
    proto = onnx.load_from_string(data)
    held = {i.name: onnx.numpy_helper.to_array(i) for i in proto.graph.initializer}
    node = next(n for n in proto.graph.node if n.name == NODE)
    makers = {out: n for n in proto.graph.node for out in n.output}
    x, w = makers[node.input[0]], makers[node.input[1]]
    mine = np.concatenate([entry[x.input[0]] for entry in tensors]).astype(np.int64)
    weights = held[w.input[0]].astype(np.int64) - held[w.input[2]].astype(np.int64)
    values = mine - int(held[x.input[2]])
    return values.reshape(len(tensors), mine.shape[1], -1), weights[:, :, 0, 0]


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
def test_planted_narrow_accumulator(
    exam_of: Exams,
    demo: DemoPaths,
    tmp_path_factory: pytest.TempPathFactory,
    overflow: str,
) -> None:
    target = engine(tmp_path_factory.mktemp("p"), PLANTED.format(NODE, overflow))
    exam = exam_of(
        demo.model, demo.data, target, "ort:cpu", scheme="w8a8", calibration=demo.calibration
    )
    (finding,) = looked(exam, "accumulator-near-limit")
    assert finding.nodes == (NODE,) and finding.targets == (target,)
    x, w = operands(exam.case.model, exam.tensors_a)
    products = np.einsum("scp,mc->smpc", x, w)
    if overflow == "wrap":  # order does not matter: the whole sum does
        sums = np.abs(products.sum(axis=-1))
    else:  # all positive products first, or all negative ones
        sums = np.maximum(products.clip(min=0).sum(-1), -products.clip(max=0).sum(-1))
    largest = int(sums.max())
    assert f"the largest is {largest}: " in finding.words
    beyond = float((sums >= 2**15).mean())
    assert finding.severity == ("warning" if largest >= 2**15 else "note")
    if beyond:
        assert finding.weight == pytest.approx(beyond)
    assert "of 16 bits" in finding.words and "of 32 bits" in finding.words


def test_inputs_whose_zero_point_is_in_the_middle(
    exam_of: Exams, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A matrix product of signed values: sums of the integers less their zero points."""
    model = chain(np.random.default_rng(1).normal(size=(16, 24)))
    target = engine(tmp_path_factory.mktemp("p"), PLANTED.format("m0", "wrap"))
    exam = exam_of(model, rows(16), target, "ort:cpu", scheme="w8a8")
    (finding,) = looked(exam, "accumulator-near-limit")
    spec = exam.specs["m0"]
    zero = int(spec.quant(0).zero_point)
    assert 64 < zero < 192
    (tensor,) = (p.inputs[0] for p in exam.anatomy.cut.pieces if p.name == "m0")
    held = spec.operands[1].constant
    assert held is not None
    x = np.concatenate([entry[tensor] for entry in exam.tensors_a]).astype(np.int64) - zero
    sums = x @ (held.astype(np.int64) - spec.quant(1).zero_point)
    assert f"the largest is {np.abs(sums).max()}: " in finding.words


def test_healthy(exam_of: Exams, demo: DemoPaths) -> None:
    exam = exam_of(demo.model, demo.data, scheme="w8a8", calibration=demo.calibration)
    assert looked(exam, "accumulator-near-limit") == []


def test_pairs_that_saturate(exam_of: Exams, demo: DemoPaths) -> None:
    """AVX2 without VNNI: pairs of stored integers in 16 bits; depthwise ones are not in pairs."""
    exam = exam_of(
        demo.model,
        demo.data,
        "sim:avx2-saturating",
        "ort:cpu",
        scheme="w8a8_pc",
        calibration=demo.calibration,
    )
    (finding,) = looked(exam, "accumulator-near-limit")
    assert finding.targets == ("sim:avx2-saturating",)
    assert not any("depthwise" in node for node in finding.nodes)
    assert "x64quantprecision" in finding.fix
    # A pair is at most 255 * 128 * 2; what it reports is one.
    assert int(finding.words.split("the largest is ")[1].split(":")[0]) <= 255 * 128 * 2
