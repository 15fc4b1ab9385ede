"""The frozen values that travel between stages.

Everything here is plain data: it can be written as JSON and read back without loss. Field names are
the ones that ``chipdrift matrix --json`` prints, so a change here is a change of the public format
and of :data:`SCHEMA_VERSION`.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

from pydantic import BaseModel, ConfigDict

from chipdrift.counts import counted

SCHEMA_VERSION = 1

Evidence = Literal[
    "device",
    "reported",
    "vendor-simulator",
    "emulated-runtime",
    "host-runtime",
    "prediction",
    "hypothesis",
]
Status = Literal["ok", "unsupported", "failed"]
Relation = Literal["same-chip", "same-generation", "other-generation", "unknown"]


class Record(BaseModel):
    """A frozen value with no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorSpec(Record):
    """One input or output of a model: ``dtype`` is NumPy's name; a dynamic dimension is None."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class Quantizer(Record):
    """How a tensor's integers become real numbers: ``real = (integer - zero_point) * scale``."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    dtype: str
    axis: int | None = None


class ModelInfo(Record):
    """A model file. ``sha256`` covers the file and its external data."""

    name: str
    sha256: str
    opset: int
    nodes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class DataInfo(Record):
    """A set of samples. ``sha256`` covers every sample and label in order."""

    name: str
    sha256: str
    samples: int
    labels: bool


class CalibrationInfo(Record):
    """The samples that set the ranges. ``overlap`` counts those also in the evaluation data."""

    name: str
    sha256: str
    samples: int
    overlap: int


class Interval(Record):
    """A figure with its 95 % interval. ``low`` and ``high`` are None where none can be given."""

    value: float
    low: float | None = None
    high: float | None = None


class MetricResult(Interval):
    """The task's metric on one cell."""

    name: str


class Delta(Interval):
    """A cell's metric minus the baseline's, on the same samples.

    ``p_value`` is of the paired test; ``p_holm`` is corrected for all cells of the matrix;
    ``significant`` is ``p_holm < 0.05`` and the only ground on which a difference is called real.
    """

    p_value: float
    p_holm: float
    significant: bool

    @classmethod
    def uncorrected(
        cls, value: float, low: float | None, high: float | None, p_value: float
    ) -> Delta:
        """One comparison by itself, until all are known that it is corrected with."""
        return cls(
            value=value, low=low, high=high, p_value=p_value, p_holm=p_value, significant=False
        )


class Lsb(Record):
    """Distance of two sets of integers in units of the output quantizer's step."""

    max: int
    mean: float


class NodePlace(Record):
    """A node and why it is listed; ``source`` names the nodes of the float model it stands for."""

    node: str
    op: str
    reason: str | None = None
    source: tuple[str, ...] = ()


class Placement(Record):
    """Which processor ran the nodes.

    ``npu`` and ``cpu`` count the model's nodes without Quantize and Dequantize. ``graph_io`` counts
    the quantization of the graph's own inputs and outputs on the CPU, which is by design;
    ``conversions`` counts all other Quantize and Dequantize nodes on the CPU. ``fallback`` lists
    every node of a target with an NPU that ran on the CPU. ``npu`` of ``sim:`` are the nodes under
    its profile's rules; ``assumed`` lists those among them whose rule the profile does not know, so
    that the engine's own stood in. ``kept`` are the nodes that the scheme itself keeps in float32
    on the CPU, which is no fallback; one with a ``reason`` was not to be had there.
    """

    npu: int
    cpu: int
    graph_io: int = 0
    conversions: int = 0
    fallback: tuple[NodePlace, ...] = ()
    assumed: tuple[NodePlace, ...] = ()
    kept: tuple[NodePlace, ...] = ()


class PhoneState(Record):
    """One look at a phone; None where it does not tell.

    ``thermal`` is Android's thermal status from 0 (none) to 6 (shutdown); temperatures are in
    degrees Celsius, ``battery`` in per cent.
    """

    battery: int | None = None
    battery_celsius: float | None = None
    charging: bool | None = None
    thermal: int | None = None
    hottest_celsius: float | None = None


class NodeTime(Record):
    """A node's mean time on the phone, in seconds, from a session of its own that times nodes."""

    node: str
    op: str
    seconds: float


