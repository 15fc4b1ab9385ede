"""What ``chipdrift gate --json`` prints, and what a committed baseline holds."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chipdrift.records import SCHEMA_VERSION, Evidence, MetricInfo, NodePlace, Record, Status

# "unproven": the samples do not carry a decision, or the run holds no figure.
Outcome = Literal["pass", "fail", "unproven"]


class Check(Record):
    """One limit held against one cell.

    ``rule`` says where the limit stands in the policy ("default", "rule 2", "since"), ``line`` on
    which line. ``found``, ``low`` and ``high`` are in the limit's unit, None where there is no such
    figure: points of a share or the metric's own unit for ``drop`` and ``metric``, per cent for
    ``agreement``, ``agree_with`` and ``unexplained``, steps of the output's quantizer for ``lsb``,
    milliseconds for ``latency_ms``, counts for the others. ``against`` is the other target of
    ``agree_with`` and ``unexplained``. ``shown`` is what was found in a word, ``allowed`` what the
    limit accepts. ``breaks`` says whether this alone makes the gate fail: a "fail", or an
    "unproven" that the policy does not let pass. ``words`` is one sentence for people; ``command``
    is what continues.
    """

    limit: str
    rule: str
    line: int | None = None
    scheme: str
    target: str
    against: str | None = None
    outcome: Outcome
    breaks: bool
    found: float | None = None
    low: float | None = None
    high: float | None = None
    shown: str = ""
    allowed: str
    evidence: Evidence | None = None
    samples: int = 0
    nodes: tuple[str, ...] = ()
    words: str
    command: str | None = None


class BaselineCell(Record):
    """A cell as a baseline remembers it.

    ``bits`` is the SHA-256 of all outputs of all samples, ``file`` that of the quantized model
    file. ``metric`` and ``agreement`` have nine digits: more would change from host to host.
    """

    scheme: str
    target: str
    status: Status
    evidence: Evidence
    metric: float | None = None
    agreement: float | None = None
    bits: str | None = None
    fallback: tuple[NodePlace, ...] = ()
    file: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)


class GateBaseline(Record):
    """A run as it was when it was accepted, to be committed beside the policy."""

    kind: Literal["chipdrift gate baseline"] = "chipdrift gate baseline"
    schema_version: Literal[1] = 1
    model: str
    model_sha256: str
    data: str
    data_sha256: str
    samples: int
    calibration_sha256: str | None = None
    metric: str
    output: str
    cells: tuple[BaselineCell, ...]


class Since(Record):
    """One cell since the baseline. ``versions`` has what is not the same, None where absent.

    ``same_bits`` is None where a side has no outputs; ``same_file`` where a side does not name its
    model file. ``left_npu`` are the nodes that have left the NPU since, ``joined_npu`` those that
    came back. The lost metric is ``drop``, in points where the metric is a share.
    """

    scheme: str
    target: str
    kind: Literal["same", "changed", "new", "missing"]
    status: tuple[Status | None, Status | None]
    evidence: tuple[Evidence | None, Evidence | None]
    metric: tuple[float | None, float | None] = (None, None)
    agreement: tuple[float | None, float | None] = (None, None)
    drop: float | None = None
    same_bits: bool | None = None
    same_file: bool | None = None
    left_npu: tuple[NodePlace, ...] = ()
    joined_npu: tuple[NodePlace, ...] = ()
    versions: dict[str, tuple[str | None, str | None]] = Field(default_factory=dict)
    words: str


class Gate(Record):
    """Everything ``chipdrift gate`` found. ``failed``: a limit is broken.

    ``since`` has every cell of this run and of the baseline; it is empty without a baseline.
    """

    schema_version: int = SCHEMA_VERSION
    chipdrift: str
    run: str
    policy: str
    policy_sha256: str
    baseline: str | None = None
    model: str
    model_sha256: str
    data_sha256: str
    samples: int
    metric: MetricInfo
    checks: tuple[Check, ...]
    since: tuple[Since, ...] = ()
    warnings: tuple[str, ...] = ()
    failed: bool

    def of(self, outcome: Outcome) -> tuple[Check, ...]:
        """The checks with this outcome."""
        return tuple(check for check in self.checks if check.outcome == outcome)

    @property
    def broken(self) -> tuple[Check, ...]:
        """The checks that make the gate fail."""
        return tuple(check for check in self.checks if check.breaks)
