"""What ``manifest.json`` of a bundle holds; ``manifest.schema.json`` beside it is made of this."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from chipdrift.plan.records import Cost, Standing
from chipdrift.records import (
    DataInfo,
    Evidence,
    Interval,
    MetricInfo,
    MetricResult,
    ModelInfo,
    Record,
    TensorSpec,
)

# Letters, digits, "_", "-" and ".", in folders or not; no part begins with a dot.
NAME = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$"

Name = Annotated[str, Field(pattern=NAME)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# Beyond this a double, which is what many readers of JSON have, skips numbers.
MOST_SERIAL = 2**53
Whole = Annotated[int, Field(ge=0, le=MOST_SERIAL)]


class BundleFile(Record):
    """A file of the bundle: its path in it, always with "/", and what its bytes are."""

    name: Name
    sha256: Sha256
    size: Whole


class BundleVariant(Record):
    """A model. ``beside`` are files that it reads itself, by its own words: weights.

    ``measured_sha256`` is of the file that was measured, with all weights inside.
    """

    name: str
    scheme: str
    words: str
    file: Name
    beside: tuple[Name, ...] = ()
    measured_sha256: Sha256


class BundleContext(Record):
    """A variant compiled for one chip: an ONNX file that names a ``binary`` of the vendor's.

    It may load on another chip without complaint and answer as the first. ``sdk`` is the release
    for which it is handed out, ``build`` that release's own name; ``runtime`` compiled it.
    """

    soc: str
    soc_model: int
    sdk: str
    build: str
    runtime: str
    file: Name
    binary: Name


class GoldenLimit(Record):
    """How far an output may be off what was measured: by at most ``most``, in its own unit.

    ``step`` is its quantizer's, and ``steps`` how many of it are allowed; None where it has none.
    """

    name: str
    dtype: str
    step: float | None = None
    steps: int | None = None
    most: float = Field(ge=0)


class ChipGolden(Record):
    """What a chip answered to the golden samples with its variant.

    ``expected`` has for each sample a file for each output: its values alone, little-endian.
    ``top``: of the output with this index the highest value must be the same one. ``rests_on`` says
    in words where ``limits`` come from.
    """

    expected: tuple[tuple[Name, ...], ...]
    limits: tuple[GoldenLimit, ...]
    top: int | None = None
    rests_on: str


class Rest(Record):
    """What a choice rests on: as in the plan, whose ``words`` say why it was taken.

    ``planned`` is the variant that the plan names, ``versions`` those that confirmed it.
    """

    standing: Standing
    planned: str | None
    evidence: Evidence
    target: str
    samples: int
    looks: int
    metric: MetricResult | None = None
    loss: Interval | None = None
    agreement: Interval | None = None
    fallback: int = 0
    cost: Cost | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    words: str = ""


class BundleChip(Record):
    """What one chip gets. ``names`` are Android's ``ro.soc.model`` for it.

    An empty ``manufacturers`` means any. ``npu`` False: the variant is for the CPU there.
    """

    name: str
    words: str
    soc: str | None = None
    soc_model: int | None = None
    names: tuple[str, ...]
    manufacturers: tuple[str, ...] = ()
    variant: str
    npu: bool
    options: dict[str, str] = Field(default_factory=dict)
    why: str
    rests_on: Rest
    context: BundleContext | None = None
    golden: ChipGolden | None = None


class GoldenSet(Record):
    """The samples of the self-check: for each a file for each input, little-endian values."""

    inputs: tuple[TensorSpec, ...] = ()
    samples: tuple[tuple[Name, ...], ...] = ()


class Manifest(Record):
    """A bundle. ``serial`` rises from one to the next, so that an app can refuse an older one.

    ``off`` are names of chips whose NPU stays off; ``safe`` is the variant for them and for chips
    that nobody knows. ``throwaway_key``: it was signed with a key that nobody has any more.
    """

    format: Literal["chipdrift-bundle"] = "chipdrift-bundle"
    schema_version: Literal[1] = 1
    chipdrift: str
    created: str
    serial: Whole
    name: str
    model: ModelInfo
    data: DataInfo
    metric: MetricInfo
    budget: str
    throwaway_key: bool
    safe: str
    variants: tuple[BundleVariant, ...]
    chips: tuple[BundleChip, ...]
    off: tuple[str, ...]
    golden: GoldenSet
    files: tuple[BundleFile, ...]
    warnings: tuple[str, ...] = ()


def manifest_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of ``manifest.json``."""
    made = Manifest.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}
