"""Exact products of 8- and 16-bit integers. Why this way: docs/decisions/008-int8-products.md.

onnxruntime's MatMulInteger sums in int32, so what it answers is right modulo 2**32: addition that
wraps is associative. Whoever needs the true sum shows that it fits into 32 bits.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from chipdrift.numerics.fast.onnxbytes import matmul_integer
from chipdrift.numerics.tensors import Array


class ConstantProduct:
    """``x @ (w - zero)`` modulo 2**32, for constant ``w`` (K, N) of int8 or uint8.

    ``zero`` (N,) or (1,) are the zero points. The weights are packed once.
    """

    def __init__(self, w: Array, zero: Array) -> None:
        w = np.ascontiguousarray(w)
        zero = np.broadcast_to(zero, (w.shape[1],))
        if w.dtype == np.int8 and saturates():
            w, zero = w.view(np.uint8) ^ np.uint8(128), zero + 128
        self._session = _session(w, zero.astype(w.dtype) if zero.any() else None)

    def __call__(self, x: Array) -> Array:
        """``x`` (M, K), contiguous uint8, to int32 (M, N)."""
        out: Array = self._session.run(None, {"x": x})[0]
        return out


@cache
def _free_product() -> Any:
    return _session(None, None)


def free_product(a: Array, b: Array, a_zero: int, b_zero: int) -> Array:
    """``(a - a_zero) @ (b - b_zero)`` modulo 2**32, uint8 (..., M, K) x uint8 (..., K, N)."""
    zeros = {"xz": np.array(a_zero, np.uint8), "wz": np.array(b_zero, np.uint8)}
    out: Array = _free_product().run(None, {"x": a, "w": b, **zeros})[0]
    return out


@cache
def saturates() -> bool:
    """Whether this processor's uint8 x int8 kernel cuts sums of two products to 16 bits.

    x86 before VNNI does (vpmaddubsw); uint8 x uint8 is exact everywhere.
    """
    w = np.full((64, 16), 127, np.int8)
    x = np.full((1, 64), 255, np.uint8)
    out = _session(w, None).run(None, {"x": x})[0]
    return bool((out != 64 * 255 * 127).any())


def _session(w: Array | None, zero: Array | None) -> Any:
    """A one-node MatMulInteger; ``w`` and ``zero`` are fed at run time, as uint8, where
    ``w`` is None."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.enable_mem_pattern = settings.enable_cpu_mem_arena = False
    if w is not None:
        held = onnxruntime.OrtValue.ortvalue_from_numpy(w)
        settings.add_external_initializers(["w"], [held])
    data = matmul_integer(w, zero)
    return onnxruntime.InferenceSession(data, settings, providers=["CPUExecutionProvider"])
