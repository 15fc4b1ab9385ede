"""A target's arithmetic, read from its answers to small models."""

from chipdrift.probe.finding import Finding
from chipdrift.probe.page import difference_page, probe_page
from chipdrift.probe.run import ProbeResult, run_probe

__all__ = ["Finding", "ProbeResult", "difference_page", "probe_page", "run_probe"]
