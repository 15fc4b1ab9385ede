"""Weights remembered from one quantization to the next: onnxruntime's own answers, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import qdq_quantizer
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from quantize_models import MODELS, Builder, feeds, load, loaded

from chipdrift.graph import LoadedModel
from chipdrift.quantize import Preparation, apply_scheme
from chipdrift.quantize.remember import WeightMemory, remembering
from chipdrift.schemes import Layer, Scheme, get_scheme


def raised(base: str, *names: str, to: str = "uint16") -> Scheme:
    layer = (
        Layer(nodes=names, activations="uint16")
        if to == "uint16"
        else Layer(nodes=names, kind="float16")
    )
    return get_scheme(base).model_copy(update={"name": f"r{len(names)}", "layer": (layer,)})


def plainly(model: LoadedModel, scheme: Scheme, samples: Any, patch: pytest.MonkeyPatch) -> bytes:
    """What onnxruntime's quantizer makes, nothing of it remembered."""

    @contextmanager
    def forgetting(_: WeightMemory) -> Iterator[None]:
        yield

    with patch.context() as patched:
        patched.setattr("chipdrift.quantize.qdq.remembering", forgetting)
        return apply_scheme(model, scheme, samples).data


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_models_bits_are_those_of_the_quantizer_alone(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One memory for all schemes, one after the other, twice."""
    model = loaded(name)
    nodes = [node.name for node in model.proto.graph.node if node.name]
    schemes = [get_scheme(s) for s in ("w8a8", "w8a8_pc", "w4a16_pc", "w8a16_pc")]
    schemes += [raised(base, *nodes[:n]) for base in ("w8a8", "w8a8_pc") for n in (1, 2, 3)]
    samples, preparation = feeds(model, 4), Preparation()
    alone = {s.sha256 + s.name: plainly(model, s, samples, monkeypatch) for s in schemes}
    for scheme in (*schemes, *schemes[::-1]):
        made = apply_scheme(model, scheme, samples, preparation).data
        assert made == alone[scheme.sha256 + scheme.name], scheme.name


def tiny_weights() -> LoadedModel:
    """The bias is so large beside its scale that the quantizer widens the weights' scales."""
    net = Builder(5)
    net.weight("w", 4, 3, 3, 3, scale=1e-7)
    net.constant("b", [40.0, 1e-9, -70.0, 0.5])
    net.add("Conv", ["x", "w", "b"], "c", pads=[1, 1, 1, 1])
    net.weight("v", 4, 4, 1, 1)
    net.add("Conv", ["c", "v"], "y")
    return load(net.model({"x": [1, 3, 8, 8]}, ["y"], 17))


def test_scales_that_the_quantizer_widens_are_not_remembered_widened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, preparation = tiny_weights(), Preparation()
    samples = feeds(model, 4)
    both = [get_scheme("w8a8_pc"), raised("w8a8_pc", "n_c")]
    alone = [plainly(model, scheme, samples, monkeypatch) for scheme in both]
    kept: list[np.ndarray[Any, Any]] = []
    widened = QDQQuantizer._adjust_weight_scale_for_int32_bias

    def watched(*given: Any) -> Any:
        before = np.array(given[2])
        found = widened(*given)
        kept.append(before)
        assert found[0], "the quantizer was to widen the scale"
        return found

    with monkeypatch.context() as patched:
        patched.setattr(QDQQuantizer, "_adjust_weight_scale_for_int32_bias", watched)
        for _ in range(2):
            for scheme, expected in zip(both, alone, strict=True):
                assert apply_scheme(model, scheme, samples, preparation).data == expected
    assert all(np.array_equal(scales, kept[0]) for scales in kept)


def test_no_weight_is_gone_through_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    model, preparation = loaded("cnn"), Preparation()
    samples, asked = feeds(model, 4), [0, 0]
    for index, name in enumerate(("compute_data_quant_params", "quantize_onnx_initializer")):
        plain = getattr(qdq_quantizer, name)

        def counted(*given: Any, index: int = index, plain: Any = plain, **more: Any) -> Any:
            asked[index] += 1
            return plain(*given, **more)

        monkeypatch.setattr(qdq_quantizer, name, counted)
    nodes = [node.name for node in model.proto.graph.node]
    apply_scheme(model, raised("w8a8_pc", nodes[0]), samples, preparation)
    first = list(asked)
    assert min(first) > 0
    apply_scheme(model, raised("w8a8_pc", nodes[0]), samples, preparation)
    assert asked == first
    apply_scheme(model, get_scheme("w8a8"), samples, preparation)  # other scales
    assert min(now - before for now, before in zip(asked, first, strict=True)) > 0


def test_the_quantizer_is_left_as_it_was_even_after_a_fault() -> None:
    before = (QDQQuantizer._calc_initializer_quant_params, qdq_quantizer.quantize_onnx_initializer)
    with pytest.raises(RuntimeError), remembering(WeightMemory()):
        assert qdq_quantizer.quantize_onnx_initializer is not before[1]
        raise RuntimeError
    after = (QDQQuantizer._calc_initializer_quant_params, qdq_quantizer.quantize_onnx_initializer)
    assert after == before


def test_what_was_asked_for_longest_ago_is_forgotten_first() -> None:
    memory = WeightMemory(most=100)
    memory.put(b"a", "a", 60)
    memory.put(b"b", "b", 30)
    assert memory.get(b"a") == "a"
    memory.put(b"c", "c", 30)
    assert (memory.get(b"b"), memory.get(b"a"), memory.get(b"c")) == (None, "a", "c")
    memory.put(b"d", "d", 1000)  # one that is too large is kept until the next
    assert (len(memory), memory.get(b"d")) == (1, "d")


def test_other_weights_and_other_scales_are_other_questions() -> None:
    weights = [
        numpy_helper.from_array(np.array(values, np.float32), f"w{index}")
        for index, values in enumerate(([-1, 0.25, 1], [-1, 0.5, 1]))
    ]
    zero = np.array(0, np.int8)
    asked = [(w, np.array(s, np.float32)) for w in weights for s in (0.01, 0.02)]
    plain = [qdq_quantizer.quantize_onnx_initializer(w, 3, zero, s) for w, s in asked]
    assert len({one.raw_data for one in plain}) == 4
    with remembering(WeightMemory()):
        for _ in range(2):
            found = [qdq_quantizer.quantize_onnx_initializer(w, 3, zero, s) for w, s in asked]
            assert found == plain
