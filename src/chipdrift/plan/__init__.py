"""From measurement to decision: for each chip the cheapest variant that keeps the accuracy."""

from chipdrift.plan.records import Plan
from chipdrift.plan.run import read_plan, run_plan

__all__ = ["Plan", "read_plan", "run_plan"]
