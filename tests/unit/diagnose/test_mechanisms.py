"""Every rule of an op belongs to a mechanism: what a profile can say can be explained."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chipdrift.diagnose.mechanisms import Tables, between
from chipdrift.numerics.profile import (
    Accumulator,
    Elementwise,
    Function,
    Fusion,
    Input,
    Narrow,
    Profile,
    Requantize,
    Rules,
    Weights,
)
from chipdrift.numerics.profiles import get_profile
from chipdrift.numerics.smallfloat import SmallFloat

TABLES = {
    "accumulator": Accumulator,
    "requantize": Requantize,
    "elementwise": Elementwise,
    "function": Function,
    "narrow": Narrow,
    "weights": Weights,
    "fusion": Fusion,
    "floats": SmallFloat,
    "input": Input,
}


@pytest.mark.parametrize("part", TABLES)
def test_every_field_is_turned_by_some_mechanism(part: str) -> None:
    class Other:
        """Differs from the plain table in every field."""

        def __getattr__(self, name: str) -> object:
            return object()

    mine = Tables.of(Profile(name="plain", floats=SmallFloat()), Rules())
    if part in Rules.model_fields:
        theirs = replace(mine, rules=Rules().model_copy(update={part: Other()}))
    else:
        theirs = replace(mine, **{part: Other()})
    turned = {name for variation in between(mine, theirs) for name, _ in variation.changes}
    assert turned == set(TABLES[part].model_fields)


def test_two_generations_part_in_named_mechanisms() -> None:
    profiles = [get_profile(f"hexagon-{name}") for name in ("v69", "v73")]
    a, b = (Tables.of(profile, profile.rules_for("Conv", 8, "plain")) for profile in profiles)
    names = {variation.mechanism for variation in between(a, b)}
    assert {"dropped_bits", "scale_precision"} <= names
    assert not between(a, a)
