"""From what single lines said to findings: placements, fallbacks, times by node."""

from __future__ import annotations

import re
from collections.abc import Iterator

from chipdrift.logs.findings import (
    ChipLine,
    Damage,
    Delegation,
    Fallback,
    Fusion,
    LogFindings,
    NodePlacement,
    Processor,
    Refusal,
    TensorQuantizer,
    Timing,
    Trouble,
    UnknownForm,
    Version,
)
from chipdrift.logs.gather import Gathered
from chipdrift.logs.processors import processor_of
from chipdrift.logs.session import CONVERSIONS
from chipdrift.logs.tally import LIMIT, Tally

# onnxruntime's QNN provider leaves the graph's own Quantize and Dequantize to the CPU.
_BORDER = re.compile(r"consume a graph input|generate a graph output")
# Those that say where an op goes instead; SNPE and a single device do not.
_TO_CPU = frozenset({"NNAPI delegate", "QNN partitioner"})
# Theirs are settled session by session.
_SESSIONS = frozenset({"QNNExecutionProvider"})
_NPU_SOURCES = frozenset({"onnxruntime-qnn", "qnn"})


def conclude(
    said: Gathered,
    *,
    file: str,
    size: int,
    lines: int,
    blank: int,
    read: int,
    sources: dict[str, int],
    unknown_lines: int,
    unknown_shapes: int,
    unknown: tuple[UnknownForm, ...],
) -> LogFindings:
    """The findings of a whole file."""
    placements, falls, graph_io, conversions = _nodes(said, sources)
    return LogFindings(
        file=file,
        bytes=size,
        lines=lines,
        read=read,
        foreign=lines - blank - read - unknown_lines,
        unknown_lines=unknown_lines,
        unknown_shapes=unknown_shapes,
        sources=sources,
        versions=tuple(
            Version(what=what, version=version, count=seen.count, line=seen.line)
            for (what, version), seen in said.versions
        ),
        chips=tuple(
            ChipLine.model_validate(
                {"field": field, "value": value, "count": seen.count, "line": seen.line}
            )
            for (field, value), seen in said.chips
        ),
        options=said.options,
        placements=placements,
        delegations=tuple(
            Delegation(
                provider=provider,
                processor=processor_of(provider),
                nodes=nodes,
                total=total,
                partitions=partitions,
                count=seen.count,
                line=seen.line,
            )
            for (provider, nodes, total, partitions), seen in said.taken
        )
        + tuple(_subgraphs(said)),
        refusals=tuple(
            Refusal(
                node=node,
                op=op,
                by=by,
                reason=reason,
                causes=causes,
                count=seen.count,
                line=seen.line,
            )
            for (node, op, by, reason, causes), seen in said.refused
        ),
        fallbacks=falls,
        graph_io=graph_io,
        conversions=conversions,
        fusions=tuple(
            Fusion(name=name, nodes=nodes, count=seen.count, line=seen.line)
            for (name, nodes), seen in said.fused
        ),
        quantizers=tuple(
            TensorQuantizer(
                tensor=tensor,
                quantizer=seen.value.quantizer,
                differing=seen.value.differing,
                count=seen.count,
                line=seen.line,
            )
            for tensor, seen in said.tensors
        ),
        timings=_timings(said),
        troubles=_troubles(said),
        unknown=unknown,
        sessions=tuple(sorted(said.sessions, key=lambda session: session.line)),
        tells_fallbacks=_tells_fallbacks(said),
        damage=tuple(_damage(said)),
    )


def _tells_fallbacks(said: Gathered) -> bool:
    """Whether such a log would say it: times by node of the NPU's own profile would not."""
    return bool(
        said.listed
        or len(said.outcomes)
        or len(said.refused)
        or any(total is not None for (_, _, total, _), _ in said.taken)
        or any(processor_of(provider) == "cpu" for (*_, provider), _ in said.profiled)
    )


def _subgraphs(said: Gathered) -> Iterator[Delegation]:
    """Providers whose subgraphs a profile times as one node each: their nodes are not listed."""
    counts: dict[str, list[int]] = {}
    for (provider, _), seen in said.subgraphs:
        counts.setdefault(provider, []).append(seen.line)
    for provider, at in counts.items():
        yield Delegation(
            provider=provider,
            processor=processor_of(provider),
            nodes=None,
            partitions=len(at),
            count=1,
            line=min(at),
        )


