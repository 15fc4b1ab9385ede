"""Ask Qualcomm's simulator what it does for every QNN ``soc_model`` id.

Run on Linux x86-64 with the ``htp`` extra::

    python scripts/measure_simulator.py src/chipdrift/chips/simulator.csv

Each id is asked in a process of its own, since the library may crash or hang. The columns are
explained at :class:`chipdrift.chips.SimulatorRow`. ``--one ID`` prints one id's answers as JSON.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

EP = "QNNExecutionProvider"
IDS = (*range(131), 999)
DEFAULT_ID = 0
"""No chip has this id: the simulator answers with its default chip, SM8350."""
SM8350_ID = 30
TIMEOUT_S = 120
PROBES = ("w8a8", "w8a16", "fp16", "float32")
COLUMNS = (
    "soc_model",
    "known",
    "device",
    *PROBES,
    *(f"{probe}_answer" for probe in PROBES),
    "error",
    "onnxruntime",
    "onnxruntime_qnn",
    "qnn",
)


def w8a8() -> tuple[bytes, np.ndarray]:
    """A uint8 x int8 MatMul [32,128] x [128,64] between quantizers, and its input."""
    rng = np.random.default_rng(8)
    inits = [numpy_helper.from_array(rng.integers(-128, 128, (128, 64)).astype(np.int8), "w")]
    nodes = [*quantized("x", 0.02, np.uint8(120), "x_dq", inits)]
    nodes += [dequantized("w", np.float32(0.01), np.int8(0), "w_dq", inits)]
    nodes += [helper.make_node("MatMul", ["x_dq", "w_dq"], ["m"], name="op")]
    nodes += quantized("m", 0.2, np.uint8(130), "y", inits)
    x = rng.uniform(-2.4, 2.7, (32, 128)).astype(np.float32)
    return model(nodes, inits, x.shape, (32, 64)), x


def w8a16() -> tuple[bytes, np.ndarray]:
    """A uint16 x int8 per-channel 3x3 Conv with bias, [1,16,12,12] to the same, and its input."""
    rng = np.random.default_rng(16)
    inits = [numpy_helper.from_array(rng.integers(-128, 128, (16, 16, 3, 3)).astype(np.int8), "w")]
    inits += [numpy_helper.from_array(rng.integers(-(10**5), 10**5, 16).astype(np.int32), "b")]
    step = np.float32(5 / 65535)
    scales = rng.uniform(0.005, 0.02, 16).astype(np.float32)
    nodes = [*quantized("x", float(step), np.uint16(30000), "x_dq", inits)]
    nodes += [dequantized("w", scales, np.zeros(16, np.int8), "w_dq", inits)]
    nodes += [dequantized("b", scales * step, np.zeros(16, np.int32), "b_dq", inits)]
    nodes += [
        helper.make_node("Conv", ["x_dq", "w_dq", "b_dq"], ["m"], name="op", pads=[1, 1, 1, 1])
    ]
    nodes += quantized("m", 0.0015, np.uint16(30000), "y", inits)
    x = rng.uniform(-2.2, 2.6, (1, 16, 12, 12)).astype(np.float32)
    return model(nodes, inits, x.shape, x.shape), x


def fp16() -> tuple[bytes, np.ndarray]:
    """A FLOAT16 MatMul [32,128] x [128,64] between two Casts, and its float32 input."""
    weights, x = float_case()
    nodes = [
        helper.make_node("Cast", ["x"], ["x16"], name="in", to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["x16", "w"], ["m"], name="op"),
        helper.make_node("Cast", ["m"], ["y"], name="out", to=TensorProto.FLOAT),
    ]
    return model(nodes, [numpy_helper.from_array(weights, "w")], x.shape, (32, 64)), x


def float32() -> tuple[bytes, np.ndarray]:
    """The same MatMul as a FLOAT model: the backend is free to compute it in half precision."""
    weights, x = float_case()
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="op")]
    inits = [numpy_helper.from_array(weights.astype(np.float32), "w")]
    return model(nodes, inits, x.shape, (32, 64)), x


def float_case() -> tuple[np.ndarray, np.ndarray]:
    """Weights and inputs that half precision holds exactly, so that only results are rounded."""
    rng = np.random.default_rng(32)
    weights = rng.standard_normal((128, 64)).astype(np.float16)
    return weights, rng.uniform(-2, 2, (32, 128)).astype(np.float16).astype(np.float32)


def quantized(
    source: str, scale: float, zero: Any, result: str, inits: list[TensorProto]
) -> list[NodeProto]:
    """Quantize ``source`` per tensor and dequantize it again into ``result``."""
    inits += [numpy_helper.from_array(np.float32(scale), f"{result}_scale")]
    inits += [numpy_helper.from_array(np.asarray(zero), f"{result}_zero")]
    parameters = [f"{result}_scale", f"{result}_zero"]
    return [
        helper.make_node("QuantizeLinear", [source, *parameters], [f"{result}_q"]),
        helper.make_node("DequantizeLinear", [f"{result}_q", *parameters], [result]),
    ]


def dequantized(
    source: str, scale: np.ndarray, zero: Any, result: str, inits: list[TensorProto]
) -> NodeProto:
    """Dequantize the constant ``source``, per tensor or along axis 0."""
    inits += [numpy_helper.from_array(np.asarray(scale), f"{result}_scale")]
    inits += [numpy_helper.from_array(np.asarray(zero), f"{result}_zero")]
    inputs = [source, f"{result}_scale", f"{result}_zero"]
    return helper.make_node("DequantizeLinear", inputs, [result], axis=0)


def model(
    nodes: list[NodeProto], inits: list[TensorProto], x: tuple[int, ...], y: tuple[int, ...]
) -> bytes:
    """Serialize a model from float32 ``x`` to float32 ``y``, opset 21."""
    graph: GraphProto = helper.make_graph(
        nodes,
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
        inits,
    )
    opsets = [helper.make_opsetid("", 21)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return bytes(proto.SerializeToString())


def halves(answer: np.ndarray) -> bool:
    """Is every value a float16? The simulator's own cast may leave it one float32 step beside."""
    near = answer.astype(np.float16).astype(np.float32)
    return bool((np.abs(answer - near) <= np.spacing(np.abs(near))).all())


