"""Compiled ops that the sessions of one process share.

A search opens hundreds of models that differ in a few ops; compiling the others again would take
longer than running them.
"""

from __future__ import annotations

import hashlib
import pickle
import threading
from collections import OrderedDict

from chipdrift.numerics.fast import compile_op
from chipdrift.numerics.tensors import Kernel, OpSpec

# Bytes of the constants of what is kept: some hundred million weights would fill a worker's memory.
_MOST = 256 << 20


class Shelf:
    """The kernels that were compiled last, by all that their ops hold, up to ``most`` bytes."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._kernels: OrderedDict[bytes, tuple[Kernel | None, int]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kernels)

    def kernel(self, spec: OpSpec) -> Kernel | None:
        """What :func:`compile_op` gives for ``spec``, compiled once."""
        # Equal bytes are equal specs; what is equal in two ways is compiled twice, no more.
        data = pickle.dumps(spec, protocol=5)
        key = hashlib.sha256(data).digest()
        with self._lock:
            if key in self._kernels:
                self._kernels.move_to_end(key)
                return self._kernels[key][0]
        made = compile_op(spec)
        with self._lock:
            self._kernels[key] = (made, len(data))
            self._size += len(data)
            while self._size > self._most and len(self._kernels) > 1:
                self._size -= self._kernels.popitem(last=False)[1][1]
        return made


SHELF = Shelf()
