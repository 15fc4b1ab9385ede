"""One thing to be said first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

Kind = Literal["loss", "gain", "calm", "note", "caution", "missing"]
Section = Literal[
    "choices",
    "confirmed",
    "matrix",
    "silicon",
    "phones",
    "agreement",
    "diagnosis",
    "samples",
    "placement",
    "numbers",
    "basis",
]


@final
@dataclass(frozen=True)
class Finding:
    """One sentence or two, how it weighs, and the section of the report that shows it.

    ``full`` is the whole of a text that was cut; "" where it is all there.
    """

    kind: Kind
    text: str
    section: Section
    full: str = ""