def _nodes(
    said: Gathered, sources: dict[str, int]
) -> tuple[tuple[NodePlacement, ...], tuple[Fallback, ...], int, int]:
    """Placements, fallbacks, and the conversions on the CPU: the graph's own, and others."""
    placements = []
    for (node, op, provider, how), seen in said.outcomes:
        placements.append(_placement(node, op, provider, how, seen.count, seen.line))
    providers = [provider for (provider, *_), _ in said.taken]
    providers += [provider for (provider, _), _ in said.subgraphs]
    npu = bool(_NPU_SOURCES & sources.keys()) or any(
        processor_of(provider) == "npu" for provider in providers
    )
    falls: list[Fallback] = []
    border: set[str | None] = set()
    converted: set[str | None] = set()

    def fall(
        node: str | None,
        op: str | None,
        processor: Processor,
        reason: str | None,
        causes: tuple[str, ...],
        count: int,
        line: int,
        ran: bool = True,
    ) -> None:
        if op in CONVERSIONS:
            # Without a name there is only their number to tell them apart by.
            names = {node} if node else {f"{op} {number}" for number in range(count)}
            (border if reason and _BORDER.search(reason) else converted).update(names)
            return
        falls.append(
            Fallback(
                node=node,
                op=op,
                processor=processor,
                reason=reason,
                causes=causes,
                count=count,
                line=line,
                ran=ran,
            )
        )

    for (node, op, reason, causes, ran), seen in said.fell:
        fall(node, op, "cpu" if ran else "unknown", reason, causes, seen.count, seen.line, ran)
    for (name, op, provider), seen in said.profiled:
        placements.append(_placement(name, op, provider, "placed", seen.count, seen.line))
        if npu and processor_of(provider) == "cpu":
            fall(name, op, "cpu", None, (), seen.count, seen.line)
    homes: dict[str | None, set[Processor]] = {}
    for (_, home, provider, _), _ in said.outcomes:
        homes.setdefault(home, set()).add(processor_of(provider))
    for (node, what, by, reason, causes), seen in said.refused:
        # Another device may take what one refuses; then it left no NPU.
        left = by in _TO_CPU or homes.get(what) == {"cpu"}
        if node is None and what and left and by not in _SESSIONS:
            fall(None, what, "cpu", reason, causes, seen.count, seen.line)
        elif by == "SNPE":
            built = not any(session.failed for session in said.sessions)
            fall(node, what, "unknown", reason, causes, seen.count, seen.line, built)
    return tuple(placements), tuple(falls), len(border), len(converted - border)


def _placement(
    node: str | None, op: str, provider: str, how: str, count: int, line: int
) -> NodePlacement:
    return NodePlacement.model_validate(
        {
            "node": node,
            "op": op or None,
            "processor": processor_of(provider),
            "provider": provider,
            "how": how,
            "count": count,
            "line": line,
        }
    )


def _timings(said: Gathered) -> tuple[Timing, ...]:
    """The slowest first, cycles after times."""
    made = [
        Timing.model_validate(
            {
                "kind": kind,
                "name": name,
                "op": op,
                "provider": provider,
                "unit": unit,
                "count": seen.count,
                "total": seen.value.total,
                "least": seen.value.least,
                "most": seen.value.most,
                "line": seen.line,
            }
        )
        for (kind, name, op, provider, unit), seen in said.times
    ]
    return tuple(sorted(made, key=lambda timing: (timing.unit == "cycles", -timing.total)))


def _troubles(said: Gathered) -> tuple[Trouble, ...]:
    """Errors before warnings, in the order of the log."""
    made = [
        Trouble.model_validate(
            {
                "severity": severity,
                "source": source,
                "text": seen.value[0],
                "node": seen.value[1],
                "count": seen.count,
                "line": seen.line,
            }
        )
        for (severity, source, _), seen in said.troubles
    ]
    return tuple(sorted(made, key=lambda trouble: (trouble.severity != "error", trouble.line)))


def _damage(said: Gathered) -> Iterator[Damage]:
    for what, seen in said.damage:
        yield Damage(what=what, count=seen.count, line=seen.line)
    tables: tuple[tuple[str, Tally[object, object]], ...] = tuple(
        (name, table)
        for name, table in vars(said).items()
        if isinstance(table, Tally) and table.dropped
    )
    for name, table in tables:
        yield Damage(
            what=f"{name}: more than {LIMIT:,} different ones, the rest is counted only",
            count=table.dropped,
            line=0,
        )
