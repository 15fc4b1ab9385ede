"""One piece of a model in the engine, under any profile: the laboratory of an explanation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from chipdrift.diagnose.mechanisms import Tables
from chipdrift.errors import ModelError
from chipdrift.graph import Piece, cut_pieces
from chipdrift.graph.program import parse_program
from chipdrift.numerics.profile import Profile
from chipdrift.numerics.smallfloat import SmallFloat
from chipdrift.targets.sim.halves import takes
from chipdrift.targets.sim.plan import FloatUnit, IntegerUnit, make_plan
from chipdrift.targets.sim.session import SimSession

Array = np.ndarray[Any, Any]


# Ops that may be computed in one with what stands before them.
_FUSED = frozenset({"Relu", "Clip", "BatchNormalization", "Softmax"})


class Replay:
    """A piece fed with fixed integers.

    ``tensors`` are the model's tensors by name, one entry a sample. ``joined`` names other pieces
    that are run with it as one. Answers are the piece's own, flat: all outputs of all samples, one
    after the other. What was computed once is kept.
    """

    def __init__(
        self,
        data: bytes,
        piece: Piece,
        tensors: Sequence[Mapping[str, Array]],
        joined: Sequence[str] = (),
    ) -> None:
        names = [piece.name, *joined]
        cut = cut_pieces(data, names, [names])
        self.piece = piece
        self._program = parse_program(cut.model)
        (whole,) = cut.pieces
        self._places = [whole.outputs.index(name) for name in piece.outputs]
        self._feeds = [
            {fed: entry[name] for fed, name in zip(whole.fed, whole.inputs, strict=True)}
            for entry in tensors
        ]
        self._kept: dict[Profile, Array | None] = {}
        self.fuses = len(whole.nodes) > 1 and any(op in _FUSED for _, op in whole.nodes)

    @property
    def narrows(self) -> bool:
        """Whether it is a product of two activations, the second of 16 bits."""
        dtypes = [self._feeds[0][name].dtype for name in self._feeds[0]] if self._feeds else []
        wide = any(dtype.kind in "iu" and dtype.itemsize == 2 for dtype in dtypes)
        return self.piece.op == "MatMul" and len(self.piece.inputs) == 2 and wide

    def tables(self, profile: Profile) -> Tables:
        """What the profile says of the piece's op."""
        unit = self._unit(profile)
        if unit is None:
            return replace(Tables.of(profile), floats=None)
        steps = [unit.step, *(unit.fused if isinstance(unit, IntegerUnit) else ())]
        behind = next((step for step in steps if step.op in _FUSED), unit.step)
        return Tables(
            rules=unit.spec.rules if isinstance(unit, IntegerUnit) else None,
            weights=profile.weights_for(unit.step.op, unit.step.name),
            fusion=profile.fusion_for(behind.op, behind.name),
            floats=unit.small if isinstance(unit, FloatUnit) else None,
            input=profile.input,
            halves=takes(unit.step, self._program, SmallFloat()) is None,
        )

    def _unit(self, profile: Profile) -> IntegerUnit | FloatUnit | None:
        """The piece's own: what runs in integers before what runs in float."""
        try:
            units = make_plan(self._program, profile).units
        except ModelError:
            return None
        own = {name for name, _ in self.piece.nodes}
        integer = [u for u in units if isinstance(u, IntegerUnit)]
        floats = sorted(
            (u for u in units if isinstance(u, FloatUnit)), key=lambda u: u.small is None
        )
        all_units: list[IntegerUnit | FloatUnit] = [*integer, *floats]
        for unit in all_units:
            fused = unit.fused if isinstance(unit, IntegerUnit) else ()
            if own & {unit.step.name, *(step.name for step in fused)}:
                return unit
        return integer[0] if integer else None

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
        return flat([[row[place] for place in self._places] for row in rows])


def flat(rows: Sequence[Sequence[Array]]) -> Array:
    """All outputs of all samples as one array."""
    return np.concatenate([array.reshape(-1) for row in rows for array in row])


def share_equal(a: Array | None, b: Array) -> float:
    """The share of equal values, two NaN being equal; 0 where ``a`` is None."""
    if a is None or a.shape != b.shape:
        return 0.0
    same = a == b
    if a.dtype.kind == "f" and b.dtype.kind == "f":
        same |= np.isnan(a) & np.isnan(b)
    return float(same.mean()) if b.size else 1.0
