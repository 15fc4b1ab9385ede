"""A float model whose weights are off by what rounding can do to their products."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

# Half the distance of neighbours, relative: what rounding once is off by at most.
UNIT = {TensorProto.FLOAT: 2.0**-24, TensorProto.FLOAT16: 2.0**-11}


def nudged(data: bytes, seed: int) -> bytes:
    """The model (serialized) with every float weight times ``1 + e``, e drawn for each number.

    A sum of n products in floating point is the exact sum of products with weights that are off by
    ``n u`` at most, and by about ``sqrt(n) u`` where errors are as often up as down (N. J. Higham,
    Accuracy and Stability of Numerical Algorithms, 2002, 3.1 and 2.8); u is half the distance of
    neighbours. e is even in ``+-sqrt(n) u`` for that n: the numbers of a tensor over the smaller of
    its first and last dimension.
    """
    proto = onnx.load_from_string(data)
    rng = np.random.default_rng(seed)
    for init in proto.graph.initializer:
        unit = UNIT.get(init.data_type)
        if unit is None:
            continue
        values = numpy_helper.to_array(init)
        if not values.size:
            continue
        ends = (values.shape[0], values.shape[-1]) if values.ndim > 1 else (values.size,)
        reach = math.sqrt(values.size / min(ends)) * unit
        moved = values.astype(np.float64) * (1 + rng.uniform(-reach, reach, values.shape))
        init.CopyFrom(numpy_helper.from_array(moved.astype(values.dtype), init.name))
    return bytes(proto.SerializeToString(deterministic=True))
