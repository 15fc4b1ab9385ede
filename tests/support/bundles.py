"""Plans made by hand from the demo's model, and bundles of them, for the tests of bundles."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from chipdrift.chips import get_chip
from chipdrift.demo import paths
from chipdrift.matrix import run_matrix
from chipdrift.plan.records import Budget, Choice, Plan, PlanChip, Variant
from chipdrift.records import Interval, Matrix

SAMPLES = 60
# Chip, the variant it gets, how that stands.
CHOICES = (
    ("sm8450", "w8a8", "confirmed"),
    ("sm8550", "w8a8_pc", "within"),
    ("sm7550", "w8a8", "missed"),
)
SAFE = "fp32"


def make_plan(folder: Path, choices: Any = CHOICES) -> Path:
    """A plan folder as ``chipdrift plan`` leaves it: plan.json, models, and the run ``confirm``."""
    files = paths()
    folder.mkdir(parents=True, exist_ok=True)
    eval_file = folder / "confirm.npz"
    arrays = np.load(files.data)
    np.savez(eval_file, image=arrays["image"][:SAMPLES], labels=arrays["labels"][:SAMPLES])
    schemes = list(dict.fromkeys([v for _, v, _ in choices if v] + [SAFE]))
    targets = [f"htp:{chip}" for chip, _, _ in choices]
    matrix = run_matrix(
        files.model,
        eval_file,
        schemes=schemes,
        targets=["ort:cpu", *targets],
        out=folder / "confirm",
        metric="top1",
        calibration=files.calibration,
    )
    return write_plan(folder, matrix, choices)


def write_plan(folder: Path, matrix: Matrix, choices: Any, **changes: Any) -> Path:
    """``plan.json`` and ``models`` for a run that is in ``folder``."""
    infos = {scheme.name: scheme for scheme in matrix.schemes}
    variants = []
    for name, info in infos.items():
        assert info.file is not None
        assert info.model_sha256 is not None
        place = folder / "models" / f"{name}.onnx"
        place.parent.mkdir(exist_ok=True)
        shutil.copy(folder / "confirm" / info.file, place)
        variants.append(
            Variant(
                name=name,
                scheme=name,
                file=f"models/{name}.onnx",
                sha256=info.model_sha256,
                size=place.stat().st_size,
                words=info.description,
                chips=tuple(chip for chip, variant, _ in choices if variant == name),
            )
        )
    content: dict[str, Any] = {
        "chipdrift": matrix.chipdrift,
        "created": matrix.created,
        "model": matrix.model,
        "data": matrix.data,
        "calibration": matrix.calibration,
        "metric": matrix.metric,
        "baseline": matrix.baseline.metric,
        "budget": Budget(text="top1 drop <= 1%", metric="top1", kind="drop", limit=0.01),
        "objective": "latency",
        "choosing": 100,
        "confirming": matrix.data.samples,
        "chips": [plan_chip(chip) for chip, _, _ in choices],
        "candidates": [],
        "scores": [],
        "choices": [choice(matrix, *words) for words in choices],
        "variants": variants,
        "safe": SAFE,
    }
    plan = Plan(**{**content, **changes})
    (folder / "plan.json").write_text(plan.model_dump_json(indent=1))
    return folder


def plan_chip(name: str) -> PlanChip:
    chip = get_chip(name)
    return PlanChip(
        name=name,
        words=chip.label,
        target=f"htp:{name}",
        evidence="vendor-simulator",
        searcher="sim:hexagon-v73",
        why="",
        group=chip.hexagon or "",
        soc=chip.soc,
        soc_model=chip.soc_model,
        ro_soc_models=(chip.ro_soc_model or chip.soc,),
    )


def choice(matrix: Matrix, chip: str, variant: str | None, standing: Any) -> Choice:
    cells = {(cell.scheme, cell.target): cell for cell in matrix.cells}
    cell = cells.get((variant or "", f"htp:{chip}"))
    return Choice(
        chip=chip,
        variant=variant,
        standing=standing,
        why="",
        metric=cell.metric if cell else None,
        loss=Interval(value=0.005, low=-0.002, high=0.012),
        samples=cell.samples if cell else 0,
        looks=1,
        evidence="vendor-simulator",
        options={"soc_model": str(get_chip(chip).soc_model)},
    )


@cache
def _plan_once(place: str) -> Path:
    return make_plan(Path(place))


def shared_plan(place: Path) -> Path:
    """The plan of :data:`CHOICES`, made once under ``place``; not to be changed."""
    return _plan_once(str(place))


def change_plan(folder: Path, **changes: Any) -> None:
    """Write other values into a plan's ``plan.json``."""
    file = folder / "plan.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
