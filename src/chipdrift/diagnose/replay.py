"""One piece of a model in the engine, under any profile: the laboratory of an explanation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chipdrift.errors import ModelError
from chipdrift.graph import Piece, cut_pieces
from chipdrift.graph.program import parse_program
from chipdrift.numerics.profile import Profile, Rules
from chipdrift.targets.sim.plan import FloatUnit, IntegerUnit, make_plan
from chipdrift.targets.sim.session import SimSession

Array = np.ndarray[Any, Any]


class Replay:
    """A piece fed with fixed integers.

    ``tensors`` are the model's tensors by name, one entry a sample. Answers are flat: all outputs
    of all samples, one after the other. What was computed once is kept.
    """

    def __init__(self, data: bytes, piece: Piece, tensors: Sequence[Mapping[str, Array]]) -> None:
        cut = cut_pieces(data, [piece.name])
        self.piece = piece
        self._program = parse_program(cut.model)
        (alone,) = cut.pieces
        self._feeds = [
            {fed: entry[name] for fed, name in zip(alone.fed, alone.inputs, strict=True)}
            for entry in tensors
        ]
        self._kept: dict[Profile, Array | None] = {}

    def rules(self, profile: Profile) -> Rules | None:
        """What the profile says of the piece's op; None where it runs in float."""
        for unit in make_plan(self._program, profile).units:
            if isinstance(unit, IntegerUnit):
                return unit.spec.rules
        return None

    def floats(self, profile: Profile) -> str | None:
        """Why the piece runs in float under ``profile``, or None."""
        try:
            units = make_plan(self._program, profile).units
        except ModelError as error:
            return str(error)
        if any(isinstance(unit, IntegerUnit) for unit in units):
            return None
        return next((unit.reason for unit in units if isinstance(unit, FloatUnit)), None)

    def answers(self, profile: Profile) -> Array | None:
        """What the engine answers under ``profile``; None where it cannot run the piece."""
        key = profile.model_copy(update={"sha256": "", "name": "replay"})
        if key not in self._kept:
            self._kept[key] = self._run(profile)
        return self._kept[key]

    def _run(self, profile: Profile) -> Array | None:
        try:
            session = SimSession(self._program, profile)
            rows = [session.run(feed) for feed in self._feeds]
        except (ModelError, ValueError, OverflowError):
            return None
        return flat(rows)


def flat(rows: Sequence[Sequence[Array]]) -> Array:
    """All outputs of all samples as one array."""
    return np.concatenate([array.reshape(-1) for row in rows for array in row])


def share_equal(a: Array | None, b: Array) -> float:
    """The share of equal values; 0 where ``a`` is None."""
    if a is None or a.shape != b.shape:
        return 0.0
    return float((a == b).mean()) if b.size else 1.0
