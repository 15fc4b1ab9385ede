"""Compile a model for one chip: ``python -m chipdrift.bundle.compiler MODEL SOC SAMPLES FOLDER``.

The vendor's code crashes, hangs and prints: it has this process to itself. SAMPLES is an ``.npz``
with the arrays ``NUMBER|INPUT``. What was compiled has to answer as the model does on the same
simulated chip, to the bit. FOLDER gets ``context.onnx``, the binary, and ``result.json``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from chipdrift.errors import ChipdriftError
from chipdrift.graph.renamed import restore_names
from chipdrift.graph.weights import output_names
from chipdrift.targets import htp
from chipdrift.targets.adb_netrun import compile_context
from chipdrift.targets.base import RefusedError

RESULT = "result.json"


def main() -> None:
    """Write what came of it, or why nothing did."""
    model, soc, samples, folder = sys.argv[1:5]
    try:
        result = _compile(Path(model), soc, Path(samples), Path(folder))
    except (RefusedError, ChipdriftError, RuntimeError) as error:
        result = {"error": str(error).rstrip(".")}
    (Path(folder) / RESULT).write_text(json.dumps(result), encoding="utf-8")


def _compile(model: Path, soc: str, samples: Path, folder: Path) -> dict[str, str]:
    made = compile_context(model, soc, folder)
    wrapper = folder / "context.onnx"
    names = {new: old for old, new in made.names.inputs.items()}
    plain = htp.open_session(str(model), {"soc_model": soc})
    names |= dict(zip(made.names.outputs, output_names(model.read_bytes()), strict=True))
    restore_names(wrapper, names)
    compiled = htp.open_session(str(wrapper), {"soc_model": soc})
    for feed in _feeds(samples):
        same = [
            np.array_equal(_bits(a), _bits(b))
            for a, b in zip(plain.run(feed), compiled.run(feed), strict=True)
        ]
        if not all(same):
            raise ChipdriftError("what was compiled does not answer as the model does")
    return {
        "build": made.context.sdk,
        "file": wrapper.name,
        "binary": made.context.binary.name,
    }


def _feeds(samples: Path) -> list[dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    with np.load(samples, allow_pickle=False) as file:
        for key in file.files:
            number, _, name = key.partition("|")
            found.setdefault(int(number), {})[name] = file[key]
    return list(found.values())


def _bits(array: Any) -> Any:
    return np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)


if __name__ == "__main__":
    main()
