"""Apply a scheme: one entry for float32, float16, QDQ and models that are already quantized."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime

from chipdrift.errors import ChipdriftError, DataError
from chipdrift.graph import (
    LoadedModel,
    border_quantizers,
    expandable_nodes,
    is_quantized,
    output_quantizers,
    trace_nodes,
    wrong_in_float16,
)
from chipdrift.quantize.float16 import to_float16, to_float32
from chipdrift.quantize.prepare import Preparation
from chipdrift.quantize.qdq import Quantized, quantize_qdq
from chipdrift.records import MixedInfo, Quantizer
from chipdrift.schemes import Kind, Scheme

Feed = Mapping[str, np.ndarray[Any, Any]]
# Raised when what the quantizer does to a model changes: cached models are then made anew.
_RECIPE = "6"


@dataclass(frozen=True)
class QuantizedModel:
    """What a scheme made of a model.

    ``kind`` is the scheme's, but for a model that ``asis`` found to be a float one: then that.
    ``data`` is the ONNX file, ``sha256`` its hash; ``quantizers`` those of its outputs by name;
    ``border`` names the Quantize and Dequantize nodes of the graph's own inputs and outputs;
    ``expandable`` maps nodes that a runtime may replace by simpler ones to their op;
    ``trace`` maps each of its nodes to the float model's; ``notes`` says what was left out.
    ``mixed`` says what ``[[layer]]`` tables changed; ``kept`` names the nodes that they keep in
    float32 on the CPU, ``fence`` those that hold them there.
    """

    scheme: Scheme
    kind: Kind
    data: bytes
    sha256: str
    quantizers: dict[str, Quantizer]
    border: frozenset[str]
    expandable: dict[str, str]
    trace: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]
    mixed: MixedInfo | None = None
    kept: frozenset[str] = frozenset()
    fence: frozenset[str] = frozenset()


def quantizer_versions() -> dict[str, str]:
    """What a quantized model depends on beside model, scheme and samples."""
    return {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__, "recipe": _RECIPE}


def apply_scheme(
    model: LoadedModel,
    scheme: Scheme,
    calibration: Sequence[Feed] | None = None,
    preparation: Preparation | None = None,
) -> QuantizedModel:
    """Quantize ``model``.

    ``calibration`` holds one feed per sample (input name to array of the input's whole shape); the
    schemes of kind ``qdq`` need at least one. ``preparation`` keeps what other schemes of the same
    model and samples have in common with this one; the result is the same. Raises DataError without
    samples, and ChipdriftError where the model cannot be quantized this way.
    """
    notes: list[str] = []
    if scheme.needs_calibration and not calibration:
        raise DataError(
            f"Scheme {scheme.name} needs calibration samples to set its ranges, and there are "
            "none. Give --calibration with some 100 samples that are not in the evaluation data."
        )
    if scheme.needs_calibration and is_quantized(model.proto):
        raise ChipdriftError(
            f"Model {model.info.name} is already quantized (it holds QuantizeLinear nodes), so "
            f"{scheme.name} cannot be applied. Use --scheme asis, or give the float model."
        )
    with _quiet(notes):
        made = _convert(model, scheme, calibration or (), notes, preparation or Preparation())
    proto = made.proto
    data = proto.SerializeToString(deterministic=True)
    trace = trace_nodes(model.proto, proto)
    return QuantizedModel(
        scheme=scheme,
        kind=_kind(model, scheme),
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        quantizers=output_quantizers(proto),
        border=border_quantizers(proto),
        expandable=expandable_nodes(proto),
        trace=trace,
        notes=tuple(dict.fromkeys(notes)),
        mixed=_mixed(made, trace),
        kept=made.islands.kept,
        fence=made.islands.fence,
    )


def _mixed(made: Quantized, trace: Mapping[str, tuple[str, ...]]) -> MixedInfo | None:
    """What ``[[layer]]`` tables changed, by the float model's nodes; None where nothing."""
    joined = dict.fromkeys(made.islands.kept, "kept in float32 on the CPU")
    joined |= dict.fromkeys(made.islands.half, "computed in float16")
    found: dict[str, str] = {}
    # What a node became by its neighbours is what it is, whatever was asked of it.
    for node, words in {**made.layers, **joined}.items():
        found.update(dict.fromkeys(trace.get(node) or (node,), words))
    if not found:
        return None
    return MixedInfo(
        layers=tuple(sorted(found.items())), borders=(*made.borders, *made.islands.borders)
    )


def _kind(model: LoadedModel, scheme: Scheme) -> Kind:
    if scheme.kind != "asis" or is_quantized(model.proto):
        return scheme.kind
    return "float16" if model.is_float16 else "float32"


def _convert(
    model: LoadedModel,
    scheme: Scheme,
    calibration: Sequence[Feed],
    notes: list[str],
    preparation: Preparation,
) -> Quantized:
    if scheme.kind in ("float32", "asis"):
        if scheme.kind == "asis" and not is_quantized(model.proto):
            notes.append("the model holds no Quantize nodes: asis runs it as the float model it is")
        return Quantized(model.proto)
    if scheme.kind == "float16":
        wrong = wrong_in_float16(model.proto)
        if wrong:
            notes.append(
                f"{', '.join(wrong[:5])}{' and more' * (len(wrong) > 5)}: HardSigmoid before Mul, "
                "which onnxruntime-qnn 2.7.0 answers wrongly in float16 on every chip tried; swap "
                "the Mul's inputs, or export with opset 14 or newer (docs/known-faults.md)"
            )
        return _explained(model, scheme, lambda: Quantized(to_float16(model.proto)))
    source = to_float32(model.proto) if model.is_float16 else model.proto
    if model.is_float16:
        notes.append("the float16 model was widened to float32 before it was quantized")
    return _explained(
        model, scheme, lambda: quantize_qdq(source, scheme, calibration, notes, preparation)
    )


def _explained(model: LoadedModel, scheme: Scheme, convert: Callable[[], Quantized]) -> Quantized:
    """onnxruntime's quantizer raises whatever it trips over; a person gets one sentence."""
    try:
        return convert()
    except ChipdriftError:
        raise
    except Exception as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ChipdriftError(
            f"Model {model.info.name} cannot be quantized as {scheme.name}: "
            f"{type(error).__name__}: {words[:300]}. Leave this scheme out, or try it with "
            "preprocess = false in a TOML of your own."
        ) from error


@contextmanager
def _quiet(notes: list[str]) -> Iterator[None]:
    """Keep the quantizer's own talk off the terminal; what it warns of becomes a note."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    onnxruntime.set_default_logger_severity(3)
    talk = contextlib.redirect_stdout(io.StringIO())
    with talk, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            root.setLevel(level)
            onnxruntime.set_default_logger_severity(2)
    for warning in caught:
        text = str(warning.message).splitlines()[0][:200]
        if issubclass(warning.category, UserWarning) and "float16" in text:
            notes.append(text)
