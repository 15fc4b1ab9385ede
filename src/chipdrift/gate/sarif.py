"""What is broken or unproven as SARIF 2.1.0, on the nodes of the model.

A result's logical location is a node of the model. GitHub refuses a whole file in which one result
has no physical location, so each also names the policy's file and the line of the limit.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from chipdrift.gate.records import Check, Gate

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
# Places named in one result; the words tell how many there are.
_MOST_NODES = 20

RULES: dict[str, str] = {
    "drop": "The metric that may be lost against the run's baseline.",
    "metric": "The least of the metric, or the most where lower is better.",
    "agreement": "The least share of samples with the same answer as the run's baseline.",
    "agree_with": "The least share of samples with the same answer as another target.",
    "fallback": "The nodes that may leave the NPU.",
    "unexplained": "The largest share of the drift that a diagnosis may leave unexplained.",
    "lsb": "The largest distance of an output in steps of its quantizer.",
    "latency_ms": "The longest median of a sample by the phone's own clock.",
    "status": "The cells that may be without answers.",
    "evidence": "The least evidence that is accepted.",
    "min_samples": "The least samples that a cell must rest on.",
    "since.missing": "Cells that had answers in the baseline must have them.",
    "since.drop": "The metric that may be lost since the baseline.",
    "since.new_fallback": "The nodes that may have left the NPU since the baseline.",
    "since.bits": "Whether outputs must have the baseline's bits.",
}
"""Every limit, in one sentence."""


def sarif_json(gate: Gate) -> str:
    """The whole document; the same gate gives the same text."""
    ids = list(RULES)
    results = [_result(gate, check, ids) for check in gate.checks if check.outcome != "pass"]
    driver = {
        "name": "chipdrift gate",
        "version": gate.chipdrift,
        "semanticVersion": gate.chipdrift,
        "rules": [
            {
                "id": f"chipdrift.{name}",
                "name": "".join(part.title() for part in name.replace(".", "_").split("_")),
                "shortDescription": {"text": words},
                "fullDescription": {"text": words},
                "help": {"text": f"{words} See docs/howto/gate.md."},
                "defaultConfiguration": {"level": "error"},
            }
            for name, words in RULES.items()
        ],
    }
    log = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "automationDetails": {"id": f"chipdrift gate/{gate.model}"},
                "results": results,
                "columnKind": "utf16CodeUnits",
            }
        ],
    }
    return json.dumps(log, indent=1, ensure_ascii=False) + "\n"


def _result(gate: Gate, check: Check, ids: list[str]) -> dict[str, Any]:
    key = "|".join((check.limit, check.scheme, check.target, check.against or ""))
    places = check.nodes[:_MOST_NODES]
    nodes = [{"name": n, "fullyQualifiedName": n, "kind": "node"} for n in places]
    model = [{"name": gate.model, "fullyQualifiedName": gate.model, "kind": "module"}]
    physical = {
        "artifactLocation": {"uri": _uri(gate.policy)},
        "region": {"startLine": check.line or 1},
    }
    return {
        "ruleId": f"chipdrift.{check.limit}",
        "ruleIndex": ids.index(check.limit),
        "level": "error" if check.breaks else "warning",
        "kind": "fail",
        "message": {"text": check.words},
        "locations": [
            {"physicalLocation": physical, "logicalLocations": [node]} for node in nodes or model
        ],
        "partialFingerprints": {"chipdrift/v1": hashlib.sha256(key.encode()).hexdigest()},
        "properties": {
            "scheme": check.scheme,
            "target": check.target,
            "outcome": check.outcome,
            "evidence": check.evidence,
            "samples": check.samples,
            "command": check.command,
        },
    }


def _uri(policy: str) -> str:
    """The policy's path from where the command ran, which in CI is the repository."""
    path = Path(policy)
    if path.is_absolute():
        here = Path.cwd()
        path = path.relative_to(here) if path.is_relative_to(here) else Path(path.name)
    return quote(path.as_posix())
