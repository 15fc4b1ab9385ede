"""The float model that a scheme quantizes, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime

from chipdrift.graph import LoadedModel, name_nodes
from chipdrift.quantize.adjust import adjust_weights
from chipdrift.quantize.float16 import to_float32
from chipdrift.quantize.prepare import Preparation
from chipdrift.quantize.qdq import float_source
from chipdrift.schemes import Scheme

Array = np.ndarray[Any, Any]


def prepared_model(
    model: LoadedModel,
    scheme: Scheme,
    calibration: Sequence[Mapping[str, Array]],
    preparation: Preparation | None = None,
) -> bytes:
    """The float model as ``scheme`` (of kind ``qdq``) quantizes it, every node named; serialized.

    Folded and fused, with the weights and biases that the scheme brings along. The names that a
    scheme's ``ranges``, ``weight_ranges`` and ``adjust`` use are those of this model.
    """
    source = to_float32(model.proto) if model.is_float16 else model.proto
    made = float_source(source, scheme, calibration, [], preparation or Preparation())
    name_nodes(made.graph)
    adjust_weights(made, scheme)
    return bytes(made.SerializeToString(deterministic=True))


def float_answers(data: bytes, feeds: Sequence[Mapping[str, Array]]) -> list[list[Array]]:
    """All outputs of a float model (serialized) for each feed, by onnxruntime on one core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return [session.run(None, dict(feed)) for feed in feeds]
