"""The compiled part of a context model alone, in the vendor's simulator: a phone's NPU stand-in.

By onnxruntime's public API, without chipdrift: what ``qnn-net-run`` would be given goes in, raw
integers come out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import onnxruntime_qnn
from onnx import helper

Array = np.ndarray[Any, Any]


def context_node(written: Path) -> onnx.NodeProto:
    (node,) = (n for n in onnx.load(written).graph.node if n.op_type == "EPContext")
    return node


def npu_part(written: Path, soc: str) -> Callable[[dict[str, Array]], dict[str, Array]]:
    """What the EPContext node of ``written`` answers, by the names of its inputs and outputs.

    The provider must be registered in this process, as compiling has done.
    """
    graph = (proto := onnx.load(written)).graph
    node = context_node(written)
    known = {v.name: v for v in (*graph.input, *graph.output, *graph.value_info)}
    alone = helper.make_graph(
        [node], "npu", [known[n] for n in node.input], [known[n] for n in node.output]
    )
    path = written.with_name("npu.onnx")
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(alone, opset_imports=opsets, ir_version=proto.ir_version), path)
    devices = onnxruntime.get_ep_devices()
    device = next(one for one in devices if one.ep_name == "QNNExecutionProvider")
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.add_provider_for_devices(
        [device], {"backend_path": onnxruntime_qnn.get_qnn_htp_path(), "soc_model": soc}
    )
    session = onnxruntime.InferenceSession(str(path), settings)
    assert "QNNExecutionProvider" in session.get_providers()
    outputs = list(node.output)
    return lambda feed: dict(zip(outputs, session.run(outputs, feed), strict=True))
