"""A log's findings on a terminal, worst first: what fell back and why, then what else went wrong.

Every figure stands beside the line of the log where it was first said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from chipdrift.logs.findings import Delegation, Fallback, LogFindings, Timing, Trouble
from chipdrift.logs.session import CONVERSIONS

if TYPE_CHECKING:
    from rich.console import Console

_ROWS = 12
_CHIP = {
    "soc": "{}",
    "ro.soc.model": "ro.soc.model {}",
    "soc_model": "QNN's soc_model {}",
    "soc_id": "the kernel's soc_id {}",
    "arch": "Hexagon v{}",
    "vtcm_mb": "{} MB of VTCM",
    "detected": "before the program chose one: {}",
}
"""How a chip's field is said, the surest first."""
_NAMES = 4


def print_findings(
    findings: LogFindings, console: Console, chips: Mapping[int, str] | None = None
) -> None:
    """Print ``findings``; ``chips`` names QNN's numbers of chips (36: ``SM8450``)."""
    page = _Page(console)
    _head(page, findings, chips or {})
    _fallbacks(page, findings)
    _troubles(page, findings)
    _placement(page, findings)
    _times(page, findings)
    _rest(page, findings)
    _model(page, findings)
    _unread(page, findings)


class _Page:
    """Sections with a heading each, an empty line between them."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def section(self, title: str, style: str = "bold") -> None:
        self._console.print()
        self.say(title, style)

    def say(self, text: str, style: str = "", indent: int = 0) -> None:
        from rich.padding import Padding
        from rich.text import Text

        self._console.print(Padding(Text(text, style=style), (0, 0, 0, indent), expand=False))

    def rows(self, rows: Iterable[tuple[str, ...]], right: int = 1) -> None:
        """A table without lines; the first ``right`` columns are figures."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        made = list(rows)
        for index in range(len(made[0]) if made else 0):
            table.add_column(
                justify="right" if index < right else "left",
                no_wrap=index < right,
                overflow="fold",
            )
        for row in made:
            table.add_row(*(Text(cell) for cell in row))
        if made:
            from rich.padding import Padding

            self._console.print(Padding(table, (0, 0, 0, 2), expand=False))


def _head(page: _Page, findings: LogFindings, chips: Mapping[int, str]) -> None:
    sources = ", ".join(findings.sources) or "no source that chipdrift knows"
    page.say(f"{findings.file}: {_counted(findings.lines, 'line')}; {sources}", "bold")
    said = []
    for field, words in _CHIP.items():
        for chip in findings.chips:
            if chip.field == field:
                known = chips.get(int(chip.value)) if field == "soc_model" else None
                said.append(f"{words.format(chip.value)}{f' ({known})' if known else ''}")
    if said:
        page.say(f"Chip: {_listed(said, 8)}")
    if findings.versions:
        versions = [f"{entry.what} {entry.version}" for entry in findings.versions]
        page.say(f"Versions: {_listed(versions, 8)}")


def _shortfalls(findings: LogFindings) -> list[str]:
    """Delegates on the CPU, and those of the NPU that did not take all: the log names no nodes."""
    said = []
    for taken in findings.delegations:
        line, total = f"(line {taken.line:,})", taken.total or 0
        if taken.processor == "cpu" and total and taken.nodes:
            share = f"{taken.nodes} of {total} nodes"
            said.append(f"{share} are with {taken.provider}, on the CPU {line}")
        elif taken.processor == "npu" and taken.nodes == 0:
            said.append(f"{taken.provider} took no node {line}")
        elif taken.processor == "npu" and taken.nodes and taken.nodes < total:
            left = f"{total - taken.nodes} of {total} nodes"
            said.append(f"{left} are not with {taken.provider} {line}")
    return list(dict.fromkeys(said))


