"""What changed in a run since a committed baseline, and which of it the policy does not allow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from chipdrift.counts import counted, rounded
from chipdrift.errors import ChipdriftError
from chipdrift.gate.baseline import bits_of, versions_of
from chipdrift.gate.judge import Figure, at_most
from chipdrift.gate.policy import Policy, SinceLimits
from chipdrift.gate.reading import Reading
from chipdrift.gate.records import BaselineCell, Check, GateBaseline, Since
from chipdrift.gate.wording import amount, clean, is_share, names, points, sentence, sounder
from chipdrift.records import Cell, MetricInfo


def check_same(reading: Reading, base: GateBaseline, limits: SinceLimits) -> list[str]:
    """What must be said where the two are not of one model or data.

    Raises ChipdriftError where the policy does not allow that, and for another metric.
    """
    matrix, told = reading.matrix, []
    if (base.metric, base.output) != (matrix.metric.name, matrix.metric.output):
        raise ChipdriftError(
            f"Run {reading.run} has the metric {matrix.metric.name} of {matrix.metric.output}, its "
            f"baseline {base.metric} of {base.output}. Measure with --metric {base.metric}, or "
            "write the baseline anew."
        )
    for what, name, own, kept, theirs in (
        ("model", matrix.model.name, matrix.model.sha256, base.model, base.model_sha256),
        ("data", matrix.data.name, matrix.data.sha256, base.data, base.data_sha256),
    ):
        if own == theirs:
            if not own:
                told.append(
                    f"run {reading.run} and its baseline do not say of which {what} they are"
                )
            continue
        words = (
            f"run {reading.run} is of another {what} than its baseline ({name}, sha256 "
            f"{own[:12] or 'unknown'}; {kept}, {theirs[:12] or 'unknown'})"
        )
        if getattr(limits, f"other_{what}") == "refuse":
            raise ChipdriftError(
                f"{words[0].upper()}{words[1:]}. Write the baseline anew where that is meant, or "
                f'allow it in the policy: [since] other_{what} = "warn".'
            )
        told.append(words)
    own_cal = None if matrix.calibration is None else matrix.calibration.sha256
    if own_cal != base.calibration_sha256:
        told.append(f"run {reading.run} was calibrated on other samples than its baseline")
    return told


def changes_of(reading: Reading, base: GateBaseline) -> list[Since]:
    """Every cell of the run and of the baseline, by scheme and target."""
    matrix = reading.matrix
    then = {(cell.scheme, cell.target): cell for cell in base.cells}
    now = {(cell.scheme, cell.target): cell for cell in matrix.cells}
    same_data = base.data_sha256 == matrix.data.sha256
    found = []
    for key in sorted({*then, *now}):
        before, after = then.get(key), now.get(key)
        fields = _fields(reading, before, after, same_data)
        words = "; ".join(_told(fields, matrix.metric))
        found.append(
            Since(
                scheme=key[0],
                target=key[1],
                kind=_kind(before, after, words),
                words={"new": "not in the baseline", "missing": "not in the run"}.get(
                    _kind(before, after, words), words or "no change"
                ),
                **fields,
            )
        )
    return found


def _kind(
    before: BaselineCell | None, after: Cell | None, words: str
) -> Literal["same", "changed", "new", "missing"]:
    if before is None:
        return "new"
    if after is None:
        return "missing"
    return "changed" if words else "same"


def _fields(
    reading: Reading, before: BaselineCell | None, after: Cell | None, same_data: bool
) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "status": (before and before.status, after and after.status),
        "evidence": (before and before.evidence, after and after.evidence),
        "metric": (before and before.metric, after and after.metric and after.metric.value),
        "agreement": (before and before.agreement, after and after.agreement),
    }
    if before is None or after is None:
        return fields
    old, new = fields["metric"]
    if old is not None and new is not None:
        info = reading.matrix.metric
        sign = 100.0 if is_share(info) else 1.0
        fields["drop"] = rounded((old - new) if info.higher_is_better else (new - old), sign)
        # The baseline has nine digits: what lies behind them is no change.
        fields["drop"] = round(fields["drop"], 6) + 0.0
    if before.bits is not None and after.status == "ok" and same_data:
        fields["same_bits"] = bits_of(Path(reading.run), after) == before.bits
    if before.file is not None and after.model_sha256 is not None:
        fields["same_file"] = before.file == after.model_sha256
    if after.placement is not None:
        was = {place.node: place for place in before.fallback}
        has = {place.node: place for place in after.placement.fallback}
        fields["left_npu"] = tuple(place for node, place in has.items() if node not in was)
        fields["joined_npu"] = tuple(place for node, place in was.items() if node not in has)
    versions = versions_of(after)
    fields["versions"] = {
        name: (before.versions.get(name), versions.get(name))
        for name in sorted({*before.versions, *versions})
        if before.versions.get(name) != versions.get(name)
    }
    return fields


def _told(fields: dict[str, Any], info: MetricInfo) -> Iterator[str]:
    """What changed, in words."""
    times, unit = (100.0, " %") if is_share(info) else (1.0, "")
    for name in ("status", "evidence"):
        old, new = fields[name]
        if old != new:
            yield f"{old} to {new}"
    if fields.get("drop"):
        old, new = (times * value for value in fields["metric"])
        yield f"{info.name} {amount(old, new)} to {amount(new, old)}{unit}"
    old, new = fields["agreement"]
    if old is not None and new is not None and round(old - new, 6):
        yield f"agreement {amount(100 * old, 100 * new)} to {amount(100 * new, 100 * old)} %"
    if fields.get("same_bits") is False:
        yield "other bits"
    if fields.get("same_file") is False:
        yield "another quantized model file"
    for key, words in (("left_npu", "left the NPU"), ("joined_npu", "came back to the NPU")):
        places = fields.get(key, ())
        if places:
            told = names([f"{place.op} {place.node}" for place in places])
            yield f"{counted(len(places), 'node')} {words} ({told})"
    for name, (before, after) in fields.get("versions", {}).items():
        yield clean(f"{name} {before or 'unknown'} to {after or 'unknown'}")


def checks_since(reading: Reading, policy: Policy, changes: list[Since]) -> Iterator[Check]:
    """The policy's limits on changes; what the policy only warns of is no check."""
    limits = policy.since or SinceLimits()
    cells = {(cell.scheme, cell.target): cell for cell in reading.matrix.cells}
    for change in changes:
        cell = cells.get((change.scheme, change.target))
        had = change.status[0] == "ok"
        if limits.missing == "fail" and had:
            gone = cell is None or cell.status != "ok"
            reason = f": {clean(cell.reason)}" if cell is not None and cell.reason else ""
            status = "is not in the run" if cell is None else f"is {cell.status} now{reason}"
            fact = f"it had answers and {status}" if gone else "it has answers as before"
            todo = "measure it again, or write the baseline anew where that is meant"
            yield _check(
                policy, change, cell, "missing", fact, "answers", gone, todo=todo, shown="none"
            )
        if cell is None or cell.status != "ok" or not had:
            continue
        command, todo = reading.diagnose(cell, sounder(reading.matrix, cell, reading.matrix.metric))
        more: dict[str, Any] = {"todo": todo, "command": command}
        if limits.drop is not None and change.drop is not None:
            info = reading.matrix.metric
            verb = "lost" if change.drop >= 0 else "gained"
            lost = points(amount(abs(change.drop), limits.drop), info)
            fact, allowed = (
                f"{lost} {verb} since, as seen",
                f"at most {points(f'{limits.drop:g}', info)}",
            )
            broken = at_most(Figure(change.drop), limits.drop, "value") == "fail"
            nodes = reading.suspects(cell)
            yield _check(
                policy, change, cell, "drop", fact, allowed, broken, change.drop, nodes, **more
            )
        if limits.new_fallback is not None and cell.placement is not None:
            count = len(change.left_npu)
            told = names([f"{place.op} {place.node}" for place in change.left_npu])
            fact = f"{counted(count, 'node')} left the NPU since" + (f", {told}" if told else "")
            nodes = tuple(place.node for place in change.left_npu)
            allowed = f"at most {counted(limits.new_fallback, 'node')} more off the NPU"
            broken = count > limits.new_fallback
            yield _check(
                policy, change, cell, "new_fallback", fact, allowed, broken, count, nodes, **more
            )
        if limits.bits == "fail" and change.same_bits is not None:
            fact = "its outputs have the same bits" if change.same_bits else "it has other bits"
            more |= {"nodes": reading.suspects(cell), "shown": "other bits"}
            broken = not change.same_bits
            yield _check(policy, change, cell, "bits", fact, "the same bits", broken, **more)


