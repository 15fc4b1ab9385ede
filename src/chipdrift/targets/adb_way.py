"""A way to run a model on a phone: what stands behind the / in ``adb:<serial>/<way>``.

A further one is a module ``adb_<name>`` with a :class:`Way`, and its name in ``adb.WAYS``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from chipdrift.phones import Identity, Kit
from chipdrift.targets.adb_visit import Tell
from chipdrift.targets.base import Part, Session

KINDS = ("float32", "float16", "qdq", "asis")
"""Of schemes: each has its cautions."""


@final
@dataclass(frozen=True)
class Facts:
    """What a way adds to its target: versions and options that decide an answer, refusals and
    cautions by kind of scheme, and the profile that computes alike.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    refuses: Mapping[str, str] = field(default_factory=dict)
    cautions: Mapping[str, str] = field(default_factory=dict)
    profile: str = ""


@dataclass(frozen=True)
class Way(ABC):
    """One way to run a model on a phone.

    ``optional`` are files that are pushed where the kit has them.
    """

    name: str
    words: str
    has_npu: bool
    optional: tuple[str, ...] = ()

    @abstractmethod
    def needs(self, hexagon: str | None) -> list[str]:
        """The kit's files for a chip of a Hexagon generation (``v73``), None unknown.

        Those that run on the phone's CPU come first.
        """

    @abstractmethod
    def open_session(self, path: str, options: Mapping[str, str], tell: Tell) -> Session:
        """The model at ``path`` on the phone; raises RefusedError with the runtime's words."""

    def require(self, phone: Identity) -> None:
        """Raise ChipdriftError where this host, or the chip, cannot go this way at all."""
        del phone

    def facts(self, phone: Identity, kit: Kit) -> Facts:
        """What decides an answer, with a kit that has all files; raises ChipdriftError."""
        del phone, kit
        return Facts()

    def parts(self) -> list[Part]:
        """What is needed on this host beside the kit."""
        return []
