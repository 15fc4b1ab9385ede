"""What a diagnosis found, as frozen values: what ``chipdrift diagnose --json`` prints.

Like :mod:`chipdrift.records`, plain data without behaviour: a change here is a change of the public
format.
"""

from __future__ import annotations

from typing import Literal

from chipdrift.records import Evidence, Placement, Record

# The mechanisms by which targets part, in words.
WORDS = {
    "rounding": "another rounding",
    "dropped_bits": "low accumulator bits dropped before scaling",
    "accumulator_overflow": "an accumulator that overflows",
    "scale_precision": "another precision of the scale",
    "bias_and_zero_point": "bias or zero point added at another place",
    "function_table": "another way to compute the function",
    "narrowed_operand": "the second activation of a product brought to 8 bits",
    "float16_range": "another range of float16",
    "float16_order": "another precision or order of float16 sums",
    "block_scales": "block scales collapsed",
    "fused_activation": "an activation fused with the op before it",
    "fused_norm": "a batch normalization fused into the product before it",
    "fused_attention": "an attention's softmax computed otherwise than alone",
    "fallback": "the op in float on the CPU",
    "layout": "another memory layout",
}

Severity = Literal["error", "warning", "note"]
# How activations were seen: all as further outputs; those of nodes that compute, because the others
# would have changed the answer; or by models cut off behind them, because any would have; or not at
# all, where B holds outputs alone.
Watched = Literal["all", "computing", "cut", "outputs"]
Cause = Literal["quantization", "chip", "both", "neither", "unknown"]


class Distance(Record):
    """How far apart two sets of values are.

    ``differing`` is the share that is not equal; ``mean_lsb``, ``max_lsb`` and ``bias_lsb`` (the
    signed mean, B less A) are in steps of the quantizer, None for tensors without one; ``sqnr_db``
    is the power of A's values over that of the difference, None where nothing differs.
    """

    values: int
    differing: float
    mean_lsb: float | None = None
    max_lsb: float | None = None
    bias_lsb: float | None = None
    max_abs: float = 0.0
    sqnr_db: float | None = None


class Activation(Record):
    """One activation on A against B: the tensor, the node that makes it, its place in the order."""

    tensor: str
    node: str
    op: str
    depth: int
    distance: Distance


class Own(Record):
    """What a node adds itself: alone, fed with the same integers (A's) on both targets.

    ``nodes`` are all that runs between its quantizers, ``inputs`` the tensors that feed it: those
    of other entries, or the model's own. ``in_place_a`` and ``in_place_b`` tell whether it answers
    alone what it answers inside the model (None: not compared): where it does not, the target
    computes it together with its neighbours. ``together`` are other nodes in the model's order:
    where run with them it answers as inside the model, and ``distance`` is of that. ``words`` says
    why it was not asked.
    """

    node: str
    op: str
    nodes: tuple[str, ...]
    tensor: str
    depth: int
    distance: Distance | None
    in_place_a: bool | None = None
    in_place_b: bool | None = None
    together: tuple[str, ...] = ()
    words: str | None = None
    inputs: tuple[str, ...] = ()


class Mechanism(Record):
    """A rule that, turned from A's to B's in the engine, turns A's answers into B's.

    ``before`` and ``after`` are the shares of B's integers that the engine gives without and with
    it; ``closes`` the part of the difference that it takes away (Shapley value where several rules
    act in one node), so that all of a node's mechanisms and ``unexplained`` of its
    :class:`Explanation` sum to 1. ``rule`` is its place in a profile, ``a`` and ``b`` say in words
    what each of the two does. ``certain`` is False where another rule explains as much: those are
    ``rivals``.
    """

    mechanism: str
    words: str
    rule: str
    a: str
    b: str
    before: float
    after: float
    closes: float
    certain: bool = True
    rivals: tuple[str, ...] = ()


class Explanation(Record):
    """Why a node answers differently: the experiment's outcome.

    ``basis`` is the profile that stands for A, and ``basis_share`` the share of A's integers that
    it gives in this node: where that is not 1 the engine does not know A well enough.
    """

    node: str
    op: str
    basis: str
    basis_share: float
    mechanisms: tuple[Mechanism, ...]
    unexplained: float
    words: str | None = None


class Attribution(Record):
    """A mechanism's part in the whole model: of the drift, and of the answers.

    ``drift`` is its Shapley value of the mean distance between A's and B's outputs where the engine
    gives A's outputs (``at`` is ``output``), else of the noise power that all nodes add themselves
    (``nodes``); ``answers`` of the share of samples whose answer parts. Both are shares of the
    whole; what is missing from 1 is unexplained. ``words`` say what differs where it shows best;
    ``nodes`` are those in which it closes a part that counts.
    """

    mechanism: str
    words: str = ""
    nodes: tuple[str, ...]
    drift: float
    answers: float | None = None
    at: Literal["output", "nodes"] = "output"


class LayerShare(Record):
    """A layer's part in the drift of the whole model, by all the mechanisms found in it.

    As in :class:`Attribution`; ``nodes`` is one node of those that matter most, or all the rest.
    """

    nodes: tuple[str, ...]
    drift: float
    answers: float | None = None
    at: Literal["output", "nodes"] = "output"


class Verdict(Record):
    """Whose loss it is: the quantization's, the chip's, both or nobody's, as far as samples carry.

    ``quantization`` and ``chip`` are losses of the metric in its own unit, ``p_value`` is of the
    paired test between A and B.
    """

    cause: Cause
    words: str
    metric: str | None = None
    quantization: float | None = None
    chip: float | None = None
    p_value: float | None = None
    samples: int = 0


class Finding(Record):
    """One thing an engineer can act on.

    ``check`` names the page that explains it (``chipdrift checks NAME``); ``experiment`` says what
    was done to show it; ``fix`` what makes it go away, ``command`` the same as a command.
    """

    check: str
    severity: Severity
    title: str
    words: str
    nodes: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    experiment: str = ""
    fix: str = ""
    command: str | None = None
    weight: float = 0.0


class Side(Record):
    """One of the two that are compared.

    ``tapping_changed``: whether its final answer changed when its activations were made outputs
    (None: not known).
    """

    target: str
    name: str
    evidence: Evidence
    placement: Placement | None = None
    tapping_changed: bool | None = None


class Diagnosis(Record):
    """Where two targets part under one scheme, and why."""

    schema_version: int = 1
    chipdrift: str
    created: str
    run: str
    model: str
    model_sha256: str
    scheme: str
    a: Side
    b: Side
    samples: int
    own_samples: int
    watched: Watched = "all"
    outputs: tuple[Activation, ...]
    activations: tuple[Activation, ...]
    first_layer: str | None
    first_op: str | None
    own: tuple[Own, ...]
    explanations: tuple[Explanation, ...]
    attributions: tuple[Attribution, ...]
    layers: tuple[LayerShare, ...] = ()
    unexplained: float | None
    verdict: Verdict
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