def _check(
    policy: Policy,
    change: Since,
    cell: Cell | None,
    key: str,
    fact: str,
    allowed: str,
    broken: bool,
    found: float | None = None,
    nodes: tuple[str, ...] = (),
    todo: str = "",
    command: str | None = None,
    shown: str = "",
) -> Check:
    evidence = change.evidence[0] if cell is None else cell.evidence
    samples = 0 if cell is None else cell.samples
    line = policy.line(("since", key)) if policy.since is not None else None
    at = "" if line is None else f" (line {line})"
    told = f"{counted(samples, 'sample')}, {evidence}" if samples else str(evidence)
    return Check(
        limit=f"since.{key}",
        rule="since",
        line=line,
        scheme=change.scheme,
        target=change.target,
        outcome="fail" if broken else "pass",
        breaks=broken,
        found=found,
        shown=shown or ("" if found is None else amount(found)),
        allowed=allowed,
        evidence=evidence,
        samples=samples,
        nodes=nodes,
        words=sentence(
            f"{change.scheme} on {change.target}",
            fact,
            told,
            f"[since] asks for {allowed}{at}",
            todo if broken else "held",
        ),
        command=command if broken else None,
    )


def warnings_since(policy: Policy, changes: list[Since]) -> Iterator[str]:
    """What changed that no limit holds."""
    limits = policy.since or SinceLimits()
    for kind, words in (("new", "are not in the baseline"), ("missing", "are not in the run")):
        found = [f"{c.scheme} on {c.target}" for c in changes if c.kind == kind]
        if found and (kind == "new" or limits.missing == "warn"):
            yield f"these cells {words}: {', '.join(found)}"
    other = [f"{c.scheme} on {c.target}" for c in changes if c.same_bits is False]
    if other and limits.bits == "warn":
        yield f"the outputs have other bits than in the baseline: {', '.join(other)}"
