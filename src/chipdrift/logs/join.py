"""A log's names against a model's nodes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from chipdrift.logs.findings import LogFindings, ModelJoin
from chipdrift.logs.session import CONVERSIONS, plain_name

# What onnxruntime and QNN add of their own to a profile: the graph's border.
_BORDER = ("Input OpId_", "Output OpId_")
# The layout step's own nodes.
_ADDED = re.compile(r"Transpose(?:_token_\d+)?")


def join_model(findings: LogFindings, model: str, nodes: Mapping[str, str]) -> LogFindings:
    """``findings`` with the join to a model: ``nodes`` maps its nodes' names to their ops."""
    said: dict[str, str | None] = {}
    places = [(place.node, place.op) for place in findings.placements]
    places += [(place.node, place.op) for place in findings.refusals]
    for node, op in places:
        if node:
            said.setdefault(node, op)
    for timing in findings.timings:
        if timing.kind == "node" and not timing.name.startswith(_BORDER):
            said.setdefault(timing.name, timing.op)
    for trouble in findings.troubles:
        if trouble.node in nodes:
            said.setdefault(str(trouble.node), None)
    for fusion in findings.fusions:
        for name in fusion.nodes:
            said.setdefault(name, None)
    named: set[str] = set()
    strangers: list[str] = []
    added = 0
    for name, op in said.items():
        plain = name if name in nodes else plain_name(name)
        if plain in nodes:
            named.add(plain)
        elif op in CONVERSIONS or _ADDED.fullmatch(name) or "ExecutionProvider" in name:
            added += 1
        else:
            strangers.append(name)
    return findings.model_copy(
        update={
            "model": ModelJoin(
                model=model,
                named=tuple(node for node in nodes if node in named),
                silent=tuple(
                    node
                    for node, op in nodes.items()
                    if node not in named and op not in CONVERSIONS
                ),
                strangers=tuple(strangers),
                added=added,
            )
        }
    )
