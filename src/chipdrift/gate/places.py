"""Limits on where and on what a cell ran: status, fallback, evidence, samples, a phone's time."""

from __future__ import annotations

from typing import Any

from chipdrift.counts import counted, rounded
from chipdrift.gate.judge import Figure, accepts, at_least, at_most
from chipdrift.gate.reading import Judged, Judgements, Reading, missing
from chipdrift.gate.records import Outcome
from chipdrift.gate.wording import amount, clean, names
from chipdrift.records import Cell

# A median of fewer is one of the phone's other work.
_LEAST_TIMED = 20


def fallback(reading: Reading, cell: Cell, limit: int | tuple[str, ...], judge: str) -> Judgements:
    """The nodes that left the NPU: at most so many, or none of these ops."""
    ops, most = (limit, 0) if isinstance(limit, tuple) else (None, limit)
    allowed = f"no {' or '.join(ops)} off the NPU" if ops else f"at most {most} off the NPU"
    if cell.placement is None:
        yield missing("where its nodes ran is not known", allowed)
        return
    left = [place for place in cell.placement.fallback if ops is None or place.op in ops]
    total = counted(cell.placement.npu + cell.placement.cpu, "node")
    told = names([f"{place.op} {place.node}" for place in left])
    reasons = list(dict.fromkeys(clean(place.reason) for place in left if place.reason))
    command, todo = reading.diagnose(cell, "float")
    figure = Figure(len(left))
    yield Judged(
        at_most(figure, most, judge),
        f"{len(left)} of {total} left the NPU" + (f", {told}" if left else ""),
        allowed,
        figure,
        most,
        tuple(place.node for place in left),
        command,
        "; ".join([*reasons[:1], todo]),
    )


def latency(reading: Reading, cell: Cell, limit: float, judge: str) -> Judgements:
    """A sample's median by the phone's own clock, of silicon that was not hot."""
    allowed = f"at most {limit:g} ms"
    phone = cell.phone
    if phone is None:
        fact = "it has no time by a phone's clock, and a host's seconds are no phone's"
        yield missing(fact, allowed, applies=False)
    elif cell.evidence != "device":
        yield missing(f"its time is of an emulated phone ({cell.evidence})", allowed)
    elif phone.median_seconds is None:
        yield missing(clean(phone.trouble or "the phone told no time"), allowed)
    elif phone.samples < _LEAST_TIMED:
        fact = f"the phone timed {counted(phone.samples, 'sample')}, fewer than {_LEAST_TIMED}"
        yield missing(fact, allowed, todo="measure it again on more")
    elif any(state is not None and state.thermal for state in (phone.before, phone.after)):
        yield missing("the phone was hot", allowed, todo="measure it again when it is cool")
    else:
        figure = Figure(rounded(phone.median_seconds, 1000))
        took = amount(figure.found, limit)
        fact = f"{took} ms for a sample, the phone's median of {phone.samples:,}"
        yield Judged(at_most(figure, limit, judge), fact, allowed, figure, limit)


def status(reading: Reading, cell: Cell, accepted: tuple[str, ...], judge: str) -> Judgements:
    """Whether the cell has answers, or is excused from having them."""
    outcome: Outcome = "pass" if cell.status in accepted else "fail"
    reason = f", {clean(cell.reason)}" if cell.reason and cell.status != "ok" else ""
    todo = "mend what it says and measure it again"
    if cell.status == "unsupported":
        todo = 'give it a rule with status = ["ok", "unsupported"] where that is known'
    yield Judged(
        outcome, f"it is {cell.status}{reason}", " or ".join(accepted), todo=todo, shown=cell.status
    )


def evidence(reading: Reading, cell: Cell, wanted: Any, judge: str) -> Judgements:
    """What the cell's answers rest on."""
    outcome: Outcome = "pass" if accepts(wanted, cell.evidence) else "fail"
    allowed = " or ".join(wanted) if isinstance(wanted, tuple) else f"{wanted} or more"
    todo = "measure or import it from what the policy accepts"
    if cell.evidence == "host-runtime":
        todo = 'a host says nothing of a phone: give it a rule with evidence = "off"'
    yield Judged(
        outcome, f"its evidence is {cell.evidence}", allowed, todo=todo, shown=cell.evidence
    )


def samples(reading: Reading, cell: Cell, least: int, judge: str) -> Judgements:
    """On how many samples the cell rests."""
    figure = Figure(cell.samples)
    outcome = at_least(figure, least, judge)
    fact = f"it has {counted(cell.samples, 'sample')}"
    todo = "measure it on more"
    yield Judged(outcome, fact, f"at least {counted(least, 'sample')}", figure, least, todo=todo)
