"""The summary's sentences on where nodes ran: what left the NPU, what no known rule computed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from chipdrift.counts import counted
from chipdrift.records import Cell, Matrix, NodePlace, Placement
from chipdrift.report.figures import has_npu, is_engine, listing, name_targets
from chipdrift.report.finding import Finding
from chipdrift.report.remarks import where_cells

_MOST = 6
_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear"})


def placement(matrix: Matrix) -> list[Finding]:
    """What left the NPU, what our engine left to onnxruntime; that nothing did, where it is so."""
    ran = [c for c in matrix.cells if c.status == "ok" and c.placement is not None]
    return [*_npu(matrix, ran), *_engine(matrix, ran), *_assumed(matrix, ran)]


def assumption(cell: Cell) -> str | None:
    """What a cell's forecast rests on that its profile does not know, or None."""
    place = cell.placement
    if cell.status != "ok" or place is None or not place.assumed:
        return None
    nodes = f"{len(place.assumed)} of {counted(_ran(place), 'node')}"
    return (
        f"{nodes} {_rest(place.assumed)} on an unknown rule ({ops(place.assumed)}): its profile "
        "has none for them, so the engine's default stood in. Of these it is a guess, no forecast"
    )


def ops(nodes: Sequence[NodePlace], most: int = 3) -> str:
    """Nodes in words: an op's only node by its name, many by their number."""
    counts = Counter(node.op for node in nodes)
    words = []
    for op, count in counts.most_common():
        only = next(place.node for place in nodes if place.op == op)
        words.append(f"{op} {only}" if count == 1 else f"{count} {op}")
    return listing(words, most + 1)


def _npu(matrix: Matrix, ran: Sequence[Cell]) -> list[Finding]:
    placed = [cell for cell in ran if has_npu(cell)]
    found = _left(
        matrix,
        placed,
        lambda nodes: f"nothing ran on the NPU; all {nodes} left it",
        lambda left, nodes: f"{left} of {nodes} left the NPU",
    )
    stayed = _kept(matrix, placed)
    if placed and not found:
        aside = any(c.placement.graph_io or c.placement.conversions for c in placed if c.placement)
        text = (
            f"No fallback: in all {counted(len(placed), 'cell')} on chips every "
            f"{'other ' * bool(stayed)}node ran on the NPU"
            + (", conversions at the graph's border aside." if aside else ".")
        )
        return [*stayed, Finding("calm", text, "placement")]
    return [*found, *stayed]


def _kept(matrix: Matrix, placed: Sequence[Cell]) -> list[Finding]:
    """What schemes keep in float32: on the CPU as they wish, or against their wish on the NPU."""
    alike: dict[tuple[str, str | None, tuple[NodePlace, ...], int], list[Cell]] = defaultdict(list)
    for cell in placed:
        place = cell.placement
        for reason in {node.reason for node in place.kept} if place is not None else ():
            assert place is not None
            nodes = tuple(node for node in place.kept if node.reason == reason)
            total = place.npu + place.cpu
            alike[cell.scheme, reason, nodes, total].append(cell)
    found = []
    for (scheme, reason, nodes, total), cells in list(alike.items())[:_MOST]:
        where = f"{scheme} on {name_targets(matrix, [c.target for c in cells])}"
        share = f"{len(nodes)} of {counted(total, 'node')} ({ops(nodes)})"
        if reason is None:
            verb = "was" if len(nodes) == 1 else "were"
            text = f"{where}: {share} {verb} kept on the CPU by the scheme, in float32."
            found.append(Finding("calm", text, "placement"))
        else:
            found.append(Finding("caution", f"{where}: {share}: {reason}.", "placement"))
    return found


def _engine(matrix: Matrix, ran: Sequence[Cell]) -> list[Finding]:
    """The engine has no NPU: what is not under a profile's rules runs in onnxruntime."""
    return _left(
        matrix,
        [cell for cell in ran if is_engine(cell)],
        lambda nodes: (
            f"none of {nodes} ran under the profile's rules, all in onnxruntime on the host's CPU"
        ),
        lambda left, nodes: (
            f"{left} of {nodes} ran in onnxruntime on the host's CPU, not under the profile's rules"
        ),
    )


def _left(
    matrix: Matrix,
    placed: Sequence[Cell],
    all_of: Callable[[str], str],
    some_of: Callable[[int, str], str],
) -> list[Finding]:
    """One sentence for all targets with the same list of nodes, the longest lists first."""
    alike: dict[tuple[str, tuple[tuple[str, str], ...], int], list[Cell]] = defaultdict(list)
    for cell in placed:
        place = cell.placement
        if place is not None and place.fallback:
            names = tuple((node.op, node.node) for node in place.fallback)
            alike[cell.scheme, names, place.npu].append(cell)
    found = []
    for (scheme, names, npu), cells in sorted(alike.items(), key=lambda x: -len(x[0][1]))[:_MOST]:
        where = f"{scheme} on {name_targets(matrix, [c.target for c in cells])}"
        total = counted(len(names) + npu, "node")
        words = some_of(len(names), total) if npu else all_of(total)
        nodes = [NodePlace(op=op, node=node) for op, node in names]
        found.append(Finding("caution", f"{where}: {words} ({ops(nodes)}).", "placement"))
    if len(alike) > _MOST:
        text = f"{counted(len(alike) - _MOST, 'more list')} of nodes like these."
        found.append(Finding("caution", text, "placement"))
    return found


def _assumed(matrix: Matrix, ran: Sequence[Cell]) -> list[Finding]:
    """Forecasts that are guesses for some nodes, once for all schemes and targets alike."""
    alike: dict[str, list[Cell]] = defaultdict(list)
    for cell in ran:
        words = assumption(cell)
        if words is not None:
            alike[words].append(cell)
    found = [
        Finding("caution", f"{where_cells(matrix, cells)}: {words}.", "placement")
        for words, cells in list(alike.items())[:_MOST]
    ]
    if len(alike) > _MOST:
        text = f"{counted(len(alike) - _MOST, 'more list')} of nodes that rest on unknown rules."
        found.append(Finding("caution", text, "placement"))
    return found


def _ran(place: Placement) -> int:
    """The nodes that count: those that change a quantizer do only where they are listed."""
    return place.npu + place.cpu + sum(node.op in _CONVERSIONS for node in place.assumed)


def _rest(nodes: Sequence[NodePlace]) -> str:
    return "rests" if len(nodes) == 1 else "rest"
