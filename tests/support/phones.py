"""Outputs of a small model as three phones would leave them, in a folder with a manifest."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

MANIFEST = """\
scheme = "fp32"
who = "a lab"
when = "2025-03-01"

[[targets]]
name = "same"
evidence = "device"
device = "Phone 1"
[targets.outputs.y]
file = "same.npy"

[[targets]]
name = "shuffled"
samples = "shuffled.txt"
[targets.outputs.y]
file = "shuffled.raw"
dtype = "float32"
shape = [4]

[[targets]]
name = "each"
inputs = "each.npz"
[targets.outputs.y]
files = "each/{index}.npy"
"""


def write_phones(phone: dict[str, Any]) -> list[int]:
    """Three targets: as measured; in another order; another order by its inputs, one bit apart."""
    folder, y = phone["folder"], phone["y"]
    np.save(folder / "same.npy", y)
    order = np.random.default_rng(0).permutation(len(y)).tolist()
    (folder / "shuffled.txt").write_text("\n".join(phone["hashes"][i] for i in order))
    y[order].astype("<f4").tofile(folder / "shuffled.raw")
    np.savez(folder / "each.npz", x=phone["x"][::-1])
    (folder / "each").mkdir()
    changed = y.copy()
    changed[7] = changed[7, :, ::-1]  # sample 7 answers otherwise
    for i, row in enumerate(changed[::-1]):
        np.save(folder / "each" / f"{i}.npy", row)
    (folder / "import.toml").write_text(MANIFEST)
    return order


def phones_in(folder: Path, small_model: Path, small_data: Path) -> dict[str, Any]:
    """The small model's data, what onnxruntime answers, and each sample's hash by hand."""
    x = np.load(small_data)["x"]
    session = ort.InferenceSession(small_model, providers=["CPUExecutionProvider"])
    truth = np.stack([session.run(["y"], {"x": row[None]})[0] for row in x])
    hashes = [hashlib.sha256(b"x|float32|(1, 3, 6, 6)|" + row.tobytes()).hexdigest() for row in x]
    folder.mkdir()
    return {"x": x, "y": truth, "hashes": hashes, "folder": folder}
