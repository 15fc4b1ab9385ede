"""Conv. Between convolutions images lie in memory with channels last, whatever shape they show."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from chipdrift.numerics.fast import place
from chipdrift.numerics.fast.ending import Ending, channels_of
from chipdrift.numerics.fast.requantize import Sums
from chipdrift.numerics.fast.sums import Summation, summation
from chipdrift.numerics.fast.weights import Weights, flip_of, roomy, unsigned
from chipdrift.numerics.ops.conv import padding
from chipdrift.numerics.products import channel_zero
from chipdrift.numerics.tensors import Array, Kernel, OpSpec

Rows = Callable[[int, int], Array]


def compile_conv(spec: OpSpec) -> Kernel | None:
    """A kernel (N, C, *spatial) -> (N, M, *spatial), or None where the reference must do it."""
    w, quant = spec.operands[1].constant, spec.quant(1)
    bias = spec.operands[2].constant if len(spec.operands) > 2 else None
    live_bias = len(spec.operands) > 2 and spec.operands[2].live
    if w is None or w.ndim not in (3, 4) or quant.block_size or live_bias or w.size == 0:
        return None
    if spec.operands[0].constant is not None:
        return None
    line = w.ndim == 3
    if line:
        w = w[:, :, None]
    run = _Conv.of(spec, w, bias, line)
    if run is None:
        return None

    def kernel(arrays: Sequence[Array], seed: int | None = None) -> Array:
        x = arrays[0]
        return run(x[:, :, None], seed)[:, :, 0] if line else run(x, seed)

    return kernel


class _Conv:
    """One convolution of images; a line is an image of height 1."""

    def __init__(
        self, spec: OpSpec, w: Array, line: bool, parts: list[Summation], end: Ending
    ) -> None:
        self._spec, self._line, self._parts, self._end = spec, line, parts, end
        self._kernel = w.shape[2:]
        self._outputs = w.shape[0]
        self._group = int(spec.attributes.get("group", 1))
        self._inputs = w.shape[1]
        self._fill = int(spec.quant(0).zero_point) + flip_of(spec.quant(0))
        self._depthwise = self._inputs == 1 and self._group > 1
        self._geometries: dict[tuple[int, ...], Array] = {}
        if self._depthwise:
            centred = w.astype(np.int64) - channel_zero(spec.quant(1)).reshape(-1, 1, 1, 1)
            self._taps = np.ascontiguousarray(
                centred.reshape(self._outputs, -1).T.astype(parts[0].dtype)
            )

    @classmethod
    def of(cls, spec: OpSpec, w: Array, bias: Array | None, line: bool) -> _Conv | None:
        outputs, inputs = w.shape[:2]
        group = int(spec.attributes.get("group", 1))
        channels = channels_of(spec, bias, outputs)
        addends = np.array([c.addend for c in channels], np.int64)
        zero = np.broadcast_to(channel_zero(spec.quant(1)), (outputs,))
        flat = roomy(w, spec.quant(1)).transpose(2, 3, 1, 0).reshape(-1, outputs)  # (taps * C, M)
        depth = flat.shape[0]
        order = np.arange(depth)
        if spec.rules.accumulator.order == "channels_first":
            order = order.reshape(-1, inputs).T.reshape(-1)
        depthwise = inputs == 1 and group > 1
        parts = []
        share = outputs if depthwise else outputs // group
        for first in range(0, outputs, share):
            mine = slice(first, first + share)
            weights = Weights(flat[:, mine], zero[mine], spec.quant(1), order, depthwise)
            part = summation(spec, weights, addends[mine])
            if part is None:
                return None
            parts.append(part)
        sums = Sums(
            *(
                np.concatenate([getattr(p.sums, name) for p in parts])
                for name in ("offset", "correction", "low", "high")
            )
        )
        return cls(spec, w, line, parts, Ending(spec, bias, channels, sums))

    def __call__(self, x: Array, seed: int | None = None) -> Array:
        images = unsigned(x.transpose(0, 2, 3, 1))
        geometry = self._geometries.get(images.shape)
        if geometry is None:
            geometry = self._geometries[images.shape] = self._geometry(images.shape)
        height, width = int(geometry[0]), int(geometry[1])
        lead = (images.shape[0], height, width)
        if self._depthwise:
            rows = self._apart(images, geometry)
        elif self._kernel == (1, 1) and self._group == 1:
            rows = self._pointwise(self._padded(images, geometry), geometry)
        else:
            rows = self._general(self._padded(images, geometry), geometry)
        count = lead[0] * height * width
        if self._depthwise and (self._parts[0].run is None or self._parts[0].lines is not None):
            out = self._end.run(
                lead[0] * height, width * self._outputs, (lead[0], height), rows, seed
            )
            out = out.reshape(*lead, self._outputs)
        else:
            out = self._end.run(count, self._outputs, lead, rows, seed)
        return out.transpose(0, 3, 1, 2)

    def _geometry(self, shape: tuple[int, ...]) -> Array:
        """As ``place.columns`` has it, then the pads: top, left, bottom, right."""
        attributes, line = self._spec.attributes, self._line
        spatial = 1 if line else 2
        strides = list(attributes.get("strides") or [1] * spatial)
        dilations = list(attributes.get("dilations") or [1] * spatial)
        kernel = list(self._kernel)[-spatial:]
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        pads = padding(list(shape[1:3])[-spatial:], reach, strides, attributes)
        if line:
            strides, dilations, reach, pads = (
                [1, *strides],
                [1, *dilations],
                [1, *reach],
                [(0, 0), *pads],
            )
        out = [(shape[1 + i] + sum(pads[i]) - reach[i]) // strides[i] + 1 for i in range(2)]
        (top, bottom), (left, right) = pads
        values = [*out, *self._kernel, *strides, *dilations, top, left, bottom, right]
        return np.array(values, np.int64)

    def _padded(self, images: Array, geometry: Array) -> Array:
        """``images`` with a border of the zero point, which is the real number 0 (N15)."""
        top, left, bottom, right = (int(v) for v in geometry[8:12])
        if not (top or left or bottom or right):
            return images
        n, height, width, depth = images.shape
        shape = (n, height + top + bottom, width + left + right, depth)
        padded = np.full(shape, self._fill, images.dtype)
        padded[:, top : top + height, left : left + width] = images
        return padded

    def _sums(self, group: int, rows: Array) -> Array:
        run = self._parts[group].run
        assert run is not None
        return run(rows)

    def _pointwise(self, images: Array, geometry: Array) -> Rows:
        vertical, horizontal = int(geometry[4]), int(geometry[5])
        if vertical > 1 or horizontal > 1:
            images = np.ascontiguousarray(images[:, ::vertical, ::horizontal])
        flat = images.reshape(-1, images.shape[3])
        return lambda first, count: self._sums(0, flat[first : first + count])

    def _general(self, images: Array, geometry: Array) -> Rows:
        taps = self._kernel[0] * self._kernel[1]

        def rows(first: int, count: int) -> Array:
            found = []
            for group in range(self._group):
                seen = np.empty((count, taps, self._inputs), images.dtype)
                place.columns(images, geometry, first, group * self._inputs, seen)
                found.append(self._sums(group, seen.reshape(count, -1)))
            return found[0] if len(found) == 1 else np.concatenate(found, axis=1)

        return rows

    def _apart(self, images: Array, geometry: Array) -> Rows:
        repeats = self._outputs // self._group
        if repeats > 1:
            images = np.repeat(images, repeats, axis=3)
        images = self._padded(images, geometry)
        run, walk = self._parts[0].run, self._parts[0].lines
        if run is not None and walk is None:
            taps = self._taps.shape[0]

            def walked(first: int, count: int) -> Array:
                seen = np.empty((count, taps, self._outputs), images.dtype)
                place.columns(images, geometry, first, 0, seen)
                return run(seen)

            return walked
        width = int(geometry[1])

        def lines(first: int, count: int) -> Array:
            out = np.empty((count, width, self._outputs), self._taps.dtype)
            if walk is None:
                place.depthwise(images, self._taps, geometry, first, count, out)
            else:
                walk(images, geometry, first, out)
            return out.reshape(count, -1)

        return lines
