"""Random products with known integers: a small model each, every channel with its own scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from chipdrift.graph.single import OneOp, Side, integers, one_op_model, real
from chipdrift.numerics.accumulate import product_sums
from chipdrift.numerics.ops.conv import windows
from chipdrift.numerics.profile import PLAIN, Accumulator
from chipdrift.probe.ask import Asker
from chipdrift.probe.predict import Evidence

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
    x = rng.integers(0, high + 1, _x_shape(wish.kind, rows, channels, depth))
    held_scale = w_scale if per else w_scale[0]
    sides = Side(dtype, x_scale, zx), Side(dtype, y_scale, zy)
    return setting_of(wish, x, w, held_scale, bias, *sides)


def _x_shape(kind: Kind, rows: int, channels: int, depth: int) -> tuple[int, ...]:
    if kind in ("matmul", "gemm"):
        return rows, depth
    side = max(2, round(rows**0.5))
    k, step = window_of(kind)
    size = (side - 1) * step + k
    return 1, channels if kind.startswith("depthwise") else depth // (k * k), size, size


def window_of(kind: Kind) -> tuple[int, int]:
    """A convolution's (window, stride), the same in both directions."""
    return (1 if kind == "pointwise" else 3), (2 if kind == "depthwise_stride2" else 1)


def setting_of(
    wish: Wish, x: Array, w: Array, w_scale: Array, bias: Array | None, x_side: Side, y_side: Side
) -> Setting:
    """The setting of these integers.

    ``x`` is (rows, depth) or (1, input channels, size, size), ``w`` (channels, depth) and
    ``w_scale`` (channels,) or (), float32; the sides are the quantizers of input and output.
    """
    channels, depth = w.shape
    shape: tuple[int, ...]
    attributes: dict[str, Any] = {}
    if wish.kind in ("matmul", "gemm"):
        patches = x
        held = w.T if wish.kind == "matmul" else w
        op = "MatMul" if wish.kind == "matmul" else "Gemm"
        shape = (len(x), channels)
        if wish.kind == "gemm":
            attributes["transB"] = 1
        sums = patches @ w.T
    else:
        op = "Conv"
        k, step = window_of(wish.kind)
        attributes.update(kernel_shape=[k, k], strides=[step, step])
        if wish.kind.startswith("depthwise"):
            attributes["group"] = channels
            held = w.reshape(channels, 1, k, k)
            patches = windows(x, (k, k), attributes, 0)
            side = patches.shape[1]
            sums = np.einsum("nhwcij,cij->nhwc", patches, held[:, 0]).reshape(-1, channels)
        else:
            held = w.reshape(channels, -1, k, k)
            seen = windows(x, (k, k), {}, 0)
            side, patches = seen.shape[1], seen.reshape(-1, depth)
            sums = patches @ w.T
        shape = (1, channels, side, side)
    axis = (1 if wish.kind == "matmul" else 0) if np.ndim(w_scale) else None
    w_zero = np.zeros(np.shape(w_scale), np.int64)
    w_side = Side("int8", w_scale, w_zero, axis, integers=held)
    inputs = [Side(x_side.dtype, x_side.scale, x_side.zero_point, shape=x.shape), w_side]
    if bias is not None:
        scale = np.float32(x_side.scale) * np.asarray(w_scale, np.float32)
        along = 0 if np.ndim(scale) else None
        inputs.append(Side("int32", scale, w_zero, along, integers=bias))
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


def evidence_of(setting: Setting, answer: Array, sums: Accumulator | None = None) -> Evidence:
    """A setting with its answers, as the search reads it, summed as ``sums`` says."""
    zero = int(setting.y_side.zero_point)
    products: Array = setting.sums
    correction: Array = int(setting.x_side.zero_point) * setting.weight_sums
    if sums is not None and sums != PLAIN and setting.patches.ndim == 2:
        products, correction = setting.sums_under(sums)
    return Evidence(
        words=str(setting.wish),
        products=products,
        correction=correction,
        bias=setting.bias,
        x_scale=np.asarray(setting.x_side.scale, np.float32),
        w_scale=np.asarray(setting.w_side.scale, np.float32),
        y_scale=np.asarray(setting.y_side.scale, np.float32),
        zero_point=zero,
        low=zero if setting.wish.relu else 0,
        high=(1 << setting.wish.bits) - 1,
        answer=answer,
        accumulator=PLAIN if sums is None else sums,
    )
