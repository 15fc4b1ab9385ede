"""What is done to a float model before it is quantized, each step checked on a real sample."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import version_converter
from onnxruntime.quantization.execution_providers.qnn import qnn_preprocess_model

Feed = Mapping[str, np.ndarray[Any, Any]]
# Folding and fusing reorders float32 sums; a share of the output's largest magnitude.
_TOLERANCE = 1e-3


def preprocess(proto: onnx.ModelProto, sample: Feed, notes: list[str]) -> onnx.ModelProto:
    """Fold constants and batch norms, raise the opset to 21, fuse Gelu and LayerNorm.

    A step after which the model answers otherwise on ``sample`` is undone, with a note.
    """
    model = _step(proto, _fold(proto), sample, "folding constants and batch norms", notes)
    model = raise_opset(model, 21, sample, notes)
    # From opset 20 on onnxruntime fuses to ONNX's own Gelu and LayerNormalization; QNN's passes
    # know fewer forms, and are for models that could not be raised.
    model = _step(model, _fold(model), sample, "fusing Gelu and LayerNorm", notes)
    return _step(model, _fuse(model), sample, "fusing Gelu and LayerNorm for QNN", notes)


def raise_opset(
    proto: onnx.ModelProto, wanted: int, sample: Feed, notes: list[str]
) -> onnx.ModelProto:
    """Convert to ``wanted`` or leave the model where the converter cannot, with a note."""
    opset = max(e.version for e in proto.opset_import if e.domain in ("", "ai.onnx"))
    if opset >= wanted:
        return proto
    try:
        raised = version_converter.convert_version(proto, wanted)
    except Exception as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        notes.append(f"kept at opset {opset}: onnx cannot raise it to {wanted} ({words[:120]})")
        return proto
    return _step(proto, raised, sample, f"raising the opset to {wanted}", notes)


def _fold(proto: onnx.ModelProto) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory(prefix="chipdrift-") as folder:
        path = Path(folder, "folded.onnx")
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return onnx.load(path)


def _fuse(proto: onnx.ModelProto) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory(prefix="chipdrift-") as folder:
        source, path = Path(folder, "source.onnx"), Path(folder, "fused.onnx")
        # By file: handed a ModelProto, onnxruntime moves that object's weights to external data.
        onnx.save_model(proto, source)
        changed = qnn_preprocess_model(str(source), str(path), fuse_layernorm=True)
        return onnx.load(path) if changed else proto


def _step(
    before: onnx.ModelProto,
    after: onnx.ModelProto,
    sample: Feed,
    what: str,
    notes: list[str],
) -> onnx.ModelProto:
    """``after`` if it answers like ``before`` on the sample, else ``before`` and a note."""
    try:
        wanted, found = _answer(before, sample), _answer(after, sample)
    except Exception as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        notes.append(f"left out {what}: the result does not run ({words[:120]})")
        return before
    for a, b in zip(wanted, found, strict=True):
        if a.dtype.kind != "f":
            same = bool(np.array_equal(a, b))
        else:
            finite = np.isfinite(a) & np.isfinite(b)
            x, y = a[finite].astype(np.float64), b[finite].astype(np.float64)
            limit = _TOLERANCE * max(float(np.max(np.abs(x), initial=0.0)), 1e-6)
            same = bool(np.all(np.abs(x - y) <= limit))
            same = same and np.array_equal(a[~finite], b[~finite], equal_nan=True)
        if not same:
            notes.append(f"left out {what}: it changed the float model's answer")
            return before
    return after


def _answer(proto: onnx.ModelProto, sample: Feed) -> list[np.ndarray[Any, Any]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    answers: list[np.ndarray[Any, Any]] = session.run(None, dict(sample))
    return answers
