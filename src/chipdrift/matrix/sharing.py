"""Find the chips that answer alike, so that one of them can stand in for the rest.

Two chips are alike on the audit samples when their outputs, every activation in between, and the
place of every node are the same, bit for bit. What this rests on (the number of samples) is said
with every result that is shared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set

from chipdrift.data import Samples
from chipdrift.matrix.cells import CellPlan
from chipdrift.store import Store, content_key, digest_arrays

# Simulated chips that answer alike differ in cost by up to 15 times. Another than the first leads
# only where that saves more than noise could: a factor, and seconds.
_AS_FAST, _WORTH = 2.0, 2.0


def audit_indices(samples: Samples, count: int) -> list[int]:
    """The first ``count`` samples: all where there are no more."""
    return list(range(min(count, len(samples))))


def same_outputs(
    store: Store, samples: Samples, cells: Sequence[CellPlan], indices: Sequence[int]
) -> list[list[CellPlan]]:
    """Groups of two or more cells with the same outputs on ``indices`` and the same placement."""
    groups: dict[str, list[CellPlan]] = defaultdict(list)
    keys = [samples.keys[i] for i in indices]
    for cell in cells:
        if cell.runs:
            answers = [digest_arrays(arrays) for arrays in store.outputs(cell.key, keys)]
            groups[content_key([answers, store.fact(f"nodes:{cell.key}")])].append(cell)
    return [group for group in groups.values() if len(group) > 1]


def share(
    store: Store, samples: Samples, group: Sequence[CellPlan], indices: Sequence[int]
) -> None:
    """Within a group of equal outputs, let cells with equal activations share one representative.

    The representative is the cell with the most samples measured already, then the first of those
    that the host simulates about as fast as the fastest. A cell that was measured further, and
    differs there, is left alone.
    """
    keys = [samples.keys[i] for i in indices]
    alike: dict[str, list[CellPlan]] = defaultdict(list)
    for cell in group:
        digests = store.digests(cell.key)
        if all(key in digests for key in keys):
            alike[content_key([digests[key] for key in keys])].append(cell)
    for cells in alike.values():
        measured = {id(cell): store.measured(cell.key) for cell in cells}
        wanted = set(samples.keys)
        lead = _lead(cells, [measured[id(cell)] for cell in cells], wanted)
        for cell in cells:
            if cell is lead or wanted <= measured[id(cell)].keys():
                continue
            both = sorted(wanted & measured[id(cell)].keys() & measured[id(lead)].keys())
            pairs = zip(store.outputs(cell.key, both), store.outputs(lead.key, both), strict=True)
            if all(digest_arrays(a) == digest_arrays(b) for a, b in pairs):
                cell.shares_with, cell.audited = lead, len(both)


def _lead(
    cells: Sequence[CellPlan], measured: Sequence[Mapping[str, float]], wanted: Set[str]
) -> CellPlan:
    counts = [len(wanted & timed.keys()) for timed in measured]
    best = [i for i, count in enumerate(counts) if count == max(counts)]
    lacking = len(wanted) - max(counts)
    cost = {i: lacking * sum(measured[i].values()) / max(1, len(measured[i])) for i in best}
    least = min(cost.values())
    near = max(_AS_FAST * least, least + _WORTH)
    return cells[next(i for i in best if cost[i] <= near)]
