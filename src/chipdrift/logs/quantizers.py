"""Quantization parameters as QNN prints them."""

from __future__ import annotations

import re

from chipdrift.records import Quantizer

_TYPE = re.compile(r"([US])FIXED_POINT_(\d+)$")
_ONE = re.compile(r"\bscale=(\S+) offset=(-?\d+)")
_AXIS = re.compile(r"\baxis=(\d+) scales=\(([^)]*)\) offsets=\(([^)]*)\)")
_NARROW = re.compile(r"\bbit[wW]idth=(\d+)")


def read_quantizer(dtype: str, encoding: str) -> Quantizer | None:
    """From QNN's type (``UFIXED_POINT_8``) and the text of its parameters; None for floats.

    QNN's offset is added, ``real = (integer + offset) * scale``: the zero point is its negative.
    """
    kind = _TYPE.match(dtype)
    if kind is None:
        return None
    narrow = _NARROW.search(encoding)
    name = f"{'u' if kind[1] == 'U' else ''}int{narrow[1] if narrow else kind[2]}"
    try:
        if match := _AXIS.search(encoding):
            scales = tuple(float(value) for value in match[2].split())
            offsets = tuple(int(value) for value in match[3].split())
            axis = int(match[1])
            if len(offsets) != len(scales):
                return None
            return Quantizer(
                scale=scales, zero_point=tuple(-o for o in offsets), dtype=name, axis=axis
            )
        if match := _ONE.search(encoding):
            return Quantizer(scale=(float(match[1]),), zero_point=(-int(match[2]),), dtype=name)
    except ValueError:  # a torn line
        return None
    return None
