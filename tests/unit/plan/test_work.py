"""Work counted per node: by hand, and against what papers and timm publish of whole networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from float_models import image_net, images, serialized
from onnx import TensorProto, helper, numpy_helper
from transformer import transformer

from chipdrift.demo import DemoPaths
from chipdrift.errors import ChipdriftError
from chipdrift.graph import LoadedModel, load_model
from chipdrift.plan.work import NodeWork, VariantWork, count_runs, model_work, variant_work
from chipdrift.quantize.apply import apply_scheme
from chipdrift.schemes import Layer, Scheme, get_scheme

make = helper.make_node


def works(tmp_path: Path, data: bytes) -> dict[str, NodeWork]:
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    return {node.name: node for node in model_work(load_model(path))}


def one(tmp_path: Path, node: onnx.NodeProto, shape: Sequence[int], **constants: Any) -> NodeWork:
    filled = {name: np.ones(size, np.float32) for name, size in constants.items()}
    return works(tmp_path, serialized([node], shape, filled))[node.name]


@pytest.mark.parametrize(
    ("node", "shape", "kernel", "macs", "writes"),
    [
        # 10x12 places, 7 channels, each a sum over 3 channels of 3x3.
        (make("Conv", ["x", "w"], ["y"], "n"), (2, 3, 12, 14), (7, 3, 3, 3), 45_360, 1680),
        # Stride 2, padded: 6x7 places.
        (
            make("Conv", ["x", "w"], ["y"], "n", strides=[2, 2], pads=[1, 1, 1, 1]),
            (1, 3, 12, 14),
            (7, 3, 3, 3),
            6 * 7 * 7 * 27,
            294,
        ),
        # Depthwise: 9 products for each of 8 channels at 4x4 places.
        (make("Conv", ["x", "w"], ["y"], "n", group=8), (1, 8, 6, 6), (8, 1, 3, 3), 1152, 128),
        # Two groups: 3 of the 6 channels, 1x1.
        (make("Conv", ["x", "w"], ["y"], "n", group=2), (1, 6, 5, 5), (4, 3, 1, 1), 300, 100),
        # 3x4 inputs in 2 channels, each spread over 2x2 in 5 channels.
        (
            make("ConvTranspose", ["x", "w"], ["y"], "n", strides=[2, 2]),
            (1, 2, 3, 4),
            (2, 5, 2, 2),
            480,
            240,
        ),
        # Grouped, with a stride that leaves gaps: the inputs count, not the outputs.
        (
            make("ConvTranspose", ["x", "w"], ["y"], "n", strides=[3, 3], group=2),
            (1, 4, 2, 2),
            (4, 3, 2, 2),
            192,
            150,
        ),
        (make("Gemm", ["x", "w"], ["y"], "n"), (3, 5), (5, 7), 105, 21),
        (make("Gemm", ["x", "w"], ["y"], "n", transB=1), (3, 5), (7, 5), 105, 21),
        (make("Gemm", ["x", "w"], ["y"], "n", transA=1), (5, 3), (5, 7), 105, 21),
        # Six products of 5x8 by 8x9.
        (make("MatMul", ["x", "w"], ["y"], "n"), (2, 3, 5, 8), (8, 9), 2160, 270),
        # The matrices of w are broadcast over the batch.
        (make("MatMul", ["x", "w"], ["y"], "n"), (2, 1, 5, 8), (3, 8, 9), 2160, 270),
        (make("MatMul", ["x", "w"], ["y"], "n"), (4, 8), (8,), 32, 4),
        (make("Add", ["x", "w"], ["y"], "n"), (1, 4, 2), (4, 2), 0, 8),
    ],
)
def test_macs_are_what_one_counts_by_hand(
    tmp_path: Path, node: Any, shape: Any, kernel: Any, macs: int, writes: int
) -> None:
    found = one(tmp_path, node, shape, w=kernel)
    assert (found.macs, found.writes) == (macs, writes)
    assert found.reads == np.prod(shape)
    assert (found.weights, found.weight_bytes) == (np.prod(kernel), 4 * np.prod(kernel))
    assert not found.unknown


def test_a_recurrent_layer_multiplies_its_gates_at_every_step(tmp_path: Path) -> None:
    node = make("LSTM", ["x", "w", "r"], ["y"], "n", hidden_size=4)
    # 6 steps of 2 samples; 4 gates of 4 units, each over 3 inputs and 4 of the state.
    assert one(tmp_path, node, (6, 2, 3), w=(1, 16, 3), r=(1, 16, 4)).macs == 6 * 2 * 16 * 7


def test_what_is_not_known_is_0_and_listed(tmp_path: Path) -> None:
    einsum = make("Einsum", ["x", "w"], ["y"], "n", equation="ij,jk->ik")
    found = one(tmp_path, einsum, (3, 5), w=(5, 7))
    assert found.macs == 0
    assert found.unknown == ("the multiply-accumulates of Einsum",)
    nodes = [
        make("NonZero", ["x"], ["places"], "open"),
        make("Cast", ["places"], ["real"], "cast", to=TensorProto.FLOAT),
        make("MatMul", ["w", "real"], ["y"], "product"),
    ]
    found = works(tmp_path, serialized(nodes, (3, 5), {"w": np.ones((4, 2), np.float32)}))[
        "product"
    ]
    assert found.macs == 0
    assert any("a shape is not known" in words for words in found.unknown)


def test_a_view_moves_nothing_and_a_clamp_is_no_layer(tmp_path: Path) -> None:
    constants = {"w": np.ones((4, 3, 1, 1), np.float32), "two": np.float32(2)}
    nodes = [
        make("Sqrt", ["two"], ["root"], "folded"),
        make("Conv", ["x", "w"], ["c"], "conv"),
        make("Relu", ["c"], ["r"], "relu"),
        make("Mul", ["r", "root"], ["m"], "mul"),
        make("Relu", ["m"], ["twice"], "read_twice"),
        make("Flatten", ["m"], ["y"], "view"),
        make("Neg", ["twice"], ["z"], "neg"),
    ]
    found = works(tmp_path, serialized(nodes, (1, 3, 2, 2), constants, ("y", "z")))
    assert found["folded"].constant
    assert found["relu"].joined == "conv"
    assert found["read_twice"].joined is None
    assert (found["view"].reads, found["view"].writes) == (0, 0)
    assert found["view"].outputs == (("y", 16),)
    assert [name for name, node in found.items() if not node.runs] == ["folded", "relu"]


def test_a_bias_behind_a_product_is_no_layer(tmp_path: Path) -> None:
    constants = {"w": np.ones((5, 7), np.float32), "b": np.ones(7, np.float32)}
    nodes = [
        make("MatMul", ["x", "w"], ["p"], "product"),
        make("Add", ["b", "p"], ["s"], "bias"),
        make("Relu", ["s"], ["r"], "relu"),
        make("Add", ["r", "b"], ["y"], "no_bias"),
    ]
    found = works(tmp_path, serialized(nodes, (3, 5), constants))
    assert found["bias"].joined == found["relu"].joined == "product"
    assert found["no_bias"].joined is None


class Net:
    """A network of convolutions, their weights all ones."""

    def __init__(self, size: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Any] = {}
        self.size = size
        self.last, self.width = "x", 3

    def conv(self, width: int, kernel: int, stride: int = 1, group: int = 1) -> None:
        name, pad = f"t{len(self.nodes)}", kernel // 2
        shape = (width, self.width // group, kernel, kernel)
        self.constants[f"w_{name}"] = np.ones(shape, np.float32)
        self.nodes.append(
            make(
                "Conv",
                [self.last, f"w_{name}"],
                [name],
                name,
                strides=[stride] * 2,
                pads=[pad] * 4,
                group=group,
            )
        )
        self.last, self.width = name, width

    def depthwise(self, stride: int) -> None:
        self.conv(self.width, 3, stride, group=self.width)

    def classify(self, classes: int) -> bytes:
        self.constants["w"] = np.ones((self.width, classes), np.float32)
        self.nodes += [
            make("GlobalAveragePool", [self.last], ["pooled"], "pool"),
            make("Flatten", ["pooled"], ["flat"], "flat"),
            make("Gemm", ["flat", "w"], ["y"], "classifier"),
        ]
        return serialized(self.nodes, (1, 3, self.size, self.size), self.constants)


def test_mobilenet_v1_has_the_mult_adds_of_its_paper(tmp_path: Path) -> None:
    """Howard et al. 2017, table 8: 1.0 MobileNet-224, 569 million mult-adds, 4.2 M parameters."""
    net = Net(224)
    net.conv(32, 3, 2)
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    for width, stride in [*blocks, *[(512, 1)] * 5, (1024, 2), (1024, 1)]:
        net.depthwise(stride)
        net.conv(width, 1)
    found = works(tmp_path, net.classify(1000)).values()
    assert round(sum(node.macs for node in found) / 1e6) == 569
    assert round(sum(node.weights for node in found) / 1e6, 1) == 4.2


def test_mobilenet_v2_has_the_figures_of_its_paper_and_of_timm(tmp_path: Path) -> None:
    """Sandler et al. 2018: 300 M multiply-adds, 3.4 M parameters; timm: 6.68 M activations.

    timm's activations are the outputs of convolutions and of the classifier.
    """
    net = Net(224)
    net.conv(32, 3, 2)
    table = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)]
    for expand, width, repeat, first in [*table, (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
        for index in range(repeat):
            if expand > 1:
                net.conv(net.width * expand, 1)
            net.depthwise(first if index == 0 else 1)
            net.conv(width, 1)
    net.conv(1280, 1)
    found = works(tmp_path, net.classify(1000)).values()
    assert round(sum(node.macs for node in found) / 1e6) in range(299, 302)
    assert round(sum(node.weights for node in found) / 1e6, 1) == 3.5
    outputs = sum(node.writes for node in found if node.op in ("Conv", "Gemm"))
    assert round(outputs / 1e6, 2) == 6.68


def mixed(*layers: Layer, **keys: Any) -> Scheme:
    return Scheme(name="own", kind="qdq", layer=layers, **keys)


def variant(tmp_path: Path, scheme: Scheme) -> VariantWork:
    path = tmp_path / "net.onnx"
    path.write_bytes(image_net())
    model = load_model(path)
    return variant_work(model_work(model), apply_scheme(model, scheme, images()))


@pytest.mark.parametrize(
    ("scheme", "how"),
    [
        ("w8a8", "w8a8"),
        ("w8a8_pc", "w8a8"),
        ("w8a16", "w8a16"),
        ("w4a16_pc", "w4a16"),
        ("fp16", "fp16"),
        ("fp32", "fp32"),
    ],
)
def test_a_plain_scheme_runs_everything_alike(tmp_path: Path, scheme: str, how: str) -> None:
    found = variant(tmp_path, get_scheme(scheme))
    assert set(found.runs) == {how}
    assert found.crossings == ()


def test_raised_and_kept_layers_run_as_they_were_asked_to(tmp_path: Path) -> None:
    layers = (
        Layer(nodes=("second",), activations="uint16"),
        Layer(nodes=("last",), kind="float32"),
    )
    found = variant(tmp_path, mixed(*layers))
    runs = {node.name: how for node, how in zip(found.nodes, found.runs, strict=True)}
    assert runs["first"] == runs["relu"] == "w8a8"
    assert runs["second"] == "w8a16"
    assert runs["last"] == "cpu"
    crossings = {c.tensor: c for c in found.crossings}
    assert crossings["r0"].elements == 5 * 6 * 8
    assert (crossings["r0"].source, crossings["r0"].to) == ("w8a8", "w8a16")
    assert [c.tensor for c in found.crossings if c.to_cpu] == ["f"]
    assert count_runs(found)["w8a16"] == 1


def borders_and_crossings(model: LoadedModel, layer: Layer, feeds: Any) -> tuple[int, int]:
    made = apply_scheme(model, mixed(layer), feeds)
    assert made.mixed is not None
    return len(made.mixed.borders), len(variant_work(model_work(model), made).crossings)


@pytest.mark.parametrize("kind", ["float32", "float16", "uint16"])
@pytest.mark.parametrize(("nodes", "count"), [("block3/*", 2), ("block1/*", 2), ("stem/*", 1)])
def test_a_cnns_borders_are_those_that_the_quantizer_made(
    demo: DemoPaths, kind: str, nodes: str, count: int
) -> None:
    model = load_model(demo.model)
    how: dict[str, Any] = {"activations": kind} if kind == "uint16" else {"kind": kind}
    with np.load(demo.calibration) as archive:
        name = model.info.inputs[0].name
        feeds = [{name: sample[None]} for sample in archive[archive.files[0]][:4]]
    layer = Layer(nodes=(nodes,), **how)
    assert borders_and_crossings(model, layer, feeds) == (count, count)


@pytest.mark.parametrize("kind", ["float32", "float16", "uint16"])
@pytest.mark.parametrize(
    ("ops", "nodes"),
    [
        (("Softmax",), ()),
        (("LayerNormalization",), ()),
        (("Softmax", "Gelu"), ()),
        ((), ("layer1/attention/q",)),
        ((), ("*scores", "*mixed")),
    ],
)
def test_a_transformers_borders_are_those_that_the_quantizer_made(
    tmp_path: Path, kind: str, ops: Any, nodes: Any
) -> None:
    onnx.save(transformer(), tmp_path / "net.onnx")
    model = load_model(tmp_path / "net.onnx")
    known = {node.op_type for node in model.proto.graph.node}
    how: dict[str, Any] = {"activations": kind} if kind == "uint16" else {"kind": kind}
    rng = np.random.default_rng(2)
    feeds = [
        {i.name: rng.standard_normal(i.shape).astype(i.dtype) for i in model.info.inputs}
        for _ in range(2)
    ]
    layer = Layer(nodes=nodes, ops=tuple(op for op in ops if op in known), **how)
    borders, crossings = borders_and_crossings(model, layer, feeds)
    assert borders == crossings > 1


def test_an_input_that_two_types_read_is_converted_for_one_of_them() -> None:
    def node(name: str, reads: str) -> NodeWork:
        return NodeWork(name, "Neg", inputs=((reads, 6),), outputs=((f"{name}_y", 6),))

    nodes = (node("a", "x"), node("b", "x"), node("c", "x"))
    [crossing] = VariantWork(nodes, ("w8a8", "w8a16", "cpu")).crossings
    assert (crossing.tensor, crossing.source, crossing.to) == ("x", "w8a16", "w8a8")
    assert VariantWork(nodes, ("w8a8", "fp16", "cpu")).crossings == ()


def test_a_fallback_takes_its_node_to_the_cpu(tmp_path: Path) -> None:
    plain = variant(tmp_path, get_scheme("w8a8"))
    fallen = plain.falling_back(["second"])
    runs = {node.name: how for node, how in zip(fallen.nodes, fallen.runs, strict=True)}
    assert runs["second"] == "cpu_w8a8"
    assert [c.tensor for c in fallen.crossings if c.to_cpu] == ["r0", "c1"]
    assert set(plain.falling_back(["first"]).runs[:2]) == {"cpu_w8a8"}  # its Relu goes along
    with pytest.raises(ChipdriftError, match="no node 'conv_quant'"):
        plain.falling_back(["conv_quant"])


def test_a_model_that_is_quantized_already_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    constants = {"s": np.float32(0.1), "z": np.uint8(0)}
    nodes = [
        make("QuantizeLinear", ["x", "s", "z"], ["q"], "quant"),
        make("DequantizeLinear", ["q", "s", "z"], ["y"], "dequant"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    model = load_model(path)
    made = apply_scheme(model, get_scheme("asis"))
    with pytest.raises(ChipdriftError, match="quantized already"):
        variant_work(model_work(model), made)
