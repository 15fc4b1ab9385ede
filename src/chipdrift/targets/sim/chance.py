"""STOCHASTIC rounding: which ops draw, and what a sample's noise begins with (N6)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from chipdrift.numerics.ops import tables_of
from chipdrift.numerics.profile import Rules
from chipdrift.numerics.rounding import Rounding

Array = np.ndarray[Any, Any]


def draws(op: str, rules: Rules) -> bool:
    """Whether ``op`` rounds by chance under ``rules``."""
    roundings = {
        "requantize": rules.requantize.rounding,
        "elementwise": rules.elementwise.rounding,
    }
    return any(roundings.get(table) is Rounding.STOCHASTIC for table in tables_of(op))


def sample_seed(seed: int, feed: Mapping[str, Array]) -> int:
    """``seed`` plus 64 bits of SHA-256 over the sample's inputs, in the order of their names.

    Of what the sample holds, not of when it came: an answer is stored under its sample, and a run
    that was stopped goes on in the middle.
    """
    digest = hashlib.sha256()
    for _, array in sorted(feed.items()):
        digest.update(array.tobytes())
    return seed + int.from_bytes(digest.digest()[:8], "little")
