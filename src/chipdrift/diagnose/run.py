"""A diagnosis from end to end: placement, drift, what each node adds, why, and whose loss it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from chipdrift.diagnose.case import FLOAT, Case, choose_samples, make_case
from chipdrift.diagnose.checks import all_checks
from chipdrift.diagnose.drift import Alone, Drift, Feed, measure_drift, measure_own
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.experiments import explain_pieces
from chipdrift.diagnose.explorer import write_node_data
from chipdrift.diagnose.files import write_diagnosis
from chipdrift.diagnose.floating import float_tensors, own_against_float
from chipdrift.diagnose.verdict import give_verdict
from chipdrift.errors import ChipdriftError
from chipdrift.findings import Attribution, Diagnosis, Explanation, Finding, Own, Side
from chipdrift.graph import Anatomy, dissect
from chipdrift.matrix import cell_outputs
from chipdrift.probe.ask import Asker, NoAnswerError

Array = np.ndarray[Any, Any]

DEFAULT_SAMPLES = 16
# Samples whose tensors are all kept, to run every piece alone.
_KEPT = 4


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
    seen = _look(case, anatomy, feeds, a, b, tell)
    return Exam(
        case=case,
        anatomy=anatomy,
        diagnosis=_put_together(case, seen, chosen),
        feeds=feeds,
        tensors_a=seen.drift.kept_a,
        tensors_b=seen.drift.kept_b,
        alone_a=seen.made_a,
        alone_b=seen.made_b,
        asker_a=a,
        asker_b=b,
    )


def look(exam: Exam) -> tuple[Finding, ...]:
    """What all checks find, the worst first."""
    findings = [finding for check in all_checks().values() for finding in check.look(exam)]
    findings.sort(key=lambda f: (_ORDER[f.severity], -f.weight, f.check, f.title))
    return tuple(findings)


_ORDER = {"error": 0, "warning": 1, "note": 2}


@dataclass(eq=False)
class _Seen:
    """What was measured and found, before the checks."""

    drift: Drift
    own: list[Own]
    made_a: Sequence[Feed] = ()
    made_b: Sequence[Feed] = ()
    explanations: Sequence[Explanation] = ()
    attributions: Sequence[Attribution] = ()
    unexplained: float | None = None


def _look(
    case: Case,
    anatomy: Anatomy,
    feeds: Sequence[Feed],
    a: Asker,
    b: Asker | None,
    tell: Callable[[str], None],
) -> _Seen:
    keep = min(_KEPT, len(feeds))
    tell(f"every activation on {case.a.name} and {case.b_name}, {len(feeds)} samples")
    on_a = Alone(a, case.model, anatomy.cut)
    if b is None:
        drift = _drift(anatomy, _tapped(a, anatomy, feeds), float_tensors(case, feeds), keep)
        tell("every node alone")
        return _Seen(drift, own_against_float(anatomy, drift, on_a))
    drift = _drift(anatomy, _tapped(a, anatomy, feeds), _tapped(b, anatomy, feeds), keep)
    tell("every node alone, on the same integers")
    on_b = Alone(b, case.model, anatomy.cut)
    own, made_a, made_b = measure_own(anatomy, drift, feeds, on_a, on_b)
    explained = explain_pieces(
        case, anatomy, drift, own, feeds, (on_a, on_b), (made_a, made_b), tell
    )
    return _Seen(drift, own, made_a, made_b, *explained)


def _put_together(case: Case, seen: _Seen, chosen: Sequence[int]) -> Diagnosis:
    drift, notes, sides = seen.drift, [], []
    for name, finals in ((case.a.name, drift.finals_a), (case.b_name, drift.finals_b)):
        changed = None if name == FLOAT else _changed(case, name, chosen, finals)
        if changed:
            notes.append(
                f"{name}: the extra outputs changed the final answer, so its activations are not "
                "quite those of the model alone"
            )
        sides.append(_side(case, name, changed))
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
        outputs=tuple(drift.outputs),
        activations=tuple(drift.activations),
        first_layer=drift.first.node if drift.first is not None else None,
        first_op=_first_own(seen.own),
        own=tuple(seen.own),
        explanations=tuple(seen.explanations),
        attributions=tuple(seen.attributions),
        unexplained=seen.unexplained,
        verdict=give_verdict(case),
        findings=(),
        notes=tuple(notes),
    )


def _drift(anatomy: Anatomy, a: Iterator[Feed], b: Iterator[Feed], keep: int) -> Drift:
    try:
        return measure_drift(anatomy, a, b, keep)
    except NoAnswerError as error:
        raise ChipdriftError(
            f"The model with all its activations as outputs does not run: {error}"
        ) from error


def _tapped(asker: Asker, anatomy: Anatomy, feeds: Sequence[Feed]) -> Iterator[Feed]:
    for answer in asker.ask_each(anatomy.tapped, feeds):
        yield dict(zip(anatomy.tensors, answer, strict=True))


def _changed(
    case: Case, target: str, chosen: Sequence[int], finals: Sequence[Sequence[Array]]
) -> bool | None:
    """Whether the model answered otherwise with all its activations as outputs than in the run."""
    try:
        arrays, _ = cell_outputs(case.run.folder, case.scheme, target)
    except ChipdriftError:  # the run has no such cell
        return None
    return any(
        not np.array_equal(whole[index], answer[place], equal_nan=True)
        for place, whole in enumerate(arrays.values())
        for index, answer in zip(chosen, finals, strict=True)
    )


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