class OutputDiff(Record):
    """How far a delegate's answers lie from the plain kernels' on a phone, as LiteRT's tool tells.

    ``mean`` is the mean absolute difference of an output's elements over ``runs`` random inputs,
    ``deviation`` that of the runs' means: in raw values of ``dtype``, which are the quantizer's
    steps where it is an integer.
    """

    output: str
    dtype: str
    runs: int
    mean: float
    deviation: float


class PhoneRun(Record):
    """What a phone told beside its answers.

    ``cooled`` seconds were waited for it to cool down before; ``away`` counts how often it went
    away and came back; ``samples`` ran in the last session, whose times on the phone are
    ``median_seconds`` and ``slowest_seconds``; ``sent`` bytes were pushed. ``log`` is the file in
    the run folder with what the phone logged meanwhile; ``diffs`` are LiteRT's inference_diff's,
    by output, where the phone's kit has it; ``trouble`` says why some of this lacks.
    """

    before: PhoneState | None = None
    after: PhoneState | None = None
    cooled: float = 0.0
    away: int = 0
    samples: int = 0
    median_seconds: float | None = None
    slowest_seconds: float | None = None
    nodes: tuple[NodeTime, ...] = ()
    sent: int = 0
    log: str | None = None
    diffs: tuple[OutputDiff, ...] = ()
    trouble: str | None = None


class Cell(Record):
    """One scheme on one target.

    ``metric`` and what follows is None unless ``status`` is ``ok``. ``seconds`` is this host's time
    for the cell's own samples: no phone's latency, which is in ``phone``. ``copied_from`` names the
    target whose answers stand in for this one's beyond the first ``audited`` samples.
    """

    scheme: str
    target: str
    evidence: Evidence
    status: Status
    reason: str | None = None
    samples: int = 0
    measured: int = 0
    metric: MetricResult | None = None
    delta: Delta | None = None
    agreement: float | None = None
    agreement_low: float | None = None
    agreement_high: float | None = None
    sqnr_db: float | None = None
    lsb: Lsb | None = None
    placement: Placement | None = None
    versions: dict[str, str] = {}
    options: dict[str, str] = {}
    seconds: float | None = None
    copied_from: str | None = None
    audited: int | None = None
    model_sha256: str | None = None
    log: str | None = None
    phone: PhoneRun | None = None

    @property
    def is_simulator(self) -> bool:
        """Whether it stands for silicon that was not run; an emulated x86 is no phone's."""
        x86 = self.versions.get("machine", "").lower() in ("x86_64", "amd64", "i686")
        return self.evidence in ("vendor-simulator", "emulated-runtime", "prediction") and not x86

    @property
    def is_silicon(self) -> bool:
        """Whether its answers are silicon's, whoever ran it."""
        return self.evidence in ("device", "reported")

    def predicts(self, other: Cell) -> bool:
        """Whether this simulates what ``other``, silicon under the same scheme, ran.

        A simulated NPU says nothing of a phone's CPU, nor an emulated CPU of its NPU. A phone whose
        nodes all fell back to the CPU was asked for its NPU, and was predicted wrongly.
        """
        if not (self.is_simulator and other.is_silicon and self.scheme == other.scheme):
            return False
        place = other.placement
        if place is None or place.npu + place.cpu == 0:
            return True
        if self.evidence == "vendor-simulator":
            return place.npu > 0 or bool(place.fallback)
        return self.evidence != "emulated-runtime" or place.npu == 0


class Pair(Record):
    """Two targets under one scheme: ``agreement`` is the share of samples with the same answer."""

    scheme: str
    a: str
    b: str
    samples: int
    agreement: float
    agreement_low: float | None = None
    agreement_high: float | None = None
    identical: float
    lsb: Lsb | None = None
    max_abs: float | None = None
    measured: int = 0


class Group(Record):
    """Targets whose outputs are bitwise identical on this data under one scheme.

    ``measured`` is the number of samples that every one of them ran itself.
    """

    scheme: str
    targets: tuple[str, ...]
    samples: int
    measured: int


class Parting(Record):
    """A sample on which targets part under one scheme: each target's answer, in words."""

    scheme: str
    sample: int
    label: str | None
    answers: dict[str, str]


