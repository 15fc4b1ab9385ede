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
    for subject in dict.fromkeys(f.subject for f in result.findings):
        found = [f for f in result.findings if f.subject == subject]
        lines += [f"## {subject}", "", *_table(found), ""]
    lines += ["## The profile", "", "```toml", result.profile.rstrip(), "```", ""]
    return "\n".join(lines)


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
        "Targets with the same rules: "
        + "; ".join(" = ".join(r.target for r in group) for group in columns)
        + ".",
        "",
    ]
    keys = list(dict.fromkeys((f.subject, f.rule) for r in results for f in r.findings))
    kept = {(r.target, f.subject, f.rule): f for r in results for f in r.findings}
    heads = [
        "what",
        "rule",
        *(", ".join(r.target.removeprefix("htp:") for r in g) for g in columns),
    ]
    parted, shared = [], []
    for subject, rule in keys:
        cells = [_cell(kept.get((group[0].target, subject, rule))) for group in columns]
        row = [subject, _TITLES.get(rule, rule), *cells]
        if len(set(cells)) > 1:
            parted.append(row)
        elif rule not in ("repeat", "batch", "refused"):
            shared.append([subject, _TITLES.get(rule, rule), cells[0]])
    lines += ["## Where they part", "", *_grid(heads, parted), ""]
    lines += ["## What they share", "", *_grid(["what", "rule", "all"], shared), ""]
    return "\n".join(lines)


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
        return " or ".join(finding.undecided)
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
