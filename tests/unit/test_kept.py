"""A memory of the last used, held against a list that does the same slowly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chipdrift.kept import Kept

STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(1, 6)), max_size=40)


@given(st.integers(1, 12), STEPS)
def test_the_last_used_stay_as_far_as_they_fit(
    most: int, steps: list[tuple[bool, int, int]]
) -> None:
    kept: Kept[int, str] = Kept(most)
    model: list[tuple[int, str, int]] = []  # the last used at the end
    for number, (puts, key, size) in enumerate(steps):
        there = [entry for entry in model if entry[0] == key]
        model = [entry for entry in model if entry[0] != key]
        if puts:
            assert kept.put(key, str(number), size) == str(number)
            model.append((key, str(number), size))
            while sum(entry[2] for entry in model) > most and len(model) > 1:
                del model[0]
        else:
            assert kept.get(key) == (there[0][1] if there else None)
            model += there
        assert len(kept) == len(model)
    for key, value, _ in list(model):
        assert kept.get(key) == value


def test_by_default_all_are_of_one_size() -> None:
    kept: Kept[str, int] = Kept(2)
    for index, name in enumerate("abc"):
        kept.put(name, index)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (None, 1, 2)
