"""How wide is the accumulator, what if it overflows, and in which order is it filled?

Sums are made large on purpose. A wrapped or clamped sum is wrong by far more than requantization
ever is, so a candidate is right where it explains all outputs within ``_NEAR`` steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chipdrift.graph.single import OneOp, Side, integers, one_op_model, real
from chipdrift.numerics.accumulate import fit, product_sums
from chipdrift.numerics.ops.conv import windows
from chipdrift.numerics.profile import Accumulator
from chipdrift.probe.ask import Asker, NoAnswerError

Array = np.ndarray[Any, Any]

_NEAR = 2
_BLOCKS = (2, 4, 8, 16, 32, 64, 128, 256)
# Sums of 8-bit products that reach beyond 16, 24 and 32 bits.
_DEPTHS = (2, 4, 8, 32, 256, 1024)
_DEEP = 70_000
# Sums that deep are slow to walk: only the best candidates are asked about them.
_DEEPER = 24


@dataclass(frozen=True, eq=False)
class Question:
    """Products in the order of K with the target's answers.

    ``scale`` is S, ``zero`` the output's zero point: 128, and 0 for the deepest sums, whose zero
    point divided by S would itself not fit 32 bits.
    """

    words: str
    x: Array
    w: Array
    x_zero: int
    scale: float
    zero: int
    answer: Array
    channels_last: tuple[Array, Array] | None = None

    def explained(self, rules: Accumulator) -> int:
        """How many outputs ``rules`` explain."""
        x, w = self.x, self.w
        if rules.order == "channels_last" and self.channels_last is not None:
            x, w = self.channels_last
        products, correction = product_sums(x, w, self.x_zero, np.zeros(1, np.int64), rules)
        total = fit(products - correction, rules.width, rules.overflow)
        expected = np.clip(np.rint(total * self.scale) + self.zero, 0, 255)
        return int((np.abs(expected - self.answer) <= _NEAR).sum())


def ask_sums(asker: Asker, rng: np.random.Generator) -> tuple[list[Question], list[str]]:
    """All questions that the target answered, and the words of those it refused."""
    asked, refused = [], []
    for words, x, w, zero, shape in _extremes(rng):
        try:
            asked.append(_ask(asker, words, x, w, zero, shape))
        except NoAnswerError as error:
            refused.append(f"{words}: {error}")
    return asked, refused


def candidates() -> Iterator[Accumulator]:
    """Every accumulator of the family, the plainest first."""
    plain = [
        Accumulator.model_validate({"width": width, "overflow": overflow})
        for width, overflow in itertools.product((32, 64, 24, 16), ("wrap", "saturate"))
        if (width, overflow) != (64, "saturate")
    ]
    blocks = [
        Accumulator.model_validate(
            {"width": 32, "block": block, "block_width": width, "block_overflow": overflow}
        )
        for block, width, overflow in itertools.product(_BLOCKS, (16, 24), ("saturate", "wrap"))
    ]
    for operands, order in itertools.product(
        ("centred", "stored"), ("channels_first", "channels_last")
    ):
        for rules in [*plain, *blocks]:
            yield rules.model_copy(update={"operands": operands, "order": order})


@dataclass(frozen=True)
class Sums:
    """The accumulators that explain most, plainest first, and how many outputs that is.

    ``shares`` maps "field = value" to the share that the best accumulator with that value explains.
    """

    rivals: tuple[Accumulator, ...]
    explained: int
    asked: int
    shares: dict[str, float]


def find(questions: list[Question]) -> Sums:
    """The candidates that explain most."""
    asked = sum(q.answer.size for q in questions)
    shallow = [q for q in questions if q.x.shape[-1] <= _DEPTHS[-1]]
    deep = [q for q in questions if q.x.shape[-1] > _DEPTHS[-1]]
    scored = {rules: sum(q.explained(rules) for q in shallow) for rules in candidates()}
    best = max(scored.values())
    for rules in [r for r in scored if scored[r] == best][:_DEEPER]:
        scored[rules] += sum(q.explained(rules) for q in deep)
    best = max(scored.values())
    kept = [rules for rules in scored if scored[rules] == best]
    shares: dict[str, float] = {}
    for rules, score in scored.items():
        for name, value in rules.model_dump(mode="json").items():
            if value != getattr(kept[0], name):
                key = f"{name} = {value}"
                shares[key] = max(shares.get(key, 0.0), score / asked)
    return Sums(tuple(kept), best, asked, shares)


def _extremes(rng: np.random.Generator) -> Iterator[tuple[str, Array, Array, int, tuple[int, ...]]]:
    for zero, depth in itertools.product((0, 128), _DEPTHS):
        x = rng.choice([0, 255, 255, 250], (24, depth))
        w = rng.choice([-127, 127], (depth, 24))
        # Runs of one sign push a running sum far out before it comes back.
        w[:, ::2] = np.repeat(w[: -(-depth // 4), ::2], 4, axis=0)[:depth]
        w[:, 0], w[:, 1] = 127, -127
        w[depth // 2 :, 2] = -w[: depth - depth // 2, 2]
        yield f"MatMul of {depth} products, zero point {zero}", x, w, zero, ()
    for channels in (4, 16):
        x = rng.choice([0, 255, 255], (1, channels, 6, 6))
        w = np.repeat(rng.choice([-127, 127], (24, channels, 1, 3)), 3, axis=2)
        w[0], w[1] = 127, -127
        yield f"convolution 3x3 of {channels} channels", x, w, 0, (3, 3)
    x = np.full((1, _DEEP), 255)
    w = np.repeat(rng.choice([-127, 127], (_DEEP // 100, 8), p=[0.2, 0.8]), 100, axis=0)
    w[:, 0], w[:, 1] = 127, -127
    w[_DEEP // 2 :, 2], w[: _DEEP // 2, 2] = -100, 127
    yield f"MatMul of {_DEEP} products", x, w, 0, ()


def _ask(
    asker: Asker, words: str, x: Array, w: Array, zero: int, kernel: tuple[int, ...]
) -> Question:
    last = None
    if kernel:
        seen = windows(x, kernel, {}, 0)
        depth = w[0].size
        flat_x, flat_w = seen.reshape(-1, depth), w.reshape(w.shape[0], depth).T
        last = (
            np.moveaxis(seen, 3, -1).reshape(-1, depth),
            np.moveaxis(w, 1, -1).reshape(w.shape[0], depth).T,
        )
        shape: tuple[int, ...] = (1, w.shape[0], seen.shape[1], seen.shape[2])
    else:
        flat_x, flat_w, shape = x, w, (x.shape[0], w.shape[1])
    reach = max(1.0, float(np.abs((flat_x - zero) @ flat_w).max()))
    middle = 0 if flat_x.shape[-1] > _DEPTHS[-1] else 128
    scale = np.float32((120 if middle else 240) / reach)
    x_side = Side("uint8", np.float32(1), zero, shape=x.shape)
    w_side = Side("int8", scale, 0, integers=w)
    y_side = Side("uint8", np.float32(1), middle, shape=shape)
    attributes = {"kernel_shape": list(kernel)} if kernel else {}
    one = OneOp("Conv" if kernel else "MatMul", [x_side, w_side], y_side, attributes)
    (made,) = asker.ask(one_op_model(one), [{"x0": real(x, x_side)}])
    answer = integers(made, y_side)
    if kernel:
        answer = np.moveaxis(answer, 1, -1).reshape(-1, w.shape[0])
    return Question(words, flat_x, flat_w, zero, float(scale), middle, answer, last)
