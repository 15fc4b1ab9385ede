"""What comes first on the terminal: what failed, which session did what, what left the NPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from chipdrift.counts import counted
from chipdrift.logs.findings import ChipLine, Fallback, LogFindings, LogSession
from chipdrift.logs.page import ROWS, Page, listed
from chipdrift.logs.session import CONVERSIONS

_NAMES = 4
_CHIP = {
    "soc": "{}",
    "ro.soc.model": "ro.soc.model {}",
    "soc_model": "QNN's soc_model {}",
    "soc_id": "the kernel's soc_id {}",
    "arch": "Hexagon v{}",
    "vtcm_mb": "{} MB of VTCM",
    "detected": "{}",
}
"""How a chip's field is said, the surest first."""
_FAILED = {
    "session": "No session came to be",
    "run": "An inference failed",
    "unknown": "A session or an inference failed",
}
_SHORT = {"NnapiExecutionProvider": "NNAPI"}
_NO_FP16 = "doesn't support FP16"


def chips_said(lines: Sequence[ChipLine], chips: Mapping[int, str]) -> list[str]:
    """Each chip in words; ``chips`` names QNN's numbers (36: ``SM8450``)."""
    said = []
    chosen = any(chip.field in ("soc", "soc_model") for chip in lines)
    for field, words in _CHIP.items():
        for chip in lines:
            if chip.field != field:
                continue
            if field == "detected" and chosen:  # the simulator's default: see stand_ins
                continue
            known = "detected" if field == "detected" else _named(chip, chips)
            said.append(f"{words.format(chip.value)}{f' ({known})' if known else ''}")
    return said


def stand_ins(lines: Sequence[ChipLine], chips: Mapping[int, str]) -> list[str]:
    """The simulator's default chips, which stood there before the one at hand was chosen."""
    chosen = [chip for chip in lines if chip.field in ("soc", "soc_model")]
    if not chosen:
        return []
    named = {chip.value for chip in chosen} | {_named(chip, chips) for chip in chosen}
    found = [chip.value for chip in lines if chip.field == "detected"]
    return [value for value in found if value not in named]


def _named(chip: ChipLine, chips: Mapping[int, str]) -> str | None:
    return chips.get(int(chip.value)) if chip.field == "soc_model" else None


def print_failures(page: Page, findings: LogFindings) -> None:
    """Sessions that did not come to be, and inferences that failed."""
    several = len(findings.sessions) > 1
    said = []
    for kind, (number, session) in product(_FAILED, enumerate(findings.sessions, 1)):
        for failure in (failure for failure in session.failures if failure.kind == kind):
            words = _FAILED[failure.kind]
            if several and failure.kind == "session":
                words = f"Session {number} of {len(findings.sessions)} did not come to be"
            elif several:
                words = f"{words} in session {number} of {len(findings.sessions)}"
            said.append(f"{words}: {failure.text} (line {failure.line:,})")
    for words in said[:ROWS]:
        page.section(words, "bold red")
    if len(said) > ROWS:
        page.say(f"and {len(said) - ROWS} more (--json has all)", "dim")


def print_sessions(page: Page, findings: LogFindings, chips: Mapping[int, str]) -> None:
    """Each session by itself, where there are several."""
    sessions = findings.sessions
    if len(sessions) < 2:
        return
    page.section(f"{len(sessions)} sessions; what follows adds them up")
    for number, session in enumerate(sessions[:ROWS], 1):
        own = [chip for chip in session.chips if chip.field != "detected"]
        chip = listed(chips_said(own, chips), 4) or "chip not said"
        page.say(f"Session {number} (line {session.line:,}): {chip}", indent=2)
        page.say(_counts(session), "red" if session.failed else "", indent=6)
    if len(sessions) > ROWS:
        page.say(f"and {len(sessions) - ROWS} more (--json has all)", "dim", indent=2)


def _counts(session: LogSession) -> str:
    if session.failed:
        refused = f": {counted(session.refused, 'node')} refused" if session.refused else ""
        return f"did not come to be{refused}"
    said = [
        f"subgraphs with {share.provider}"
        if share.nodes is None
        else f"{counted(share.nodes, 'node')} with {share.provider}"
        for share in session.shares
    ]
    return listed(said, 6) or "no nodes"


def _nothing(findings: LogFindings) -> Iterator[str]:
    """Sessions without any node on an NPU, by their own list or a whole profile."""
    sessions = findings.sessions
    for number, session in enumerate(sessions, 1):
        taken = [share for share in session.shares if share.nodes != 0]
        if not session.listed or session.failed or not taken:
            continue
        if any(share.processor != "cpu" for share in taken):
            continue
        known = [share.nodes for share in taken if share.nodes is not None]
        which = f", in session {number} of {len(sessions)}" if len(sessions) > 1 else ""
        line = min(share.line for share in taken)
        yield _all_on_cpu(sum(known), line, with_conversions(findings)) + which
    places = findings.placements
    if sessions or any(place.processor != "cpu" for place in places):
        return
    names = {place.node for place in places if place.node and place.op not in CONVERSIONS}
    if names and all(taken.processor == "cpu" for taken in findings.delegations):
        yield _all_on_cpu(len(names), min(place.line for place in places), False)


def _all_on_cpu(nodes: int, line: int, conversions: bool) -> str:
    many = "the 1 node is" if nodes == 1 else f"all {nodes:,} nodes" if nodes else "all nodes"
    how = ", any conversions counted" if conversions and nodes > 1 else ""
    return f"Nothing ran on an NPU: {many} on the CPU{how} (line {line:,})"


