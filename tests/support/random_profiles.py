"""Random profiles of the engine, and whether a probe found what is in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from chipdrift.numerics.accumulate import product_sums
from chipdrift.numerics.profile import Accumulator, Override, Profile, Requantize
from chipdrift.numerics.rounding import Rounding
from chipdrift.probe.products import KINDS, Products
from chipdrift.probe.settings import Wish, evidence_of, random_setting
from chipdrift.probe.toml import profile_toml

_ROUNDINGS = [r for r in Rounding if r is not Rounding.STOCHASTIC]


def random_requantize(rng: np.random.Generator) -> Requantize:
    """Rules drawn from all that a profile can say of requantization."""
    while True:
        fields: dict[str, object] = {
            "scale": rng.choice(["exact", "float32", "float32_max", "float64"]),
            "multiplier": rng.choice(
                ["exact", "float32", "significand", "significand", "fixed_point", "power_of_two"]
            ),
            "rounding": _ROUNDINGS[rng.integers(5)],
            "zero_point": rng.choice(["output", "output", "accumulator"]),
            "bias": rng.choice(["exact", "exact", "float32", "float32_reciprocal"]),
            "bias_rounding": rng.choice(["HALF_AWAY", "HALF_EVEN", "TOWARD_ZERO"]),
        }
        if fields["bias"] == "exact":
            del fields["bias_rounding"]  # it would change nothing, which a profile may not say
        if fields["multiplier"] == "significand":
            fields["bits"] = int(rng.integers(6, 32))
            if rng.random() < 0.2:
                fields["steps"] = "double"
                del fields["rounding"]
        elif fields["multiplier"] == "fixed_point":
            fields["bits"] = int(rng.integers(12, 28))
        kind = rng.integers(4)
        if kind == 1:
            fields["drop"] = int(rng.integers(1, 9))
        elif kind == 2:
            fields["keep"] = int(rng.integers(0, 9))
        if kind in (1, 2):
            fields["drop_rounding"] = rng.choice(
                ["FLOOR", "HALF_UP", "MIDPOINT", "MIDPOINT_NONZERO"]
            )
        if kind == 3:
            fields.update(drop=int(rng.choice([4, 8])), parts="apart")
            fields["correction_drop"] = rng.choice(["FLOOR", "HALF_UP", "TOWARD_ZERO"])
            fields["bias_drop"] = rng.choice(["FLOOR", "HALF_UP", "TOWARD_ZERO"])
        try:
            return Requantize.model_validate(
                {k: str(v) if isinstance(v, np.str_) else v for k, v in fields.items()}
            )
        except ValueError:
            continue


def random_profile(rng: np.random.Generator) -> Profile:
    """A profile with one rule for all products."""
    rules = random_requantize(rng)
    operands = "stored" if rules.parts == "apart" else "centred"
    return Profile(
        name="random",
        rule=(
            Override(
                ops=("Conv", "MatMul", "Gemm"),
                accumulator=Accumulator(operands=operands),
                requantize=rules,
            ),
        ),
    )


def written(profile: Profile) -> str:
    """The profile as a file."""
    return profile_toml(profile, "drawn at random")


def differing(profile: Profile, products: Products, rng: np.random.Generator) -> int:
    """On how many outputs of unseen settings the found rules part from the true ones."""
    parted = 0
    for group in products.groups:
        for index, kind in enumerate(group.kinds * 4):
            wish = Wish(
                kind=kind, bits=8 if group.bits == 8 else 16, bias=kind != "matmul", x_zero=True,
                y_zero=True, per_channel=index % 3 > 0, dyadic=index % 5 == 4,
            )  # fmt: skip
            setting = random_setting(rng, wish)
            true = profile.rules_for("Conv", group.bits).requantize
            entry = evidence_of(setting, setting.sums * 0)
            real = replace(entry, answer=_made(entry, true))
            parted += real.answer.size - real.confirmed(group.rivals[0])
    return parted


def _made(entry, rules):  # type: ignore[no-untyped-def]
    from chipdrift.numerics.requantize import channels, requantize, scales

    factors = scales(entry.x_scale, entry.w_scale, entry.y_scale, rules.scale)
    constants = channels(factors, entry.bias, entry.x_scale, entry.w_scale, entry.zero_point, rules)
    return requantize(
        entry.products, entry.correction, constants, entry.zero_point, entry.low, entry.high,
        Accumulator(), rules,
    )  # fmt: skip


__all__ = ["KINDS", "differing", "product_sums", "random_profile", "written"]
