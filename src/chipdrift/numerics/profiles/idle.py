"""Rules that could never act, or that contradict each other: refused, where they stand.

A profile with a rule that changes nothing would be believed to say something.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction

from pydantic import ValidationError

from chipdrift.errors import ChipdriftError
from chipdrift.numerics.ops import reference_ops, tables_of
from chipdrift.numerics.profile import (
    Accumulator,
    Elementwise,
    Function,
    Fusion,
    Narrow,
    Override,
    Profile,
    Requantize,
    Weights,
)
from chipdrift.numerics.profiles.complaint import Place, key_of, spot_of
from chipdrift.records import Record

# The tables that a [[rule]] may have, as the profile has.
_TABLES = tuple(name for name in Override.model_fields if name in Profile.model_fields)
_WINDOWS = frozenset({"Conv", "ConvTranspose"})
# What is fused with what stands before it, and what has rules for small floats.
_FUSED = frozenset({"Relu", "Clip", "BatchNormalization", "Softmax"})
_SMALL = frozenset({"Conv", "MatMul", "Gemm"})
# The ops that have a kernel; every other kernel is a convolution's.
_KERNELS = {
    "dynamic": frozenset({"MatMul"}),
    "constant": frozenset({"Add", "Sub", "Mul", "Div", "Min", "Max"}),
    "constant_first": frozenset({"Sub", "Div"}),
    "negative_constant": frozenset({"Mul", "Div"}),
}


def refuse_idle(profile: Profile, text: str, where: str) -> None:
    """Raise ChipdriftError for the first rule that cannot act; ``text`` is the profile's file."""
    faults = itertools.chain(
        _strangers(profile),
        _kernels(profile),
        _contradictions(profile),
        _unmet(profile),
        _replaced(profile),
        _fields(profile),
    )
    for place, words in faults:
        raise ChipdriftError(f"{spot_of(where, text, place)}: {words}")


def _strangers(profile: Profile) -> Iterator[tuple[Place, str]]:
    """Op types that no rule reaches: a misspelt one would change nothing."""
    named: list[tuple[Place, Iterable[str]]] = [(("fallback", "ops"), profile.fallback.ops)]
    named += [(("rule", i, "ops"), rule.ops or ()) for i, rule in enumerate(profile.rule)]
    for place, ops in named:
        for op in ops:
            if op not in reference_ops():
                yield (
                    place,
                    f"{key_of(place)}: {op} is no op that the engine computes in integers, so "
                    f"nothing would change. {_near(op)}",
                )


def _near(op: str) -> str:
    """What may have been meant: the same letters, or up to three names that are alike."""
    same = [known for known in reference_ops() if known.lower() == op.lower()]
    near = same or difflib.get_close_matches(op, reference_ops(), n=3)
    if not near:
        return "Remove it."
    *first, last = near
    return f"Did you mean {', '.join(first)} or {last}?" if first else f"Did you mean {last}?"


def _obeyed(op: str) -> frozenset[str]:
    """The tables that ``op`` obeys; what sums products has weights, too."""
    tables = tables_of(op)
    if "accumulator" in tables:
        tables |= {"weights"}
    if op in _SMALL:
        tables |= {"floats"}
    return tables | {"fusion"} if op in _FUSED else tables


def _takers(rule: Override) -> set[str]:
    """The ops that ``rule`` is about."""
    ops = set(reference_ops() if rule.ops is None else rule.ops)
    if rule.kernel is not None:
        ops &= _KERNELS.get(rule.kernel, _WINDOWS)
    if rule.least_scale is not None:
        ops = {op for op in ops if "requantize" in tables_of(op)}
    return ops


def _kernels(profile: Profile) -> Iterator[tuple[Place, str]]:
    for i, rule in enumerate(profile.rule):
        if rule.kernel and not _takers(rule.model_copy(update={"least_scale": None})):
            place: Place = ("rule", i, "kernel")
            whose = sorted(_KERNELS.get(rule.kernel, _WINDOWS))
            yield (
                place,
                f'{key_of(place)} = "{rule.kernel}" contradicts ops = {list(rule.ops or ())}: it '
                f"is a kernel of {', '.join(whose)}; remove kernel.",
            )
        elif rule.least_scale is not None and not _takers(rule):
            place = ("rule", i, "least_scale")
            yield (
                place,
                f"{key_of(place)} = {rule.least_scale:g}: none of the rule's ops has a product's "
                "scale to be compared with, so the rule would never hold; remove least_scale.",
            )


def _contradictions(profile: Profile) -> Iterator[tuple[Place, str]]:
    """Put rules together in every way in which an op can meet them; some contradict only then."""
    ops = dict.fromkeys(["", *(op for rule in profile.rule for op in rule.ops or ())])
    kernels = dict.fromkeys([None, *(rule.kernel for rule in profile.rule)])
    nodes = dict.fromkeys([None, *(node for rule in profile.rule for node in rule.nodes or ())])
    bounds = dict.fromkeys(rule.least_scale for rule in profile.rule if rule.least_scale)
    scales = [None, *map(Fraction, bounds)]
    for op, activation, kernel, node, scale in itertools.product(
        ops, (8, 16), kernels, nodes, scales
    ):
        try:
            profile.rules_for(op, activation, kernel, node, scale)
        except ValidationError as error:
            case = (op, activation, kernel, node, scale)
            met = [i for i, rule in enumerate(profile.rule) if rule.selects(*case)]
            place: Place = ("rule", met[-1]) if met else ("requantize",)
            words = error.errors()[0]["msg"].removeprefix("Value error, ")
            by = ", ".join([op or "an op", f"{activation} bits", *filter(None, (kernel, node))])
            numbers = ", ".join(str(i + 1) for i in met)
            more = f"rules {numbers} together ({by}): " if len(met) > 1 else ""
            yield place, f"{more}{words}."