class SiliconCheck(Record):
    """How far ``simulator`` predicted ``silicon``: two targets under one scheme, on one data set.

    ``relation`` is that of their chips; "same-generation" is another chip of the same Hexagon
    generation, or a profile of that generation. ``simulator_chip`` and ``silicon_chip`` are SoC ids
    of the catalogue, or what is said of a chip that it does not have; ``same_sdk`` is None where a
    release is not known. ``agreement``, ``identical``, ``lsb``, ``max_abs`` and ``measured`` are as
    in :class:`Pair`. ``predicted`` is the metric on the simulator, ``observed`` that on silicon,
    and ``difference`` is observed minus predicted; its ``p_holm`` is corrected for all checks of
    the same chip, or for all others. ``cautions`` say what else may make the two differ, or agree.
    """

    scheme: str
    simulator: str
    silicon: str
    simulator_evidence: Evidence
    silicon_evidence: Evidence
    relation: Relation
    simulator_chip: str | None = None
    silicon_chip: str | None = None
    simulator_generation: str | None = None
    silicon_generation: str | None = None
    simulator_sdk: str | None = None
    silicon_sdk: str | None = None
    same_sdk: bool | None = None
    samples: int
    measured: int
    agreement: float
    agreement_low: float | None = None
    agreement_high: float | None = None
    identical: float
    lsb: Lsb | None = None
    max_abs: float | None = None
    predicted: MetricResult
    observed: MetricResult
    difference: Delta
    cautions: tuple[str, ...] = ()


class MixedInfo(Record):
    """What a scheme's ``[[layer]]`` tables made of a model.

    ``layers`` are (node of the float model, what holds for it in words); ``borders`` are (tensor,
    from, to): each is one more conversion, and one to or from "float32" a way between NPU and CPU.
    """

    layers: tuple[tuple[str, str], ...]
    borders: tuple[tuple[str, str, str], ...] = ()

    @property
    def words(self) -> str:
        """In one sentence's part."""
        counts = Counter(words for _, words in self.layers)
        parts = [f"{counted(count, 'node')} {words}" for words, count in counts.most_common()]
        return f"{'; '.join(parts)}; {counted(len(self.borders), 'border')} between types"


class SchemeInfo(Record):
    """A scheme as it was applied: its TOML's hash and what was done to the model."""

    name: str
    description: str
    sha256: str
    model_sha256: str | None = None
    file: str | None = None
    error: str | None = None
    notes: tuple[str, ...] = ()
    mixed: MixedInfo | None = None


class Host(Record):
    """The machine that measured."""

    cpu: str
    isa: tuple[str, ...]
    cores: int
    system: str
    python: str


class MetricInfo(Record):
    """The metric of a matrix; ``answer`` says what counts as "the same answer" in agreements.

    ``against_baseline``: the metric compares with the baseline's own outputs (cosine, SQNR), which
    are perfect by that measure. A difference from them is then no finding, and is not tested.
    """

    name: str
    higher_is_better: bool
    answer: str
    output: str
    interval: str
    test: str
    against_baseline: bool = False


class Baseline(Record):
    """What every cell is set against: the float model on ``ort:cpu``.

    For a model that is quantized already it is that model there; ``words`` says which of the two.
    """

    words: str = "float model"
    scheme: str
    target: str
    metric: MetricResult | None
    samples: int
    versions: dict[str, str] = {}


class Matrix(Record):
    """Everything ``chipdrift matrix`` found: what ``--json`` prints and the report reads.

    ``target_names`` says in people's words what each target is (``Snapdragon 8 Gen 2, v73``);
    ``compared`` is the number of differences that Holm's correction covers. ``imported`` is where
    the outputs came from, if ``chipdrift import`` made this run: nothing was measured here.
    ``silicon`` sets every simulator against every silicon that answered under the same scheme,
    those of the same chip first.
    """

    schema_version: int = SCHEMA_VERSION
    chipdrift: str
    created: str
    model: ModelInfo
    data: DataInfo
    calibration: CalibrationInfo | None
    metric: MetricInfo
    baseline: Baseline
    schemes: tuple[SchemeInfo, ...]
    targets: tuple[str, ...]
    target_names: dict[str, str] = {}
    compared: int = 0
    cells: tuple[Cell, ...]
    pairs: tuple[Pair, ...]
    groups: tuple[Group, ...]
    partings: tuple[Parting, ...]
    parted: int
    audit: int | None
    complete: bool
    warnings: tuple[str, ...]
    host: Host
    imported: str | None = None
    silicon: tuple[SiliconCheck, ...] = ()
