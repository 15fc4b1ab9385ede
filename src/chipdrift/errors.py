"""What chipdrift raises when the person, the model or the data is at fault.

One sentence that names the object, what was found, what was expected and what to do. The command
line prints it without a traceback and exits with 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ChipdriftError(Exception):
    """Something a person can mend: the message is all they need."""


class ModelError(ChipdriftError):
    """The model file cannot be used as it is."""


class DataError(ChipdriftError):
    """The samples, labels or calibration data cannot be used as they are."""


class UnknownNameError(ChipdriftError):
    """A chip, target, scheme or metric that nobody knows."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str], hint: str = "") -> UnknownNameError:
        """Build the message: what was asked for, the near names, and where the list is."""
        names = sorted(set(known))
        near = difflib.get_close_matches(name.lower(), [n.lower() for n in names], n=4, cutoff=0.5)
        shown = [n for n in names if n.lower() in near]
        guess = f" Near names: {', '.join(shown)}." if shown else ""
        listed = "" if shown or len(names) > 20 else f" Known: {', '.join(names)}."
        return cls(f"Unknown {kind} {name!r}.{guess}{listed}{' ' + hint if hint else ''}")


class RunError(ChipdriftError):
    """The run folder cannot be used: another model's, in use, unreadable or out of space."""
