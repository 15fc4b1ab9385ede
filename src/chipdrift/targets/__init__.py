"""Where a model runs: one file per runtime, found by the name before the colon."""

from chipdrift.targets.base import Opened, Refusal, Session, Target, TargetInfo
from chipdrift.targets.placement import summarize
from chipdrift.targets.process import WorkerDied, WorkerProcess
from chipdrift.targets.registry import get_target, list_targets

__all__ = [
    "Opened",
    "Refusal",
    "Session",
    "Target",
    "TargetInfo",
    "WorkerDied",
    "WorkerProcess",
    "get_target",
    "list_targets",
    "summarize",
]
