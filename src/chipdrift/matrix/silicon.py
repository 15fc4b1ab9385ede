"""Simulator against silicon: wherever both answered, how far the one predicted the other.

A simulator is a cell whose evidence is ``vendor-simulator``, ``prediction``, or
``emulated-runtime`` (a phone's processor, emulated); silicon is ``device``, or ``reported``:
silicon that someone else ran. Which chip each of them is, is read from what the cells say of
themselves, and is unknown where they say nothing: see :mod:`chipdrift.matrix.identity`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from chipdrift.counts import counted
from chipdrift.matrix.identity import Identity, identity_of, relation_of
from chipdrift.metrics import Comparison, Metric, Outputs, compare, holm
from chipdrift.records import Cell, Delta, Pair, Relation, SiliconCheck

# Those that say most of a simulator first.
_RELATIONS = get_args(Relation)
_SIGNIFICANT = 0.05
_FEW = 100
# Words by which silicon says that its NPU ran the model, where no placement shows it.
_NPU = ("htp", "npu", "hexagon", "dsp")


def silicon_checks(
    metric: Metric,
    cells: Sequence[Cell],
    outputs: Mapping[str, Outputs],
    pairs: Sequence[Pair],
    descriptions: Mapping[str, str],
) -> list[SiliconCheck]:
    """Every simulator against every silicon of one scheme.

    ``cells`` and ``pairs`` are the scheme's; ``outputs`` are the cells' that have answers and
    ``descriptions`` say in words what targets are, both by target. p-values are as the tests give
    them: :func:`corrected` goes over all schemes' checks together.
    """
    there = [cell for cell in cells if cell.status == "ok" and cell.metric is not None]
    found = {frozenset((pair.a, pair.b)): pair for pair in pairs}
    known: dict[tuple[int, int], Comparison] = {}
    checks = []
    for silicon in (cell for cell in there if cell.is_silicon):
        its = identity_of(silicon, descriptions.get(silicon.target, ""))
        for simulator in (cell for cell in there if cell.predicts(silicon)):
            a, b = outputs[silicon.target], outputs[simulator.target]
            if (id(a), id(b)) not in known:
                known[id(a), id(b)] = compare(metric, a, b)
            own = identity_of(simulator, descriptions.get(simulator.target, ""))
            pair = found[frozenset((simulator.target, silicon.target))]
            checks.append(_check(simulator, silicon, own, its, pair, known[id(a), id(b)]))
    return checks


def corrected(checks: Sequence[SiliconCheck], cells: Sequence[Cell]) -> tuple[SiliconCheck, ...]:
    """The checks in order, those of the same chip first, with Holm's correction.

    Checks of the same chip are corrected for each other, and the others for each other: that a run
    holds many other chips must not hide that a simulator failed on its own. A simulator's result
    that is another's is no further comparison.
    """
    shared = {(cell.scheme, cell.target): cell.copied_from for cell in cells}
    done = []
    for same in (True, False):
        family = [check for check in checks if (check.relation == "same-chip") == same]
        leads: dict[tuple[str, str, str], float] = {}
        for check in family:
            lead = shared.get((check.scheme, check.simulator)) or check.simulator
            leads[check.scheme, lead, check.silicon] = check.difference.p_value
        values = dict(zip(leads, holm(list(leads.values())), strict=True))
        for check in family:
            lead = shared.get((check.scheme, check.simulator)) or check.simulator
            p = float(values[check.scheme, lead, check.silicon])
            update = {"p_holm": p, "significant": p < _SIGNIFICANT}
            difference = check.difference.model_copy(update=update)
            done.append(check.model_copy(update={"difference": difference}))
    return tuple(sorted(done, key=lambda check: _RELATIONS.index(check.relation)))


def _check(
    simulator: Cell, silicon: Cell, own: Identity, its: Identity, pair: Pair, found: Comparison
) -> SiliconCheck:
    assert simulator.metric is not None and silicon.metric is not None
    same_sdk = None if None in (own.release, its.release) else own.release == its.release
    return SiliconCheck(
        scheme=simulator.scheme,
        simulator=simulator.target,
        silicon=silicon.target,
        simulator_evidence=simulator.evidence,
        silicon_evidence=silicon.evidence,
        relation=relation_of(own, its),
        simulator_chip=own.name,
        silicon_chip=its.name,
        simulator_generation=own.generation,
        silicon_generation=its.generation,
        simulator_sdk=own.sdk,
        silicon_sdk=its.sdk,
        same_sdk=same_sdk,
        samples=pair.samples,
        measured=pair.measured,
        agreement=pair.agreement,
        agreement_low=pair.agreement_low,
        agreement_high=pair.agreement_high,
        identical=pair.identical,
        lsb=pair.lsb,
        max_abs=pair.max_abs,
        predicted=simulator.metric,
        observed=silicon.metric,
        difference=Delta.uncorrected(*found),
        cautions=tuple(_cautions(simulator, silicon, pair)),
    )


def _cautions(simulator: Cell, silicon: Cell, pair: Pair) -> list[str]:
    """What else may make the two differ, or agree."""
    cautions = []
    if pair.samples < _FEW:
        cautions.append(f"{counted(pair.samples, 'sample')} carry little evidence")
    if pair.measured < pair.samples:
        cautions.append(
            f"the simulator itself ran {pair.measured} of {pair.samples} samples; the rest are "
            f"{simulator.copied_from}'s answers"
        )
    for cell in (silicon, simulator):
        if cell.reason:
            cautions.append(cell.reason)
    place, seen = simulator.placement, silicon.placement
    simulated_npu = simulator.evidence in ("vendor-simulator", "prediction")
    if simulator.evidence == "vendor-simulator" and place is not None and place.fallback:
        left = counted(len(place.fallback), "node")
        cautions.append(f"{left} left the simulated NPU and ran on this host's CPU")
    if simulated_npu and seen is not None and seen.npu == 0 and seen.cpu > 0:
        cautions.append("on the silicon every node ran on the CPU, which is not what was simulated")
    elif seen is not None and seen.npu > 0 and seen.fallback:
        cautions.append(f"{counted(len(seen.fallback), 'node')} left the silicon's NPU")
    elif simulated_npu and (seen is None or seen.npu == 0) and not _says_npu(silicon):
        cautions.append("nothing says that the silicon's NPU ran the model")
    return cautions


def _says_npu(silicon: Cell) -> bool:
    words = " ".join(silicon.versions.get(key, "") for key in ("runtime", "sdk", "backend"))
    return any(word in words.lower() for word in _NPU)
