"""The checks as JUnit XML, as GitHub's, GitLab's and Jenkins' readers take it.

One test case for each limit on each cell. What is broken is a failure; what is unproven is a
failure where the policy says so, else skipped with its words.
"""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

from chipdrift.gate.records import Check, Gate

# Nothing is run here, and a reader that adds up times wants some.
_TIME = "0"


def junit_xml(gate: Gate) -> str:
    """The whole document; the same gate gives the same text."""
    root = ElementTree.Element("testsuites", name="chipdrift gate", time=_TIME)
    ordered = sorted(gate.checks, key=lambda check: (check.target, check.scheme))
    for target, group in itertools.groupby(ordered, key=lambda check: check.target):
        checks = list(group)
        suite = ElementTree.SubElement(
            root, "testsuite", {"name": text(target), **_counts(checks), "time": _TIME}
        )
        for check in checks:
            _case(suite, check)
    for name, count in _counts(ordered).items():
        if name != "skipped":  # the root has no such attribute in Jenkins' schema
            root.set(name, count)
    ElementTree.indent(root, " ")
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ElementTree.Element, check: Check) -> None:
    against = f" with {check.against}" if check.against else ""
    # A dot ends a package's name in Jenkins.
    where = ".".join(text(word).replace(".", "_") for word in (check.target, check.scheme))
    case = ElementTree.SubElement(
        suite,
        "testcase",
        {
            "name": text(f"{check.limit}{against} ({check.rule})"),
            "classname": where,
            "time": _TIME,
        },
    )
    if check.breaks:
        kind = "unproven" if check.outcome == "unproven" else check.limit
        found = ElementTree.SubElement(case, "failure", message=text(check.words), type=kind)
        found.text = text(check.words)
    elif check.outcome == "unproven":
        ElementTree.SubElement(case, "skipped", message=text(check.words), type="unproven")


def _counts(checks: list[Check]) -> dict[str, str]:
    broken = sum(check.breaks for check in checks)
    skipped = sum(check.outcome == "unproven" and not check.breaks for check in checks)
    return {
        "tests": str(len(checks)),
        "failures": str(broken),
        "errors": "0",
        "skipped": str(skipped),
    }


def text(words: str) -> str:
    """Words without the characters that XML 1.0 cannot hold."""
    return re.sub(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]", "\ufffd", words)
