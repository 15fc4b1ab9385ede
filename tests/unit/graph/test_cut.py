"""Pieces between quantizers, side by side: each answers alone as it does in the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from chipdrift import apply_scheme, get_scheme, load_data, load_model
from chipdrift.graph import cut_pieces, dissect, ending_in
from support import transformer

Array = np.ndarray[Any, Any]


def run(data: bytes, feed: dict[str, Array]) -> dict[str, Array]:
    settings = onnxruntime.SessionOptions()
    settings.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(data, settings, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, Array]]:
    model, data, calibration = transformer.write(tmp_path_factory.mktemp("cut"))
    loaded = load_model(model)
    ranges = load_data(calibration, loaded.info.inputs).feeds()
    made = apply_scheme(loaded, get_scheme("w8a8"), ranges)
    return made.data, load_data(data, loaded.info.inputs).feed(0)


def test_every_piece_answers_alone_as_in_the_model(
    quantized: tuple[bytes, dict[str, Array]],
) -> None:
    data, feed = quantized
    anatomy = dissect(data)
    onnx.checker.check_model(onnx.load_from_string(anatomy.cut.model))
    inside = {**feed, **run(anatomy.tapped, feed)}
    pieces = anatomy.cut.pieces
    fed = {
        name: inside[tensor]
        for piece in pieces
        for name, tensor in zip(piece.fed, piece.inputs, strict=True)
    }
    alone = run(anatomy.cut.model, fed)
    for piece in pieces:
        for name, tensor in zip(piece.made, piece.outputs, strict=True):
            assert np.array_equal(alone[name], inside[tensor]), piece.name
    made = {tensor for piece in pieces for tensor in piece.outputs}
    assert made >= {name for name in anatomy.tensors if name not in feed} - {"logits"}


def test_every_node_stands_in_one_piece_under_its_name(
    quantized: tuple[bytes, dict[str, Array]],
) -> None:
    data, _ = quantized
    cut = cut_pieces(data)
    inside = [name for piece in cut.pieces for name, _ in piece.nodes]
    assert len(inside) == len(set(inside))
    computing = {
        node.name
        for node in onnx.load_from_string(data).graph.node
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear", "Constant")
    }
    assert set(inside) == computing
    assert computing <= {node.name for node in onnx.load_from_string(cut.model).graph.node}


def test_one_piece_alone_and_two_joined(quantized: tuple[bytes, dict[str, Array]]) -> None:
    data, feed = quantized
    anatomy = dissect(data)
    inside = {**feed, **run(anatomy.tapped, feed)}
    pieces = anatomy.cut.pieces
    first = pieces[3]
    second = next(piece for piece in pieces if set(piece.inputs) & set(first.outputs))
    (alone,) = cut_pieces(data, [first.name]).pieces
    assert (alone.name, alone.inputs, alone.outputs) == (first.name, first.inputs, first.outputs)
    joined = cut_pieces(data, [first.name], [[first.name, second.name]])
    (whole,) = joined.pieces
    assert {n for n, _ in whole.nodes} == {n for n, _ in (*first.nodes, *second.nodes)}
    assert not set(whole.inputs) & set(first.outputs)
    answers = run(
        joined.model,
        {fed: inside[name] for fed, name in zip(whole.fed, whole.inputs, strict=True)},
    )
    for made, tensor in zip(whole.made, whole.outputs, strict=True):
        assert np.array_equal(answers[made], inside[tensor])


def test_a_model_that_ends_in_an_activation(quantized: tuple[bytes, dict[str, Array]]) -> None:
    data, feed = quantized
    anatomy = dissect(data)
    inside = run(anatomy.tapped, feed)
    for tensor in anatomy.tensors[anatomy.finals :: 9]:
        short = ending_in(data, tensor)
        assert np.array_equal(run(short, feed)[tensor], inside[tensor])
        assert len(onnx.load_from_string(short).graph.output) == 1


def test_without_quantizers_every_node_is_a_piece(tmp_path: Path) -> None:
    proto = transformer.transformer()
    cut = cut_pieces(proto.SerializeToString())
    assert [piece.name for piece in cut.pieces] == [node.name for node in proto.graph.node]
