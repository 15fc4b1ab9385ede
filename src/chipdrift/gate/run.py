"""A run folder held against a policy, and against a baseline."""

from __future__ import annotations

import fcntl
import os
from importlib import metadata
from pathlib import Path

from chipdrift.diagnose.files import read_diagnoses
from chipdrift.errors import ChipdriftError, RunError
from chipdrift.gate.baseline import read_baseline
from chipdrift.gate.checks import checks_of
from chipdrift.gate.policy import Policy, SinceLimits
from chipdrift.gate.policyfile import (
    check_drop,
    check_metric,
    check_ops,
    check_rules,
    forbids_ops,
    read_policy,
)
from chipdrift.gate.reading import Reading
from chipdrift.gate.records import Gate, GateBaseline
from chipdrift.gate.since import changes_of, check_same, checks_since, warnings_since
from chipdrift.graph import load_model
from chipdrift.matrix import read_matrix
from chipdrift.records import Matrix


def run_gate(
    run: str | Path,
    policy: str | Path | Policy,
    baseline: str | Path | GateBaseline | None = None,
    *,
    since: bool = True,
) -> Gate:
    """Whether the run in ``run`` holds ``policy``, and what changed since ``baseline``.

    Nothing is run. ``since`` False leaves the policy's ``[since]`` aside, for the run that a
    baseline is made of. Raises ChipdriftError where the policy, the run or the baseline cannot be
    used, where a rule of the policy matches nothing in the run, and where the two are of different
    models or data and the policy does not allow that.
    """
    held = policy if isinstance(policy, Policy) else read_policy(policy)
    reading, warnings = _read(Path(run))
    matrix = reading.matrix
    check_rules(held, matrix)
    check_drop(held, matrix)
    check_metric(held, matrix)
    # Of an import nobody knows the ops, nor where they ran: that is told cell by cell.
    if forbids_ops(held) and matrix.imported is None:
        check_ops(held, _ops(Path(run), matrix))
    if held.since is not None and since and baseline is None:
        raise ChipdriftError(
            f"Policy {held.name}: it has [since], which needs a baseline. Give --baseline FILE; "
            "make one from a run that you trust with --write-baseline FILE."
        )
    checks, notes = checks_of(reading, held)
    warnings += notes
    changes = []
    if baseline is not None:
        base = baseline if isinstance(baseline, GateBaseline) else read_baseline(baseline)
        warnings += check_same(reading, base, held.since or SinceLimits())
        changes = changes_of(reading, base)
        checks += checks_since(reading, held, changes)
        warnings += warnings_since(held, changes)
    return Gate(
        chipdrift=metadata.version("chipdrift"),
        run=str(run),
        policy=held.name,
        policy_sha256=held.sha256,
        baseline=None if baseline is None or isinstance(baseline, GateBaseline) else str(baseline),
        model=matrix.model.name,
        model_sha256=matrix.model.sha256,
        data_sha256=matrix.data.sha256,
        samples=matrix.data.samples,
        metric=matrix.metric,
        checks=tuple(checks),
        since=tuple(changes),
        warnings=tuple(warnings),
        failed=any(check.breaks for check in checks),
    )


def _read(run: Path) -> tuple[Reading, list[str]]:
    """The run, if nobody is at work on it; and what of its folder cannot be read."""
    matrix = read_matrix(run)
    if _being_written(run):
        raise RunError(
            f"Run {run}: a chipdrift is measuring into it now, so what is there is of an earlier "
            "command. Wait for it to end."
        )
    if not matrix.complete:
        raise RunError(
            f"Run {run}: it is not complete. Run the same chipdrift matrix command again; nothing "
            "that is there is measured twice."
        )
    diagnoses, faults = read_diagnoses(run)
    return Reading(str(run), matrix, diagnoses), faults


def _being_written(run: Path) -> bool:
    """Whether another process holds the run's lock; asked without taking it from a writer."""
    try:
        lock = os.open(run / ".lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(lock)
    return False


def _ops(run: Path, matrix: Matrix) -> frozenset[str]:
    """The ops of all model files of the run, and of all nodes that left the NPU."""
    found = {
        place.op
        for cell in matrix.cells
        if cell.placement is not None
        for place in cell.placement.fallback
    }
    files = [run / scheme.file for scheme in matrix.schemes if scheme.file is not None]
    there = [file for file in files if file.is_file()]
    for file in there:
        found |= {node.op_type for node in load_model(file).proto.graph.node}
    if not there:
        raise RunError(
            f"Run {run}: its model files are gone, so that the ops which the policy names under "
            "fallback cannot be checked. Run the same chipdrift matrix command again."
        )
    return frozenset(found)
