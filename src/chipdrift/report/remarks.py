"""The summary's sentences beyond accuracy: who is alike, what is missing, what weakens it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from chipdrift.counts import counted
from chipdrift.records import Cell, Matrix, Pair
from chipdrift.report.evidence import evidence_remark
from chipdrift.report.figures import (
    chips,
    differing,
    held,
    hosts,
    is_engine,
    listing,
    name_targets,
    number,
    percent,
)
from chipdrift.report.finding import Finding, Kind

_MOST = 6
_MOST_GROUPS = 3


def identical(matrix: Matrix) -> list[Finding]:
    """Which targets give the same bits, under which schemes, and on how many samples."""
    ran: dict[str, set[str]] = defaultdict(set)
    for cell in matrix.cells:
        if cell.status == "ok":
            ran[cell.scheme].add(cell.target)
    what = held(matrix)
    sets: dict[tuple[str, ...], list[str]] = defaultdict(list)
    measured: dict[tuple[str, ...], int] = {}
    total = matrix.data.samples
    for group in matrix.groups:
        if len(group.targets) > 1:
            sets[group.targets].append(group.scheme)
            known = measured.get(group.targets, group.measured)
            measured[group.targets] = min(known, group.measured)
    if not sets:
        if any(len(targets) > 1 for targets in ran.values()):
            return [
                Finding("note", f"No two targets give the same {what} throughout.", "agreement")
            ]
        return []
    found = []
    for targets, schemes in list(sets.items())[:_MOST_GROUPS]:
        there = [scheme for scheme, who in ran.items() if who >= set(targets)]
        under = (
            f"all {len(there)} schemes they ran"
            if len(there) == len(schemes) > 1
            else listing(schemes, 5)
        )
        least = measured[targets]
        text = f"{listing(targets, 12)} give the same {what} under {under}, on "
        if least == total:
            text += f"all {counted(total, 'sample')}."
        else:
            text += (
                f"the {counted(least, 'sample')} that each of them ran; beyond these one stands in "
                "for the rest."
            )
        found.append(Finding("calm", text, "agreement"))
    if len(sets) > _MOST_GROUPS:
        text = f"{counted(len(sets) - _MOST_GROUPS, 'more group')} of identical targets."
        found.append(Finding("note", text, "agreement"))
    return found


def least_agreement(matrix: Matrix) -> list[Finding]:
    """The pair of targets that agrees least; if it has the host, the least without it, too."""
    from chipdrift.diagnose.agreeing import least_agreeing

    worst = least_agreeing(matrix.pairs)
    if worst is None:
        return []
    found = [f"The pair that agrees least: {_pair(matrix, worst)}."]
    own = hosts(matrix)
    if {worst.a, worst.b} & own:
        silicon = chips(matrix)
        others = [p for p in matrix.pairs if not {p.a, p.b} & own]
        between = [p for p in others if {p.a, p.b} <= silicon]
        where = "Between two chips" if between else f"Without {listing(sorted(own))}"
        second = least_agreeing(between or others)
        if second is not None:
            found.append(f"{where}: {_pair(matrix, second)}.")
    return [Finding("note", " ".join(found), "agreement")]


def _pair(matrix: Matrix, pair: Pair) -> str:
    text = (
        f"{pair.a} and {pair.b} under {pair.scheme}, same {matrix.metric.answer} on "
        f"{percent(pair.agreement)} ({differing(pair):,} of "
        f"{counted(pair.samples, 'sample')} differ)"
    )
    if pair.lsb is not None:
        text += f", outputs up to {pair.lsb.max:,} LSB apart, {number(pair.lsb.mean)} on average"
    elif pair.max_abs is not None:
        text += f", outputs up to {number(pair.max_abs)} apart"
    return text


def samples(matrix: Matrix) -> list[Finding]:
    """On how many samples the targets part."""
    if not matrix.pairs:
        return []
    answer = matrix.metric.answer
    if not matrix.parted:
        text = f"All targets give the same {answer} on every sample, scheme by scheme."
        return [Finding("calm", text, "samples")]
    schemes = dict.fromkeys(parting.scheme for parting in matrix.partings)
    text = (
        f"Targets part (not all give the same {answer}) on {counted(matrix.parted, 'sample')}, "
        "counted under each scheme"
    )
    cut = matrix.parted > len(matrix.partings)
    return [Finding("note", text + ("." if cut else f": {listing(list(schemes), 8)}."), "samples")]


def not_available(matrix: Matrix) -> list[Finding]:
    """What has no result, and why: once per reason."""
    reasons: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in matrix.cells:
        if cell.status != "ok":
            reasons[cell.status, cell.reason or "no reason recorded"].append(cell)
    found = []
    for (status, reason), cells in list(reasons.items())[:_MOST]:
        words = "failed" if status == "failed" else "not available"
        words = "" if reason.startswith(words) else f"{words}: "
        text = f"{where_cells(matrix, cells)}: {words}{shorten(reason)}"
        kind: Kind = "caution" if status == "failed" else "missing"
        found.append(Finding(kind, text, "matrix"))
    if len(reasons) > _MOST:
        text = f"{counted(len(reasons) - _MOST, 'more reason')} for cells without a result."
        found.append(Finding("missing", text, "matrix"))
    return found


def where_cells(matrix: Matrix, cells: Sequence[Cell], most: int = 4) -> str:
    """Cells in words: "fp32 on every chip; w8a8 on htp:sm8350"."""
    by_scheme: dict[str, list[str]] = defaultdict(list)
    for cell in cells:
        by_scheme[cell.scheme].append(cell.target)
    by_targets: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for scheme, targets in by_scheme.items():
        by_targets[tuple(targets)].append(scheme)
    return "; ".join(
        f"{listing(schemes, 8)} on {name_targets(matrix, targets, most)}"
        for targets, schemes in by_targets.items()
    )


def cautions(matrix: Matrix) -> list[Finding]:
    """What weakens the figures: overlap, warnings, an unfinished run, and what kind they are."""
    found = []
    if not matrix.complete:
        text = "This run is not complete: some cells were not measured on all samples."
        found.append(Finding("caution", text, "basis"))
    calibration = matrix.calibration
    if calibration is not None and calibration.overlap:
        text = (
            f"{calibration.overlap} of {counted(calibration.samples, 'calibration sample')} are "
            "in the evaluation data, too: the figures flatter."
        )
        found.append(Finding("caution", text, "basis"))
    reasons: dict[str, list[Cell]] = defaultdict(list)
    for cell in matrix.cells:
        said = is_engine(cell) and cell.placement is not None and cell.placement.npu == 0
        if cell.status == "ok" and cell.reason and not said:  # by the sentence on its nodes
            reasons[cell.reason].append(cell)
    for reason, cells in list(reasons.items())[:_MOST]:
        text = f"{where_cells(matrix, cells)}: {shorten(reason)}"
        found.append(Finding("caution", text, "placement"))
    found += [Finding("caution", shorten(warning), "basis") for warning in matrix.warnings]
    return [*found, *evidence_remark(matrix)]


def shorten(text: str, most: int = 220) -> str:
    """The first line, cut at ``most`` characters."""
    first = text.strip().split("\n")[0].strip()
    return first if len(first) <= most else first[: most - 3].rstrip() + "..."
