"""Numba as this package uses it: cached on disk where a folder can be written, typed for mypy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])


def jit(function: _Function) -> _Function:
    """``function`` compiled at its first call, with NumPy's arithmetic: nothing fused or reordered.

    The machine code is kept beside the source, in the user's cache folder or where NUMBA_CACHE_DIR
    says; where none of them can be written, every process compiles for itself.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        compiled: _Function = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder to keep the code in
        compiled = numba.njit(**options)(function)
    return compiled
