"""How the target rounds real numbers to integers, and whether it answers the same twice."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from chipdrift.graph.single import OneOp, Side, integers, one_op_model
from chipdrift.numerics.profile import Input
from chipdrift.numerics.quantize import quantize
from chipdrift.numerics.rounding import Rounding
from chipdrift.numerics.tensors import Quant
from chipdrift.probe.ask import Asker, NoAnswerError
from chipdrift.probe.finding import Finding

Array = np.ndarray[Any, Any]

_PLAIN = [r for r in Rounding if r is not Rounding.STOCHASTIC]


def probe_input(asker: Asker, rng: np.random.Generator) -> list[Finding]:
    """Rounding and arithmetic of QuantizeLinear, from ties and values next to them."""
    cases = []
    for scale, zero, dtype in (
        (0.5, 128, "uint8"),
        (np.float32(0.1), 100, "uint8"),
        (np.float32(1 / 255), 0, "uint8"),
        (np.float32(0.0031), 30000, "uint16"),
    ):
        side = Side(dtype, np.float32(scale), zero)
        low, high = -zero, (1 << (16 if dtype == "uint16" else 8)) - 1 - zero
        steps = rng.integers(low + 1, high - 1, 600).astype(np.float64) + 0.5
        ties = (steps * float(np.float32(scale))).astype(np.float32)
        near = [np.nextafter(ties, np.float32(end)) for end in (np.inf, -np.inf)]
        other = (rng.uniform(low, high, 600) * scale).astype(np.float32)
        values = np.concatenate([ties, *near, other]).reshape(1, -1)
        try:
            cases.append((side, values, _through(asker, side, values)))
        except NoAnswerError:
            continue
    if not cases:
        return [Finding(subject="input", rule="rounding", words="the target answered no question")]
    asked = sum(values.size for _, values, _ in cases)
    scores: dict[tuple[str, str], int] = {}
    for rounding, arithmetic in itertools.product(
        _PLAIN, ("float32", "float32_reciprocal", "exact")
    ):
        rules = Input.model_validate({"rounding": rounding, "arithmetic": arithmetic})
        scores[rounding.value, arithmetic] = sum(
            int((quantize(values, _quant(side), rules) == found).sum())
            for side, values, found in cases
        )
    best = max(scores, key=lambda key: scores[key])
    if scores[best] < 0.98 * asked and _random_input(cases):
        return [
            Finding(
                subject="input", rule="rounding", place=("input", "rounding"), value="STOCHASTIC",
                words="the same number is rounded up here and down there, in proportion to its "
                "fraction", asked=asked, explained=asked,
            )
        ]  # fmt: skip
    equal = [key for key in scores if scores[key] == scores[best]]
    found = []
    for index, rule in enumerate(("rounding", "arithmetic")):
        same = dict.fromkeys(key[index] for key in equal)
        top = {
            value: max(score for key, score in scores.items() if key[index] == value) / asked
            for value in dict.fromkeys(key[index] for key in scores)
        }
        found.append(
            Finding(
                subject="input",
                rule=rule,
                place=("input", rule),
                value=best[index] if len(same) == 1 and scores[best] >= 0.98 * asked else None,
                words="QuantizeLinear of ties, their neighbours and random numbers",
                asked=asked,
                explained=scores[best],
                ruled_out=tuple((v, s) for v, s in top.items() if v not in same),
                undecided=tuple(same) if len(same) > 1 else (),
            )
        )
    return found


def probe_repeat(asker: Asker, rng: np.random.Generator) -> list[Finding]:
    """Whether the same input gets the same answer twice, in another session, in another place."""
    side = Side("uint8", np.float32(1), 0, shape=(2, 64))
    w = Side("int8", np.float32(1 / 512), 0, integers=rng.integers(-127, 128, (64, 48)))
    out = Side("uint8", np.float32(1), 128, shape=(2, 48))
    model = one_op_model(OneOp("MatMul", [side, w], out))
    x = rng.integers(0, 256, (2, 64)).astype(np.float32)
    feeds = [{"x0": x}, {"x0": x[::-1].copy()}, {"x0": x}]
    try:
        first, swapped, again = asker.ask(model, feeds)
        later = asker.ask(model, feeds[:1])[0]
    except NoAnswerError as error:
        return [Finding(subject="answers", rule="repeat", words=str(error))]
    repeats = np.array_equal(first, again) and np.array_equal(first, later)
    moved = np.array_equal(first, swapped[::-1])
    return [
        Finding(
            subject="answers", rule="repeat", value=repeats, asked=3 * first.size,
            explained=int((first == again).sum() + (first == later).sum()) + first.size,
            words="the same input twice in one session and once in another: "
            + ("identical" if repeats else "different answers"),
        ),
        Finding(
            subject="answers", rule="batch", value=not moved, asked=first.size,
            explained=int((first == swapped[::-1]).sum()),
            words="two rows in one order and in the other: "
            + ("a row's answer stays the same" if moved else "a row's answer changes"),
        ),
    ]  # fmt: skip


def _through(asker: Asker, side: Side, values: Array) -> Array:
    """What the target's quantizer makes of real ``values``: integers."""
    shaped = Side(side.dtype, side.scale, side.zero_point, shape=values.shape)
    shape = np.array([values.size], np.int64)
    out = Side(side.dtype, side.scale, side.zero_point, shape=(values.size,))
    one = OneOp("Reshape", [shaped], out, plain={1: shape})
    (made,) = asker.ask(one_op_model(one), [{"x0": values}])
    return integers(made, out).reshape(values.shape)


def _quant(side: Side) -> Quant:
    return Quant(np.float32(side.scale), np.int64(side.zero_point), side.dtype)  # type: ignore[arg-type]


def _random_input(cases: list[tuple[Side, Array, Array]]) -> bool:
    """Whether every answer is one of a number's two neighbours, and both occur."""
    ups = []
    for side, values, found in cases:
        real = values.astype(np.float64) / float(np.float32(side.scale)) + side.zero_point
        if (np.abs(found - real) > 1.001).any():
            return False
        fraction = real - np.floor(real)
        middle = (fraction > 0.2) & (fraction < 0.8)
        ups.append((found > real)[middle].mean() if middle.any() else 0.5)
    return 0.2 < float(np.mean(ups)) < 0.8
