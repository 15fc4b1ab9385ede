"""A tensor whose axes are in another order: NHWC taken for NCHW, no error of arithmetic.

What it finds: tensors that hold the same values on both targets, in another order of the axes:
those of B, read in the right order, are A's.

Why it hurts: compared as they are they look like garbage, and the search goes after a fault of
arithmetic that is not there. Where the mistake is in the app rather than in the comparison, every
answer is wrong.

Example: a runtime hands out a feature map of 16 x 8 x 8 as 8 x 8 x 16.

Fix: put the axes in order where the tensor is read out or fed (numpy.transpose, or the converter's
option that keeps the model's layout), and compare again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np

from chipdrift.counts import besides
from chipdrift.diagnose.drift import makers_of
from chipdrift.diagnose.exam import Exam, Feed
from chipdrift.findings import Finding

Array = np.ndarray[Any, Any]

# As they are the two must have nothing in common: noise of at least a tenth of the signal.
_APART = 10.0
# In the right order they must agree as two targets do: less noise than a hundredth, and this much
# less than in the order that they came in.
_ALIKE = 20.0
_GAIN = 15.0
_MOST_AXES = 5


def look(exam: Exam) -> Iterator[Finding]:
    """One finding for the nodes that hand out another order, one for tensors in place."""
    makers = makers_of(exam.anatomy.cut)
    alone = permuted(exam.alone_a, exam.alone_b)
    nodes = {makers[tensor][0]: how for tensor, how in alone.items() if tensor in makers}
    if nodes:
        words = "alone, on the same integers, it hands out the same values in another order"
        yield _finding(exam, nodes, words, "cut out with its quantizers, fed with A's integers")
        return
    places: dict[str, tuple[int, ...]] = {}
    for tensor, how in permuted(exam.tensors_a, exam.tensors_b).items():
        places.setdefault(makers[tensor][0] if tensor in makers else tensor, how)
    if places:
        words = "the two hold the same values in another order of the axes"
        yield _finding(exam, places, words, "every activation of both, read in each order")


def permuted(a: Sequence[Feed], b: Sequence[Feed]) -> dict[str, tuple[int, ...]]:
    """Tensors that B holds in another order of A's axes, with that order.

    ``a`` and ``b`` are tensors by name, one entry a sample; every sample must agree on the order.
    B's have A's shape, or that of the order itself.
    """
    if not a or not b:
        return {}
    found = {}
    for name in a[0]:
        pairs = [(x[name], y[name]) for x, y in zip(a, b, strict=False) if name in x and name in y]
        how = _order(pairs)
        if how is not None:
            found[name] = how
    return found


def _order(pairs: Sequence[tuple[Array, Array]]) -> tuple[int, ...] | None:
    """The order of A's axes in which every pair agrees, where as it stands none does."""
    if not pairs:
        return None
    shape = pairs[0][0].shape
    if sum(n > 1 for n in shape) < 2 or len(shape) > _MOST_AXES:
        return None
    if any(x.size != y.size or x.dtype.kind != y.dtype.kind for x, y in pairs):
        return None
    plain = [_decibels(x.reshape(-1), y.reshape(-1)) for x, y in pairs]
    if max(plain) > _APART:
        return None
    wide = [axis for axis, n in enumerate(shape) if n > 1]
    for order in permutations(range(len(shape))):
        if [axis for axis in order if axis in wide] == wide:  # moves nothing in memory
            continue
        turned = tuple(shape[axis] for axis in order)
        if any(y.shape not in (shape, turned) for _, y in pairs):
            continue
        ratios = [_decibels(x.transpose(order).reshape(-1), y.reshape(-1)) for x, y in pairs]
        if min(r - p for r, p in zip(ratios, plain, strict=True)) > _GAIN and min(ratios) > _ALIKE:
            return order
    return None


def _decibels(a: Array, b: Array) -> float:
    """The power of A's values, less their mean, over that of the difference."""
    x = a.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        noise = float(np.square(b.astype(np.float64) - x).sum())
        signal = float(np.square(x - x.mean()).sum())
    if not np.isfinite(noise) or not np.isfinite(signal):
        return -300.0
    if noise == 0:
        return 300.0
    return 10 * float(np.log10(max(signal, 1e-30) / noise))


def _finding(
    exam: Exam, nodes: Mapping[str, tuple[int, ...]], words: str, experiment: str
) -> Finding:
    a, b = exam.targets
    first, order = next(iter(nodes.items()))
    others = len(nodes) - 1
    name = _name(order)
    return Finding(
        check="layout",
        severity="error",
        title=f"{first}" + besides(others, "further tensor") + f": {name}, no error of arithmetic",
        words=f"{words}: {b}'s are {a}'s with the axes {', '.join(map(str, order))}. What follows "
        "is not to be read as an error of the chip",
        nodes=tuple(nodes),
        targets=(a, b),
        experiment=f"{experiment}: in this order alone they agree",
        fix=f"transpose {b}'s tensor back (numpy.transpose by {_inverse(order)}) where it is read "
        "out or fed, or keep the model's layout when converting; then diagnose again",
        weight=3.0,
    )


def _name(order: tuple[int, ...]) -> str:
    known: dict[tuple[int, ...], str] = {
        (0, 2, 3, 1): "NHWC against NCHW",
        (0, 3, 1, 2): "NCHW against NHWC",
    }
    return known.get(order, "axes in another order")


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(order.index(axis) for axis in range(len(order)))
