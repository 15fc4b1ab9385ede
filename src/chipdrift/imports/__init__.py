"""Outputs that someone else measured become a run: tables, folders of arrays, qnn-net-run."""

from chipdrift.imports.run import run_import

__all__ = ["run_import"]