def with_conversions(findings: LogFindings) -> bool:
    """Whether a session's count may hold Quantize and Dequantize nodes: the log names no node."""
    return not any(place.node for place in findings.placements)


def _shortfalls(findings: LogFindings) -> Iterator[str]:
    """Delegates on the CPU, and others that did not take all: the log names no nodes."""
    for taken in findings.delegations:
        line, total = f"(line {taken.line:,})", taken.total or 0
        provider = _SHORT.get(taken.provider, taken.provider)
        if taken.processor == "cpu":
            own = taken.provider == "CPUExecutionProvider"  # its session says it
            if total and taken.nodes and not own:
                share = f"{taken.nodes} of {counted(total, 'node')}"
                are = "is" if taken.nodes == 1 else "are"
                yield f"{share} {are} with {provider}, on the CPU {line}"
        elif taken.nodes == 0:
            yield f"{provider} took no node {line}"
        elif taken.nodes and taken.nodes < total:
            left = total - taken.nodes
            are = "is" if left == 1 else "are"
            yield f"{left:,} of {counted(total, 'node')} {are} not with {provider} {line}"


def print_fallbacks(page: Page, findings: LogFindings) -> None:
    """What is not on the NPU, worst first, and what to read next."""
    nothing = list(_nothing(findings))
    for words in nothing[:ROWS]:
        page.section(words, "bold red")
    short = list(dict.fromkeys(_shortfalls(findings)))
    if short:
        page.section("Not all is on the NPU", "bold red")
        for words in short[:ROWS]:
            page.say(words, "red", indent=2)
    left = [fall for fall in findings.fallbacks if fall.ran]
    refused = [fall for fall in findings.fallbacks if not fall.ran]
    if refused:
        page.section(f"{_title(refused, 'refused', 'refused')}: worst first", "bold red")
        _groups(page, refused)
    if left:
        title = _title(left, "left the NPU", "refused or left to the CPU")
        page.section(f"{title}: worst first", "bold red")
        _groups(page, left)
    if not findings.fallbacks and not nothing and not short:
        _none_said(page, findings)
    _next_steps(page, findings, bool(left or nothing or short))


def _title(falls: list[Fallback], named_words: str, op_words: str) -> str:
    named = len({fall.node for fall in falls if fall.node})
    ops = len({fall.op for fall in falls if not fall.node})
    if not named:
        return f"{counted(ops, 'kind')} of op {op_words}"
    also = f"; {counted(ops, 'kind')} of op too, without names" if ops else ""
    return f"{counted(named, 'node')} {named_words}{also}"


def _groups(page: Page, falls: list[Fallback]) -> None:
    groups: dict[tuple[str | None, tuple[str, ...]], list[Fallback]] = {}
    for fall in falls:
        groups.setdefault((_reason(fall), _told(fall)), []).append(fall)
    ordered = sorted(groups.items(), key=lambda entry: -len(entry[1]))
    for (_, causes), alike in ordered[:ROWS]:
        names = [fall.node for fall in alike if fall.node]
        kinds: dict[str, int] = {}
        for fall in alike:
            kind = fall.op or "op not named"
            kinds[kind] = kinds.get(kind, 0) + (1 if fall.node else fall.count)
        shown = listed([f"{count} {kind}" for kind, count in kinds.items()], 8)
        where = f": {listed(names, _NAMES)}" if names else " (the log names no nodes)"
        page.say(f"{shown}{where}", "red", indent=2)
        page.say(alike[0].reason or "the log gives no reason", indent=6)
        for cause in causes:
            page.say(f"because: {cause}", indent=6)
        page.say(f"line {min(fall.line for fall in alike):,}", "dim", indent=6)
    if len(ordered) > ROWS:
        page.say(
            f"and {counted(len(ordered) - ROWS, 'more group')} (--json has all)", "dim", indent=2
        )


def _none_said(page: Page, findings: LogFindings) -> None:
    """No node is known to have left the NPU: what the log can say of it."""
    shares = [share for session in findings.sessions for share in session.shares]
    npu = any(share.processor == "npu" for share in shares)
    npu = npu or any(place.processor == "npu" for place in findings.placements)
    how = (
        "onnxruntime says it with log_severity_level=0, or in its profile (enable_profiling); "
        "LiteRT and NNAPI at the level verbose."
    )
    if findings.tells_fallbacks and npu:
        page.section("No node left the NPU, as far as the log says.", "bold green")
    elif not findings.tells_fallbacks and (findings.placements or findings.delegations):
        page.section(
            "This kind of log lists only what the NPU ran: it cannot say what fell back.",
            "bold yellow",
        )
        page.say(how, indent=2)
    elif not findings.placements and not findings.delegations:
        page.section("The log does not say where nodes ran.", "bold yellow")
        page.say(how, indent=2)


def _next_steps(page: Page, findings: LogFindings, fell: bool) -> None:
    said = [cause for entry in findings.refusals for cause in (*entry.causes, entry.reason or "")]
    said += [trouble.text for trouble in findings.troubles]
    steps = ["fp16-not-on-chip"] * any(_NO_FP16 in words for words in said)
    steps += ["silent-fallback"] * fell
    if steps:
        page.section(f"Next: {', '.join(f'chipdrift checks {step}' for step in steps)}")


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
