"""Sample hashes: equal exactly where the inputs are equal."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chipdrift.data import Samples, count_overlap
from chipdrift.records import TensorSpec

SPECS = [
    TensorSpec(name="a", dtype="int32", shape=(2,)),
    TensorSpec(name="b", dtype="float32", shape=()),
]
ROWS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 2), st.sampled_from([0.0, -0.0, 1.0])),
    min_size=1,
    max_size=8,
)


def samples(rows: list[tuple[int, int, float]]) -> Samples:
    def fetch(i: int) -> dict[str, np.ndarray]:
        return {"b": np.array(rows[i][2], np.float32), "a": np.array(rows[i][:2], np.int32)}

    return Samples("s", SPECS, len(rows), fetch)


@settings(max_examples=100, deadline=None)
@given(ROWS, ROWS)
def test_keys_overlap_and_hash(one: list, two: list) -> None:
    first, second = samples(one), samples(two)
    # -0.0 and 0.0 are other bits, and bits are what is compared.
    bits = [[(a, b, str(c)) for a, b, c in rows] for rows in (one, two)]
    for i, a in enumerate(bits[0]):
        for j, b in enumerate(bits[1]):
            assert (first.keys[i] == second.keys[j]) == (a == b)
    assert count_overlap(first, second) == sum(a in bits[1] for a in bits[0])
    assert (first.info().sha256 == second.info().sha256) == (bits[0] == bits[1])
