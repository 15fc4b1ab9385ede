"""A profile whose rules do not fit the model.

What it finds: a target of the engine (sim:) whose profile has rules for nodes that the model does
not have, with the names that are near; and one that has no rule for some of the model's nodes, so
that the engine's own stood in.

Why it hurts: a misspelt name is no error, because a profile may serve several models: its rule is
never used, and what it was written to show does not happen. Where the engine's own rule stands in,
the answers of those nodes are no prediction of the chip.

Example: nodes = ["block3/pointwis"] in a rule: the model's node is called block3/pointwise.

Fix: write the names as in the model (diagnose names them); give the profile a rule for the ops
named, or read nothing into their differences.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from chipdrift.diagnose.counts import besides
from chipdrift.diagnose.exam import Exam
from chipdrift.findings import Finding, Side
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
    known = sorted({step.name for step in exam.program.steps if step.name})
    lists = [*(rule.nodes or () for rule in profile.rule), profile.fallback.nodes]
    named = dict.fromkeys(_PIECE.sub("", name) for names in lists for name in names)
    strange = [name for name in named if name not in known]
    if not strange:
        return
    others = besides(len(strange) - 1, "other")
    yield Finding(
        check="profile-mismatch",
        severity="warning",
        title=f"{target} has a rule for {strange[0]}{others}, which the model does not have",
        words="these rules were never used. " + " ".join(_near(n, known) for n in strange[:_NAMED]),
        targets=(target,),
        experiment=f"the nodes that the profile {profile.name} names, looked up in the model",
        fix="write the names as in the model, or remove the rule",
        weight=len(strange) / len(named),
    )


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=_NAMED, cutoff=0.7)
    return f"Near {name}: {', '.join(near)}." if near else f"No node is called like {name}."


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
