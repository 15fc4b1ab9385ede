"""Simulator against silicon in sentences, for the page and the terminal alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import get_args

from chipdrift.counts import agreeing, counted
from chipdrift.records import Matrix, Relation, SiliconCheck
from chipdrift.report.figures import Figures, listing, number, p_value, percent
from chipdrift.report.finding import Finding, Kind
from chipdrift.report.phones import phones

_MOST = 4
_ORDER: tuple[Kind, ...] = ("loss", "caution", "gain", "note", "calm", "missing")


def relation_words(check: SiliconCheck) -> str:
    """How near the two chips are; a profile is of a generation and of no chip."""
    match check.relation:
        case "same-chip":
            return "same chip"
        case "same-generation":
            return "same generation" + (", other chip" if check.simulator_chip else "")
        case "other-generation":
            return "other generation"
        case _:
            return "unknown"


def silicon(matrix: Matrix) -> list[Finding]:
    """How far simulators predicted silicon; that nothing was checked, where nothing was."""
    by_pair: dict[tuple[str, str], list[SiliconCheck]] = defaultdict(list)
    for check in matrix.silicon:
        by_pair[check.simulator, check.silicon].append(check)
    checked = {c.silicon for c in matrix.silicon if c.relation == "same-chip"}
    found = [
        _predicted(matrix, checks)
        for checks in by_pair.values()
        if checks[0].relation == "same-chip"
    ]
    found.sort(key=lambda finding: _ORDER.index(finding.kind))
    for target in dict.fromkeys(c.silicon for c in matrix.silicon if c.silicon not in checked):
        found.append(_no_simulator(matrix, [c for c in matrix.silicon if c.silicon == target]))
    return [*found, *not_checked(matrix)]


def _predicted(matrix: Matrix, checks: Sequence[SiliconCheck]) -> Finding:
    """One simulator and one silicon of its chip: the scheme under which it failed most leads."""
    figures = Figures.of(matrix)
    worst = min(checks, key=lambda c: (not c.difference.significant, c.agreement, c.identical))
    rest = [check for check in checks if check is not worst]
    text = f"{_gave(worst)}; {_measured(figures, worst)}."
    if rest:
        text += f" {_rest(rest)}"
    if worst.same_sdk is False:
        text += f" The SDKs differ: {worst.simulator_sdk} simulated, {worst.silicon_sdk} there."
    if worst.cautions:
        text += f" Mind: {'; '.join(worst.cautions)}."
    kind: Kind = "note"
    if worst.difference.significant:
        kind = "loss" if figures.worse(worst.difference.value) > 0 else "caution"
    elif worst.agreement < 1:
        kind = "caution"
    elif all(check.identical == 1 for check in checks):
        kind = "calm"
    return Finding(kind, text, "silicon")


def _gave(check: SiliconCheck) -> str:
    """Whose answer the simulator gave, on how many samples, and how far the bits are apart."""
    chip = check.simulator_chip or check.simulator_generation
    match check.simulator_evidence:
        case "vendor-simulator":
            who = f"The simulator of {chip}" if chip else "The simulator"
        case "prediction":
            who = f"The forecast for {chip}" if chip else "The forecast"
        case _:
            who = "The emulated runtime"
    answer = f"the answer reported of {check.silicon}"
    if check.silicon_evidence == "device":
        answer = f"the phone's answer ({check.silicon})"
    same = round(check.agreement * check.samples)
    where = f"all {counted(same, 'sample')}" if same == check.samples else ""
    where = where or f"{same:,} of {counted(check.samples, 'sample')}"
    text = f"{who} ({check.simulator}) gave {answer} under {check.scheme} on {where}"
    if check.agreement_low is not None and check.agreement_high is not None:
        low, high = percent(check.agreement_low), percent(check.agreement_high)
        text += f" (95 % interval {low.removesuffix(' %')} to {high})"
    if check.identical == 1:
        return f"{text}, to the bit"
    if same == check.samples:
        text += f", though the outputs are identical on {percent(check.identical)} only"
    return f"{text}{_apart(check, ', ')}"


def _apart(check: SiliconCheck, before: str) -> str:
    if check.lsb is not None:
        return f"{before}up to {check.lsb.max:,} LSB apart, {number(check.lsb.mean)} on average"
    return "" if check.max_abs is None else f"{before}up to {number(check.max_abs)} apart"


def _measured(figures: Figures, check: SiliconCheck) -> str:
    """The metric, predicted and found; nothing that others ran was measured here."""
    found = "measured" if check.silicon_evidence == "device" else "reported"
    name, change = check.predicted.name, check.difference
    if check.predicted.value == check.observed.value and not change.significant:
        return f"{name} {figures.value(check.observed.value)}, predicted and {found}"
    text = (
        f"{name} {figures.value(check.predicted.value)} predicted, "
        f"{figures.value(check.observed.value)} {found}"
    )
    if change.significant:
        how = "worse" if figures.worse(change.value) > 0 else "better"
        return (
            f"{text}: {figures.amount(change.value)} {how} than predicted, which chance does not "
            f"explain (p = {p_value(change.p_holm)} after Holm's correction)".replace("= <", "<")
        )
    span = figures.change_span(change)
    unit = f" {figures.change_unit}".rstrip()
    room = f", 95 % interval of the difference {span}{unit}" if span else ""
    return f"{text}, which may be chance (p = {p_value(change.p_holm)}{room})".replace("= <", "<")


def _rest(rest: Sequence[SiliconCheck]) -> str:
    """The other schemes: the least agreement among them, and those whose metric differs, too."""
    under = f"under the other {len(rest)} schemes" if len(rest) > 1 else f"under {rest[0].scheme}"
    under = under[0].upper() + under[1:]
    if all(check.identical == 1 for check in rest):
        return f"{under}: every output the same, to the bit."
    least = min(check.agreement for check in rest)
    words = "on every sample" if least == 1 else f"on {percent(least)} of samples"
    more = " or more" if len(rest) > 1 and least < 1 else ""
    text = f"{under}: the same answer {words}{more}."
    real = [check.scheme for check in rest if check.difference.significant]
    if real:
        text += f" The difference is more than chance explains under {listing(real)}, too."
    return text


def _no_simulator(matrix: Matrix, checks: Sequence[SiliconCheck]) -> Finding:
    """Silicon without a simulator of its chip: the nearest there is, named as what it is."""
    silicon, chip = checks[0].silicon, checks[0].silicon_chip
    nearest = min((check.relation for check in checks), key=get_args(Relation).index)
    if chip is None:
        text = (
            f"{silicon} does not say which chip it is, so no simulator here can be held to it "
            '(in import.toml, chip = "SM8550" says so): the table has them side by side.'
        )
        return Finding("caution", text, "silicon")
    text = f"No simulator here is of {silicon}'s chip ({chip}), so none was checked by it."
    near = [check for check in checks if check.relation == nearest]
    start = f"Nearest ({relation_words(near[0])})"
    if nearest == "unknown":  # an emulated processor is no chip's, and says something all the same
        near = [check for check in near if check.simulator_evidence == "emulated-runtime"]
        start = "Beside it"
    if near:
        worst = min(near, key=lambda c: (not c.difference.significant, c.agreement, c.identical))
        text += f" {start}: {_lower(_gave(worst))}; {_measured(Figures.of(matrix), worst)}."
    return Finding("note", text, "silicon")


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def not_checked(matrix: Matrix) -> list[Finding]:
    """One line where a run has simulators, and no silicon to hold them to."""
    if matrix.silicon:
        return []
    ran = [cell for cell in matrix.cells if cell.status == "ok"]
    if any(simulator.predicts(cell) for simulator in ran for cell in ran):
        verb = "matrix" if matrix.imported is None else "import"
        text = (
            "This run is older than the check of simulators against silicon: the same chipdrift "
            f"{verb} command makes it, and measures nothing twice."
        )
        return [Finding("caution", text, "silicon")]
    if not any(cell.is_simulator for cell in ran):
        return []
    mute = list(dict.fromkeys(cell.target for cell in matrix.cells if cell.is_silicon))
    emulated = [target for target in phones(matrix) if target not in mute]
    if mute:
        why = f"no simulator answered for what {listing(mute, _MOST)} ran"
    elif emulated:
        verb = agreeing(len(emulated), "is", "are")
        why = f"{listing(emulated, _MOST)} {verb} emulated, and no silicon is among the targets"
    else:
        why = "no phone (adb:SERIAL, import:RUN) is among the targets"
    text = f"Nothing here was checked against silicon: {why}."
    return [Finding("missing", text, "silicon")]
