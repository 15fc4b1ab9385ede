"""What a drift curve costs: every activation of two simulated chips against their plain runs.

``python bench/drift.py`` measures a network of MobileNetV2's shape (53 convolutions, 96x96) on
SM8450 and SM8550: the same samples through the plain model, then through the model with all its
activations as outputs, compared as a diagnosis compares them. Peer: the plain runs, in the same
process order. Absolute times on shared machines are noise; the ratio is what is kept.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import network
import numpy as np

from chipdrift import apply_scheme, get_scheme, load_data, load_model
from chipdrift.diagnose.drift import measure_drift
from chipdrift.graph import dissect
from chipdrift.probe.ask import Asker
from chipdrift.targets import get_target

SAMPLES = 16
TARGETS = ("htp:sm8450", "htp:sm8550")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="chipdrift-bench-") as name:
        model, data, calibration = network.prepare(Path(name), SAMPLES)
        loaded = load_model(model)
        feeds = load_data(data, loaded.info.inputs).feeds()
        ranges = load_data(calibration, loaded.info.inputs).feeds()
        made = apply_scheme(loaded, get_scheme("w8a8_pc"), ranges)
    anatomy = dissect(made.data)
    convolutions = sum(piece.op == "Conv" for piece in anatomy.cut.pieces)
    askers = [Asker(get_target(target)) for target in TARGETS]
    for asker in askers:  # the worker loads its runtime
        asker.ask_all(made.data, feeds[:1])
    ratios = []
    for turn in range(2):
        started = time.perf_counter()
        for asker in askers:
            for _ in asker.ask_each(made.data, feeds):
                pass
        plain = time.perf_counter() - started
        started = time.perf_counter()
        both = [
            (
                dict(zip(anatomy.tensors, answer, strict=True))
                for answer in asker.ask_each(anatomy.tapped, feeds)
            )
            for asker in askers
        ]
        drift = measure_drift(anatomy, both[0], both[1], keep=0)
        tapped = time.perf_counter() - started
        ratios.append(tapped / plain)
        print(
            f"turn {turn + 1}: plain {plain:.1f} s, drift curve {tapped:.1f} s, "
            f"{tapped / plain:.2f} times the plain runs (at most 1.3); "
            f"{len(drift.activations)} activations, {convolutions} convolutions, {SAMPLES} samples"
        )
    for asker in askers:
        asker.__exit__(None, None, None)
    differing = np.mean([a.distance.differing for a in drift.activations])
    print(f"drift curve: {min(ratios):.2f} times the plain runs; {100 * differing:.0f} % differ")


if __name__ == "__main__":
    main()
