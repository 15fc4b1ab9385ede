"""What a target is, seen from the run (``Target``) and from its worker process (``Session``).

A runtime is one module ``chipdrift.targets.<name>`` with three functions: ``resolve(rest)`` makes
the Target of ``<name>:<rest>``, ``listed()`` tells what there is, ``open_session(path, options)``
is called in the worker. The first two must not import the runtime itself; an optional ``preload()``
does, in the worker, before the first session is asked for, and an optional ``loaded()`` tells there
which versions it really runs. Where ``TELLS`` is true, ``open_session`` takes a third argument, a
function that the session calls with a few words while it waits: a time limit then begins anew. An
optional ``parts(rest)`` lists for ``chipdrift doctor`` what a target is made of, each part with the
command that gets it.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chipdrift.records import Evidence, Record


@dataclass(frozen=True)
class Target:
    """One runtime on one chip.

    ``runtime`` is the module that the worker imports; ``options`` go to its ``open_session``;
    ``versions`` are of all that decides an answer, and part of every result's address. Targets of
    the same ``family`` may give the same answers and are worth comparing; None means alone.
    ``refuses`` maps a scheme's kind, or the type of its activations, to the reason why it cannot be
    had here; ``cautions`` a kind to what must be said beside its results. ``description`` is a few
    words for people.
    ``profile`` names the profile that comes with chipdrift, or the file of one, which is known to
    compute as this target does; "" where there is none. ``launcher`` stands before the worker's
    command line: an emulator and its options. ``packages`` are folders where the worker looks for
    packages before all others: another version of the runtime. ``answers_only``: it holds answers
    of whole models, and computes nothing that it could be asked about.
    ``setup`` goes to ``open_session`` beside the options, and no answer depends on it: where a
    server listens, how long to wait. ``place`` names what computes where that is not a core of this
    host (a phone): it has one worker at a time, and all places work at once.
    """

    name: str
    runtime: str
    evidence: Evidence
    has_npu: bool
    options: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    family: str | None = None
    refuses: Mapping[str, str] = field(default_factory=dict)
    cautions: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    profile: str = ""
    launcher: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    answers_only: bool = False
    setup: Mapping[str, str] = field(default_factory=dict)
    place: str = ""

    @property
    def session_options(self) -> dict[str, str]:
        """All that the worker's ``open_session`` is given."""
        return {**self.setup, **self.options}


class TargetInfo(Record):
    """One line of ``chipdrift targets``: ``reason`` says why it is not available."""

    name: str
    evidence: Evidence
    available: bool
    description: str
    reason: str | None = None


@dataclass(frozen=True)
class Part:
    """One thing a target is made of: a package, a program, a folder.

    ``found`` is its version or place, or None where it lacks; ``get`` is the command that gets it.
    The target is there without what is ``optional``.
    """

    name: str
    found: str | None
    get: str
    optional: bool = False


def pip_install(extra: str) -> str:
    """The command that gets what an extra of chipdrift brings, into the Python that runs now."""
    return f"{sys.executable} -m pip install 'chipdrift[{extra}]'"


class RefusedError(Exception):
    """The runtime will not take this model; its own words. A result, not a failure."""


@dataclass(frozen=True)
class Opened:
    """What a session tells when it stands: (processor, node, op) for every node of the graph.

    Processors are named ``npu`` and ``cpu``; ``reasons`` says of nodes why they left the NPU, where
    the runtime tells, and of nodes that did not leave it why their answers are a guess.
    """

    nodes: tuple[tuple[str, str, str], ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)


class Session(ABC):
    """A model ready to run, in the worker process."""

    @abstractmethod
    def opened(self) -> Opened:
        """Placement and versions."""

    @abstractmethod
    def run(self, feed: Mapping[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        """One sample's outputs, in the order of the model's outputs."""

    def finish(self) -> Mapping[str, Any]:
        """What is to be told of the whole once the last sample has run: plain JSON values."""
        return {}

    def close(self) -> None:
        """Let go of what the process does not let go of by itself."""
        return
