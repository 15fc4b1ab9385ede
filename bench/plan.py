"""What a plan costs: the sensitivity of layers on the engine and on the simulator, and the whole.

``python bench/plan.py`` ranks the layers of a network of MobileNetV2's shape (53 convolutions at
96x96, random weights) by raising one after the other, on the engine and then, for some of them, on
the vendor's simulator in the same process: the same layers, the same samples, one core each. With
``--whole`` it then plans for six chips on 200 samples, by the command line. Absolute times on
shared machines are noise; the ratio is what is kept.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import network

from chipdrift.matrix.request import resolve
from chipdrift.plan.budget import parse_budget
from chipdrift.plan.desk import Desk
from chipdrift.plan.judge import Judge
from chipdrift.plan.mixed import MixedSearch
from chipdrift.plan.pricing import Pricer
from chipdrift.plan.recipes import Recipes
from chipdrift.plan.sides import resolve_sides
from chipdrift.schemes import get_scheme

SAMPLES = 24
# Layers that the simulator is asked for: it takes minutes for all.
LAYERS = 16
CHIP = "sm8550"
CHIPS = "sm8350,sm8450,sm8550,sm7550,sm8750,sm8850"


def sensitivity(folder: Path) -> None:
    """Seconds a layer on both, from the float model to its dB, each with a warm worker of its own.

    What both do alike, quantizing the candidate, is told by itself and counted on both sides.
    """
    model, data, calibration = network.prepare(folder, SAMPLES)
    side = resolve_sides([CHIP])[0]
    base, few = get_scheme("w8a8_pc"), tuple(range(SAMPLES))
    with ExitStack() as stack:
        searches = []
        for name, target in (("engine", side.searcher), ("simulator", side.target)):
            request = resolve(
                model,
                data,
                schemes=["w8a8_pc"],
                targets=["ort:cpu"],
                metric="agreement",
                calibration=calibration,
            )
            judge = stack.enter_context(Judge(folder / name, request, 1, 600.0))
            desk = Desk(
                judge,
                Recipes(folder / "schemes"),
                parse_budget("agreement >= 90%", "agreement")[0],
                Pricer(judge, "latency"),
                print,
            )
            searches.append((MixedSearch(desk, side, base, few), target))
            judge.measure([(base, target)], few)  # load the runtime
        handles = searches[0][0].handles("uint16")
        some = handles[:: max(1, len(handles) // LAYERS)][:LAYERS]
        for turn, kept in enumerate((some[::2], some[1::2]), 1):
            quantizing, running = [], []
            for search, target in searches:
                judge = search.desk.judge
                started = time.perf_counter()
                schemes = [search.scheme([handle]) for handle in kept]
                for scheme in schemes:
                    judge.variant(scheme)
                quantized = time.perf_counter()
                judge.measure([(scheme, target) for scheme in schemes], few)
                quantizing.append((quantized - started) / len(kept))
                running.append((time.perf_counter() - quantized) / len(kept))
            engine, simulator = running
            whole = (simulator + quantizing[1]) / (engine + quantizing[0])
            print(
                f"turn {turn}: one of {len(handles)} layers, {SAMPLES} samples: engine "
                f"{engine:.2f} s, simulator {simulator:.1f} s; {simulator / engine:.0f} times as "
                f"fast as the simulator (at least 15), {whole:.0f} times with the "
                f"{quantizing[0]:.2f} s of quantizing",
                flush=True,
            )


def whole(folder: Path) -> None:
    """The command a user types; the limit is 30 minutes on two cores."""
    model, data, calibration = network.prepare(folder, 200)
    words = ["plan", model, "--data", data, "--calibration", calibration, "--chips", CHIPS]
    words += ["--budget", "sqnr >= 22", "-o", folder / "plan"]
    started = time.perf_counter()
    program = [sys.executable, "-m", "chipdrift.cli.main"]
    done = subprocess.run([*program, *map(str, words)], capture_output=True, text=True)
    seconds = time.perf_counter() - started
    print(done.stdout)
    if done.returncode not in (0, 1):
        sys.exit(done.stderr)
    print(f"a plan for six chips, 200 samples: {seconds / 60:.1f} min (at most 30)")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--whole", action="store_true", help="plan for six chips, too")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chipdrift-bench-") as name:
        sensitivity(Path(name, "layers"))
        if asked.whole:
            whole(Path(name, "whole"))


if __name__ == "__main__":
    main()
