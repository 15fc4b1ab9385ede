"""How accurate is your model on each phone chip, under each quantization scheme?

The command line's verbs as functions. Everything is imported on first use, so that
``import chipdrift`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chipdrift.bundle import make_bundle
    from chipdrift.chips import find_chips
    from chipdrift.data import load_data
    from chipdrift.diagnose import run_diagnosis
    from chipdrift.errors import ChipdriftError
    from chipdrift.gate import run_gate
    from chipdrift.graph import load_model
    from chipdrift.imports import run_import
    from chipdrift.logs import read_log
    from chipdrift.matrix import cell_outputs, estimate_matrix, read_matrix, run_matrix
    from chipdrift.phones import AdbServer, adb_at, kits_in
    from chipdrift.plan import read_plan, run_plan
    from chipdrift.probe import run_probe
    from chipdrift.quantize import apply_scheme
    from chipdrift.records import Matrix
    from chipdrift.regress import run_regress
    from chipdrift.report import write_report
    from chipdrift.schemes import builtin_schemes, get_scheme
    from chipdrift.sdk import sdks_in
    from chipdrift.targets import list_targets

_HOMES = {
    "ChipdriftError": "errors",
    "Matrix": "records",
    "apply_scheme": "quantize",
    "builtin_schemes": "schemes",
    "cell_outputs": "matrix",
    "estimate_matrix": "matrix",
    "find_chips": "chips",
    "get_scheme": "schemes",
    "list_targets": "targets",
    "load_data": "data",
    "load_model": "graph",
    "make_bundle": "bundle",
    "read_log": "logs",
    "read_matrix": "matrix",
    "read_plan": "plan",
    "run_diagnosis": "diagnose",
    "run_gate": "gate",
    "run_import": "imports",
    "run_matrix": "matrix",
    "run_plan": "plan",
    "run_probe": "probe",
    "run_regress": "regress",
    "AdbServer": "phones",
    "adb_at": "phones",
    "kits_in": "phones",
    "sdks_in": "sdk",
    "write_report": "report",
}

__all__ = [
    "AdbServer",
    "ChipdriftError",
    "Matrix",
    "adb_at",
    "apply_scheme",
    "builtin_schemes",
    "cell_outputs",
    "estimate_matrix",
    "find_chips",
    "get_scheme",
    "kits_in",
    "list_targets",
    "load_data",
    "load_model",
    "make_bundle",
    "read_log",
    "read_matrix",
    "read_plan",
    "run_diagnosis",
    "run_gate",
    "run_import",
    "run_matrix",
    "run_plan",
    "run_probe",
    "run_regress",
    "sdks_in",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
