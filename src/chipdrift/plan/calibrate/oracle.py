"""Who is asked what a model answers on a chip's numerics: the engine, or any target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from chipdrift.errors import ModelError
from chipdrift.graph.program import parse_program
from chipdrift.numerics.profile import Profile
from chipdrift.probe.ask import Asker, NoAnswerError
from chipdrift.targets.sim.session import SimSession

Array = np.ndarray[Any, Any]
Feed = Mapping[str, Array]


class SilentError(Exception):
    """The oracle does not answer this model; its own words."""


class Oracle(Protocol):
    """``name`` is the target's, as people know it."""

    @property
    def name(self) -> str:
        """The target's name."""

    def answers(self, model: bytes, feeds: Sequence[Feed]) -> list[list[Array]]:
        """All outputs of an ONNX file (serialized) for each feed; raises SilentError."""


class Engine:
    """The engine in this process, under a profile."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    @property
    def name(self) -> str:
        """``sim:`` and the profile's name."""
        return f"sim:{self._profile.name}"

    def answers(self, model: bytes, feeds: Sequence[Feed]) -> list[list[Array]]:
        """All outputs for each feed; raises SilentError where the engine cannot run the model."""
        try:
            session = SimSession(parse_program(model), self._profile)
            return [session.run(feed) for feed in feeds]
        except (ModelError, ValueError, OverflowError) as error:
            raise SilentError(str(error)) from error


class Asked:
    """A target in a worker process, by its :class:`~chipdrift.probe.ask.Asker`."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    @property
    def name(self) -> str:
        """The target's name."""
        return self._asker.target.name

    def answers(self, model: bytes, feeds: Sequence[Feed]) -> list[list[Array]]:
        """All outputs for each feed; raises SilentError, and ChipdriftError for a dead target."""
        try:
            return self._asker.ask_all(model, feeds)
        except NoAnswerError as error:
            raise SilentError(str(error)) from error