def _fallbacks(page: _Page, findings: LogFindings) -> None:
    short = _shortfalls(findings)
    if short:
        page.section("Not all is on the NPU", "bold red")
        for words in short[:_ROWS]:
            page.say(words, "red", indent=2)
    if not findings.fallbacks:
        if short:
            return
        if any(place.processor == "npu" for place in findings.placements):
            page.section("No node left the NPU, as far as the log says.", "bold green")
        elif not findings.placements and not findings.delegations:
            page.section("The log does not say where nodes ran.", "bold yellow")
            page.say(
                "onnxruntime says it with log_severity_level=0, or in its profile "
                "(enable_profiling); LiteRT and NNAPI at the level verbose.",
                indent=2,
            )
        return
    groups: dict[tuple[str | None, tuple[str, ...]], list[Fallback]] = {}
    for fall in findings.fallbacks:
        groups.setdefault((_reason(fall), _told(fall)), []).append(fall)
    named = len({fall.node for fall in findings.fallbacks if fall.node})
    ops = len({fall.op for fall in findings.fallbacks if not fall.node})
    said = [f"{_counted(named, 'node')} left the NPU"] * bool(named)
    said += [f"{_counted(ops, 'kind')} of op did, without names"] * bool(named and ops)
    said += [f"{_counted(ops, 'kind')} of op refused or left to the CPU"] * (not named)
    page.section(f"{'; '.join(said)}: worst first", "bold red")
    ordered = sorted(groups.items(), key=lambda entry: -len(entry[1]))
    for (_, causes), falls in ordered[:_ROWS]:
        names = [fall.node for fall in falls if fall.node]
        kinds: dict[str, int] = {}
        for fall in falls:
            kind = fall.op or "op not named"
            kinds[kind] = kinds.get(kind, 0) + (1 if fall.node else fall.count)
        shown = _listed([f"{count} {kind}" for kind, count in kinds.items()], 8)
        where = f": {_listed(names, _NAMES)}" if names else " (the log names no nodes)"
        page.say(f"{shown}{where}", "red", indent=2)
        page.say(falls[0].reason or "the log gives no reason", indent=6)
        for cause in causes:
            page.say(f"because: {cause}", indent=6)
        page.say(f"line {min(fall.line for fall in falls):,}", "dim", indent=6)
    if len(ordered) > _ROWS:
        page.say(f"and {len(ordered) - _ROWS} more groups (--json has all)", "dim", indent=2)


def _reason(fall: Fallback) -> str | None:
    """The reason without the node's own names, so that nodes with the same trouble are one row."""
    reason = fall.reason
    for name in (fall.node, fall.op):
        if reason is not None and name:
            reason = reason.replace(f"`{name}`", "`…`")
    return reason


def _told(fall: Fallback) -> tuple[str, ...]:
    """The causes that do not name the node, but the trouble."""
    shared = [cause for cause in fall.causes if not fall.node or fall.node not in cause]
    return tuple(dict.fromkeys(shared))[:2]


def _troubles(page: _Page, findings: LogFindings) -> None:
    causes = {cause for refused in findings.refusals for cause in refused.causes}
    errors = [t for t in findings.troubles if t.severity == "error" and t.text not in causes]
    warnings = [t for t in findings.troubles if t.severity == "warning"]
    if errors:
        beside = " beside these" if findings.fallbacks else ""
        page.section(f"{_counted(len(errors), 'error')}{beside}", "bold red")
        page.rows(_trouble(trouble) for trouble in errors[:_ROWS])
        if len(errors) > _ROWS:
            page.say(f"and {len(errors) - _ROWS} more (--json has all)", "dim", indent=2)
    if warnings:
        page.section(f"{_counted(len(warnings), 'warning')}", "yellow")
        page.rows(_trouble(trouble) for trouble in warnings[:4])
        if len(warnings) > 4:
            page.say(f"and {len(warnings) - 4} more (--json has all)", "dim", indent=2)


def _trouble(trouble: Trouble) -> tuple[str, ...]:
    return f"{trouble.count} x", f"line {trouble.line:,}", f"{trouble.source}: {trouble.text}"


