"""One module per family of ops; each has ``OPS``, a map of ONNX op to the function that writes it.

Such a function gets the Writer and the node, adds TFLite operators, and calls ``finish``.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable

import onnx

from chipdrift.tflite.writer import Writer

Write = Callable[[Writer, onnx.NodeProto], None]


@functools.cache
def writers() -> dict[str, Write]:
    """Every op that can be written."""
    found: dict[str, Write] = {}
    for module in pkgutil.iter_modules(__path__):
        found.update(importlib.import_module(f"{__name__}.{module.name}").OPS)
    return found
