"""The engine on a network of MobileNetV2's size at 224x224, W8A8 per-channel, on one core.

``python bench/engine.py`` prints milliseconds an image and peak memory of the engine beside
onnxruntime's int8 on the same QDQ model and the vendor's simulator, each in a process of its own
pinned to one core. Absolute times on shared machines are noise; the ratios are what is kept.
``python bench/engine.py --run TARGET MODEL IMAGES TURNS`` is one such process.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import network
import numpy as np

TURNS = 20
# One rule against another: the same requantization, accumulators that saturate in 16 bits.
SATURATING = """
accumulator = { width = 16, overflow = "saturate" }
requantize = { scale = "float32", multiplier = "float32" }
"""


def prepare(folder: Path) -> tuple[Path, Path]:
    """The QDQ model, by onnxruntime's quantizer, and eight images."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    model, images = folder / "model.onnx", folder / "images.npy"
    network.build(folder / "float.onnx", size=224)
    rng = np.random.default_rng(2)
    coarse = rng.standard_normal((8, 3, 28, 28))
    pictures = np.kron(coarse, np.ones((8, 8))).astype(np.float32)
    np.save(images, pictures)

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.rest = iter(pictures[:4])

        def get_next(self) -> dict[str, np.ndarray] | None:
            picture = next(self.rest, None)
            return None if picture is None else {"image": picture[None]}

    quantize_static(
        folder / "float.onnx",
        model,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return model, images


def session(target: str, model: str) -> Callable[[np.ndarray], object]:
    if target == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        plain = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return lambda image: plain.run(None, {"image": image})
    from chipdrift.targets.registry import get_target

    found = get_target(target)
    if target.startswith("htp:"):
        from chipdrift.targets import htp

        simulated = htp.open_session(model, found.options)
        return lambda image: simulated.run({"image": image})
    from chipdrift.targets import sim

    opened = sim.open_session(model, found.options)
    return lambda image: opened.run({"image": image})


def measure(target: str, model: str, images: str, turns: int) -> None:
    """The least time of ``turns`` images after the first, and what the process took at most."""
    pictures = np.load(images)
    started = time.perf_counter()
    run = session(target, model)
    run(pictures[:1])
    first = time.perf_counter() - started
    times = []
    for turn in range(turns):
        picture = pictures[turn % len(pictures)][None]
        started = time.perf_counter()
        run(picture)
        times.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"ms": min(times) * 1e3, "first": first, "peak": peak}))


def in_process(target: str, model: Path, images: Path, turns: int) -> dict[str, float]:
    words = [sys.executable, __file__, "--run", target, str(model), str(images), str(turns)]
    core = max(os.sched_getaffinity(0))
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **threads},
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    if done.returncode != 0:
        raise SystemExit(f"{target} failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="chipdrift-bench-") as name:
        folder = Path(name)
        model, images = prepare(folder)
        saturating = folder / "saturating.toml"
        saturating.write_text(SATURATING)
        peer = in_process("onnxruntime", model, images, TURNS)
        print(f"onnxruntime int8: {peer['ms']:.1f} ms an image, {peer['peak']:.0f} MB at most")
        engine = {}
        for target in ("sim:ort-mlas", "sim:hexagon-v69", "sim:hexagon-v73", f"sim:{saturating}"):
            in_process(target, model, images, 1)  # compiles, where nothing is kept on disk yet
            engine[target] = mine = in_process(target, model, images, TURNS)
            label = "sim:16 bits, saturating" if target.endswith(".toml") else target
            print(
                f"{label}: {mine['ms']:.1f} ms an image, {mine['ms'] / peer['ms']:.1f} times "
                f"onnxruntime's int8 (at most 10); {mine['peak']:.0f} MB at most, "
                f"{mine['peak'] / peer['peak']:.1f} times onnxruntime's (at most 2); "
                f"open and first image {mine['first']:.1f} s"
            )
        ratio = engine[f"sim:{saturating}"]["ms"] / engine["sim:ort-mlas"]["ms"]
        print(f"saturating 16-bit accumulator: {ratio:.1f} times the 32-bit one (at most 3)")
        for chip, profile, bound in (("sm8450", "v69", 25), ("sm8550", "v73", 15)):
            vendor = in_process(f"htp:{chip}", model, images, 3)
            ours = engine[f"sim:hexagon-{profile}"]["ms"]
            print(
                f"htp:{chip}, the vendor's simulator: {vendor['ms']:.0f} ms an image, the engine "
                f"is {vendor['ms'] / ours:.0f} times faster (at least {bound})"
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        measure(*sys.argv[2:5], int(sys.argv[5]))
    else:
        main()
