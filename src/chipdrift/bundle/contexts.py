"""Variants compiled for a chip on this host, each in a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, final

import numpy as np

from chipdrift.bundle.assign import Assigned
from chipdrift.bundle.compiler import RESULT
from chipdrift.errors import ChipdriftError
from chipdrift.records import TensorSpec
from chipdrift.targets import htp

_SECONDS = 600.0
_RELEASE = re.compile(r"v?(\d+\.\d+\.\d+)")
_LAST_WORDS = 300


@final
@dataclass(frozen=True)
class Compiled:
    """The wrapper and the vendor's binary, whose name ``binary_name`` stands in the wrapper."""

    soc: str
    soc_model: int
    sdk: str
    build: str
    runtime: str
    wrapper: bytes
    binary: bytes
    binary_name: str


def compile_contexts(
    assigned: Sequence[Assigned],
    models: Mapping[str, bytes],
    feeds: Sequence[Mapping[str, Any]],
    inputs: Sequence[TensorSpec],
    seconds: float = _SECONDS,
) -> tuple[dict[str, Compiled], list[str]]:
    """By chip, for those with a variant on the NPU; and why others have none.

    ``feeds`` are what a compiled model is checked with; without any it is zeros. Raises
    ChipdriftError where nothing can be compiled on this host at all.
    """
    reason = htp.missing()
    if reason is not None:
        raise ChipdriftError(f"--contexts: nothing can be compiled on this host: {reason}.")
    found: dict[str, Compiled] = {}
    warnings = []
    for one in assigned:
        if not one.npu:
            continue
        made = _one(one, models[one.variant], feeds or _zeros(inputs), seconds)
        if isinstance(made, Compiled):
            found[one.chip.name] = made
        else:
            warnings.append(
                f"{one.chip.name}: {one.variant} is not compiled beforehand ({made}); a phone "
                "compiles the model itself"
            )
    return found, warnings


def _one(
    one: Assigned, model: bytes, feeds: Sequence[Mapping[str, Any]], seconds: float
) -> Compiled | str:
    chip = one.chip
    if chip.soc is None or chip.soc_model is None:
        return "its QNN soc_model is not known"
    if "@" in chip.target:
        return f"{chip.target} was measured, which is another release than the one that compiles"
    if set(one.choice.options) - {"soc_model"}:
        return "the plan runs it with options of the runtime that the compiler here is not given"
    try:
        target = htp.resolve(chip.soc.lower())
    except ChipdriftError as error:
        return str(error).rstrip(".")
    with tempfile.TemporaryDirectory(prefix="chipdrift-compile-") as place:
        folder = Path(place)
        (folder / "model.onnx").write_bytes(model)
        arrays = {
            f"{n}|{name}": array for n, feed in enumerate(feeds) for name, array in feed.items()
        }
        np.savez(folder / "samples.npz", **arrays)
        (folder / "made").mkdir()
        told = _ask(folder, target.options["soc_model"], seconds)
        release = _RELEASE.match(told.get("build", ""))
        if "error" in told:
            return told["error"]
        if release is None:
            return "the compiler does not tell its release"
        return Compiled(
            soc=chip.soc,
            soc_model=chip.soc_model,
            sdk=release[1],
            build=told["build"],
            runtime=f"onnxruntime-qnn {metadata.version('onnxruntime-qnn')}",
            wrapper=(folder / "made" / told["file"]).read_bytes(),
            binary=(folder / "made" / told["binary"]).read_bytes(),
            binary_name=told["binary"],
        )


def _ask(folder: Path, soc: str, seconds: float) -> dict[str, str]:
    made = folder / "made"
    command = [folder / "model.onnx", soc, folder / "samples.npz", made]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "chipdrift.bundle.compiler", *map(str, command)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"the compiler had not ended after {seconds:g} s"}
    try:
        told: dict[str, str] = json.loads((made / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        words = " ".join(done.stderr.decode(errors="replace").split())[-_LAST_WORDS:]
        return {"error": f"the compiler ended with exit code {done.returncode}: {words}"}
    return told


def _zeros(inputs: Sequence[TensorSpec]) -> list[dict[str, Any]]:
    return [{spec.name: np.zeros([d or 1 for d in spec.shape], spec.dtype) for spec in inputs}]