def _unmet(profile: Profile) -> Iterator[tuple[Place, str]]:
    """A [[rule]] without a table, one of ops on the CPU, a table that none of its ops obeys."""
    away = set(profile.fallback.ops)
    for i, rule in enumerate(profile.rule):
        place: Place = ("rule", i)
        given = [table for table in _TABLES if getattr(rule, table) is not None]
        if not given:
            yield (
                place,
                f"{key_of(place)} has no table, so nothing would change; give it one of "
                f"{', '.join(_TABLES)}, or remove it.",
            )
        for key in ("ops", "nodes"):
            if getattr(rule, key) == ():
                spot = (*place, key)
                yield spot, f"{key_of(spot)} = [] names nothing; name one, or remove rule {i + 1}."
        ops = _takers(rule)
        if ops <= away:
            yield (
                (*place, "ops"),
                f"{key_of((*place, 'ops'))} = {sorted(ops)} contradicts fallback.ops, which sends "
                "them to the CPU; remove one of them.",
            )
        obeyed = {table for op in ops - away for table in _obeyed(op)}
        for table in given:
            if table not in obeyed:
                spot = (*place, table)
                known = ", ".join(t for t in _TABLES if t in obeyed)
                yield (
                    spot,
                    f"{key_of(spot)}: {_named(ops)} no rules of {table}, so nothing would change; "
                    f"what acts there: {known}. Remove {table}.",
                )


def _named(ops: set[str]) -> str:
    few = sorted(ops)
    return f"{few[0]} obeys" if len(few) == 1 else f"{', '.join(few[:-1])} and {few[-1]} obey"


def _replaced(profile: Profile) -> Iterator[tuple[Place, str]]:
    """A table in whose place a later [[rule]] puts its own, for every op that it is about."""
    everything = Override(**{t: getattr(profile, t) for t in profile.model_fields_set & {*_TABLES}})
    rules = [everything, *profile.rule]
    for i, j in itertools.combinations(range(len(rules)), 2):
        earlier, later = rules[i], rules[j]
        if later.activation not in (None, earlier.activation):
            continue
        if later.kernel not in (None, earlier.kernel):
            continue
        if (later.least_scale or 0) > (earlier.least_scale or 0):
            continue
        if later.nodes is not None and not set(later.nodes) >= set(earlier.nodes or (None,)):
            continue
        for table in _TABLES:
            if getattr(earlier, table) is None or getattr(later, table) is None:
                continue
            if {op for op in _takers(earlier) if table in _obeyed(op)} <= _takers(later):
                place: Place = ("rule", i - 1, table) if i else (table,)
                yield (
                    place,
                    f"{key_of(place)}: rule {j} puts its own {table} in the place of this one, "
                    f"for every op that obeys it, so nothing would change. Remove one of them"
                    f"{', or put the narrower rule last' if i else ''}.",
                )


def _fields(profile: Profile) -> Iterator[tuple[Place, str]]:
    """Keys that need another one, which is not there."""
    places: list[tuple[Place, Record | None]] = [((t,), getattr(profile, t)) for t in _TABLES]
    places += [
        (("rule", i, table), getattr(rule, table))
        for i, rule in enumerate(profile.rule)
        for table in _TABLES
    ]
    fusions: list[tuple[Place, Fusion | None]] = [(("fusion",), profile.fusion)]
    fusions += [(("rule", i, "fusion"), rule.fusion) for i, rule in enumerate(profile.rule)]
    places += [((*p, "attention_softmax"), f.attention_softmax) for p, f in fusions if f]
    for place, record in places:
        for name, needs in _needs(record):
            if name in record.model_fields_set:  # type: ignore[union-attr]
                spot = (*place, name)
                yield spot, f"{key_of(spot)} needs {needs}, or nothing would change; or remove it."
    if "seed" in profile.model_fields_set and not profile.stochastic:
        yield ("seed",), 'seed needs a rounding = "STOCHASTIC", or nothing would change; remove it.'


def _needs(record: Record | None) -> Iterator[tuple[str, str]]:
    """Keys that have no effect in ``record``, with what they need."""
    match record:
        case Accumulator():
            if record.overflow == "wrap" and record.block == 0:
                yield (
                    "order",
                    'overflow = "saturate" or a block (a sum that wraps has no order, N13)',
                )
            if record.operands == "centred":
                yield "stored", 'operands = "stored"'
        case Requantize():
            if not record.drop and record.keep is None:
                yield "drop_rounding", "drop or keep, the bits that go or stay"
            if record.parts == "together":
                yield "correction_drop", 'parts = "apart"'
                yield "bias_drop", 'parts = "apart"'
            if record.bias == "exact":
                yield "bias_rounding", 'bias = "float32" or "float32_reciprocal"'
        case Elementwise(zero_step=1):
            yield "zero_rounding", "a zero_step above 1"
        case Function(arithmetic=kind) if kind != "table":
            yield "entries", 'arithmetic = "table"'
        case Narrow(arithmetic="exact" | "none"):
            yield "rounding", 'arithmetic = "fixed_point"'
        case Weights(format=None):
            yield "block", 'format, say format = "mxfp4"'
