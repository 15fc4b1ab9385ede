"""Every rule of an op belongs to a mechanism: what a profile can say can be explained."""

from __future__ import annotations

import pytest

from chipdrift.diagnose.mechanisms import between
from chipdrift.numerics.profile import Accumulator, Elementwise, Function, Requantize, Rules
from chipdrift.numerics.profiles import get_profile

TABLES = {
    "accumulator": Accumulator,
    "requantize": Requantize,
    "elementwise": Elementwise,
    "function": Function,
}


@pytest.mark.parametrize("part", TABLES)
def test_every_field_is_turned_by_some_mechanism(part: str) -> None:
    class Other:
        """Differs from the plain table in every field."""

        def __getattr__(self, name: str) -> object:
            return object()

    mine = Rules()
    theirs = mine.model_copy(update={part: Other()})
    turned = {name for variation in between(mine, theirs) for name, _ in variation.changes}
    assert turned == set(TABLES[part].model_fields)


def test_two_generations_part_in_named_mechanisms() -> None:
    a, b = (get_profile(f"hexagon-{name}").rules_for("Conv", 8, "plain") for name in ("v69", "v73"))
    names = {variation.mechanism for variation in between(a, b)}
    assert {"dropped_bits", "scale_precision"} <= names
    assert not between(a, a)
