"""The engine on two networks at 224x224, W8A8 per channel, on one core.

``python bench/engine.py`` prints milliseconds an image and peak memory of the engine beside
onnxruntime's int8 on the same QDQ model and the vendor's simulator, each in a process of its own
pinned to one core; and how many integers of the logits each shares with the simulator. The networks
are MobileNetV2's size with random weights and, where its weights are installed (trained.py says
how), EfficientNet-Lite0 as trained, on photographs. Absolute times on shared machines are noise;
the ratios are what is kept.

``--aimet PYTHON`` measures aimet-onnx's quantsim, too, in an environment of its own (aimet.py).
``python bench/engine.py --run TARGET MODEL IMAGES TURNS ANSWERS`` is one such process.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aimet as peer
import network
import numpy as np
import trained

TURNS = 20


@dataclass(frozen=True)
class Measured:
    """Milliseconds an image, seconds to open and the first image, memory in MB.

    ``peak`` is the process's, with all that it imports; ``added`` what a second session of the same
    network and an image take on top of that: the network's own.
    """

    ms: float
    first: float
    peak: float
    added: float = 0.0


# One rule against another: the same requantization, accumulators that saturate in 16 bits.
SATURATING = """
accumulator = { width = 16, overflow = "saturate" }
requantize = { scale = "float32", multiplier = "float32" }
"""


def coarse_noise(count: int = 8) -> np.ndarray:
    rng = np.random.default_rng(2)
    coarse = rng.standard_normal((count, 3, 28, 28))
    return np.kron(coarse, np.ones((8, 8))).astype(np.float32)


def quantized(folder: Path, pictures: np.ndarray) -> tuple[Path, Path]:
    """The QDQ model of ``folder``'s float.onnx, by onnxruntime's quantizer, and the images."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    model, images = folder / "model.onnx", folder / "images.npy"
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


def session(target: str, model: str) -> Callable[[np.ndarray], list[np.ndarray]]:
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


def measure(target: str, model: str, images: str, turns: int, answers: str) -> None:
    """The least time of ``turns`` images after the first, and what the process took at most."""
    pictures = np.load(images)
    started = time.perf_counter()
    run = session(target, model)
    run(pictures[:1])
    first = time.perf_counter() - started
    times, seen = [], []
    for turn in range(turns):
        picture = pictures[turn % len(pictures)][None]
        started = time.perf_counter()
        seen.append(run(picture)[0])
        times.append(time.perf_counter() - started)
    np.save(answers, np.concatenate(seen[: len(pictures)]))
    peak = peer.peak_memory()
    before = peer.memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    again = session(target, model)
    again(pictures[:1])
    added = peer.peak_memory() - before
    print(json.dumps({"ms": min(times) * 1e3, "first": first, "peak": peak, "added": added}))


def in_process(words: list[str], what: str) -> Measured:
    core = max(os.sched_getaffinity(0))
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        env={**os.environ, **threads},
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    if done.returncode != 0:
        raise SystemExit(f"{what} failed:\n{done.stderr[-2000:]}")
    return Measured(**json.loads(done.stdout.strip().splitlines()[-1]))


class Bench:
    """One network: its QDQ model, its images, and what was measured on them."""

    def __init__(self, folder: Path, pictures: np.ndarray) -> None:
        self._folder = folder
        self.model, self.images = quantized(folder, pictures)
        self._found: dict[str, Measured] = {}

    def _answers(self, target: str) -> Path:
        return self._folder / f"{target.replace('/', '_')}.npy"

    def run(self, target: str, turns: int = TURNS) -> Measured:
        if target not in self._found:
            words = [sys.executable, __file__, "--run", target, str(self.model), str(self.images)]
            answers = str(self._answers(target))
            if target.startswith("sim:"):  # compiles, where nothing is kept on disk yet
                in_process([*words, "1", answers], target)
            self._found[target] = in_process([*words, str(turns), answers], target)
        return self._found[target]

    def aimet(self, python: str, config: str) -> Measured:
        peer = str(Path(__file__).parent / "aimet.py")
        words = [python, peer, str(self.model), str(self.images), config, str(TURNS)]
        self._found[config] = in_process([*words, str(self._answers(config))], config)
        return self._found[config]

    def identical(self, target: str, other: str) -> float:
        """Share of the logits' integers: both answer in steps of the one output quantizer."""
        a, b = np.load(self._answers(target)), np.load(self._answers(other))
        count = min(len(a), len(b))
        return float(np.isclose(a[:count], b[:count], rtol=1e-5, atol=1e-6).mean())


