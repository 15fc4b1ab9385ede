"""A profile whose rules do not fit the model.

What it finds: a target of the engine (sim:) whose profile has rules for nodes that the model does
not have: nodes that the scheme renamed, took into others or removed, with what became of them, and
misspelt names, with those that are near; and one that has no rule for some of the model's nodes, so
that the engine's own stood in.

Why it hurts: a misspelt name is no error, because a profile may serve several models: its rule is
never used, and what it was written to show does not happen. Where the engine's own rule stands in,
the answers of those nodes are no prediction of the chip.

Example: nodes = ["block3/pointwis"] in a rule: the model's node is called block3/pointwise. Or
nodes = ["l0/v"]: the scheme made one node of this MatMul and its bias, l0/v/MatMulAddFusion.

Fix: write the names as in the quantized model (diagnose names them); give the profile a rule for
the ops named, or read nothing into their differences.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from chipdrift.counts import besides
from chipdrift.diagnose.exam import Exam
from chipdrift.errors import ChipdriftError
from chipdrift.findings import Finding, Side
from chipdrift.graph.trace import trace_heirs
from chipdrift.numerics.profile import Profile

_ENGINE = "sim:"
# What a node is called in a piece that is cut out of the model.
_PIECE = re.compile(r"^p\d+/")
_NAMED = 3


def look(exam: Exam) -> Iterator[Finding]:
    """At most one finding of either kind for each target."""
    for side in (exam.diagnosis.a, exam.diagnosis.b):
        if not side.target.startswith(_ENGINE):
            continue
        profile = exam.case.profiles.get(side.target)
        if profile is not None:
            yield from _unknown(exam, side.target, profile)
        if side.placement is not None and side.placement.assumed:
            yield _assumed(side)


def _unknown(exam: Exam, target: str, profile: Profile) -> Iterator[Finding]:
    known = {step.name for step in exam.program.steps if step.name}
    lists = [*(rule.nodes or () for rule in profile.rule), profile.fallback.nodes]
    named = dict.fromkeys(_PIECE.sub("", name) for names in lists for name in names)
    strange = [name for name in named if name not in known]
    if not strange:
        return
    heirs = _heirs(exam)
    others = besides(len(strange) - 1, "other")
    told = [_told(name, heirs, known) for name in strange[:_NAMED]]
    yield Finding(
        check="profile-mismatch",
        severity="warning",
        title=f"{target} has a rule for {strange[0]}{others}, {_lacking(strange, heirs)}",
        words=f"{'this rule was' if len(strange) == 1 else 'these rules were'} never used. "
        + " ".join(told),
        targets=(target,),
        experiment=f"the nodes that the profile {profile.name} names, looked up in the model "
        + ("that ran and in the float model" if heirs else "that ran"),
        fix=_fix(profile, strange, heirs),
        weight=len(strange) / len(named),
    )


def _heirs(exam: Exam) -> dict[str, tuple[str, tuple[str, ...]]]:
    """What became of the float model's nodes: the node of the model that ran which stands for each,
    and all that this one stands for; ("", ()) where none does.

    Empty where the run has no float model beside the one that ran.
    """
    file = exam.case.run.baseline
    if file is None or exam.case.run.matrix.baseline.scheme == exam.case.scheme:
        return {}
    try:
        return trace_heirs(file.read_bytes(), exam.case.model)
    except (OSError, ChipdriftError):
        return {}


def _lacking(strange: Sequence[str], heirs: Mapping[str, tuple[str, tuple[str, ...]]]) -> str:
    if any(name not in heirs for name in strange):
        return "which the model does not have"
    kept = [name for name in strange if heirs[name][0]]
    if len(kept) == len(strange):
        return "which the scheme renamed or took into another node"
    return "which the scheme removed" if not kept else "which the scheme removed or renamed"


def _told(
    name: str, heirs: Mapping[str, tuple[str, tuple[str, ...]]], known: Collection[str]
) -> str:
    """What became of a node, or those that are called nearly so."""
    if name not in heirs:
        near = difflib.get_close_matches(name, sorted({*known, *heirs}), n=_NAMED, cutoff=0.7)
        if not near:
            return f"No node is called like {name}."
        return f"Near {name}: {', '.join(_now(other, heirs, known) for other in near)}."
    heir, origins = heirs[name]
    if not heir:
        return f"{name} is in the float model; the scheme removed it, and no node stands for it."
    beside = [origin for origin in origins if origin not in (name, heir)]
    also = f", with {' and '.join(beside)}" if beside else ""
    if heir in origins:
        return f"{name} is in the float model; the scheme took it into {heir}{also}."
    return f"{name} is in the float model; under this scheme it is {heir}{also}."


def _now(
    name: str, heirs: Mapping[str, tuple[str, tuple[str, ...]]], known: Collection[str]
) -> str:
    """A name of the float model with what it is called in the one that ran."""
    if name in known:
        return name
    return f"{name} (now {heirs[name][0]})" if heirs[name][0] else f"{name} (removed)"


def _fix(
    profile: Profile, strange: Sequence[str], heirs: Mapping[str, tuple[str, tuple[str, ...]]]
) -> str:
    fused = {
        _PIECE.sub("", name)
        for rule in profile.rule
        if rule.fusion is not None and rule.model_fields_set <= {"nodes", "ops", "fusion"}
        for name in rule.nodes or ()
    }
    made = [name for name in strange if name in fused and heirs.get(name, ("",))[0]]
    moved = [name for name in strange if name not in made and heirs.get(name, ("",))[0]]
    parts = []
    if moved:
        pairs = [f"{heirs[name][0]} for {name}" for name in moved[:_NAMED]]
        parts.append(f"write {', '.join(pairs)}, if the rule shall hold for all that it stands for")
    if made:
        parts.append(
            f"remove the rule for {made[0]}: no quantizer is left between it and the op before it, "
            "so they are computed in one without it"
        )
    if len(moved) + len(made) < len(strange):
        parts.append(
            "write the names as in the model that ran, or remove the rule"
            if not parts
            else "remove the others"
        )
    return "; ".join(parts)


def _assumed(side: Side) -> Finding:
    assert side.placement is not None
    places = side.placement.assumed
    ops = Counter(place.op for place in places).most_common()
    count = len(places)
    are = "node rests" if count == 1 else "nodes rest"
    return Finding(
        check="profile-mismatch",
        severity="note",
        title=f"{count} {are} on a rule that {side.target} does not know",
        words=f"{', '.join(f'{number} {op}' for op, number in ops)}: the engine's own rule stood "
        f"in, so that their answers are no prediction ({places[0].reason or 'no reason is given'})",
        nodes=tuple(place.node for place in places),
        targets=(side.target,),
        experiment="the engine's own record of the rules that it used, kept in the run",
        fix="give the profile a rule for these ops, or read nothing into what these nodes add",
        weight=min(1.0, count / max(1, side.placement.npu)),
    )
