"""What ``chipdrift regress --json`` prints."""

from __future__ import annotations

from chipdrift.records import (
    SCHEMA_VERSION,
    Delta,
    Lsb,
    MetricInfo,
    MetricResult,
    NodePlace,
    Record,
    Status,
)


class Timing(Record):
    """Median seconds of a sample, over the ``samples`` that both sides ran themselves.

    Of a simulator it is this host's time and no phone's latency. Of a phone it is its own, of its
    last session, and there is none where it was hot or is emulated. ``ratio`` is ``b`` by ``a``.
    There is none on fewer than 20 samples.
    """

    samples: int
    a: float
    b: float
    ratio: float


class Parted(Record):
    """A sample with another answer: its number in run A, and both answers in words."""

    sample: int
    label: str | None
    a: str
    b: str


class Change(Record):
    """One scheme on one target, before (``a``) and after (``b``).

    ``versions`` has what is not the same, None where a side does not say. ``same_model``: both ran
    the same bytes; else the quantization has changed, too. ``identical`` is the share of samples
    with the same bits, ``lsb`` the distance in steps of the output quantizer where both have the
    same. ``delta`` is b's metric minus a's with the paired test, corrected by Holm over all changes
    of this comparison. ``left_npu`` are the nodes that ran on the NPU and no longer do,
    ``joined_npu`` those that do now. ``exceeds`` names the limits that are exceeded, ``unchecked``
    those for which there is no figure. What follows ``samples`` is None where a side has no
    answers. ``measured`` counts the samples that both cells ran themselves; for others an identical
    chip of the same release stood in.
    """

    scheme: str
    a: str
    b: str
    versions: dict[str, tuple[str | None, str | None]]
    same_model: bool
    status_a: Status
    status_b: Status
    reason_a: str | None = None
    reason_b: str | None = None
    samples: int = 0
    measured: int = 0
    changed: int | None = None
    agreement: float | None = None
    agreement_low: float | None = None
    agreement_high: float | None = None
    identical: float | None = None
    lsb: Lsb | None = None
    max_abs: float | None = None
    parted: tuple[Parted, ...] = ()
    metric_a: MetricResult | None = None
    metric_b: MetricResult | None = None
    delta: Delta | None = None
    left_npu: tuple[NodePlace, ...] = ()
    joined_npu: tuple[NodePlace, ...] = ()
    timing: Timing | None = None
    exceeds: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()


class Side(Record):
    """A run folder."""

    run: str
    created: str
    chipdrift: str


class Regression(Record):
    """Everything ``chipdrift regress`` found. ``failed``: a limit is exceeded."""

    schema_version: int = SCHEMA_VERSION
    chipdrift: str
    a: Side
    b: Side
    model: str
    samples: int
    metric: MetricInfo
    limits: dict[str, float]
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    failed: bool
