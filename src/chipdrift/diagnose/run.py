"""A diagnosis from end to end: placement, drift, what each node adds, why, and whose loss it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from chipdrift.counts import counted
from chipdrift.diagnose.attribute import Attributed
from chipdrift.diagnose.case import FLOAT, Case, choose_samples, make_case
from chipdrift.diagnose.checks import all_checks
from chipdrift.diagnose.drift import Alone, Feed, measure_own
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.experiments import explain_pieces
from chipdrift.diagnose.explorer import write_node_data
from chipdrift.diagnose.files import check_writable, write_diagnosis
from chipdrift.diagnose.floating import own_against_float
from chipdrift.diagnose.remedies import NONE_NEEDED, harmless
from chipdrift.diagnose.together import Joined, rejoin
from chipdrift.diagnose.verdict import give_verdict
from chipdrift.diagnose.watch import Watching, watch
from chipdrift.findings import Diagnosis, Explanation, Finding, Own, Side
from chipdrift.graph import Anatomy, dissect
from chipdrift.probe.ask import Asker, NoAnswerError

Array = np.ndarray[Any, Any]

DEFAULT_SAMPLES = 16


def run_diagnosis(
    run: str | Path,
    *,
    scheme: str | None = None,
    target: str | None = None,
    against: str | None = None,
    samples: int = DEFAULT_SAMPLES,
    data: str | Path | None = None,
    profiles: Mapping[str, str] | None = None,
    timeout: float = 600.0,
    tell: Callable[[str], None] = lambda words: None,
) -> Diagnosis:
    """Where ``target`` (A) and ``against`` (B) part under ``scheme`` in a run, and why.

    What is not named is chosen: the pair that agrees least. ``against`` may be ``float``. The first
    ``samples`` samples are compared in every activation. ``profiles`` maps a target to the profile
    by which it computes, where another than chipdrift's own is to be tried ("": none is known).
    Raises ChipdriftError.
    """
    started = time.monotonic()
    case = make_case(run, scheme, target, against, data, profiles or {})
    check_writable(case.run.folder)
    anatomy = dissect(case.model)
    chosen, words = choose_samples(case, samples)
    with ExitStack() as stack:
        a = stack.enter_context(Asker(case.a, timeout))
        b = stack.enter_context(Asker(case.b, timeout)) if case.b is not None else None
        exam = examine(case, anatomy, chosen, a, b, tell)
        tell("the checks")
        findings = look(exam)
    diagnosis = exam.diagnosis.model_copy(
        update={
            "findings": findings,
            "notes": (*exam.diagnosis.notes, *([words] if words else [])),
            "seconds": time.monotonic() - started,
        }
    )
    path = write_diagnosis(case.run.folder, diagnosis)
    write_node_data(path, diagnosis, anatomy.graph)
    return diagnosis


def examine(
    case: Case,
    anatomy: Anatomy,
    chosen: Sequence[int],
    a: Asker,
    b: Asker | None,
    tell: Callable[[str], None] = lambda words: None,
) -> Exam:
    """A diagnosis without its findings, and all that the checks need to make them.

    ``chosen`` are the run's samples to look into; ``b`` is None where B is the float model.
    """
    feeds = [case.run.samples.feed(index) for index in chosen]
    seen, order = _look(case, anatomy, chosen, feeds, a, b, tell)
    feeds = [feeds[index] for index in order]
    return Exam(
        case=case,
        anatomy=anatomy,
        diagnosis=_put_together(case, seen, chosen),
        feeds=feeds,
        tensors_a=seen.watched.drift.kept_a,
        tensors_b=seen.watched.drift.kept_b,
        alone_a=seen.made_a,
        alone_b=seen.made_b,
        asker_a=a,
        asker_b=None if case.outputs_only else b,
    )


def look(exam: Exam) -> tuple[Finding, ...]:
    """What all checks find, the worst first."""
    findings: list[Finding] = []
    for check in all_checks().values():
        try:
            findings += check.look(exam)
        except NoAnswerError as error:
            findings.append(
                Finding(
                    check=check.name,
                    severity="note",
                    title=f"{check.title}: not checked",
                    words=f"a target gave no answer to this check's question: {error}",
                )
            )
    found = [_weighed(_with_command(finding, exam), exam) for finding in findings]
    return tuple(sorted(found, key=_rank))


# What says that A and B differ. Where that costs nothing, it is worth a note.
_OF_A_DIFFERENCE = frozenset(
    {"mechanism", "unexplained", "dropped-bits", "biased-rounding", "computed-together"}
)
# In place of NONE_NEEDED where something is lost, or may be.
_NOT_HERE = "none is needed here: what both lose is the quantization's"
_TOO_SMALL = "none is needed for this"


def _weighed(finding: Finding, exam: Exam) -> Finding:
    """A warning of a difference that costs nothing, as far as the samples carry, is a note.

    That nothing is needed for accuracy is said only where no loss is shown nor likely.
    """
    cause = exam.diagnosis.verdict.cause
    update = {}
    if harmless(exam) and finding.check in _OF_A_DIFFERENCE and finding.severity == "warning":
        update["severity"] = "note"
    if cause != "neither":
        shared = cause == "quantization"
        update["fix"] = finding.fix.replace(NONE_NEEDED, _NOT_HERE if shared else _TOO_SMALL)
    return finding.model_copy(update=update)


def _with_command(finding: Finding, exam: Exam) -> Finding:
    """The finding, its command with the names of this run, so that it can be run as it is."""
    if finding.command is None:
        return finding
    names = {**exam.case.run.words, "TARGET": exam.case.a.name, "SCHEME": exam.case.scheme}
    words = [names.get(word, word) for word in finding.command.split(" ")]
    return finding.model_copy(update={"command": " ".join(words)})


def _rank(finding: Finding) -> tuple[int, float, bool, str, str]:
    """Worst first; of equals, what the experiment names before what only points there."""
    pointing = finding.check not in ("wrong-answers", "mechanism")
    weight = -round(finding.weight, 3)
    return _ORDER[finding.severity], weight, pointing, finding.check, finding.title


_ORDER = {"error": 0, "warning": 1, "note": 2}


@dataclass(eq=False)
class _Seen:
    """What was measured and found, before the checks."""

    watched: Watching
    own: list[Own]
    made_a: Sequence[Feed] = ()
    made_b: Sequence[Feed] = ()
    explanations: Sequence[Explanation] = ()
    attributed: Attributed = field(default_factory=Attributed)


def _look(
    case: Case,
    anatomy: Anatomy,
    chosen: Sequence[int],
    feeds: Sequence[Feed],
    a: Asker,
    b: Asker | None,
    tell: Callable[[str], None],
) -> tuple[_Seen, Sequence[int]]:
    """What was seen, and the order in which the samples were taken."""
    tell(f"every activation on {case.a.name} and {case.b_name}, {len(feeds)} samples")
    on_a = Alone(a, case.model, anatomy.cut)
    on_b = None if b is None or case.outputs_only else Alone(b, case.model, anatomy.cut)
    order: Sequence[int] = range(len(feeds))
    seen = watch(case, anatomy, chosen, feeds, (a, b), (on_a, on_b), tell)
    if not any(seen.drift.parted[: len(seen.drift.kept_a)]) and any(seen.drift.parted):
        # A rare difference: nodes are run alone on samples that show it.
        order = sorted(order, key=lambda index: not seen.drift.parted[index])
        chosen, feeds = [chosen[i] for i in order], [feeds[i] for i in order]
        seen = watch(case, anatomy, chosen, feeds, (a, b), (on_a, on_b), tell)
    drift = seen.drift
    if case.outputs_only:
        return _Seen(seen, []), order
    if on_b is None:
        tell("every node alone")
        return _Seen(seen, own_against_float(anatomy, drift, feeds, on_a)), order
    tell("every node alone, on the same integers")
    own, made_a, made_b = measure_own(anatomy, drift, feeds, on_a, on_b)
    joined: dict[str, Joined] = {}
    if not case.by_chance(case.a.name) and not case.by_chance(case.b_name):
        own, joined = rejoin(anatomy, drift, own, feeds, on_a, on_b)
    explained = explain_pieces(
        case, anatomy, drift, own, feeds, (on_a, on_b), (made_a, made_b), joined, tell
    )
    return _Seen(seen, own, made_a, made_b, *explained), order


def _put_together(case: Case, seen: _Seen, chosen: Sequence[int]) -> Diagnosis:
    drift = seen.watched.drift
    sides = [
        _side(case, name, changed)
        for name, changed in zip((case.a.name, case.b_name), seen.watched.changed, strict=True)
    ]
    return Diagnosis(
        chipdrift=metadata.version("chipdrift"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        run=str(case.run.folder),
        model=case.run.matrix.model.name,
        model_sha256=case.run.matrix.model.sha256,
        scheme=case.scheme,
        a=sides[0],
        b=sides[1],
        samples=len(chosen),
        own_samples=len(drift.kept_a),
        watched=seen.watched.how,
        outputs=tuple(drift.outputs),
        activations=tuple(drift.activations),
        first_layer=drift.first.node if drift.first is not None else None,
        first_op=_first_own(seen.own),
        own=tuple(seen.own),
        explanations=tuple(seen.explanations),
        attributions=tuple(seen.attributed.mechanisms),
        layers=tuple(seen.attributed.layers),
        unexplained=seen.attributed.unexplained,
        verdict=give_verdict(case),
        findings=(),
        notes=(*seen.watched.notes, *_stand_ins(case, seen.explanations)),
    )


def _stand_ins(case: Case, explanations: Sequence[Explanation]) -> list[str]:
    """Where A's own profile does not give A's answers, and another stands in for it."""
    known = case.profiles.get(case.a.name)
    if known is None:
        return []
    others = [e for e in explanations if e.mechanisms and e.basis != known.name]
    if not others:
        return []
    names = ", ".join(dict.fromkeys(e.basis for e in others))
    return [
        f"the profile {known.name} does not give what {case.a.name} answers in "
        f"{counted(len(others), 'node')}, {others[0].node} first: there {names} stands in for it"
    ]


def _first_own(own: Sequence[Own]) -> str | None:
    """The first node that differs by itself."""
    parted = (o for o in own if o.distance is not None and o.distance.differing > 0)
    return next((o.node for o in parted), None)


def _side(case: Case, name: str, changed: bool | None) -> Side:
    matrix = case.run.matrix
    if name == FLOAT:
        return Side(target=FLOAT, name="the float model on ort:cpu", evidence="host-runtime")
    cell = case.cell(name)
    evidence = case.a.evidence if name == case.a.name or case.b is None else case.b.evidence
    return Side(
        target=name,
        name=matrix.target_names.get(name, name),
        evidence=cell.evidence if cell is not None else evidence,
        placement=cell.placement if cell is not None else None,
        tapping_changed=changed,
    )
