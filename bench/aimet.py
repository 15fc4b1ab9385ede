"""The named peer: aimet-onnx's quantsim, in an environment of its own (see ``INSTALL``).

``PYTHON aimet.py QDQ IMAGES CONFIG TURNS OUT.npy``, started by ``engine.py --aimet PYTHON``, makes
the quantsim of the same QDQ model, with the model's scales, writes what it answers to every image
and prints one line of JSON. ``CONFIG`` is aimet's own configuration of a chip, as ``htp_v69``.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

INSTALL = """  python3.11 -m venv aimet
  aimet/bin/pip install torch==2.13.0+cpu aimet-onnx==2.42.0
A plain torch, where there is no CPU build of it, works too and brings several GB of CUDA."""


def memory(field: str) -> float:
    """``VmRSS`` (now) or ``VmHWM`` (at most) of this process, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return int(line.split()[1]) / 1024


def peak_memory() -> float:
    """Of this process, in MB. (``ru_maxrss`` would begin with what the parent held.)"""
    return memory("VmHWM")


def main() -> None:
    import onnx
    from aimet_onnx import QuantizationSimModel

    quantized, images, config, turns, out = sys.argv[1:6]
    pictures = np.load(images)
    started = time.perf_counter()
    sim = QuantizationSimModel.from_onnx_qdq(
        onnx.load(quantized),
        param_type="int8",
        activation_type="int8",
        config_file=config,
        session_options_kwargs={"intra_op_num_threads": 1, "inter_op_num_threads": 1},
    )
    enabled = [quantizer for quantizer in sim.qc_quantize_op_dict.values() if quantizer.enabled]
    taken = sum(quantizer.is_initialized() for quantizer in enabled)
    if taken != len(enabled):
        raise SystemExit(f"{taken} of aimet's {len(enabled)} quantizers took the model's scale")
    answers = [sim.session.run(None, {"image": picture[None]})[0] for picture in pictures]
    first = time.perf_counter() - started
    np.save(out, np.concatenate(answers))
    times = []
    for turn in range(int(turns)):
        picture = pictures[turn % len(pictures)][None]
        started = time.perf_counter()
        sim.session.run(None, {"image": picture})
        times.append(time.perf_counter() - started)
    peak = peak_memory()
    print(json.dumps({"ms": min(times) * 1e3, "first": first, "peak": peak}))


if __name__ == "__main__":
    main()
