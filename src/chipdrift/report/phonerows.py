"""The section "On the phones": for each phone a table, for each scheme what the phone told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final
from urllib.parse import quote

from chipdrift.counts import counted
from chipdrift.records import Cell, Matrix, NodeTime, OutputDiff, PhoneRun
from chipdrift.report.figures import listing, number
from chipdrift.report.phones import (
    counted_away,
    is_silicon,
    no_times,
    phones,
    span,
    state,
    waited,
    warning,
)
from chipdrift.report.remarks import shorten
from chipdrift.report.told import part

_MOST_NODES = 5
_MOST_OUTPUTS = 3
_NAME = 60  # characters


@final
@dataclass(frozen=True)
class Slow:
    """A node and its share of the time of all nodes."""

    share: str
    op: str
    node: str


@final
@dataclass(frozen=True)
class Row:
    """One cell on a phone, written out; "" where there is nothing to say.

    ``besides`` are further facts, ``log`` the address of the phone's log within the run folder.
    """

    scheme: str
    failed: bool
    median: str
    slowest: str
    ran: str
    instead: str
    nodes: tuple[Slow, ...]
    others: str
    before: str
    after: str
    waited: str
    warning: str
    besides: tuple[str, ...]
    log: str
    trouble: str


@final
@dataclass(frozen=True)
class OnePhone:
    """A phone and its cells; ``why`` is what it says of itself that makes it no silicon."""

    target: str
    about: str
    silicon: bool
    evidence: str
    why: str
    facts: str
    rows: tuple[Row, ...]


def on_the_phones(matrix: Matrix) -> tuple[OnePhone, ...]:
    """Every phone that ran a cell, in the matrix's order."""
    return tuple(_phone(matrix, target, cells) for target, cells in phones(matrix).items())


def _phone(matrix: Matrix, target: str, cells: Sequence[Cell]) -> OnePhone:
    silicon = is_silicon(cells[0])
    versions = cells[0].versions
    known = (("chip", "soc"), ("Android", "android"), ("build", "build"))
    facts = [f"{words} {versions[key]}" for words, key in known if key in versions]
    return OnePhone(
        target=target,
        about=matrix.target_names.get(target, ""),
        silicon=silicon,
        evidence=cells[0].evidence,
        why="" if silicon else next((c.reason for c in cells if c.reason), ""),
        facts=", ".join(facts),
        rows=tuple(_row(cell, cell.phone, silicon) for cell in cells if cell.phone is not None),
    )


def _row(cell: Cell, run: PhoneRun, silicon: bool) -> Row:
    timed = silicon and run.median_seconds is not None
    nodes, others = _slowest(run.nodes) if silicon else ((), "")
    return Row(
        scheme=cell.scheme,
        failed=cell.status != "ok",
        median=span(run.median_seconds) if timed and run.median_seconds is not None else "",
        slowest=span(run.slowest_seconds) if timed and run.slowest_seconds is not None else "",
        ran=_ran(cell, run),
        instead=no_times(cell),
        nodes=nodes,
        others=others,
        before=state(run.before),
        after=state(run.after),
        waited=waited(run),
        warning=warning(run),
        besides=_besides(run),
        log=quote(run.log.lstrip("/")) if run.log else "",
        # Without a time it is said in the time's place.
        trouble=run.trouble or "" if timed or not silicon else "",
    )


def _ran(cell: Cell, run: PhoneRun) -> str:
    """How many samples the times are of: those of the last session alone."""
    if not run.samples:
        return ""
    if run.samples < cell.measured:
        return f"the last {run.samples:,} of {counted(cell.measured, 'sample')}"
    return counted(run.samples, "sample")


def _slowest(nodes: Sequence[NodeTime]) -> tuple[tuple[Slow, ...], str]:
    """The slowest nodes with their shares, and what the others take together."""
    whole = sum(node.seconds for node in nodes)
    if whole <= 0:
        return (), ""
    ordered = sorted(nodes, key=lambda node: -node.seconds)
    shown = [Slow(part(n.seconds / whole), n.op, n.node) for n in ordered[:_MOST_NODES]]
    left = ordered[_MOST_NODES:]
    if not left:
        return tuple(shown), f"of {span(whole)} in all"
    rest = part(sum(node.seconds for node in left) / whole)
    return tuple(shown), f"{rest} in {counted(len(left), 'other node')}, of {span(whole)} in all"


def _apart(diffs: Sequence[OutputDiff]) -> str:
    """What LiteRT's inference_diff told, the outputs that differ most first."""
    ordered = sorted(diffs, key=lambda diff: -diff.mean)
    unit = {"int8": " steps"}
    told = [f"{shorten(d.output, _NAME)} {number(d.mean)}{unit.get(d.dtype, '')}" for d in ordered]
    return (
        f"XNNPACK against LiteRT's plain kernels, {counted(diffs[0].runs, 'random input')} "
        f"(inference_diff), mean distance: {listing(told, _MOST_OUTPUTS)}"
    )


def _besides(run: PhoneRun) -> tuple[str, ...]:
    """Comings and goings, the bytes pushed (none of a phone that has all), what a tool compared."""
    away = (counted_away(run.away),) if run.away else ()
    diffs = (_apart(run.diffs),) if run.diffs else ()
    if run.sent:
        return (*away, f"{_size(run.sent)} pushed", *diffs)
    pushed = () if run.trouble else ("nothing pushed: all of it was there",)
    return (*away, *pushed, *diffs)


def _size(count: int) -> str:
    for size, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return counted(count, "byte")
