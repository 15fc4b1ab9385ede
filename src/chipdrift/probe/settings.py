"""Random products with known integers: a small model each, every channel with its own scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from chipdrift.graph.single import OneOp, Side, integers, one_op_model, real
from chipdrift.numerics.accumulate import product_sums
from chipdrift.numerics.ops.conv import windows
from chipdrift.numerics.profile import Accumulator
from chipdrift.probe.ask import Asker

Array = np.ndarray[Any, Any]
Kind = Literal["matmul", "gemm", "plain", "pointwise", "depthwise", "depthwise_stride2"]


@dataclass(frozen=True)
class Wish:
    """What a setting should be like: what is False or None is left out of the experiment.

    ``x_zero`` and ``y_zero`` say whether zero points are random (else 0, and the middle of the
    range); ``per_channel`` gives every channel its weight scale; ``dyadic`` makes S a small odd
    number times a power of two, so that sums fall on ties.
    """

    kind: Kind = "matmul"
    bits: Literal[8, 16] = 8
    bias: bool = False
    x_zero: bool = False
    y_zero: bool = False
    per_channel: bool = True
    relu: bool = False
    dyadic: bool = False
    channels: int = 32
    rows: int = 64
    depth: int | None = None


@dataclass(frozen=True, eq=False)
class Setting:
    """A model of one product with the integers that went in.

    ``sums`` (rows, channels) are the exact sums of stored products; ``weight_sums`` (channels,);
    ``bias`` (channels,) int64 in steps of ``x_scale * w_scale``.
    """

    wish: Wish
    one: OneOp
    x: Array
    w: Array
    sums: Array
    weight_sums: Array
    bias: Array | None
    x_side: Side
    w_side: Side
    y_side: Side
    inputs: Mapping[str, Array]
    patches: Array

    def sums_under(self, rules: Accumulator) -> tuple[Array, Array]:
        """(products, correction) as an accumulator of these rules has them; not for depthwise."""
        x, w = self.patches, self.w
        if rules.order == "channels_last" and self.wish.kind == "plain":
            x = np.swapaxes(x.reshape(len(x), -1, 9), 1, 2).reshape(x.shape)
            w = np.swapaxes(w.reshape(len(w), -1, 9), 1, 2).reshape(w.shape)
        zero = np.zeros((1, 1), np.int64)
        return product_sums(x, w.T, int(self.x_side.zero_point), zero, rules)

    @property
    def model(self) -> bytes:
        """The model to ask."""
        return one_op_model(self.one)


def random_setting(rng: np.random.Generator, wish: Wish) -> Setting:
    """A setting whose outputs spread over the whole range of the output's integers."""
    high = (1 << wish.bits) - 1
    dtype = f"uint{wish.bits}"
    channels, rows = wish.channels, wish.rows
    if wish.kind.startswith("depthwise"):
        depth = 9
    elif wish.kind == "plain":
        depth = 9 * int(rng.integers(1, 6))
    else:
        depth = wish.depth or int(np.exp(rng.uniform(0, np.log(300))))
    peak = np.exp(rng.uniform(np.log(2), np.log(127), channels)) if wish.per_channel else 127.0
    w = np.rint(rng.uniform(-1, 1, (channels, depth)) * np.reshape(peak, (-1, 1))).astype(np.int64)
    w[:, 0] = np.where(np.abs(w).max(axis=1) == 0, 1, w[:, 0])
    zx = int(rng.integers(0, high + 1)) if wish.x_zero else 0
    zy = int(rng.integers(0, high + 1)) if wish.y_zero else (high + 1) // 2
    reach = np.sqrt((w.astype(float) ** 2).sum(axis=1)) * high * 0.29 + 1  # a sum's deviation
    offset = (high / 2 - zx) * w.sum(axis=1)
    x_scale = np.float32(np.exp(rng.uniform(-8, 1)))
    # The output's scale is for a typical channel; a channel's own scale puts it near that.
    wanted = np.exp(rng.uniform(-1.2, 0.7, channels)) * high / 4 / reach
    if not wish.per_channel:
        wanted = np.full(channels, np.median(wanted))
    y_scale = np.float32(np.exp(rng.uniform(-8, 1)))
    w_scale = (wanted * float(y_scale) / float(x_scale)).astype(np.float32)
    if wish.dyadic:
        x_scale, y_scale = np.float32(1), np.float32(1)
        power = np.exp2(np.floor(np.log2(wanted)))
        odd = rng.choice([0.5, 0.625, 0.75, 0.875], channels if wish.per_channel else 1)
        w_scale = (power * odd).astype(np.float32)
    bias = None
    if wish.bias:
        aim = rng.uniform(-1.5, 1.5, channels) * reach - offset
        bias = np.clip(np.rint(aim), -(2**31) + 1, 2**31 - 1).astype(np.int64)
    elif not wish.relu:
        # Without a bias the mean of the sums must not push everything over the edge.
        flat = rng.permuted(np.concatenate([w[:, ::2], -w[:, 1::2]], axis=1), axis=1)
        w = flat if flat.shape == w.shape else w
    per = wish.per_channel
    x_side = Side(dtype, x_scale, zx)
    w_axis = 1 if wish.kind == "matmul" else 0
    held_scale = w_scale if per else w_scale[0]
    zeros = np.zeros(channels if per else (), np.int64)
    y_side = Side(dtype, y_scale, zy)
    return _assemble(
        wish, rng, w, depth, x_side, held_scale, zeros, w_axis, bias, y_side, rows, high
    )


