"""What ``chipdrift plan --json`` prints and a bundle is made from.

A plan lies in a folder of its own: ``plan.json`` (a :class:`Plan`), ``schemes/NAME.toml`` for each
candidate that is no built-in scheme, ``search`` and ``confirm``, which are run folders like any
other, and ``models/NAME.onnx`` for each variant that a chip gets.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chipdrift.records import (
    SCHEMA_VERSION,
    CalibrationInfo,
    DataInfo,
    Evidence,
    Host,
    Interval,
    MetricInfo,
    MetricResult,
    ModelInfo,
    Record,
)

Objective = Literal["latency", "size"]
Basis = Literal["measured", "reported", "model", "exact"]
How = Literal["scheme", "mixed", "hybrid", "calibrated", "float"]
Standing = Literal["confirmed", "within", "missed", "none"]


class Budget(Record):
    """What a variant must hold.

    ``kind`` "drop": the metric may be worse than the baseline's by ``limit``; "least": it must
    reach ``limit``. ``limit`` is in the metric's unit (0.01 for "1%" of a share), ``text`` is as
    asked.
    """

    text: str
    metric: str
    kind: Literal["drop", "least"]
    limit: float


class Cost(Record):
    """What a variant costs on a chip.

    ``unit`` is "ms" for measured times, "bytes" for sizes, and "x w8a8" for the cost model: times
    the same model under ``w8a8`` on the same chip. ``low`` and ``high`` hold the model's typical
    error on rows it was not fitted to; None where the figure is exact or measured.
    """

    value: float
    unit: Literal["ms", "bytes", "x w8a8"]
    basis: Basis
    low: float | None = None
    high: float | None = None
    words: str = ""


class Candidate(Record):
    """A model that was tried: a scheme and what it makes of the model.

    ``words`` says in few words what sets it apart; ``raised`` names the float model's nodes that do
    not run in the base scheme's integers; ``borders`` counts conversions between types, those of
    the CPU ``cpu_borders`` among them; ``size`` is the model file's in bytes; ``techniques`` names
    what calibration on the target changed. ``sha256`` is of the scheme.
    """

    scheme: str
    how: How
    words: str
    sha256: str
    model_sha256: str
    size: int
    base: str | None = None
    raised: tuple[str, ...] = ()
    borders: int = 0
    cpu_borders: int = 0
    techniques: tuple[str, ...] = ()


class Score(Record):
    """A candidate on a chip, on the samples that were used to choose.

    ``target`` is what answered (the engine with a profile, or the chip's own target) and
    ``evidence`` what that rests on. ``loss`` is how much worse than the baseline, in the metric's
    unit, positive is worse. ``sqnr_db`` is over all elements of all samples at once; the metric
    ``sqnr``, where it is the budget's, is the mean of the samples' own. ``frontier``: none tried is
    both cheaper and at least as accurate. ``error`` says why it has no figures.
    """

    chip: str
    scheme: str
    target: str
    evidence: Evidence
    samples: int
    cost: Cost | None = None
    metric: MetricResult | None = None
    loss: Interval | None = None
    sqnr_db: float | None = None
    fallback: int = 0
    within: bool = False
    frontier: bool = False
    error: str | None = None


class Sensitivity(Record):
    """What one layer's 8 bits cost the output: ``gain_db`` of SQNR if it alone is raised.

    ``base`` is the scheme whose layer it is, where the search told it.
    """

    target: str
    base: str | None = None
    nodes: tuple[str, ...]
    to: str
    gain_db: float
    borders: int
    samples: int


class Tried(Record):
    """A technique of calibration on the target, or an option of the runtime.

    ``before`` and ``after`` are figures in ``unit`` on samples that were not used to make it;
    ``kept`` says whether it stayed. ``scheme`` is what it made, ``base`` what it began with.
    """

    technique: str
    target: str
    base: str
    scheme: str | None = None
    before: float | None = None
    after: float | None = None
    unit: str = "dB"
    samples: int = 0
    kept: bool = False
    words: str = ""


class PlanChip(Record):
    """A chip that is planned for.

    ``name`` as it was asked for; ``target`` is what confirms (``htp:sm8550``, ``adb:...``) and
    ``evidence`` what that rests on; ``searcher`` is what the search asked (``sim:hexagon-v73``, or
    the target itself, with the reason in ``why``). Chips of one ``group`` have equal numerics and
    features, and are searched together. ``ro_soc_models`` are Android's names for it.
    """

    name: str
    words: str
    target: str
    evidence: Evidence
    searcher: str
    why: str
    group: str
    fp16: bool | None = None
    soc: str | None = None
    soc_model: int | None = None
    ro_soc_models: tuple[str, ...] = ()


class Choice(Record):
    """What a chip gets, confirmed on data that was not used to choose.

    ``standing``: "confirmed" if the interval's worse end holds the budget, "within" if the figure
    does and the interval reaches beyond, "missed" if it does not (``variant`` is then the nearest),
    "none" if nothing runs at all. ``loss`` is as in :class:`Score`, its interval corrected for
    ``looks``, the number of candidates that this chip's confirmation data were asked about.
    ``alone`` is what the chip would get without a cap on variants, and its cost.
    """

    chip: str
    variant: str | None
    standing: Standing
    why: str
    cost: Cost | None = None
    metric: MetricResult | None = None
    loss: Interval | None = None
    agreement: Interval | None = None
    samples: int = 0
    looks: int = 0
    evidence: Evidence
    fallback: int = 0
    options: dict[str, str] = Field(default_factory=dict)
    alone: str | None = None
    alone_cost: Cost | None = None


class Variant(Record):
    """A model file that is shipped: ``file`` under the plan's folder, ``chips`` that get it."""

    name: str
    scheme: str
    file: str
    sha256: str
    size: int
    words: str
    chips: tuple[str, ...]


class Plan(Record):
    """Everything that ``chipdrift plan`` found and chose.

    ``choosing`` and ``confirming`` are disjoint parts of ``data``. ``safe`` names the variant for a
    chip that nobody has seen: float32 on the CPU. ``single`` is the best single scheme for all
    chips, ``saved`` the share of mean cost that the plan saves against it, at the same budget.
    ``cap_words`` says what ``max_variants`` cost. ``words`` are sentences for people, most
    important first.
    """

    schema_version: int = SCHEMA_VERSION
    chipdrift: str
    created: str
    model: ModelInfo
    data: DataInfo
    calibration: CalibrationInfo | None
    metric: MetricInfo
    baseline: MetricResult | None
    budget: Budget
    objective: Objective
    choosing: int
    confirming: int
    chips: tuple[PlanChip, ...]
    candidates: tuple[Candidate, ...]
    scores: tuple[Score, ...]
    sensitivity: tuple[Sensitivity, ...] = ()
    tried: tuple[Tried, ...] = ()
    choices: tuple[Choice, ...]
    variants: tuple[Variant, ...]
    safe: str
    max_variants: int | None = None
    cap_words: str | None = None
    single: str | None = None
    saved: float | None = None
    words: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: float = Field(default=0.0, ge=0)
    host: Host | None = None
