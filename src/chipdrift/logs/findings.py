"""What a log says, as frozen values: the public format of ``chipdrift logs --json``.

``count`` is the number of lines that say the same, ``line`` the first of them (1 is the file's
first line). Words are the log's own, with control characters left out.
"""

from __future__ import annotations

from typing import Literal

from chipdrift.records import Quantizer, Record

SCHEMA_VERSION = 1

Processor = Literal["npu", "gpu", "cpu", "unknown"]


class Version(Record):
    """A version that the log names: ``what`` is ``QNN backend``, ``SNPE`` and so on."""

    what: str
    version: str
    count: int
    line: int


class ChipLine(Record):
    """A chip that the log names, by the ``field`` that names it.

    ``soc_model`` is QNN's own number, ``soc_id`` the kernel's (another numbering), ``soc`` a name
    such as SM8450, ``arch`` the Hexagon generation. ``detected`` is what the backend found before
    the program chose another chip: on a simulator its default, not the chip of the run.
    """

    field: Literal["soc", "soc_model", "soc_id", "arch", "ro.soc.model", "vtcm_mb", "detected"]
    value: str
    count: int
    line: int


class NodePlacement(Record):
    """Where a node ran, or where its runtime says it will.

    ``how``: ``placed`` the session's own list or its profile, ``validated`` the NPU's provider
    accepted it, ``refused`` the provider did not and the log ends before the session's list. NNAPI
    names ops, not nodes: ``node`` is then None.
    """

    node: str | None
    op: str | None
    processor: Processor
    provider: str
    how: Literal["placed", "validated", "refused"]
    count: int
    line: int


class Delegation(Record):
    """How much of a graph one provider or delegate took: ``nodes`` of ``total``."""

    provider: str
    processor: Processor
    nodes: int | None
    total: int | None = None
    partitions: int | None = None
    count: int
    line: int


class Refusal(Record):
    """A provider that would not take a node (or an op), and why.

    ``reason`` is the provider's sentence; ``causes`` are the errors that the backend wrote just
    before it, which say more where the sentence is only "Failed to add node."
    """

    node: str | None
    op: str | None
    by: str
    reason: str | None
    causes: tuple[str, ...] = ()
    count: int
    line: int


class Fallback(Record):
    """A node that left the NPU: ``reason`` is None where the log does not say why.

    ``ran`` is False where its session failed: the node was refused, and ran nowhere.
    """

    node: str | None
    op: str | None
    processor: Processor
    reason: str | None
    causes: tuple[str, ...] = ()
    count: int
    line: int
    ran: bool = True


class Failure(Record):
    """What ended a session or an inference.

    ``kind``: ``session`` the session did not come to be, ``run`` an inference failed after it had,
    ``unknown`` the log does not say which of the two.
    """

    kind: Literal["session", "run", "unknown"]
    source: str
    text: str
    line: int


class Share(Record):
    """What one provider has of a session's nodes; ``nodes`` is None where only subgraphs count."""

    provider: str
    processor: Processor
    nodes: int | None
    line: int


class LogSession(Record):
    """One session of one process: its chip as it was said, and where its nodes are.

    ``shares`` count nodes, conversions apart where the log names nodes; ``listed`` tells that they
    have the session's own list, so that they are all. ``refused`` are nodes of a session that
    failed: they are with no provider. ``failures`` holds the first of each kind.
    """

    line: int
    chips: tuple[ChipLine, ...]
    shares: tuple[Share, ...]
    listed: bool
    refused: int
    failures: tuple[Failure, ...]

    @property
    def failed(self) -> Failure | None:
        """Why the session did not come to be; None where it did, or the log does not say."""
        return next((failure for failure in self.failures if failure.kind == "session"), None)


class Fusion(Record):
    """Nodes that a runtime made one: ``nodes`` is empty where the log counts them only."""

    name: str
    nodes: tuple[str, ...]
    count: int
    line: int


class TensorQuantizer(Record):
    """The quantization parameters that a log prints for a tensor.

    Scales have the digits that the log prints (QNN's: six), so they are no model's exact ones;
    ``differing`` counts later lines that give the tensor other parameters.
    """

    tensor: str
    quantizer: Quantizer
    differing: int
    count: int
    line: int


class Timing(Record):
    """Times of one node, one op or one phase: ``mean`` = ``total / count``, in ``unit``.

    ``kind``: ``node`` is a node of the graph, ``op`` all nodes of a kind, ``phase`` anything else
    (a session's start, an inference). ``unit`` is ``us`` or ``cycles``.
    """

    kind: Literal["node", "op", "phase"]
    name: str
    op: str | None
    provider: str | None
    unit: Literal["us", "cycles"]
    count: int
    total: float
    least: float
    most: float
    line: int

    @property
    def mean(self) -> float:
        """The mean of one line's time, in ``unit``."""
        return self.total / self.count


class Trouble(Record):
    """An error or a warning: ``text`` is the first line of its shape, ``node`` whom it names."""

    severity: Literal["error", "warning"]
    source: str
    text: str
    node: str | None
    count: int
    line: int


class UnknownForm(Record):
    """Lines of a known source that no pattern reads, by their shape.

    ``shape`` is the line with digits, hexadecimal numbers and quoted names squeezed; ``example`` is
    the first of them as it stands.
    """

    source: str
    severity: Literal["error", "warning", "other"]
    shape: str
    example: str
    count: int
    line: int


class Damage(Record):
    """A part of the file that could not be read as it should: what, how often, where first."""

    what: str
    count: int
    line: int


class ModelJoin(Record):
    """The log's names against a model's nodes.

    ``named`` are the model's nodes that the log names, ``silent`` those it does not (fused into
    others, renamed, or with a processor that this kind of log does not list), ``strangers`` names
    of the log that the model lacks. Quantize and Dequantize nodes and the layout step's Transposes
    are no strangers: quantizers and runtimes add them; ``added`` counts them.
    """

    model: str
    named: tuple[str, ...]
    silent: tuple[str, ...]
    strangers: tuple[str, ...]
    added: int


class LogFindings(Record):
    """Everything that one log file says.

    ``lines`` counts all lines; of these ``read`` had a known form, ``unknown_lines`` a known source
    and an unknown form (``unknown`` shows the commonest shapes), and ``foreign`` were others'.
    ``graph_io`` counts nodes that convert the graph's own inputs and outputs on the CPU, by design;
    ``conversions`` the other Quantize and Dequantize nodes there. ``sessions`` are those that say
    something of nodes or failed; the tables beside them add all sessions up. ``tells_fallbacks`` is
    False for a log that lists only what the NPU ran, or no nodes at all.
    """

    schema_version: int = SCHEMA_VERSION
    file: str
    bytes: int
    lines: int
    read: int
    foreign: int
    unknown_lines: int
    unknown_shapes: int
    sources: dict[str, int]
    versions: tuple[Version, ...]
    chips: tuple[ChipLine, ...]
    options: dict[str, str]
    placements: tuple[NodePlacement, ...]
    delegations: tuple[Delegation, ...]
    refusals: tuple[Refusal, ...]
    fallbacks: tuple[Fallback, ...]
    graph_io: int
    conversions: int
    fusions: tuple[Fusion, ...]
    quantizers: tuple[TensorQuantizer, ...]
    timings: tuple[Timing, ...]
    troubles: tuple[Trouble, ...]
    unknown: tuple[UnknownForm, ...]
    damage: tuple[Damage, ...]
    sessions: tuple[LogSession, ...] = ()
    tells_fallbacks: bool = False
    model: ModelJoin | None = None
