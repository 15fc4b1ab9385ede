"""What ``chipdrift consistency --json`` prints, as frozen values."""

from __future__ import annotations

from chipdrift.findings import Distance
from chipdrift.records import Evidence, Record


class Asked(Record):
    """A target that was asked. ``refused`` has its words where it gave no answers."""

    target: str
    evidence: Evidence
    description: str = ""
    refused: str | None = None


class Comparison(Record):
    """One output of two targets for one input.

    ``bound`` is the largest difference that rounding explains, in the output's own numbers like
    ``distance.max_abs``, and ``bound_lsb`` the same in steps of the output's quantizer; None where
    it is not known (or there is no quantizer). ``exceeds``: the difference is larger, or one of the
    two is not finite where the other is.
    """

    input: str
    a: str
    b: str
    output: str
    distance: Distance
    bound: float | None
    bound_lsb: float | None = None
    exceeds: bool


class Excess(Record):
    """The worst of what two targets part by beyond rounding, and the first node that does so.

    ``command`` is the ``chipdrift diagnose`` that tells why, with this check's own paths; where the
    check had no samples, ``DATA`` stands for those that a diagnosis needs.
    """

    a: str
    b: str
    input: str
    output: str
    times: float | None
    node: str | None
    op: str | None
    words: str
    command: str


class Consistency(Record):
    """What ``chipdrift consistency --json`` prints.

    ``repeats`` tells which input asks the same as an earlier one, ``basis`` in sentences how the
    bounds were found.
    """

    schema_version: int = 1
    chipdrift: str
    created: str
    model: str
    model_sha256: str
    scheme: str
    targets: tuple[Asked, ...]
    inputs: tuple[str, ...]
    repeats: dict[str, str]
    basis: str
    comparisons: tuple[Comparison, ...]
    excesses: tuple[Excess, ...]
