"""A cell while it is measured: what it owes, what it has, whose answers stand in for its own."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chipdrift.data import Samples
from chipdrift.matrix.schedule import Job
from chipdrift.matrix.variants import Variant
from chipdrift.records import NodePlace, NodeTime, PhoneRun, Placement
from chipdrift.store import Store, content_key
from chipdrift.targets import Target, summarize
from chipdrift.targets.base import Opened


@dataclass(eq=False)
class CellPlan:
    """One scheme on one target.

    ``key`` is the address of its outputs: the hash of the model file, the runtime, its options and
    versions. ``shown`` is False for cells that only serve others (the baseline, the LSB reference).
    ``reason`` set means that it is not run; ``failed`` tells a failure from "unsupported".
    """

    variant: Variant
    target: Target
    shown: bool
    key: str = ""
    reason: str | None = None
    failed: bool = False
    log: str | None = None
    shares_with: CellPlan | None = None
    audited: int = 0

    @property
    def label(self) -> str:
        """Scheme and target, for people."""
        return f"{self.variant.scheme.name} on {self.target.name}"

    @property
    def runs(self) -> bool:
        """Whether this cell has, or may still get, answers."""
        return self.reason is None


def plan_cell(variant: Variant, target: Target, shown: bool) -> CellPlan:
    """A cell with what is known of it before it is run."""
    cell = CellPlan(variant, target, shown)
    if variant.error is not None:
        cell.reason, cell.failed = variant.error, True
        return cell
    refusal = target.refuses.get(variant.kind)
    if refusal is not None:
        cell.reason = refusal
        return cell
    cell.key = content_key(
        {
            "model": variant.sha256,
            "runtime": target.runtime,
            "options": dict(target.options),
            "versions": dict(target.versions),
        }
    )
    return cell


def lacks(store: Store, samples: Samples, cell: CellPlan, wanted: Iterable[int]) -> bool:
    """Whether ``cell`` owes an answer to one of the ``wanted`` samples, or has none at all."""
    return job_for(store, samples, cell, wanted) is not None


def job_for(
    store: Store,
    samples: Samples,
    cell: CellPlan,
    wanted: Iterable[int],
    tapped: Path | None = None,
    after: int = 0,
) -> Job | None:
    """The job that measures what ``cell`` lacks of ``wanted`` samples, or None where it lacks none.

    With ``tapped``, the digests of all activations of that model in place of outputs.
    """
    assert cell.variant.file is not None
    timed = store.measured(cell.key)
    has = store.digests(cell.key) if tapped else timed
    lacking = deque(index for index in wanted if samples.keys[index] not in has)
    if not lacking and store.fact(f"placed:{cell.key}") is not None:
        return None
    return Job(
        label=cell.label + (", all activations" if tapped else ""),
        key=cell.key,
        target=cell.target,
        path=tapped or store.folder / cell.variant.file,
        pending=lacking,
        digest=tapped is not None,
        prior=sum(timed.values()) / len(timed) if timed else None,
        after=after,
        notes=tapped is None,
    )


def _phone_run(store: Store, cell: CellPlan, told: Mapping[str, Any]) -> dict[str, Any]:
    """What a phone told, its log in a file of its own in the run folder."""
    log = None
    if told.get("log"):
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", cell.target.name)
        log = f"logs/{cell.variant.scheme.name}-{name}-{cell.key[:8]}.txt"
        store.write_file(log, str(told["log"]).encode())
    nodes = tuple(NodeTime(node=n, op=o, seconds=s) for n, o, s in told.get("nodes", ()))
    run = PhoneRun(**{**told, "nodes": nodes, "log": log})
    return run.model_dump(mode="json")


def phone_run_of(store: Store, cell: CellPlan) -> PhoneRun | None:
    """What the cell's phone told when it last ran samples, if it ran on one."""
    kept = store.fact(f"phone:{cell.key}") if cell.key else None
    return None if kept is None else PhoneRun(**kept)


def settle(store: Store, cell: CellPlan, job: Job) -> None:
    """Take over how a job for the cell's outputs ended, and keep what holds for the next run."""
    if job.opened is not None:
        variant = cell.variant
        placement = summarize(
            job.opened.nodes,
            variant.border,
            cell.target.has_npu,
            variant.expandable,
            variant.trace,
            variant.kept,
            variant.fence,
        )
        kept = [
            place.model_copy(update={"source": variant.trace.get(place.node, ())})
            for place in placement.kept
        ]
        traced = [
            place.model_copy(
                update={
                    "source": variant.trace.get(place.node, ()),
                    "reason": place.reason or job.opened.reasons.get(place.node),
                }
            )
            for place in placement.fallback
        ]
        placement = placement.model_copy(
            update={
                "fallback": tuple(traced),
                "assumed": _assumed(variant, job.opened, [*traced, *kept]),
                "kept": tuple(kept),
            }
        )
        store.put_fact(f"placed:{cell.key}", placement.model_dump(mode="json"))
        store.put_fact(f"nodes:{cell.key}", sorted(job.opened.nodes))
        # A phone that was waited for until it was cool has been opened after that.
        cooled = float(job.told.get("cooled", 0.0))
        store.put_fact(f"opening:{cell.key}", max(0.0, job.open_seconds - cooled))
    if job.told:
        store.put_fact(f"phone:{cell.key}", _phone_run(store, cell, job.told))
    if job.state == "refused":
        # Asked again next time: a refusal may have been for lack of memory.
        cell.reason = job.words
    elif job.state == "failed":
        cell.reason, cell.failed, cell.log = job.words, True, job.log
    store.commit()


def _assumed(variant: Variant, opened: Opened, left: Iterable[NodePlace]) -> tuple[NodePlace, ...]:
    """The nodes that a session gives a reason for although they did not leave: sim's unknown."""
    ops = {node: op for _, node, op in opened.nodes}
    away = {place.node for place in left} | variant.fence
    found = [
        NodePlace(
            node=node,
            op=ops.get(node, "QuantizeLinear"),  # a bare change of quantizer is not counted
            reason=reason,
            source=variant.trace.get(node, ()),
        )
        for node, reason in opened.reasons.items()
        if node not in away
    ]
    return tuple(sorted(found, key=lambda place: (place.op, place.node)))


def placement_of(store: Store, cell: CellPlan) -> Placement | None:
    """Where the cell's nodes ran, if its session ever stood."""
    kept = store.fact(f"placed:{cell.key}") if cell.key else None
    return None if kept is None else Placement(**kept)