def _assemble(
    wish: Wish,
    rng: np.random.Generator,
    w: Array,
    depth: int,
    x_side: Side,
    w_scale: Array,
    w_zero: Array,
    w_axis: int,
    bias: Array | None,
    y_side: Side,
    rows: int,
    high: int,
) -> Setting:
    channels = w.shape[0]
    shape: tuple[int, ...]
    attributes: dict[str, Any] = {}
    if wish.kind in ("matmul", "gemm"):
        x = rng.integers(0, high + 1, (rows, depth))
        patches = x
        held = w.T if wish.kind == "matmul" else w
        op = "MatMul" if wish.kind == "matmul" else "Gemm"
        shape = (rows, channels)
        if wish.kind == "gemm":
            attributes["transB"] = 1
        sums = patches @ w.T
    else:
        op = "Conv"
        side = max(2, round(rows**0.5))
        k = 1 if wish.kind == "pointwise" else 3
        step = 2 if wish.kind == "depthwise_stride2" else 1
        cin = channels if wish.kind.startswith("depthwise") else depth // (k * k)
        size = (side - 1) * step + k
        x = rng.integers(0, high + 1, (1, cin, size, size))
        attributes.update(kernel_shape=[k, k], strides=[step, step])
        if wish.kind.startswith("depthwise"):
            attributes["group"] = channels
            held = w.reshape(channels, 1, k, k)
            seen = windows(x, (k, k), attributes, 0)
            sums = np.einsum("nhwcij,cij->nhwc", seen, held[:, 0]).reshape(-1, channels)
            patches = seen
        else:
            held = w.reshape(channels, cin, k, k)
            patches = windows(x, (k, k), {}, 0).reshape(-1, depth)
            sums = patches @ w.T
        shape = (1, channels, side, side)
    axis = w_axis if np.ndim(w_scale) else None
    w_side = Side("int8", w_scale, w_zero, axis, integers=held)
    inputs = [Side(x_side.dtype, x_side.scale, x_side.zero_point, shape=x.shape), w_side]
    if bias is not None:
        scale = np.float32(x_side.scale) * np.asarray(w_scale, np.float32)
        inputs.append(
            Side(
                "int32", scale, np.zeros_like(w_zero), 0 if np.ndim(scale) else None, integers=bias
            )
        )
    one = OneOp(
        op,
        inputs,
        Side(y_side.dtype, y_side.scale, y_side.zero_point, shape=shape),
        attributes,
        after="Relu" if wish.relu else None,
    )
    return Setting(
        wish, one, x, w, sums, w.sum(axis=1), bias, inputs[0], w_side, one.output,
        {"x0": real(x, inputs[0])}, patches,
    )  # fmt: skip


def answers(asker: Asker, setting: Setting) -> Array:
    """The target's integers (rows, channels)."""
    (made,) = asker.ask(setting.model, [setting.inputs])
    found = integers(made, setting.y_side)
    if setting.wish.kind in ("matmul", "gemm"):
        return found
    return np.moveaxis(found, 1, -1).reshape(-1, found.shape[1])