def report(bench: Bench, saturating: Path, aimet: str | None) -> None:
    plain = bench.run("onnxruntime")
    print(
        f"onnxruntime int8: {plain.ms:.1f} ms an image, {plain.peak:.0f} MB at most, the network "
        f"itself {plain.added:.0f} MB"
    )
    for target in ("sim:ort-mlas", "sim:hexagon-v69", "sim:hexagon-v73", f"sim:{saturating}"):
        mine = bench.run(target)
        label = "sim:16 bits, saturating" if target.endswith(".toml") else target
        print(
            f"{label}: {mine.ms:.1f} ms an image, {mine.ms / plain.ms:.1f} times "
            f"onnxruntime's int8 (at most 10); {mine.peak:.0f} MB at most, "
            f"{mine.peak / plain.peak:.1f} times onnxruntime's; the network itself "
            f"{mine.added:.0f} MB, {mine.added / plain.added:.1f} times (at most 2); "
            f"open and first image {mine.first:.1f} s",
            flush=True,
        )
    ratio = bench.run(f"sim:{saturating}").ms / bench.run("sim:ort-mlas").ms
    print(f"saturating 16-bit accumulator: {ratio:.1f} times the 32-bit one (at most 3)")
    for chip, profile, bound in (("sm8450", "v69", 25), ("sm8550", "v73", 15)):
        vendor = bench.run(f"htp:{chip}", len(np.load(bench.images)))
        ours = bench.run(f"sim:hexagon-{profile}")
        print(
            f"htp:{chip}, the vendor's simulator: {vendor.ms:.0f} ms an image, the engine "
            f"is {vendor.ms / ours.ms:.0f} times faster (at least {bound})"
        )
        beside = {"the engine": f"sim:hexagon-{profile}", "onnxruntime": "onnxruntime"}
        if aimet:
            theirs = bench.aimet(aimet, f"htp_{profile}")
            print(
                f"aimet-onnx's quantsim, {profile}: {theirs.ms:.0f} ms an image, "
                f"{theirs.ms / ours.ms:.0f} times the engine's; {theirs.peak:.0f} MB at most"
            )
            beside["aimet-onnx"] = f"htp_{profile}"
        shares = [
            f"{label} {bench.identical(f'htp:{chip}', target):.1%}"
            for label, target in beside.items()
        ]
        print(f"integers of the logits as htp:{chip} has them: {', '.join(shares)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--aimet", metavar="PYTHON", help="of an environment with aimet-onnx")
    aimet: str | None = parser.parse_args().aimet
    if aimet and shutil.which(aimet) is None:
        parser.error(f"{aimet} is no program; the environment is made by\n{peer.INSTALL}")
    if aimet is None:
        print(f"aimet-onnx is not measured. For --aimet aimet/bin/python make\n{peer.INSTALL}\n")
    with tempfile.TemporaryDirectory(prefix="chipdrift-bench-") as name:
        saturating = Path(name) / "saturating.toml"
        saturating.write_text(SATURATING)
        print("MobileNetV2's size, random weights", flush=True)
        (folder := Path(name) / "random").mkdir()
        network.build(folder / "float.onnx", size=224)
        report(Bench(folder, coarse_noise()), saturating, aimet)
        if not trained.installed():
            print(f"\nEfficientNet-Lite0 is not measured: {trained.INSTALL}")
            return
        print("\nEfficientNet-Lite0 as trained, photographs", flush=True)
        (folder := Path(name) / "trained").mkdir()
        trained.build(folder / "float.onnx")
        report(Bench(folder, trained.photographs()), saturating, aimet)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        measure(*sys.argv[2:5], int(sys.argv[5]), sys.argv[6])
    else:
        main()
