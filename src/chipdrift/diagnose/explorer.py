"""Node data for Model Explorer: its graph of the model, coloured by what a diagnosis measured.

The format is that of Model Explorer's custom node data: one object by graph id, with ``results`` by
node and ``thresholds`` in rising order, each the upper bound of a colour; a graph has one measure a
file. Sources: ``node_data_builder.py`` of google-ai-edge/model-explorer, and its wiki, "API guide:
create custom node data". The ids of an ONNX file are those of the adapter model-explorer-onnx
(justinchuby/model-explorer-onnx, ``main.py``): a graph's id is its name in the file, a node's id is
the node's name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chipdrift.errors import RunError
from chipdrift.findings import Diagnosis, Distance

# How the files' names end, beside the diagnosis they belong to.
NODE_DATA = ".model-explorer.json"

# Upper bounds of the error in percent of the signal, each with its colour: decades, so 60, 40 and
# 20 dB. Between 0.1 % and 1 % lies what rounding otherwise leaves at 8 bits; from 10 % on the
# values themselves change. Colours are those of the report.
STEPS: tuple[tuple[float, str], ...] = (
    (0.0, "#ffffff"),
    (0.1, "#fdf1e3"),
    (1.0, "#fbd9ae"),
    (10.0, "#f7b666"),
    (1000.0, "#ee8f1d"),
)
_MOST = STEPS[-1][0]


def error_percent(distance: Distance) -> float:
    """The root mean square of the difference in percent of that of A's values, 1000 at most.

    It is the SQNR in other words: 40 dB are 1 %. 0 where nothing differs.
    """
    if distance.sqnr_db is None:
        return 0.0
    return min(_MOST, 100 * 10 ** (max(-100.0, distance.sqnr_db) / -20))


def step_of(distance: Distance) -> int:
    """The place in :data:`STEPS` of a distance: 0 for identical, then one for each decade."""
    error = error_percent(distance)
    return next(index for index, (bound, _) in enumerate(STEPS) if error <= bound)


def node_data(diagnosis: Diagnosis, graph: str) -> dict[str, dict[str, Any]]:
    """A document for each measure by its name: ``own-error`` and ``drift``.

    ``graph`` is the name of the ONNX file's graph. Values are :func:`error_percent`. A node has the
    greatest of its outputs' values; all nodes between the same quantizers have the same.
    """
    own: dict[str, float] = {}
    drift: dict[str, float] = {}
    there = (*diagnosis.activations, *diagnosis.outputs)
    seen = {a.tensor: error_percent(a.distance) for a in there}
    for entry in diagnosis.own:
        for node in entry.nodes or (entry.node,):
            if entry.distance is not None:
                own[node] = max(own.get(node, 0.0), error_percent(entry.distance))
            if entry.tensor in seen:
                drift[node] = max(drift.get(node, 0.0), seen[entry.tensor])
    pair = f"{diagnosis.scheme}, {diagnosis.a.target} against {diagnosis.b.target}"
    return {
        "own-error": {graph: _graph(f"own error, % of the signal ({pair})", own)},
        "drift": {graph: _graph(f"drift, % of the signal ({pair})", drift)},
    }


def write_node_data(path: Path, diagnosis: Diagnosis, graph: str) -> list[Path]:
    """Write the documents beside the diagnosis, whose file ``path`` is; gives their paths."""
    stem = path.name.removesuffix(".json")
    written = []
    try:
        for measure, document in node_data(diagnosis, graph).items():
            file = path.with_name(f"{stem}.{measure}{NODE_DATA}")
            partial = file.with_name(file.name + ".partial")
            partial.write_text(json.dumps(document, indent=1), encoding="utf-8")
            partial.replace(file)
            written.append(file)
    except OSError as error:
        raise RunError(
            f"{path.parent}: the node data for Model Explorer cannot be written: {error.strerror}."
        ) from error
    return written


def _graph(name: str, values: Mapping[str, float]) -> dict[str, Any]:
    return {
        "name": name,
        "results": {node: {"value": float(f"{value:.4g}")} for node, value in values.items()},
        "thresholds": [{"value": bound, "bgColor": colour} for bound, colour in STEPS],
        # Sums over a group's nodes, which say nothing of an error.
        "hideAggregatedStats": ["sum"],
        "hideInChildrenStatsTable": True,
    }
