"""Questions at the edges: sums at which an output steps from one integer to the next.

An output never falls while its sum rises. So two rules part on a channel exactly where one of their
edges differs, and a question whose sums lie on both sides of one rule's edges parts it from every
rule whose edges there are others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chipdrift.graph.single import Side
from chipdrift.numerics.profile import Accumulator, Requantize
from chipdrift.probe.predict import Evidence, Pool
from chipdrift.probe.settings import Kind, Setting, Wish, setting_of, window_of

Array = np.ndarray[Any, Any]

_CHANNELS = 16
# Edges of each channel; sums on both sides of each make the rows.
_EDGES = 32
_DRAFTS = 12
_TAPS = 8
# S of a depthwise convolution, whose few products make no sums for a smaller one. Where a channel's
# is below 2**-14, the Hexagon's with stride 2 loses bits in all channels, by a rule not known.
_LEAST_DEPTHWISE = 2.0**-12
# A channel's sums may pass the output's range so many times: a Hexagon wraps far outside it.
_PASSED = 8
# The most that a weight's scale is moved from where a rule turns, in units of its last bit.
_NEAR = 3


@dataclass(frozen=True, eq=False)
class Draft:
    """Everything of a question but its sums.

    The scales are float32, ``w_scale`` (channels,) or (); ``w`` (channels, taps) are the weights
    that count, one of them 1 or -1 and the others alike, so that every sum within ``reach`` can be
    had; ``bias`` (channels,) int64 or None.
    """

    wish: Wish
    x_scale: Array
    x_zero: int
    w_scale: Array
    w: Array
    bias: Array | None
    y_scale: Array
    y_zero: int

    @property
    def reach(self) -> tuple[Array, Array]:
        """The least and the greatest sum of each channel, (channels,) int64."""
        far = ((1 << self.wish.bits) - 1) * self.w[:, 1:].sum(axis=1)
        return np.minimum(far, 0), np.maximum(far, 0)

    def evidence(self, sums: Array) -> Evidence:
        """The draft with ``sums`` (rows, channels), not yet answered."""
        return Evidence(
            words="edges",
            products=sums,
            correction=self.x_zero * self.w.sum(axis=1),
            bias=self.bias,
            x_scale=self.x_scale,
            w_scale=self.w_scale,
            y_scale=self.y_scale,
            zero_point=self.y_zero,
            low=0,
            high=(1 << self.wish.bits) - 1,
            answer=np.zeros_like(sums),
        )


def sharpest(
    rng: np.random.Generator,
    kind: Kind,
    bits: int,
    rivals: Sequence[Requantize],
    accumulator: Accumulator,
) -> tuple[Setting, int]:
    """Of some drafts, the one that parts most rivals from the first, and how many it parts.

    Its sums are the edges of the first; where none parts, they test the first alone.
    """
    drafts = [draft_of(rng, kind, bits, rivals, accumulator) for _ in range(_DRAFTS)]
    sums = edges(rng, drafts, rivals[0])
    entries = [draft.evidence(there) for draft, there in zip(drafts, sums, strict=True)]
    pool = Pool(entries, everything=True)
    first = pool.predict(rivals[0])
    parted = np.zeros(len(drafts), np.int64)
    for rules in rivals[1:]:
        differs = pool.predict(rules) != first
        parted += differs.reshape(len(drafts), -1).any(axis=1)
    best = int(parted.argmax())
    return placed(rng, drafts[best], sums[best]), int(parted[best])


def edges(
    rng: np.random.Generator, drafts: Sequence[Draft], rules: Requantize, count: int = _EDGES
) -> list[Array]:
    """For each draft, sums (2 * count, channels) below and on edges of ``rules``.

    The outputs whose edge is sought are drawn from all that a channel reaches; a channel that
    reaches one output only gets random sums.
    """
    lows, highs = (
        np.concatenate(
            [np.broadcast_to(draft.reach[side], (count, len(draft.w))).ravel() for draft in drafts]
        )
        for side in (0, 1)
    )
    empty = [draft.evidence(np.zeros((count, len(draft.w)), np.int64)) for draft in drafts]
    pool = Pool(empty, everything=True)
    least, most = pool.at(lows).predict(rules), pool.at(highs).predict(rules)
    wanted = least + 1 + np.floor(rng.random(pool.size) * (most - least)).astype(np.int64)
    # Below ``below`` is known to be less than what is wanted, ``above`` to be no less.
    below, above = lows.copy(), highs.copy()
    while (above - below > 1).any():
        middle = (below + above) >> 1
        reached = pool.at(middle).predict(rules) >= wanted
        above, below = np.where(reached, middle, above), np.where(reached, below, middle)
    flat = least == most
    above = np.where(flat, rng.integers(lows, highs + 1), above)
    below = np.where(flat, rng.integers(lows, highs + 1), below)
    out, start = [], 0
    for draft in drafts:
        size = count * len(draft.w)
        part = slice(start, start + size)
        out.append(np.concatenate([below[part], above[part]]).reshape(2 * count, len(draft.w)))
        start += size
    return out


def placed(rng: np.random.Generator, draft: Draft, sums: Array) -> Setting:
    """The draft as a question with these ``sums`` (rows, channels); rows is a square number.

    Each channel has inputs of its own. In a depthwise convolution the windows that have the wanted
    sums do not touch, and those between them have what comes of it.
    """
    kind, wish = draft.wish.kind, draft.wish
    high = (1 << wish.bits) - 1
    rows, (channels, taps) = len(sums), draft.w.shape
    side = round(rows**0.5)
    x_side = Side(f"uint{wish.bits}", draft.x_scale[()], draft.x_zero)
    y_side = Side(f"uint{wish.bits}", draft.y_scale[()], draft.y_zero)
    parts = _split(sums, draft.w, high)  # (rows, channels, taps)
    own = np.zeros((channels, channels, taps), np.int64)
    own[np.arange(channels), np.arange(channels)] = draft.w
    w = own.reshape(channels, channels * taps)
    x = parts.reshape(rows, channels * taps)
    if kind.startswith("depthwise"):
        step = window_of(kind)[1]
        far = 3 if step == 1 else 4
        size = far * side if step == 1 else far * side - 1
        x = rng.integers(0, high + 1, (1, channels, size, size))
        grid = parts.reshape(side, side, channels, 3, 3)
        for i in range(side):
            for j in range(side):
                top, left = far * i, far * j
                x[0, :, top : top + 3, left : left + 3] = grid[i, j]
        w = draft.w
    elif kind in ("pointwise", "plain"):
        inner = np.moveaxis(x.reshape(side, side, -1), -1, 0)
        x = inner[np.newaxis]
        if kind == "plain":
            # The window's middle counts; the border is seen by weights of 0 alone.
            x = rng.integers(0, high + 1, (1, len(inner), side + 2, side + 2))
            x[0, :, 1:-1, 1:-1] = inner
            wide = np.zeros((*w.shape, 9), np.int64)
            wide[..., 4] = w
            w = wide.reshape(channels, -1)
    return setting_of(wish, x, w, draft.w_scale, draft.bias, x_side, y_side)


def _split(sums: Array, w: Array, high: int) -> Array:
    """Inputs of 0 to ``high`` that make ``sums``, (rows, channels, taps)."""
    large = np.abs(w[:, 1])
    left, rest = np.divmod(np.abs(sums), large)
    parts = np.zeros((*sums.shape, w.shape[1]), np.int64)
    for tap in range(1, w.shape[1]):
        parts[..., tap] = np.minimum(left, high)
        left = left - parts[..., tap]
    parts[..., 0] = rest
    return parts


def draft_of(
    rng: np.random.Generator,
    kind: Kind,
    bits: int,
    rivals: Sequence[Requantize],
    accumulator: Accumulator,
) -> Draft:
    """Random constants with edges within reach, of which some lie where a multiplier turns."""
    high = (1 << bits) - 1
    per = bool(rng.random() < 0.75)
    wish = Wish(
        kind=kind, bits=8 if bits == 8 else 16, bias=kind != "matmul", x_zero=True, y_zero=True,
        per_channel=per, channels=_CHANNELS,
    )  # fmt: skip
    # No sum, bias or zero point in steps of the sum may come near the accumulator's end.
    limit = 1 << (min(accumulator.width, 32) - 4)
    depthwise = kind.startswith("depthwise")
    taps = 9 if depthwise else _TAPS
    # Where scales are so small that not every zero point fits, it is small as well.
    least = max(np.exp2(rng.uniform(8, bits)) / limit, _LEAST_DEPTHWISE if depthwise else 0)
    x_zero = int(rng.integers(0, high + 1))
    y_zero = int(rng.integers(0, min(high, int(limit * least)) + 1))
    x_scale, y_scale, w_scale = _scales(rng, _CHANNELS if per else 1, least, rivals)
    factor = np.resize(w_scale, _CHANNELS).astype(float) * float(x_scale) / float(y_scale)
    large = np.clip(np.minimum(limit // (2 * taps * high), _PASSED / (taps * factor)), 1, 127)
    w = np.ones((_CHANNELS, taps), np.int64)
    w[:, 1:] = large.astype(np.int64)[:, np.newaxis]
    w *= rng.choice([-1, 1], (_CHANNELS, 1))
    bias = None
    if wish.bias:
        far = np.minimum(limit * factor, high)
        aim = rng.uniform(np.maximum(-y_zero, -far), np.minimum(high - y_zero, far))
        middle = w[:, 1:].sum(axis=1) * high // 2
        bias = np.rint(aim / factor).astype(np.int64) + x_zero * w.sum(axis=1) - middle
    return Draft(
        wish, np.asarray(x_scale), x_zero, w_scale if per else w_scale[0], w, bias,
        np.asarray(y_scale), y_zero,
    )  # fmt: skip


def _scales(
    rng: np.random.Generator, count: int, least: float, rivals: Sequence[Requantize]
) -> tuple[np.float32, np.float32, Array]:
    """(input scale, output scale, ``count`` weight scales), float32, for S from ``least`` on."""
    round_scales = rng.random() < 0.4
    if round_scales:
        # Ratios of small integers: products of sums with them fall on ties.
        x_scale, y_scale = (
            np.float32(rng.choice([1, 1, 3, 5, 6, 7]) * 2.0 ** rng.integers(-8, 1))
            for _ in range(2)
        )
    else:
        x_scale, y_scale = (np.float32(np.exp(rng.uniform(-8, 1))) for _ in range(2))
    size = np.exp2(rng.uniform(np.log2(least), 0.5, count))
    factor = np.array([_factor(rng, float(s), rivals) for s in size])
    w_scale = (factor * float(y_scale) / float(x_scale)).astype(np.float32)
    ulps = rng.integers(-_NEAR, _NEAR + 1, count) * (rng.random(count) < 0.6)
    w_scale = (w_scale.view(np.int32) + ulps.astype(np.int32)).view(np.float32)
    few = rng.random(count) < (0.6 if round_scales else 0.2)
    odd = rng.choice([1, 3, 5, 7, 9, 11], count)
    w_scale = np.where(few, odd * np.exp2(np.floor(np.log2(w_scale / odd))), w_scale)
    return x_scale, y_scale, w_scale.astype(np.float32)


def _factor(rng: np.random.Generator, size: float, rivals: Sequence[Requantize]) -> float:
    """A scale S near ``size``: any, one at which a multiplier of few bits turns, or a ratio.

    Multipliers turn halfway between the numbers they can hold, and the bits that are kept change at
    powers of two. A ratio of small integers puts sums so close to ties that the arithmetic of the
    product decides.
    """
    where = rng.integers(6)
    if where < 2:
        return size
    low = 2.0 ** np.floor(np.log2(size))
    if where < 4:
        ratio = rng.choice([1, 3, 5, 7, 9, 11]) / (2 * int(np.exp2(rng.uniform(0, 11))) + 1)
        return float(low * ratio / 2.0 ** np.floor(np.log2(ratio)))
    if rng.random() < 0.15:
        return float(low * rng.choice([1, 1.5]))
    rules = rivals[int(rng.integers(len(rivals)))]
    bits = rules.bits or int(rng.integers(1, 25))
    unit = 2.0**-bits if rules.multiplier == "fixed_point" else low * 2.0 ** (1 - bits)
    return float((np.floor(size / unit) + 0.5) * unit)
