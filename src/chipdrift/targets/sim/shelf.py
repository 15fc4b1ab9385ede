"""Compiled ops that the sessions of one process share.

A search opens hundreds of models that differ in a few ops; compiling the others again would take
longer than running them.
"""

from __future__ import annotations

import hashlib
import pickle

from chipdrift.kept import Kept
from chipdrift.numerics.fast import compile_op
from chipdrift.numerics.tensors import Kernel, OpSpec

# Bytes of the constants of what is kept: some hundred million weights would fill a worker's memory.
_MOST = 256 << 20


class Shelf:
    """The kernels that were compiled last, by all that their ops hold, up to ``most`` bytes."""

    def __init__(self, most: int = _MOST) -> None:
        self._kernels: Kept[bytes, tuple[Kernel | None]] = Kept(most)

    def __len__(self) -> int:
        return len(self._kernels)

    def kernel(self, spec: OpSpec) -> Kernel | None:
        """What :func:`compile_op` gives for ``spec``, compiled once."""
        # Equal bytes are equal specs; what is equal in two ways is compiled twice, no more.
        data = pickle.dumps(spec, protocol=5)
        key = hashlib.sha256(data).digest()
        found = self._kernels.get(key)
        if found is None:
            found = self._kernels.put(key, (compile_op(spec),), len(data))
        return found[0]


SHELF = Shelf()
