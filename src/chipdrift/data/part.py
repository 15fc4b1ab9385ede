"""A part of another data set: which of its samples, written down so that every verb reads it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from chipdrift.data.samples import Array, Samples
from chipdrift.errors import DataError
from chipdrift.records import TensorSpec

Load = Callable[[str, Sequence[TensorSpec], int | None], Samples]
SUFFIX = ".part.json"
# A hundred million samples; and the longest path that a system takes.
_LARGEST, _LONGEST = 1 << 30, 4096
# A part of a part of a part: what goes deeper goes in a circle.
_DEEPEST = 16


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
    part = _read(path)
    source, wanted = part.source, part.samples
    _follow(path, part)
    whole = load(source, inputs, part.limit)
    if whole.info().sha256 != part.sha256:
        raise DataError(
            f"Data {path}: it is a part of {source}, which holds other samples or labels now than "
            "when it was parted. Run the command again that wrote it."
        )
    if len(set(wanted)) < len(wanted):
        index = next(i for i, count in Counter(wanted).items() if count > 1)
        raise DataError(
            f"Data {path}: it names sample {index} twice: that would count it twice. Run the "
            "command again that wrote it."
        )
    if not wanted or not set(wanted) <= set(range(len(whole))):
        raise DataError(f"Data {path}: it names samples that {source} does not have, or none.")
    if limit is not None:
        wanted = wanted[:limit]
    return take(whole, wanted, path.name.removesuffix(SUFFIX))


@final
@dataclass(frozen=True)
class _Part:
    """What a part's file says: ``samples`` are indices among the first ``limit`` of ``source``."""

    source: str
    sha256: str
    samples: list[int]
    limit: int | None


def _read(path: Path) -> _Part:
    """The part that a file describes; raises DataError for anything else."""
    try:
        if path.exists() and not path.is_file():
            raise ValueError("no regular file")
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"{path.stat().st_size} bytes")
        content = json.loads(path.read_text(encoding="utf-8"))
        limit = content.get("limit")
        part = _Part(content["part_of"], content["sha256"], content["samples"], limit)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _no_part(path) from error
    if not (isinstance(part.source, str) and isinstance(part.sha256, str)):
        raise _no_part(path)
    if not 0 < len(part.source) <= _LONGEST or "\0" in part.source:
        raise _no_part(path, "part_of is no path")
    if not isinstance(part.samples, list) or not all(type(i) is int for i in part.samples):
        raise _no_part(path, "samples is no list of whole numbers")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise _no_part(path, "limit is no whole number from 1 on")
    return part


def _no_part(path: Path, found: str = "") -> DataError:
    return DataError(
        f"Data {path}: not a part of a data set{f' ({found})' if found else ''}: part_of, sha256 "
        "and samples are expected. Run the command again that wrote it."
    )


def _follow(path: Path, part: _Part) -> None:
    """Raise DataError where the part's source is the part itself, by way of others perhaps."""
    seen = {path.resolve()}
    for _ in range(_DEEPEST):
        if not part.source.endswith(SUFFIX):
            return
        source = Path(part.source).resolve()
        if source in seen:
            raise DataError(f"Data {path}: it says that it is a part of itself. Write it anew.")
        seen.add(source)
        part = _read(Path(part.source))
    raise DataError(f"Data {path}: a part of a part, {_DEEPEST} deep. Name the data set itself.")


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
