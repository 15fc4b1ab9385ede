"""Every op with an integer form against onnxruntime's CPU kernels, under float32 rules."""

from __future__ import annotations

import numpy as np
import pytest
from op_cases import GROUPS
from single_op import Case, Q, by_engine, by_onnxruntime, differing

# Sums of 16-bit products need more than 32 bits; onnxruntime has float32 for them.
WIDE = {"accumulator": {"width": 64}}


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
@pytest.mark.parametrize("group", GROUPS)
def test_every_op_answers_as_onnxruntime(group: str, dtype: str) -> None:
    wrong = []
    for name, case, allowed in GROUPS[group](dtype):
        parts = WIDE if group == "products" and "16" in dtype else {}
        share, most = differing(case, **parts)
        if share > allowed or most > 1:
            wrong.append(f"{name}: {share:.2%} differ, by up to {most}; allowed {allowed:.2%}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("op", ["Add", "Mul"])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_all_pairs_of_bytes_are_onnxruntimes(op: str, dtype: str) -> None:
    """Ratios with many ties, odd and even zero points: 0 of 65,536 may differ."""
    low = np.iinfo(dtype).min
    a, b = np.meshgrid(np.arange(low, low + 256), np.arange(low, low + 256), indexing="ij")
    for x, y, z, offsets in [
        (0.05, 0.04, 0.1, (128, 128, 128)),
        (0.1, 0.1, 0.2, (3, 250, 131)),
        (0.0371, 0.0813, 0.0644, (97, 12, 200)),
    ]:
        zx, zy, zz = (int(o) + low for o in offsets)
        out = Q(dtype, z * (5 if op == "Mul" else 1), zz)
        case = Case(op, [Q(dtype, x, zx, a), Q(dtype, y, zy, b)], out)
        assert differing(case) == (0.0, 0)


def test_padding_counts_only_inside_the_padded_image() -> None:
    """onnxruntime's 8-bit kernel also counts what ceil_mode adds; its float32 kernel does not."""
    x = Q("uint8", 0.05, 131, np.random.default_rng(1).integers(0, 256, (1, 2, 8, 8)))
    way = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    case = Case(
        "AveragePool", [x], Q("uint8", 0.04, 133), {**way, "ceil_mode": 1, "count_include_pad": 1}
    )
    fused, plain = by_onnxruntime(case), by_onnxruntime(case, optimized=False)
    ours = by_engine(case).astype(int)
    assert np.abs(ours - plain).max() <= 1  # a tie goes by the zero point's parity
    assert np.abs(ours - fused).max() > 1
