"""The peer: the bare simulator through onnxruntime-qnn, one process pinned to each core.

``python bare.py MODEL DATA SOC_MODEL FIRST LAST CORE [SOC_MODEL FIRST LAST CORE ...]`` runs one
core's share; :func:`spread` starts one such process per core and waits for all.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path


def share(model: str, data: str, core: int, work: list[tuple[str, int, int]]) -> None:
    os.sched_setaffinity(0, {core})
    import numpy as np
    import onnxruntime as ort
    import onnxruntime_qnn as qnn

    ort.register_execution_provider_library("QNNExecutionProvider", qnn.get_library_path())
    device = next(d for d in ort.get_ep_devices() if d.ep_name == "QNNExecutionProvider")
    images = np.load(data)["image"]
    for soc_model, first, last in work:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        options.add_provider_for_devices(
            [device], {"backend_path": qnn.get_qnn_htp_path(), "soc_model": soc_model}
        )
        session = ort.InferenceSession(model, options)
        for image in images[first:last]:
            session.run(None, {"image": image[None]})


def spread(model: Path, data: Path, soc_models: list[str], samples: int) -> float:
    """Seconds of wall time for every chip on every sample, spread evenly over the cores."""
    cores = sorted(os.sched_getaffinity(0))
    started = time.perf_counter()
    processes = []
    for number, core in enumerate(cores):
        words = [str(model), str(data), str(core)]
        for soc_model in soc_models:
            first, last = (samples * n // len(cores) for n in (number, number + 1))
            words += [soc_model, str(first), str(last)]
        processes.append(
            subprocess.Popen(
                [sys.executable, __file__, *words],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
    for process in processes:
        if process.wait() != 0:
            raise SystemExit("the bare simulator failed")
    return time.perf_counter() - started


if __name__ == "__main__":
    rest = sys.argv[4:]
    work = [(rest[i], int(rest[i + 1]), int(rest[i + 2])) for i in range(0, len(rest), 3)]
    share(sys.argv[1], sys.argv[2], int(sys.argv[3]), work)
