"""A profile: the numeric rules of a target, as frozen records.

Every field names its rule of docs/numerics.md. Rules are looked up per op, activation width and
kernel by :meth:`Profile.rules_for`; a profile's file is read by
:mod:`chipdrift.numerics.profiles`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from pydantic import Field, model_validator

from chipdrift.numerics.rounding import Rounding
from chipdrift.numerics.smallfloat import SmallFloat
from chipdrift.records import Record

# ``depthwise_stride2``: one filter per channel, both strides 2, a window of 3x3 or more. NPUs take
# it another way than other convolutions.
# ``dynamic``: a MatMul whose inputs are both activations.
# The last three: an element-wise op of an activation and a constant of one element. Sub and Div of
# a constant are ``constant_first``, Mul and Div by one below 0 ``negative_constant``.
Kernel = Literal[
    "plain", "pointwise", "depthwise", "depthwise_stride2", "grouped", "dynamic",
    "constant", "constant_first", "negative_constant",
]  # fmt: skip
Width = Literal[16, 24, 32, 64]
Overflow = Literal["wrap", "saturate"]


class Accumulator(Record):
    """How products are summed (N10 to N14).

    ``operands``: ``centred`` subtracts the zero points first, ``stored`` multiplies the integers as
    they are and corrects the sum afterwards, exactly (N11); ``stored``: ``both`` operands, the
    ``input`` alone, by weights less their zero points, or the input by weights that are brought
    back to signed 8 bits where they leave them (``signed``, N17). ``block`` products at a time make
    a partial sum of ``block_width`` bits (N13); 0 means no partial sums. ``order`` is that of a
    convolution's products (N12); a matrix product's is its inner dimension's.
    """

    width: Width = 32
    overflow: Overflow = "wrap"
    operands: Literal["centred", "stored"] = "centred"
    stored: Literal["both", "input", "signed"] = "both"
    order: Literal["channels_first", "channels_last"] = "channels_first"
    block: int = Field(default=0, ge=0, le=65536)
    block_width: Width = 32
    block_overflow: Overflow = "wrap"

    @model_validator(mode="after")
    def _consistent(self) -> Accumulator:
        if self.block == 0 and {"block_width", "block_overflow"} & self.model_fields_set:
            raise ValueError("block_width and block_overflow need block, the products per block")
        if self.block and self.block_width > self.width:
            raise ValueError(
                f"block_width = {self.block_width} is wider than the accumulator's "
                f"width = {self.width}: partial sums would be cut a second time; make width larger"
            )
        return self


# Exact sums in 32 bits.
PLAIN = Accumulator()


class Requantize(Record):
    """How an accumulator becomes an output integer (N20 to N29).

    ``scale``: the arithmetic that makes S = input scale x weight scale / output scale;
    ``float32_max`` makes it for the largest weight scale and multiplies by each channel's share of
    that. ``multiplier``: what S is held as, ``bits`` of it. ``steps``: ``double`` rounds the high
    half of a fixed-point product first and shifts it afterwards, as gemmlowp does.

    ``bias``: added as it is (``exact``) or after a trip through float32, rounded by
    ``bias_rounding`` (``float32``: in one with a zero point that joins the accumulator, too;
    ``float32_reciprocal``: multiplied by the reciprocal step, and rounded by itself).
    ``zero_point``: added to the ``output`` or, divided by S, to the ``accumulator``.

    Low accumulator bits are dropped before the multiplication: first ``drop`` of them, then as many
    as leave ``keep`` bits below the output's step. ``parts``: drop the sum, or the products, the
    zero points' correction and the bias each ``apart`` and by its own rounding. ``drop_rounding``:
    MIDPOINT is FLOOR with half a unit of what is kept added; MIDPOINT_NONZERO leaves a kept 0 as
    it is.
    """

    scale: Literal["exact", "float32", "float32_max", "float64"] = "exact"
    multiplier: Literal["exact", "float32", "fixed_point", "significand", "power_of_two"] = "exact"
    bits: int | None = Field(default=None, ge=1, le=31)
    steps: Literal["single", "double"] = "single"
    rounding: Rounding = Rounding.HALF_EVEN
    zero_point: Literal["output", "accumulator"] = "output"
    bias: Literal["exact", "float32", "float32_reciprocal"] = "exact"
    bias_rounding: Literal["HALF_AWAY", "HALF_EVEN", "TOWARD_ZERO"] = "HALF_AWAY"
    drop: int = Field(default=0, ge=0, le=31)
    keep: int | None = Field(default=None, ge=0, le=31)
    drop_rounding: Literal["FLOOR", "HALF_UP", "MIDPOINT", "MIDPOINT_NONZERO"] = "FLOOR"
    parts: Literal["together", "apart"] = "together"
    correction_drop: Literal["FLOOR", "HALF_UP", "TOWARD_ZERO"] = "HALF_UP"
    bias_drop: Literal["FLOOR", "HALF_UP", "TOWARD_ZERO"] = "TOWARD_ZERO"

    @model_validator(mode="after")
    def _consistent(self) -> Requantize:
        needs_bits = self.multiplier in ("fixed_point", "significand")
        if needs_bits and self.bits is None:
            raise ValueError(f'multiplier = "{self.multiplier}" needs bits, say bits = 31')
        if not needs_bits and self.bits is not None:
            raise ValueError(
                f'bits = {self.bits} contradicts multiplier = "{self.multiplier}", which has no '
                'bits to set; use multiplier = "significand" or "fixed_point", or remove bits'
            )
        if self.steps == "double" and self.multiplier != "significand":
            raise ValueError(
                'steps = "double" needs multiplier = "significand": gemmlowp\'s two roundings are '
                "defined for a normalized multiplier"
            )
        if self.steps == "double" and "rounding" in self.model_fields_set:
            raise ValueError(
                'rounding contradicts steps = "double", whose two roundings are fixed (HALF_UP, '
                "then HALF_AWAY); remove rounding"
            )
        if self.steps == "double" and self.drop_rounding.startswith("MIDPOINT"):
            raise ValueError('drop_rounding = "MIDPOINT" and steps = "double" exclude each other')
        if self.parts == "apart" and not self.drop:
            raise ValueError('parts = "apart" needs drop, the number of bits that go, say drop = 8')
        return self


class Narrow(Record):
    """How the second activation of a MatMul comes from 16 bits to 8 before it is multiplied (N16).

    ``exact`` rounds once, halves up; ``fixed_point`` counts in units of ``2**-fraction``, every
    integer rounded to them by ``rounding``; ``none`` leaves it at 16 bits, as a profile without
    this table does.
    """

    arithmetic: Literal["none", "exact", "fixed_point"] = "exact"
    fraction: int | None = Field(default=None, ge=1, le=16)
    rounding: Literal["UP", "HALF_UP", "FLOOR"] = "HALF_UP"

    @model_validator(mode="after")
    def _consistent(self) -> Narrow:
        if (self.arithmetic == "fixed_point") != (self.fraction is not None):
            raise ValueError('arithmetic = "fixed_point" and fraction go together')
        return self


class Function(Record):
    """How a function of one value is computed (N40 to N44).

    ``exact`` rounds the real function once; ``table`` looks up ``entries`` values and interpolates
    between them where the input has more; ``float16`` and ``float32`` compute on dequantized values
    of that type.
    """

    arithmetic: Literal["exact", "table", "float16", "float32"] = "float32"
    entries: int = Field(default=256, ge=2, le=65536)
    relative_error: float = Field(default=0.0, ge=0, le=1)


class Elementwise(Record):
    """How Add, Mul, the pools, bare changes of a quantizer reach the output's scale (N30 to N35).

    ``zero_point``: added to the rounded ``output``, or ``inside`` what is rounded, where its parity
    decides ties (a sum in fixed point without ``guard`` always has it inside). ``reciprocal``: real
    numbers of float32 are multiplied by float32(1 / output scale), not divided by the scale (N31).

    The rest is for ``fixed_point``. Every factor (input scale / output scale, made by the
    arithmetic ``scale``; over the count in a mean) is a whole number of units ``2**-sh``, halves to
    even, of ``bits`` bits in the ``leading`` number: the ``largest`` factor, the ``sum`` of all, or
    ``one``; ``sh`` is at most ``fraction``.

    ``zero_step``: what the zero points contribute is rounded by ``zero_rounding`` to multiples of
    that many units; ``zero_width``: in those multiples it is an integer of so many bits, and wraps.
    ``guard``: sums are rounded, halves up, to ``guard`` bits behind the point before ``rounding``,
    to one less for every doubling of the largest factor beyond 1, not below 3; ``parts``: the sum,
    or the products and the zero points' share ``apart``, both counted from the range's middle.
    """

    arithmetic: Literal["exact", "float32", "fixed_point"] = "float32"
    bits: int | None = Field(default=None, ge=1, le=31)
    scale: Literal["exact", "float32"] = "exact"
    leading: Literal["largest", "sum", "one"] = "largest"
    fraction: int | None = Field(default=None, ge=1, le=31)
    zero_step: int = Field(default=1, ge=1, le=2**20)
    zero_rounding: Literal["HALF_UP", "FLOOR"] = "HALF_UP"
    zero_width: Literal[16, 32] | None = None
    guard: int | None = Field(default=None, ge=0, le=31)
    parts: Literal["together", "apart"] = "together"
    rounding: Rounding = Rounding.HALF_EVEN
    zero_point: Literal["output", "inside"] = "output"
    reciprocal: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Elementwise:
        if (self.arithmetic == "fixed_point") != (self.bits is not None):
            raise ValueError('arithmetic = "fixed_point" and bits go together')
        of_fixed = set(Elementwise.model_fields) - {
            "arithmetic",
            "bits",
            "rounding",
            "zero_point",
            "reciprocal",
        }
        given = sorted(
            name
            for name in of_fixed
            if getattr(self, name) != type(self).model_fields[name].default
        )
        if self.arithmetic != "fixed_point" and given:
            raise ValueError(
                f'{given[0]} contradicts arithmetic = "{self.arithmetic}", which does not use it; '
                'use arithmetic = "fixed_point" with bits, or remove it'
            )
        if self.zero_step & (self.zero_step - 1):
            raise ValueError(f"zero_step = {self.zero_step} is no power of two, say 256")
        if self.parts == "apart" and self.guard is None:
            raise ValueError('parts = "apart" needs guard, the bits to which each part is rounded')
        if self.zero_width is not None and self.guard is not None:
            raise ValueError("zero_width and guard exclude each other: no formula has both")
        return self


class Rules(Record):
    """All that an op needs to know."""

    accumulator: Accumulator = Accumulator()
    requantize: Requantize = Requantize()
    elementwise: Elementwise = Elementwise()
    function: Function = Function()
    narrow: Narrow | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Rules:
        if self.requantize.parts == "apart" and self.accumulator.operands != "stored":
            raise ValueError(
                'requantize.parts = "apart" needs accumulator.operands = "stored": centred '
                "operands leave no correction to be dropped apart"
            )
        return self


class Weights(Record):
    """What is done to the weights before anything runs (N60 to N66)."""

    format: (
        Literal["mxfp4", "mxfp6_e2m3", "mxfp6_e3m2", "mxfp8_e4m3", "mxfp8_e5m2", "mxint8", "lpbq"]
        | None
    ) = None
    block: int = Field(default=32, ge=2, le=4096)
    collapse: Literal["per_channel", "per_tensor"] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Weights:
        if self.collapse is not None and self.format in ("mxfp6_e3m2", "mxfp8_e4m3", "mxfp8_e5m2"):
            raise ValueError(
                f'collapse contradicts format = "{self.format}", whose elements are no integers '
                "that could share a scale; remove one"
            )
        return self


class Input(Record):
    """The QuantizeLinear of float values (N50).

    ``arithmetic``: the quotient by the scale in ``float32`` or ``exact``, or a product with the
    scale's reciprocal in float32 (``float32_reciprocal``).
    """

    rounding: Rounding = Rounding.HALF_EVEN
    arithmetic: Literal["float32", "float32_reciprocal", "exact"] = "float32"


class Fusion(Record):
    """What is computed in one requantization and what in steps (N70, N71, N74, N75).

    ``as_written`` follows the model's own quantizers. ``activation = "fused"`` leaves out the
    quantizer between a product or sum and the Relu or Clip behind it; ``batch_norm = "fused"``
    takes a BatchNormalization behind a Conv or Gemm into its scales and bias, instead of computing
    it in float32.

    An attention is a Softmax between two MatMuls, behind the first a scale (Mul, Div) and a mask
    (Add), or none. ``attention_softmax`` takes the place of ``function`` for its Softmax;
    ``attention_scores = "fused"`` leaves out the quantizers between the first MatMul and it.
    """

    activation: Literal["as_written", "fused"] = "as_written"
    batch_norm: Literal["as_written", "fused"] = "as_written"
    attention_softmax: Function | None = None
    attention_scores: Literal["as_written", "fused"] = "as_written"

    @model_validator(mode="after")
    def _consistent(self) -> Fusion:
        softmax = self.attention_softmax
        if self.attention_scores == "fused" and softmax and softmax.arithmetic == "table":
            raise ValueError(
                'attention_softmax.arithmetic = "table" contradicts attention_scores = "fused": a '
                "table is looked up by integers, which no quantizer makes there; use "
                '"exact", "float32" or "float16", or attention_scores = "as_written"'
            )
        return self


class Override(Record):
    """Rules for some ops only; a later override wins over an earlier one.

    A table here takes the place of the profile's own table as a whole: what it leaves out has its
    default.
    ``ops``, ``activation`` (the width of the op's activations in bits), ``kernel``, ``nodes`` (by
    name, in one model) and ``least_scale`` select; what is left out selects all. ``least_scale`` is
    for products: S = input scale x weight scale / output scale must be as large as that in every
    output channel (N20).

    ``weights``, ``fusion`` and ``floats`` are chosen by ``ops`` and ``nodes`` alone. Of a fusion
    the op is the one behind: the Relu or Clip, the BatchNormalization, the Softmax.
    """

    ops: tuple[str, ...] | None = None
    nodes: tuple[str, ...] | None = None
    activation: Literal[8, 16] | None = None
    kernel: Kernel | None = None
    least_scale: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    accumulator: Accumulator | None = None
    requantize: Requantize | None = None
    elementwise: Elementwise | None = None
    function: Function | None = None
    narrow: Narrow | None = None
    weights: Weights | None = None
    fusion: Fusion | None = None
    floats: SmallFloat | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Override:
        for table in ("weights", "fusion", "floats"):
            for key in ("activation", "kernel", "least_scale"):
                if getattr(self, table) is not None and getattr(self, key) is not None:
                    raise ValueError(
                        f"{key} contradicts {table}, which is chosen by ops and nodes alone; "
                        f"remove {key}, or give {table} a rule of its own"
                    )
        return self

    def selects(
        self,
        op: str,
        activation: int | None,
        kernel: str | None,
        node: str | None = None,
        least_scale: Fraction | None = None,
    ) -> bool:
        """Whether this override is about ``op``; ``activation`` None is any width.

        ``least_scale`` is the node's least S, None where it is no product with one.
        """
        return (
            (self.ops is None or op in self.ops)
            and (self.nodes is None or node in self.nodes)
            and (activation is None or self.activation is None or self.activation == activation)
            and (self.kernel is None or self.kernel == kernel)
            and (
                self.least_scale is None
                or (least_scale is not None and least_scale >= Fraction(self.least_scale))
            )
        )


class Fallback(Record):
    """What leaves the NPU, by op type or node, for the CPU in float32, conversions around (N72)."""

    ops: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()

    def takes(self, op: str, node: str) -> bool:
        """Whether the node leaves the NPU."""
        return op in self.ops or node in self.nodes


class Claim(Record):
    """What was said, by whom, and what it is worth."""

    text: str
    status: str
    source: str


class Profile(Record):
    """A target's numeric rules, with what they rest on."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")
    description: str = ""
    evidence: Literal["prediction", "hypothesis"] = "hypothesis"
    claim: Claim | None = None
    seed: int = Field(default=0, ge=0)
    input: Input = Input()
    accumulator: Accumulator = Accumulator()
    requantize: Requantize = Requantize()
    elementwise: Elementwise = Elementwise()
    function: Function = Function()
    narrow: Narrow | None = None
    floats: SmallFloat | None = None
    weights: Weights = Weights()
    fusion: Fusion = Fusion()
    fallback: Fallback = Fallback()
    rule: tuple[Override, ...] = ()
    sha256: str = ""

    @model_validator(mode="after")
    def _overrides_hold(self) -> Profile:
        for index, override in enumerate(self.rule):
            try:
                self._merged([override])
            except ValueError as error:
                raise ValueError(f"rule {index + 1}: {error}") from error
        return self

    def rules_for(
        self,
        op: str,
        activation: int = 8,
        kernel: str | None = None,
        node: str | None = None,
        least_scale: Fraction | None = None,
    ) -> Rules:
        """The rules of ``op`` on ``activation``-bit integers; ``kernel`` is one of ``Kernel``.

        Rules for single nodes hold for the one that is called ``node``, those with a least scale
        where ``least_scale``, the least S of the node's channels, reaches it.
        """
        chosen = (o for o in self.rule if o.selects(op, activation, kernel, node, least_scale))
        return self._merged(list(chosen))

    @property
    def stochastic(self) -> bool:
        """Whether some rule rounds by chance."""
        tables: list[Input | Requantize | Elementwise | None]
        tables = [self.input, self.requantize, self.elementwise]
        for rule in self.rule:
            tables += [rule.requantize, rule.elementwise]
        return any(t is not None and t.rounding is Rounding.STOCHASTIC for t in tables)

    def attention_rules(self, activation: int, node: str) -> Rules:
        """The rules of the Softmax ``node`` of an attention (N74)."""
        rules = self.rules_for("Softmax", activation, None, node)
        own = self.fusion_for("Softmax", node).attention_softmax
        return rules if own is None else rules.model_copy(update={"function": own})

    def weights_for(self, op: str, node: str) -> Weights:
        """What is done to the weights of a node."""
        own = [o.weights for o in self.rule if o.weights and o.selects(op, None, None, node)]
        return own[-1] if own else self.weights

    def fusion_for(self, op: str, node: str) -> Fusion:
        """What a node is computed in one with; ``op`` is the one behind: a Relu, a Softmax."""
        own = [o.fusion for o in self.rule if o.fusion and o.selects(op, None, None, node)]
        return own[-1] if own else self.fusion

    def floats_for(self, op: str, node: str) -> SmallFloat | None:
        """How a product of small floats is computed; None where nothing is known of it."""
        own = [o.floats for o in self.rule if o.floats and o.selects(op, None, None, node)]
        return own[-1] if own else self.floats

    def _merged(self, overrides: list[Override]) -> Rules:
        parts = {part: getattr(self, part) for part in Rules.model_fields}
        for override in overrides:
            for part in parts:
                parts[part] = getattr(override, part) or parts[part]
        return Rules(**parts)