def _placement(page: _Page, findings: LogFindings) -> None:
    counts: dict[str, int] = {}
    for place in findings.placements:
        if place.op not in CONVERSIONS and place.node:
            counts[place.provider] = counts.get(place.provider, 0) + 1
    devices: dict[str, set[str | None]] = {}
    for place in findings.placements:
        if place.node is None:
            devices.setdefault(place.provider, set()).add(place.op)
    if not counts and not devices and not findings.delegations:
        return
    page.section("Where nodes are")
    rows = [(f"{count}", f"{name} (nodes, conversions apart)") for name, count in counts.items()]
    rows += [(f"{len(ops)}", f"{name} (kinds of op)") for name, ops in devices.items()]
    rows += [_delegation(taken) for taken in findings.delegations if taken.provider not in counts]
    if findings.graph_io:
        border = "conversions of the graph's own inputs and outputs on the CPU, by design"
        rows.append((f"{findings.graph_io}", border))
    if findings.conversions:
        other = "other conversions" if findings.graph_io else "conversions"
        rows.append((f"{findings.conversions}", f"{other} on the CPU"))
    page.rows(rows)


def _delegation(taken: Delegation) -> tuple[str, str]:
    of = f"of {taken.total} " if taken.total is not None else ""
    nodes = "?" if taken.nodes is None else f"{taken.nodes}"
    parts = f" in {_counted(taken.partitions, 'partition')}" if taken.partitions else ""
    kind = "" if taken.processor == "unknown" else f", {taken.processor.upper()}"
    return nodes, f"{of}nodes with {taken.provider}{kind}{parts} (line {taken.line:,})"


def _times(page: _Page, findings: LogFindings) -> None:
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


def _rest(page: _Page, findings: LogFindings) -> None:
    if findings.fusions:
        page.section("Fusions")
        page.rows(
            (f"{f.count} x", f"{f.name}{': ' + _listed(list(f.nodes), 6) if f.nodes else ''}")
            for f in findings.fusions[:_ROWS]
        )
    if findings.quantizers:
        kinds: dict[str, int] = {}
        for tensor in findings.quantizers:
            axis = " per channel" if tensor.quantizer.axis is not None else ""
            kind = f"{tensor.quantizer.dtype}{axis}"
            kinds[kind] = kinds.get(kind, 0) + 1
        shown = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        page.section(f"Quantization parameters of {len(findings.quantizers)} tensors: {shown}")
        changed = [tensor.tensor for tensor in findings.quantizers if tensor.differing]
        if changed:
            page.say(f"given differently by later lines: {_listed(changed, 6)}", "yellow", 2)
        page.say("--json has scales and zero points", "dim", indent=2)


def _model(page: _Page, findings: LogFindings) -> None:
    join = findings.model
    if join is None:
        return
    total = len(join.named) + len(join.silent)
    page.section(f"Model {join.model}: the log names {len(join.named)} of {total} nodes")
    if join.silent:
        page.say(
            f"{len(join.silent)} it does not name (fused into others, or renamed): "
            f"{_listed(list(join.silent), 8)}",
            indent=2,
        )
    if join.strangers:
        page.say(
            f"{_counted(len(join.strangers), 'name')} of the log that the model lacks: "
            f"{_listed(list(join.strangers), 8)}",
            "yellow",
            2,
        )


def _unread(page: _Page, findings: LogFindings) -> None:
    if findings.unknown_lines:
        own = findings.read + findings.unknown_lines
        page.section(
            f"{_counted(findings.unknown_lines, 'line')} of {own:,} have a form that chipdrift "
            f"does not know ({_counted(findings.unknown_shapes, 'form')}); errors first"
        )
        page.rows(
            (f"{form.count} x", f"line {form.line:,}", f"{form.source}: {form.shape[:120]}")
            for form in findings.unknown[:5]
        )
    if findings.foreign:
        page.section(f"{_counted(findings.foreign, 'line')} of none of these sources", "dim")
    for damage in findings.damage:
        near = f" (near line {damage.line:,})" if damage.line else ""
        page.say(f"Damaged: {damage.what}, {damage.count:,} x{near}", "yellow")


def _listed(names: list[str], most: int) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
