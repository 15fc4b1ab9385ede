"""Beside named peers: NNCF's accuracy-aware quantization and AIMET's mixed precision.

``python bench/peers.py --nncf PYTHON --aimet PYTHON [--model FOLDER]`` gives each peer the float
model, the calibration samples, the choosing samples and the budget that ``chipdrift plan`` gets,
runs what each makes on the simulated chips, on samples that chose nothing, and sets it against the
float model on the same samples. FOLDER holds model.onnx, eval.npz and calibration.npz, as
``examples/*/make.py`` write them; without one it is the demo's model, and then the same with a
layer that 8 bits ruin. Prices are those of chipdrift's cost model, for everybody.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import aimet
import numpy as np
import onnx
import peers_nncf
from onnx import helper, numpy_helper
from peers_case import Case, Row
from peers_task import Variant

from chipdrift.demo import paths
from chipdrift.plan import Plan

CHIPS = "sm8450,sm8550,sm7550"
# Where a peer's model misses here, too, the chip is not to blame: the samples that chose it are.
HOST = "ort:cpu"


def ours(plan: Plan) -> list[Row]:
    """The plan's own rows: confirmed by it, on the same samples."""
    return [
        Row(
            "chipdrift",
            choice.chip,
            choice.standing,
            None if choice.metric is None else choice.metric.value,
            choice.loss,
            None if choice.cost is None else choice.cost.value,
            choice.fallback,
            choice.variant or "",
        )
        for choice in plan.choices
    ]


def tried(python: str, script: str, task: Path, log: Path) -> list[Variant]:
    """What a peer makes of the task, in its own environment; remembered in the task's folder."""
    known = task / f"{script}.json"
    if not known.exists():
        command = [python, str(Path(__file__).with_name(f"{script}.py")), str(task)]
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with log.open("w") as file:
            done = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                check=False,
                env={**os.environ, **threads},
            )
        if done.returncode != 0:
            raise SystemExit(f"{script} failed:\n{log.read_text()[-3000:]}")
        known.write_text(done.stdout)
    return [Variant(**json.loads(line)) for line in known.read_text().splitlines()]


def ranked(case: Case, task: Path, variants: Sequence[Variant]) -> list[Variant]:
    """What the peer's user ships, who has no chip, first: the cheapest that the peer says holds.

    Among equals that of the better score; where none holds, the best score.
    """

    def key(variant: Variant) -> tuple[bool, float, float]:
        score, drop = variant.score or 0.0, variant.drop or 0.0
        if drop > case.budget_drop + 1e-9:
            return True, -score, 0.0
        price = case.prices.price(task / f"{variant.name}.onnx", None)
        return False, round(price, 3), -score

    return sorted((v for v in variants if v.file is not None), key=key)


def line(row: Row, words: str = "") -> str:
    if row.value is None or row.loss is None:
        return f"  {row.who:<18} {row.chip:<7} no session: {(row.words or '?')[:110]}"
    low, high = (
        "?" if bound is None else f"{-100 * bound:+.2f}" for bound in (row.loss.high, row.loss.low)
    )
    cost = "-" if row.cost is None else f"{row.cost:.2f}"
    return (
        f"  {row.who:<18} {row.chip:<7} {100 * row.value:6.2f} %  "
        f"{0.0 - 100 * row.loss.value:+.2f} ({low} to {high})  cost {cost}  "
        f"{row.left} left the NPU  {row.standing}  {words or row.words}"
    )


def ratio(name: str, mine: list[Row], theirs: list[Row], seconds: float, own: float) -> str:
    """One line against a named peer."""
    both = [
        (a, b)
        for a, b in zip(mine, theirs, strict=True)
        if a.cost is not None and b.cost is not None
    ]
    kept = [(a, b) for a, b in both if a.holds and b.holds]
    words = (
        f"{name}: its choice holds the budget on {sum(row.holds for row in theirs)} of "
        f"{len(theirs)} chips, ours on {sum(row.holds for row in mine)}"
    )
    if kept:
        paid = mean(b.cost or 0 for _, b in kept) / mean(a.cost or 1 for a, _ in kept)
        words += f"; where both hold, its mean cost is {paid:.2f} times ours"
    if seconds:
        words += f"; our search took {own / seconds:.1f} times its time"
    return words


