"""The evidence of a probe as a page: each rule, the experiment, the counts, what was ruled out."""

from __future__ import annotations

from collections.abc import Sequence

from chipdrift.probe.finding import Finding
from chipdrift.probe.run import ProbeResult

# A rule's answer in people's words, where its name alone does not tell.
_TITLES = {
    "repeat": "the same answer every time",
    "batch": "depends on the rest of the batch",
    "scale": "arithmetic of the scale",
    "multiplier": "form of the multiplier",
    "bits": "bits of the multiplier",
    "steps": "rounding steps",
    "rounding": "rounding",
    "zero_point": "where the zero point is added",
    "bias": "how the bias arrives",
    "bias_rounding": "rounding of the bias",
    "drop": "low bits dropped",
    "keep": "bits kept below the output's step",
    "drop_rounding": "how they are dropped",
    "parts": "dropped together or apart",
    "correction_drop": "rounding of the zero points' correction",
    "bias_drop": "rounding of the dropped bias",
    "least_scale": "least factor from which the rules hold",
    "stored": "weights that have a zero point",
    "narrow": "what becomes of the second activation",
}


def probe_page(result: ProbeResult) -> str:
    """One target's page, Markdown."""
    lines = [
        f"# What {result.target} does with numbers",
        "",
        f"Probed by `chipdrift probe {result.target}` on {result.created} with "
        f"{result.models} small models, {result.seconds:.0f} s. Evidence: **{result.evidence}**"
        + _limits(result.evidence)
        + " Versions: "
        + ", ".join(f"{k} {v}" for k, v in result.versions.items())
        + ".",
        "",
    ]
    lines += _summary(result)
    for subject in dict.fromkeys(f.subject for f in result.findings):
        found = [f for f in result.findings if f.subject == subject]
        lines += [f"## {subject}", "", *_table(found), ""]
    lines += ["## The profile", "", "```toml", result.profile.rstrip(), "```", ""]
    return "\n".join(lines)


def _summary(result: ProbeResult) -> list[str]:
    """What is known, what is not, in two lists: the page for whoever has a minute."""
    known, open_ = [], []
    for subject in dict.fromkeys(f.subject for f in result.findings):
        found = [f for f in result.findings if f.subject == subject and f.asked]
        if not found:
            open_.append(f"{subject}: not possible here")
            continue
        share = min(f.explained / f.asked for f in found)
        if share == 1:
            known.append(subject)
        else:
            open_.append(f"{subject}: {_share(share)} explained")
    lines = ["Every answer is explained by the rules found for: " + "; ".join(known) + "."]
    if open_:
        lines += ["", "Not (wholly) explained, so a forecast of these is a guess:", ""]
        lines += [f"- {entry}" for entry in open_]
    return [*lines, ""]


def difference_page(results: Sequence[ProbeResult]) -> str:
    """Several targets side by side: only the rules in which they part, then those they share."""
    columns = _columns(results)
    lines = [
        "# What the targets do differently",
        "",
        "Made by `chipdrift probe " + " ".join(r.target for r in results) + " -o FOLDER` on "
        f"{results[0].created}. Each rule was found from inputs and outputs alone; the page of "
        "each target has the counts. Evidence: "
        + ", ".join(sorted({f"**{r.evidence}**" + _limits(r.evidence) for r in results})),
        "",
        _same(columns),
        "",
    ]
    kept: dict[tuple[str, str, str], str] = {}
    for result in results:
        for finding in result.findings:
            for subject in _subjects(finding.subject):
                kept[result.target, subject, finding.rule] = _cell(finding)
    keys = list(dict.fromkeys((subject, rule) for _, subject, rule in kept))
    heads = ["what", "rule", *(_names(column) for column in columns)]
    parted: dict[tuple[str, ...], list[str]] = {}
    shared: dict[tuple[str, ...], list[str]] = {}
    for subject, rule in keys:
        cells = [kept.get((column[0].target, subject, rule), "not asked") for column in columns]
        row = (_TITLES.get(rule, rule), *cells)
        if "not asked" in cells or rule in ("repeat", "batch", "refused"):
            continue
        if len(set(cells)) > 1:
            parted.setdefault(row, []).append(subject)
        else:
            shared.setdefault(row[:2], []).append(subject)
    lines += ["## Where they part", "", *_grid(heads, _rows(parted)), ""]
    lines += ["## What they share", "", *_grid(["what", "rule", "all"], _rows(shared)), ""]
    return "\n".join(lines)


