"""Sixteen bits for one node's sums: the check's figures against sums made here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnx.parser
import pytest
from exams import Exams, chain, engine, looked, rows

from chipdrift.demo import DemoPaths
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.sums import measure_sums, products_of
from chipdrift.targets.sim.plan import IntegerUnit

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


def integers(exam: Exam) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Of :func:`chain`'s first product: x (samples, 8, K), w (K, N), and their zero points."""
    proto = onnx.load_from_string(exam.case.model)
    held = {i.name: onnx.numpy_helper.to_array(i) for i in proto.graph.initializer}
    node = next(n for n in proto.graph.node if n.name == "m0")
    makers = {out: n for n in proto.graph.node for out in n.output}
    x, w = makers[node.input[0]], makers[node.input[1]]
    tensors = np.concatenate([entry[x.input[0]] for entry in exam.tensors_a]).astype(np.int64)
    return tensors, held[w.input[0]].astype(np.int64), int(held[x.input[2]]), int(held[w.input[2]])


def largest(products: np.ndarray) -> int:
    """The largest partial sum over axis 2 in the worst order."""
    return int(np.maximum(products.clip(min=0).sum(2), -products.clip(max=0).sum(2)).max())


@pytest.mark.parametrize("stored", ["both", "input", "signed"])
def test_the_operands_that_are_multiplied_as_they_are(
    exam_of: Exams, tmp_path_factory: pytest.TempPathFactory, stored: str
) -> None:
    """N11, N17: a stored input meets stored weights, weights less their zero point, or signed."""
    plain = exam_of(chain(np.random.default_rng(5).normal(size=(16, 24))), rows(16), scheme="w8a8")
    table = f'width = 24, overflow = "saturate", operands = "stored", stored = "{stored}"'
    folder = tmp_path_factory.mktemp("p")
    target = engine(folder, f"[[rule]]\nnodes = ['m0']\naccumulator = {{ {table} }}\n")
    exam = exam_of(unsigned(plain.case.model, zero=60), rows(16), target)
    x, w, x_zero, w_zero = integers(exam)
    assert 64 < x_zero < 192
    (unit,) = (u for u in products_of(exam, target) if u.step.name == "m0")
    found = measure_sums(exam, narrow(unit, width=16))
    assert found is not None and found.width == 16
    if stored == "both":
        expected = largest(x[:, :, :, None] * w)
    elif stored == "input":
        expected = largest(x[:, :, :, None] * (w - w_zero))
    else:  # brought to signed 8 bits where they leave them, as the engine holds them
        made, zero = unit.spec.operands[1].constant, unit.spec.quant(1).zero_point
        assert made is not None and made.dtype == np.int8 and not zero.any()
        expected = largest(x[:, :, :, None] * made.astype(np.int64))
    assert found.largest == expected


def unsigned(model: bytes, zero: int) -> bytes:
    """The same product with weights of uint8 around a zero point that is not in the middle."""
    proto = onnx.load_from_string(model)
    node = next(n for n in proto.graph.node if n.name == "m0")
    names = {out: n for n in proto.graph.node for out in n.output}[node.input[1]].input
    held = {i.name: i for i in proto.graph.initializer}
    codes = onnx.numpy_helper.to_array(held[names[0]]).astype(np.int16) + 128
    for name, values in ((names[0], codes), (names[2], np.full((), zero))):
        held[name].CopyFrom(onnx.numpy_helper.from_array(values.astype(np.uint8), name))
    return bytes(proto.SerializeToString())


def narrow(unit: IntegerUnit, **changes: object) -> IntegerUnit:
    """The unit with another accumulator."""
    rules = unit.spec.rules
    held = rules.accumulator.model_copy(update=changes)
    spec = replace(unit.spec, rules=rules.model_copy(update={"accumulator": held}))
    return replace(unit, spec=spec)


def test_a_whole_sum_that_wraps_is_right_again_once_it_is_corrected(
    exam_of: Exams, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Stored operands in 24 bits that wrap answer as centred ones: the check sees no more."""
    weights = np.random.default_rng(5).normal(size=(16, 24))
    answers, found = {}, {}
    for operands in ("centred", "stored"):
        table = f'width = 16, overflow = "wrap", operands = "{operands}"'
        folder = tmp_path_factory.mktemp("p")
        target = engine(folder, f"[[rule]]\nnodes = ['m0']\naccumulator = {{ {table} }}\n")
        exam = exam_of(chain(weights), rows(16), target, "ort:cpu", scheme="w8a8")
        answers[operands] = exam.tensors_a[0]
        found[operands] = [f.words for f in looked(exam, "accumulator-near-limit")]
    assert all(
        np.array_equal(answers["stored"][name], value) for name, value in answers["centred"].items()
    )
    assert found["stored"] == found["centred"] and found["stored"]


def test_a_second_activation_is_brought_to_signed_bits(exam_of: Exams) -> None:
    """Both operands at run time: each matrix of the second by itself, N17."""
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        two (float[1,4,16] x, float[1,16,6] z) => (float[1,4,6] y) { y = MatMul(x, z) }"""
    )
    proto.graph.node[0].name = "m0"
    rng = np.random.default_rng(3)
    feeds = [
        {
            "x": rng.uniform(0, 1, (1, 4, 16)).astype(np.float32),
            "z": rng.uniform(0, 1, (1, 16, 6)).astype(np.float32),
        }
        for _ in range(2)
    ]
    exam = exam_of(proto.SerializeToString(), feeds, scheme="w8a8", samples=2)
    (unit,) = products_of(exam, exam.case.a.name)
    unit = narrow(unit, width=16, overflow="saturate", operands="stored", stored="signed")
    found = measure_sums(exam, unit)
    assert found is not None
    # Stored inputs of 8 bits by signed ones: no weight beyond 127, and the largest of each is.
    expected = 0
    for kept in exam.tensors_a:
        x, z = (kept[name].astype(np.int64)[0] for name in unit.inputs)
        c = z - int(unit.spec.quant(1).zero_point)
        assert c.max() > 127
        g = np.floor(2048 * np.maximum(c.max(0) / 127, c.min(0) / -128).clip(min=0) + 0.5) / 2048
        g = np.where((c.max(0) > 127) | (c.min(0) < -128), g, 1.0)
        signed = np.clip(np.sign(c) * np.floor(np.abs(c) / g + 0.5), -128, 127)
        expected = max(expected, int((x @ signed).max()))
    assert found.largest == expected


def test_one_other_node_and_more(exam_of: Exams, demo: DemoPaths) -> None:
    exam = exam_of(
        demo.model, demo.data, "sim:avx2-saturating", "ort:cpu",
        scheme="w8a8_pc", calibration=demo.calibration,
    )  # fmt: skip
    (finding,) = looked(exam, "accumulator-near-limit")
    assert f"; {len(finding.nodes) - 1} other nodes come near it or pass it. " in finding.words