def ask(soc_model: int) -> dict[str, str]:
    """Run the probes on one id in this process: each one's state, answer hash and error."""
    import onnxruntime as ort
    import onnxruntime_qnn as qnn

    ort.register_execution_provider_library(EP, qnn.get_library_path())
    device = next(d for d in ort.get_ep_devices() if d.ep_name == EP)
    row = dict.fromkeys(COLUMNS, "") | {
        "soc_model": str(soc_model),
        "onnxruntime": ort.__version__,
        "onnxruntime_qnn": qnn.__version__,
        "qnn": qnn.build_and_package_info.qnn_version,
    }
    for probe in PROBES:
        proto, x = {"w8a8": w8a8, "w8a16": w8a16, "fp16": fp16, "float32": float32}[probe]()
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        options.add_provider_for_devices(
            [device], {"backend_path": qnn.get_qnn_htp_path(), "soc_model": str(soc_model)}
        )
        try:
            session = ort.InferenceSession(proto, options)
            (answer,) = session.run(None, {"x": x})
        except Exception as error:
            row[probe] = "refused"
            row["error"] = row["error"] or " ".join(str(error).split())
            continue
        places = {
            node.op_type: part.ep_name
            for part in session.get_provider_graph_assignment_info()
            for node in part.get_nodes()
            if node.op_type not in ("QuantizeLinear", "DequantizeLinear")
        }
        row[probe] = "yes" if set(places.values()) == {EP} else "no"
        if row[probe] == "yes":
            row[f"{probe}_answer"] = hashlib.sha256(answer.tobytes()).hexdigest()[:12]
            if probe in ("fp16", "float32") and not halves(answer):
                row[probe] = "as-float32"
    return row


def ask_apart(soc_model: int) -> dict[str, str]:
    """Run :func:`ask` in a process of its own; its death or silence becomes the row's error."""
    command = [sys.executable, __file__, "--one", str(soc_model)]
    empty = dict.fromkeys(COLUMNS, "") | {"soc_model": str(soc_model), "device": "no"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return empty | {"error": f"no answer within {TIMEOUT_S} s"}
    found = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not found:
        return empty | {"error": f"process ended with {done.returncode}"}
    row: dict[str, str] = json.loads(found[-1])
    failed = re.search(r"Failed to create device\. Error: ([^\x1b\n]+)", done.stderr)
    row["device"] = "no" if failed else "yes"
    row["error"] = row["error"] or (failed[1].strip() if failed else "")
    return row


def decide(rows: list[dict[str, str]]) -> None:
    """Set ``known``: a device was made, and it is not the default's that stands in for no chip."""

    def answers(row: dict[str, str]) -> list[str]:
        return [row[column] for p in PROBES for column in (p, f"{p}_answer")]

    default = next(answers(row) for row in rows if row["soc_model"] == str(DEFAULT_ID))
    for row in rows:
        own = row["soc_model"] == str(SM8350_ID) or answers(row) != default
        row["known"] = "yes" if row["device"] == "yes" and own else "no"


def main() -> None:
    """Measure all ids into a CSV file, or print one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("csv", type=Path, nargs="?")
    parser.add_argument("--one", type=int, metavar="ID")
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(ask(arguments.one)), flush=True)
        return
    if arguments.csv is None:
        parser.error("name the CSV file to write, or --one ID")
    with ThreadPoolExecutor(2) as pool:
        rows = list(pool.map(ask_apart, IDS))
    decide(rows)
    with arguments.csv.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