def compare(
    case: Case,
    peers: dict[str, str],
    chips: Sequence[str],
    jobs: int,
    work: Path,
    rounding: int,
    every: bool,
) -> None:
    """One model and budget: the table, and a ratio against each peer."""
    plan, own = case.plan(chips, jobs)
    print(
        f"\n{case.name}: {case.budget.text}, {plan.choosing} samples choose; ours took {own:.0f} s",
        flush=True,
    )
    mine = ours(plan)
    for row in mine:
        print(line(row))
    task = case.task(rounding)
    ratios = []
    for name, python in peers.items():
        variants = tried(python, f"peers_{name}", task, work / f"{name}.log")
        for failed in (v for v in variants if v.file is None):
            print(f"  {failed.name}: {failed.words}; no model: {failed.error}", flush=True)
        best: tuple[Variant, list[Row]] | None = None
        for variant in ranked(case, task, variants):
            file = task / f"{variant.name}.onnx"
            print(
                f"  {variant.name}: {variant.words}; {variant.seconds:.0f} s; layers: "
                f"{case.prices.words(file)}; it says {100 * (variant.score or 0):.2f} %, "
                f"{-100 * (variant.drop or 0):+.2f}"
            )
            if best is not None and not every:
                continue
            *rows, host = case.judge(variant.name, file, [*chips, HOST], jobs)
            print("\n".join(line(row) for row in [*rows, host]), flush=True)
            if best is None and any(row.value is not None for row in rows):
                best = variant, rows  # what opens on no chip is found out at once
        if best is None:
            ratios.append(f"{name}: no model of its runs on any of these chips")
        else:
            found = ratio(f"{name} ({best[0].name})", mine, best[1], best[0].seconds, own)
            ratios.append(found)
    print("\n".join(ratios), flush=True)


def demo(folder: Path, planted: bool) -> Path:
    """The demo's three files; ``planted``: with a layer that 8 bits ruin."""
    folder.mkdir(parents=True, exist_ok=True)
    files = paths()
    shutil.copy(files.data, folder / "eval.npz")
    shutil.copy(files.calibration, folder / "calibration.npz")
    model = onnx.load(files.model)
    if planted:
        plant(model)
    onnx.save(model, folder / "model.onnx")
    return folder


def plant(model: onnx.ModelProto, factor: float = 1000.0) -> None:
    """Behind the first activation one channel is made ``factor`` times as large, and small again.

    The float model answers as before; with one 8-bit scale between, the other channels are lost.
    """
    graph = model.graph
    index = next(i for i, node in enumerate(graph.node) if node.op_type == "Clip")
    made = graph.node[index].output[0]
    (first, *_) = (node for node in graph.node if node.op_type == "Conv")
    weights = {tensor.name: tensor for tensor in graph.initializer}
    channels = weights[first.input[1]].dims[0]
    big = np.ones((1, channels, 1, 1), np.float32)
    big[0, 0] = factor
    for name, value in (("planted/big", big), ("planted/small", 1 / big)):
        graph.initializer.append(numpy_helper.from_array(value, name))
    for node in graph.node[index + 1 :]:
        node.input[:] = ["planted/back" if name == made else name for name in node.input]
    mul = helper.make_node
    graph.node.insert(index + 1, mul("Mul", [made, "planted/big"], ["planted/up"], "planted/up"))
    graph.node.insert(
        index + 2, mul("Mul", ["planted/up", "planted/small"], ["planted/back"], "planted/down")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for name, install in (("nncf", peers_nncf.INSTALL), ("aimet", aimet.INSTALL)):
        parser.add_argument(f"--{name}", metavar="PYTHON", help=f"of an environment:\n{install}")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="default: the demo's model")
    parser.add_argument("--budget", default="top1 drop <= 1%", help="of top1 or agreement")
    parser.add_argument("--chips", default=CHIPS)
    parser.add_argument("--shape", action="append", default=[], help="as for chipdrift plan")
    parser.add_argument("--limit", type=int, help="only the first N confirming samples")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--all", action="store_true", help="run all tries of a peer on the chips")
    parser.add_argument("--rounding", type=int, default=10_000, help="AIMET's AdaRound: steps")
    parser.add_argument("--work", type=Path, help="folder that keeps what was made; a second run")
    asked = parser.parse_args()
    peers = {name: python for name in ("nncf", "aimet") if (python := getattr(asked, name))}
    for name, python in peers.items():
        if shutil.which(python) is None:
            parser.error(f"--{name} {python} is no program")
    shapes = {
        name: [int(size) for size in sizes.split(",")]
        for name, sizes in (text.split("=") for text in asked.shape)
    }
    with tempfile.TemporaryDirectory(prefix="chipdrift-bench-") as scratch:
        work: Path = asked.work or Path(scratch)
        folders = [asked.model] if asked.model else []
        if not folders:
            folders = [demo(work / name, name != "demo") for name in ("demo", "demo-planted")]
        for folder in folders:
            place = work / f"work-{folder.name}"
            place.mkdir(parents=True, exist_ok=True)
            case = Case(folder, place, asked.budget, shapes, asked.limit)
            compare(
                case, peers, asked.chips.split(","), asked.jobs, place, asked.rounding, asked.all
            )


if __name__ == "__main__":
    main()
