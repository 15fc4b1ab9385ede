"""A summary for a pull request: short, with a table, as GitHub's step summaries show it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from chipdrift.counts import counted
from chipdrift.gate.records import Check, Gate, Since
from chipdrift.gate.wording import amount, clean

_MOST_ROWS = 20
_MOST_COMMANDS = 3


def markdown(gate: Gate) -> str:
    """The summary, what is broken first."""
    return "\n".join(_lines(gate)) + "\n"


def verdict(gate: Gate) -> str:
    """ "failed, 2 limits broken, 1 unproven, 37 held"."""
    broken, held = len(gate.broken), len(gate.of("pass"))
    unproven = len(gate.of("unproven")) - sum(c.outcome == "unproven" for c in gate.broken)
    parts = [f"{counted(broken, 'limit')} broken"] if broken else []
    parts += [f"{unproven} unproven"] if unproven else []
    return ", ".join(["failed" if gate.failed else "passed", *parts, f"{held} held"])


def _lines(gate: Gate) -> Iterator[str]:
    yield f"### chipdrift gate: {verdict(gate)}"
    yield ""
    yield (
        f"{_code(gate.model)}, {counted(gate.samples, 'sample')}, {gate.metric.name}; policy "
        f"{_code(gate.policy)}"
    )
    shown = [*gate.broken, *(c for c in gate.of("unproven") if not c.breaks)]
    if shown:
        yield ""
        yield "| | cell | limit | found | 95 % interval | allowed | evidence |"
        yield "|---|---|---|---|---|---|---|"
        rows = _rows(shown)
        yield from rows[:_MOST_ROWS]
        if len(rows) > _MOST_ROWS:
            yield f"\n{len(rows) - _MOST_ROWS} more rows are in the log."
    asked = {(c.scheme, c.limit): c.command for c in reversed(gate.broken) if c.command}
    commands = list(dict.fromkeys(reversed(asked.values())))
    if commands:
        yield from ("", "What says why:", "", "```sh", *commands[:_MOST_COMMANDS], "```")
    changed = [change for change in gate.since if change.kind != "same"]
    if gate.since:
        yield ""
        yield f"**Since the baseline**, {_changes(gate.since, changed)}"
    if changed:
        yield from ("", "| cell | what changed |", "|---|---|")
        for change in changed[:_MOST_ROWS]:
            yield f"| {_cell(change)} | {_plain(change.words)} |"
        if len(changed) > _MOST_ROWS:
            yield f"\n{len(changed) - _MOST_ROWS} more are in the log."
    if gate.warnings:
        yield ""
        yield from (f"- {_plain(warning)}" for warning in gate.warnings)


def _rows(checks: Sequence[Check]) -> list[str]:
    """One row for all targets of a scheme of which a limit says the same."""
    found: dict[tuple[str, ...], list[str]] = {}
    for check in checks:
        state = "unproven" if check.outcome == "unproven" else "broken"
        between = ""
        if check.low is not None and check.high is not None:
            between = f"{amount(check.low)} to {amount(check.high)}"
        limit = check.limit if check.against is None else f"{check.limit} {check.against}"
        key = (
            *(f"**{state}**" if check.breaks else state, check.scheme, _code(limit)),
            *(_plain(check.shown), between, _plain(check.allowed), check.evidence or ""),
        )
        found.setdefault(key, []).append(_code(check.target))
    return [
        f"| {state} | {_code(scheme)} on {', '.join(targets)} | {' | '.join(rest)} |"
        for (state, scheme, *rest), targets in found.items()
    ]


def _changes(since: Sequence[Since], changed: Sequence[Since]) -> str:
    if not changed:
        return f"nothing changed in {counted(len(since), 'cell')}."
    return f"{len(changed)} of {counted(len(since), 'cell')} changed:"


def _cell(of: Since) -> str:
    return f"{_code(of.scheme)} on {_code(of.target)}"


def _code(name: str) -> str:
    """A code span that a table's cell can hold, whatever the name."""
    told = clean(name).replace("|", "\\|")
    runs = [len(run) for run in re.findall("`+", told)]
    fence = "`" * next(n for n in range(1, len(runs) + 2) if n not in runs)
    pad = " " if told.startswith("`") or told.endswith("`") else ""
    return f"{fence}{pad}{told}{pad}{fence}"


def _plain(words: str) -> str:
    """Words in which nothing is taken for Markdown, HTML or a mention."""
    told = re.sub(r"([\\`*_{}\[\]<>|~#])", r"\\\1", clean(words))
    return told.replace("@", "&#64;")
