"""Find out what ``--data`` names, and load it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chipdrift.data.arrays import load_npz
from chipdrift.data.generator import load_generator
from chipdrift.data.images import load_images
from chipdrift.data.part import SUFFIX, load_part
from chipdrift.data.samples import Samples
from chipdrift.errors import DataError
from chipdrift.records import TensorSpec


def load_data(spec: str | Path, inputs: Sequence[TensorSpec], limit: int | None = None) -> Samples:
    """Samples for a model with these inputs: the first ``limit`` of them, or all.

    ``spec`` is an ``.npz`` file, a folder of images by class with its ``chipdrift.toml`` (or the
    path of that TOML), ``module:function``, or a ``.part.json`` that names some samples of one of
    these. Raises DataError with one sentence.
    """
    if limit is not None and limit < 1:
        raise DataError(f"--limit {limit}: at least 1 sample is needed.")
    text = str(spec)
    path = Path(spec)
    try:
        path.exists()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise DataError(f"Data {text[:70]!r}: cannot be looked up ({error.strerror}).") from error
    if path.name.endswith(SUFFIX):
        return load_part(path, inputs, limit, load_data)
    if path.suffix == ".npz" or (path.is_file() and path.suffix not in (".toml", ".py")):
        return load_npz(path, inputs, limit)
    if path.is_dir() or path.suffix == ".toml":
        try:
            return load_images(path, inputs, limit)
        except OSError as error:
            raise DataError(f"Data {text}: cannot be read ({error.strerror}).") from error
    if ":" in text and not path.exists():
        return load_generator(text, inputs, limit)
    raise DataError(
        f"Data {text}: no such file or folder. Give an .npz file, a folder of images by class with "
        "a chipdrift.toml, or module:function."
    )
