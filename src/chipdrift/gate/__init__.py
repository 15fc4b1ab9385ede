"""Whether a run holds what a policy asks of it: the verdict of ``chipdrift gate``, for CI."""

from chipdrift.gate.baseline import read_baseline, write_baseline
from chipdrift.gate.junit import junit_xml
from chipdrift.gate.markdown import markdown
from chipdrift.gate.policyfile import example_policy, read_policy
from chipdrift.gate.records import Check, Gate, Since
from chipdrift.gate.run import run_gate
from chipdrift.gate.sarif import sarif_json

__all__ = [
    "Check",
    "Gate",
    "Since",
    "example_policy",
    "junit_xml",
    "markdown",
    "read_baseline",
    "read_policy",
    "run_gate",
    "sarif_json",
    "write_baseline",
]
