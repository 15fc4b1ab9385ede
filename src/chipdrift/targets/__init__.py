"""Where a model runs: one file per runtime, found by the name before the colon."""

from chipdrift.targets.base import Opened, Part, RefusedError, Session, Target, TargetInfo
from chipdrift.targets.placement import summarize
from chipdrift.targets.process import WorkerDiedError, WorkerProcess
from chipdrift.targets.registry import get_target, list_targets, whole_name

__all__ = [
    "Opened",
    "Part",
    "RefusedError",
    "Session",
    "Target",
    "TargetInfo",
    "WorkerDiedError",
    "WorkerProcess",
    "get_target",
    "list_targets",
    "summarize",
    "whole_name",
]
