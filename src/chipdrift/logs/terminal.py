"""A log's findings on a terminal, worst first: what failed, what fell back, what else went wrong.

Every figure stands beside the line of the log where it was first said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from chipdrift.counts import counted
from chipdrift.logs.findings import Delegation, LogFindings, Timing, Trouble, UnknownForm
from chipdrift.logs.headline import (
    chips_said,
    print_failures,
    print_fallbacks,
    print_sessions,
    stand_ins,
    with_conversions,
)
from chipdrift.logs.page import ROWS, Page, listed
from chipdrift.logs.session import CONVERSIONS

if TYPE_CHECKING:
    from rich.console import Console

_BAD = re.compile(r"fail|error|crash|cannot|can't|unable|denied|abort", re.I)
_SHOWN = 5


def print_findings(
    findings: LogFindings, console: Console, chips: Mapping[int, str] | None = None
) -> None:
    """Print ``findings``; ``chips`` names QNN's numbers of chips (36: ``SM8450``)."""
    page = Page(console)
    _head(page, findings, chips or {})
    print_failures(page, findings)
    print_sessions(page, findings, chips or {})
    print_fallbacks(page, findings)
    _troubles(page, findings)
    _placement(page, findings)
    _times(page, findings)
    _rest(page, findings)
    _model(page, findings)
    _unread(page, findings)


def _head(page: Page, findings: LogFindings, chips: Mapping[int, str]) -> None:
    sources = ", ".join(findings.sources) or "no source that chipdrift knows"
    page.say(f"{findings.file}: {counted(findings.lines, 'line')}; {sources}", "bold")
    said = chips_said(findings.chips, chips)
    if said:
        page.say(f"Chip: {listed(said, 8)}")
    before = stand_ins(findings.chips, chips)
    if before:
        page.say(
            f"The simulator's default, {listed(before, 4)}, stood there until that was chosen."
        )
    if findings.versions:
        versions = [f"{entry.what} {entry.version}" for entry in findings.versions]
        page.say(f"Versions: {listed(versions, 8)}")


def _troubles(page: Page, findings: LogFindings) -> None:
    known = {cause for refused in findings.refusals for cause in refused.causes}
    known |= {failure.text for session in findings.sessions for failure in session.failures}
    errors = [t for t in findings.troubles if t.severity == "error" and t.text not in known]
    warnings = [t for t in findings.troubles if t.severity == "warning"]
    if errors:
        beside = " beside these" if findings.fallbacks else ""
        page.section(f"{_kinds(errors)}{beside}", "bold red")
        page.rows(_trouble(trouble) for trouble in errors[:ROWS])
        if len(errors) > ROWS:
            page.say(
                f"and {counted(len(errors) - ROWS, 'more kind')} (--json has all)", "dim", indent=2
            )
    if warnings:
        page.section(_kinds(warnings), "yellow")
        page.rows(_trouble(trouble) for trouble in warnings[:4])
        if len(warnings) > 4:
            page.say(
                f"and {counted(len(warnings) - 4, 'more kind')} (--json has all)", "dim", indent=2
            )


def _kinds(troubles: list[Trouble]) -> str:
    """How many lines there are, and of how many kinds where some are alike."""
    lines = sum(trouble.count for trouble in troubles)
    kinds = f" of {counted(len(troubles), 'kind')}" if lines > len(troubles) else ""
    return f"{counted(lines, troubles[0].severity)}{kinds}"


def _trouble(trouble: Trouble) -> tuple[str, ...]:
    return f"{trouble.count} x", f"line {trouble.line:,}", f"{trouble.source}: {trouble.text}"


def _placement(page: Page, findings: LogFindings) -> None:
    counts: dict[str, int] = {}
    ran = {fall.node for fall in findings.fallbacks if fall.ran}
    ran -= {place.node for place in findings.placements if place.how == "placed"}
    nowhere = {fall.node for fall in findings.fallbacks if not fall.ran} - ran
    refused = sum(session.refused for session in findings.sessions)
    for place in findings.placements:
        if place.op in CONVERSIONS or not place.node:
            continue
        if place.how != "refused" or place.node not in nowhere:
            counts[place.provider] = counts.get(place.provider, 0) + 1
    devices: dict[str, set[str | None]] = {}
    for place in findings.placements:
        if place.node is None:
            devices.setdefault(place.provider, set()).add(place.op)
    if not counts and not devices and not refused and not findings.delegations:
        return
    over = ", all sessions together" if len(findings.sessions) > 1 else ""
    page.section(f"Where nodes are{over}")
    rows = [
        (f"{count}", f"{name} ({_noun(count, 'node')}, conversions apart)")
        for name, count in counts.items()
    ]
    rows += [(f"{refused}", "nowhere: refused, and the session failed")] * bool(refused)
    rows += [
        (f"{len(ops)}", f"{name} ({_noun(len(ops), 'kind')} of op)")
        for name, ops in devices.items()
    ]
    rows += [
        _delegation(taken, with_conversions(findings))
        for taken in findings.delegations
        # A session that counts its nodes only has none among the names.
        if taken.provider not in counts or taken.nodes == taken.total is not None
    ]
    if findings.graph_io:
        kind = _noun(findings.graph_io, "conversion")
        border = f"{kind} of the graph's own inputs and outputs on the CPU, by design"
        rows.append((f"{findings.graph_io}", border))
    if findings.conversions:
        other = "other " * bool(findings.graph_io) + _noun(findings.conversions, "conversion")
        rows.append((f"{findings.conversions}", f"{other} on the CPU"))
    page.rows(rows)


