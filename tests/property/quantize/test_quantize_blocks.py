"""Blocks against exact arithmetic, element by element."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chipdrift.quantize.blockwise import quantize_blocks

FLOATS = st.floats(-(2.0**20), 2.0**20, width=32).filter(lambda v: v == 0 or abs(v) > 2.0**-60)


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, int, int]:
    rank = draw(st.integers(1, 4))
    axis = draw(st.integers(0, rank - 1))
    block = draw(st.integers(2, 5))
    shape = [draw(st.integers(1, 3)) for _ in range(rank)]
    shape[axis] = block * draw(st.integers(1, 3))
    size = int(np.prod(shape))
    values = draw(st.lists(FLOATS, min_size=size, max_size=size))
    return np.array(values, np.float32).reshape(shape), axis, block


@settings(max_examples=150, deadline=None)
@given(cases())
def test_every_integer_is_the_exact_quotient_rounded(case: tuple[np.ndarray, int, int]) -> None:
    weight, axis, block = case
    integers, scale = quantize_blocks(weight, axis, block)
    assert integers.shape == weight.shape
    assert integers.dtype == np.int8
    assert scale.dtype == np.float32
    shape = list(weight.shape)
    shape[axis] //= block
    assert scale.shape == tuple(shape)
    for index in np.ndindex(*weight.shape):
        home = list(index)
        home[axis] //= block
        start = home[axis] * block
        rows = tuple(slice(start, start + block) if i == axis else v for i, v in enumerate(index))
        peak = np.abs(weight[rows]).max()
        step = scale[tuple(home)]
        if peak == 0:
            assert (step, integers[index]) == (1, 0)
            continue
        assert step == np.float32(Fraction(float(peak)) / 7)
        wanted = round(Fraction(float(weight[index])) / Fraction(float(step)))
        # The quotient is rounded to float32 once before it is rounded to an integer.
        quotient = Fraction(float(weight[index])) / Fraction(float(step))
        near_tie = abs(abs(quotient - int(quotient)) - Fraction(1, 2)) < Fraction(1, 2**20)
        assert abs(integers[index]) <= 7
        assert integers[index] == wanted or (near_tie and abs(integers[index] - wanted) == 1)