def _same(columns: Sequence[Sequence[ProbeResult]]) -> str:
    """Which targets follow the same rules, in a sentence."""
    groups = [" = ".join(r.target for r in column) for column in columns if len(column) > 1]
    if not groups:
        return "No two of them follow the same rules."
    return "These follow the same rules: " + "; ".join(groups) + "."


def _subjects(subject: str) -> list[str]:
    """ "gemm, plain, 8 bit" as "gemm, 8 bit" and "plain, 8 bit"."""
    *kinds, last = subject.split(", ")
    return [f"{kind}, {last}" for kind in kinds] if kinds else [last]


def _rows(rows: dict[tuple[str, ...], list[str]]) -> list[list[str]]:
    """One row for all subjects that have the same cells; kinds of one width in one list."""
    out = []
    for cells, subjects in rows.items():
        widths: dict[str, list[str]] = {}
        for subject in subjects:
            kind, _, width = subject.rpartition(", ")
            widths.setdefault(width, []).append(kind)
        names = [f"{', '.join(kinds)}, {w}" if kinds[0] else w for w, kinds in widths.items()]
        out.append(["; ".join(names), *cells])
    return sorted(out, key=lambda row: row[0])


def _names(column: Sequence[ProbeResult]) -> str:
    return ", ".join(result.target.removeprefix("htp:") for result in column)


def _columns(results: Sequence[ProbeResult]) -> list[list[ProbeResult]]:
    """Targets with the same findings together."""
    columns: list[list[ProbeResult]] = []
    for result in results:
        for column in columns:
            if _answers(column[0]) == _answers(result):
                column.append(result)
                break
        else:
            columns.append([result])
    return columns


def _answers(result: ProbeResult) -> dict[tuple[str, str], str]:
    return {(f.subject, f.rule): _cell(f) for f in result.findings}


def _cell(finding: Finding | None) -> str:
    if finding is None:
        return "not asked"
    if isinstance(finding.value, bool):
        return "yes" if finding.value else "no"
    if finding.value is None and finding.undecided:
        return " or ".join("none" if value == "None" else value for value in finding.undecided)
    if finding.value is None and finding.explained == finding.asked and finding.asked:
        return "none"
    return "unknown" if finding.value is None else str(finding.value)


def _limits(evidence: str) -> str:
    if evidence == "vendor-simulator":
        return " (the vendor's simulator on a host, not silicon)."
    if evidence in ("prediction", "hypothesis"):
        return " (chipdrift's own engine)."
    return "."


def _table(found: Sequence[Finding]) -> list[str]:
    rows = []
    for f in found:
        ruled = ", ".join(f"{v} ({_share(share)})" for v, share in f.ruled_out[:4])
        words = f"{f.words}: {' or '.join(f.undecided)}" if f.undecided else f.words
        counts = f"{f.explained:,} of {f.asked:,}" if f.asked else ""
        rows.append([_TITLES.get(f.rule, f.rule), _cell(f), counts, ruled, words])
    return _grid(["rule", "found", "outputs explained", "ruled out (share explained)", "why"], rows)


def _share(share: float) -> str:
    """A share below one is never written as 100 %."""
    return f"{share:.1%}" if share < 0.999 else f"{min(share, 0.99999):.3%}"


def _grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return ["Nothing."]
    clean = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return [
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(heads),
        *("| " + " | ".join(row) + " |" for row in clean),
    ]
