"""What the writer raises."""

from __future__ import annotations


class UnwritableError(Exception):
    """The model cannot be written as a TFLite file with the same integers; one sentence."""

    @classmethod
    def at(cls, name: str, op: str, why: str) -> UnwritableError:
        """Name the node and its op."""
        return cls(f"Node {name!r} ({op}): {why}")