def _delegation(taken: Delegation, conversions: bool) -> tuple[str, str]:
    of = f"of {taken.total} " if taken.total is not None else ""
    nodes = "?" if taken.nodes is None else f"{taken.nodes}"
    parts = f" in {counted(taken.partitions, 'partition')}" if taken.partitions else ""
    kind = "" if taken.processor == "unknown" else f", {taken.processor.upper()}"
    noun = _noun(taken.nodes if taken.total is None else taken.total, "node")
    # onnxruntime counts Quantize and Dequantize as any other node.
    among = ""
    if conversions and taken.provider.endswith("ExecutionProvider") and (taken.nodes or 0) > 1:
        among = ", any conversions counted"
    return nodes, f"{of}{noun} with {taken.provider}{kind}{parts}{among} (line {taken.line:,})"


def _noun(count: int | None, what: str) -> str:
    return what if count == 1 else f"{what}s"


def _times(page: Page, findings: LogFindings) -> None:
    nodes = [timing for timing in findings.timings if timing.kind == "node"]
    phases = [timing for timing in findings.timings if timing.kind == "phase"]
    if not nodes and not phases:
        return
    page.section("Times: mean, and how often")
    for unit in ("us", "cycles"):
        page.rows((_time(t) for t in [t for t in nodes if t.unit == unit][:8]), right=2)
    page.rows((_time(t) for t in phases[:8]), right=2)
    left = max(len(nodes) - 8, 0) + max(len(phases) - 8, 0)
    if left:
        page.say(f"and {left} more (--json has all)", "dim", indent=2)


def _time(timing: Timing) -> tuple[str, ...]:
    mean = timing.mean
    if timing.unit == "cycles":
        shown = f"{mean:,.0f} cycles"
    else:
        shown = f"{mean / 1e3:,.3f} ms" if mean >= 1e3 else f"{mean:,.1f} us"
    of = ", ".join(word for word in (timing.op, timing.provider) if word)
    return shown, f"{timing.count} x", f"{timing.name}{f' ({of})' if of else ''}"


def _rest(page: Page, findings: LogFindings) -> None:
    if findings.fusions:
        page.section("Fusions")
        page.rows(
            (f"{f.count} x", f"{f.name}{': ' + listed(list(f.nodes), 6) if f.nodes else ''}")
            for f in findings.fusions[:ROWS]
        )
    if findings.quantizers:
        kinds: dict[str, int] = {}
        for tensor in findings.quantizers:
            axis = " per channel" if tensor.quantizer.axis is not None else ""
            kind = f"{tensor.quantizer.dtype}{axis}"
            kinds[kind] = kinds.get(kind, 0) + 1
        shown = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        page.section(
            f"Quantization parameters of {counted(len(findings.quantizers), 'tensor')}: {shown}"
        )
        changed = [tensor.tensor for tensor in findings.quantizers if tensor.differing]
        if changed:
            page.say(f"given differently by later lines: {listed(changed, 6)}", "yellow", 2)
        page.say("--json has scales and zero points", "dim", indent=2)


def _model(page: Page, findings: LogFindings) -> None:
    join = findings.model
    if join is None:
        return
    total = len(join.named) + len(join.silent)
    if not join.named and not join.strangers and not join.added:
        counts = any(taken.nodes or taken.partitions for taken in findings.delegations)
        only = ", it only counts them" if counts else ""
        page.section(f"Model {join.model}: this log names no nodes{only}")
        return
    page.section(f"Model {join.model}: the log names {len(join.named)} of {counted(total, 'node')}")
    if join.silent:
        are = "is" if len(join.silent) == 1 else "are"
        page.say(
            f"{listed(list(join.silent), 8, ' and ')} {are} not in it: {_where(findings)}",
            indent=2,
        )
    if join.strangers:
        page.say(
            f"{counted(len(join.strangers), 'name')} of the log that the model lacks: "
            f"{listed(list(join.strangers), 8)}",
            "yellow",
            2,
        )


def _where(findings: LogFindings) -> str:
    """Where nodes may be that the log does not name."""
    if not findings.tells_fallbacks:
        return "fused into others, or not on the NPU"
    if findings.sources.keys() <= {"profile_json"} and any(
        taken.nodes is None for taken in findings.delegations
    ):
        return "in a provider's subgraphs, or fused into others"
    return "fused into others, or renamed"


def _unread(page: Page, findings: LogFindings) -> None:
    if findings.unknown_lines:
        own = findings.read + findings.unknown_lines
        kinds = counted(findings.unknown_shapes, "form")
        shown = len(findings.unknown)
        them = "them" if shown == findings.unknown_shapes else f"{shown} of them"
        have = "has" if findings.unknown_lines == 1 else "have"
        page.section(
            f"{findings.unknown_lines:,} of the {counted(own, 'line')} that these sources wrote "
            f"{have} a form that chipdrift does not know ({kinds}; --json shows {them})",
            "dim",
        )
        bad = [form for form in findings.unknown if _is_bad(form)]
        if bad:
            page.say("Those that look like errors:", indent=2)
            page.rows(
                (f"{form.count} x", f"line {form.line:,}", f"{form.source}: {form.shape[:120]}")
                for form in bad[:_SHOWN]
            )
        if len(bad) > _SHOWN:
            page.say(f"and {counted(len(bad) - _SHOWN, 'more form')}", "dim", indent=2)
    if findings.foreign:
        page.say(f"{counted(findings.foreign, 'line')} of none of these sources", "dim")
    blank = findings.lines - findings.read - findings.unknown_lines - findings.foreign
    if blank > 0 and findings.unknown_lines:
        page.say(f"{counted(blank, 'empty line')}", "dim")
    for damage in findings.damage:
        near = f" (near line {damage.line:,})" if damage.line else ""
        page.say(f"Damaged: {damage.what}, {damage.count:,} x{near}", "yellow")


def _is_bad(form: UnknownForm) -> bool:
    return form.severity == "error" or _BAD.search(form.shape) is not None
