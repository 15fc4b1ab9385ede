"""A part of another data set: which of its samples, written down so that every verb reads it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from chipdrift.data.samples import Array, Samples
from chipdrift.errors import DataError
from chipdrift.records import TensorSpec

Load = Callable[[str, Sequence[TensorSpec], int | None], Samples]
SUFFIX = ".part.json"


def split_samples(samples: Samples, share: float, seed: int = 0) -> tuple[list[int], list[int]]:
    """Two disjoint parts of the samples' indices, the first about ``share`` of them.

    Samples with the same inputs stay on one side. Labels that are classes are spread over both
    sides alike. The order is drawn from ``seed`` and the samples' hashes alone, so that samples
    added at the end do not move the others' places in the draw. Raises DataError where a side would
    be empty, and for samples that stand in pairs, which cannot be parted.
    """
    if "pairs" in samples.extras:
        raise DataError(
            f"Data {samples.name}: its samples stand in pairs and cannot be parted. Give the "
            "samples to confirm on as a file of their own (--confirm)."
        )
    owners: dict[str, list[int]] = {}
    for index, key in enumerate(samples.keys):
        owners.setdefault(key, []).append(index)
    labels = samples.labels
    classes = labels is not None and labels.ndim == 1 and labels.dtype.kind in "iub"
    strata: dict[str, list[str]] = {}
    for key, indices in owners.items():
        stratum = str(labels[indices[0]]) if classes and labels is not None else ""
        strata.setdefault(stratum, []).append(key)
    first: set[int] = set()
    owed = 0.0
    for stratum in sorted(strata):
        ranked = sorted(strata[stratum], key=lambda key: _drawn(key, seed))
        owed += share * len(ranked)
        count = min(len(ranked), max(0, round(owed)))
        owed -= count
        for key in ranked[:count]:
            first.update(owners[key])
    parts = sorted(first), [i for i in range(len(samples)) if i not in first]
    if not all(parts):
        raise DataError(
            f"Data {samples.name}: {len(samples)} samples ({len(owners)} different ones) cannot be "
            "parted into some to choose on and some to confirm on. Give more samples."
        )
    return parts


def write_part(
    file: Path, source: str, samples: Samples, indices: Sequence[int], limit: int | None = None
) -> None:
    """Write the part of ``samples`` as a file that load_data takes.

    ``source`` and ``limit`` are what load_data made ``samples`` from. Raises DataError where the
    file cannot be written.
    """
    place = str(Path(source).resolve()) if Path(source).exists() else source
    content = {
        "part_of": place,
        "limit": limit,
        "sha256": samples.info().sha256,
        "samples": list(map(int, indices)),
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"Data {file}: cannot be written ({error.strerror}).") from error


def load_part(path: Path, inputs: Sequence[TensorSpec], limit: int | None, load: Load) -> Samples:
    """The samples that a part's file names; raises DataError where its source is gone or other."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        source, wanted = str(content["part_of"]), [int(i) for i in content["samples"]]
        digest = str(content["sha256"])
        first = None if content.get("limit") is None else int(content["limit"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"Data {path}: not a part of a data set: part_of, sha256 and samples are expected. Run "
            "the command again that wrote it."
        ) from error
    if source.endswith(SUFFIX) and Path(source).resolve() == path.resolve():
        raise DataError(f"Data {path}: it says that it is a part of itself. Write it anew.")
    whole = load(source, inputs, first)
    if whole.info().sha256 != digest:
        raise DataError(
            f"Data {path}: it is a part of {source}, which holds other samples or labels now than "
            "when it was parted. Run the command again that wrote it."
        )
    if not wanted or not set(wanted) <= set(range(len(whole))):
        raise DataError(f"Data {path}: it names samples that {source} does not have, or none.")
    if limit is not None:
        wanted = wanted[:limit]
    return take(whole, wanted, path.name.removesuffix(SUFFIX))


def take(samples: Samples, indices: Sequence[int], name: str) -> Samples:
    """Some of the samples, under another name; what stands beside a sample goes with it.

    Pairs stay, with their labels, whose two samples are both taken.
    """
    rows = np.asarray(indices, dtype=np.int64)
    extras = {
        key: array[rows] if array.ndim and len(array) == len(samples) else array
        for key, array in samples.extras.items()
    }
    labels = samples.labels
    if "pairs" in samples.extras:
        labels, extras["pairs"] = _pairs_among(samples.extras["pairs"], labels, indices)
    elif labels is not None:
        labels = labels[rows]
    return Samples(
        name,
        samples.inputs,
        len(indices),
        lambda i: samples.feed(indices[i]),
        labels,
        extras,
    )


def _pairs_among(
    pairs: Array, labels: Array | None, indices: Sequence[int]
) -> tuple[Array | None, Array]:
    places = {old: new for new, old in enumerate(indices)}
    kept = [row for row, pair in enumerate(pairs.tolist()) if all(i in places for i in pair)]
    moved = np.array([[places[i] for i in pairs[row].tolist()] for row in kept], dtype=pairs.dtype)
    return None if labels is None else labels[kept], moved.reshape(len(kept), 2)


def _drawn(key: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}|{key}".encode()).hexdigest()
