"""Integer instructions of a fixed width, which Numba would widen to 64 bits.

Kept narrow, LLVM puts twice or four times as many of them into a vector register.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _binary(name: str, width: Any, emit: Any) -> Any:
    def typed(typingctx: Any, a: Any, b: Any) -> Any:
        del typingctx, a, b

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            del context, signature
            return emit(builder, *args)

        return width(width, width), codegen

    typed.__name__ = name
    return intrinsic(typed)


def _saturating_add(builder: Any, a: Any, b: Any) -> Any:
    """LLVM's own: x86 and ARM have one instruction for a register full of them."""
    name = "llvm.sadd.sat.i16"
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(a.type, [a.type, a.type]), name)
    return builder.call(function, (a, b))


# int32: modulo 2**32, and the arithmetic shift to the right by 0 to 31.
add32 = _binary("add32", types.int32, lambda builder, a, b: builder.add(a, b))
mul32 = _binary("mul32", types.int32, lambda builder, a, b: builder.mul(a, b))
shift32 = _binary("shift32", types.int32, lambda builder, a, b: builder.ashr(a, b))
# int16: the product modulo 2**16, and the sum clamped to 16 bits.
mul16 = _binary("mul16", types.int16, lambda builder, a, b: builder.mul(a, b))
add16_sat = _binary("add16_sat", types.int16, _saturating_add)
