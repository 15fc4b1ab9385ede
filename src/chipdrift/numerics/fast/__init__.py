"""The same functions as in ``ops``, compiled: every answer equals the reference bit for bit."""

from __future__ import annotations

from chipdrift.numerics.fast.conv import compile_conv
from chipdrift.numerics.fast.matmul import compile_matmul
from chipdrift.numerics.fast.pool import compile_max_pool
from chipdrift.numerics.fast.quantize import compile_quantize
from chipdrift.numerics.fast.table import ELEMENTWISE, compile_table
from chipdrift.numerics.tensors import Kernel, OpSpec

__all__ = ["compile_op", "compile_quantize"]

_COMPILERS = {
    "Conv": compile_conv,
    "MatMul": compile_matmul,
    "Gemm": compile_matmul,
    "MaxPool": compile_max_pool,
}


def compile_op(spec: OpSpec) -> Kernel | None:
    """A kernel for ``spec``, or None where only the reference function knows how."""
    if spec.op in ELEMENTWISE:
        return compile_table(spec)
    if spec.op not in _COMPILERS:
        return None
    return _COMPILERS[spec.op](spec)
