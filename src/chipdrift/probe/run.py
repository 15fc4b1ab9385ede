"""Ask a target everything and write down what it answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from chipdrift.errors import ChipdriftError
from chipdrift.numerics.profile import Override, Profile
from chipdrift.numerics.profiles import parse_profile
from chipdrift.probe.accumulators import ask_sums, find
from chipdrift.probe.ask import Asker
from chipdrift.probe.assemble import (
    NEARLY,
    accumulator_findings,
    build_profile,
    product_findings,
    product_rules,
)
from chipdrift.probe.constants import probe_constants
from chipdrift.probe.elementwise import probe_elementwise
from chipdrift.probe.finding import Finding
from chipdrift.probe.floats import probe_floats
from chipdrift.probe.inputs import probe_input, probe_repeat
from chipdrift.probe.leastscale import probe_least_scale
from chipdrift.probe.products import KINDS, Products, probe_products
from chipdrift.probe.second import probe_second
from chipdrift.probe.toml import profile_toml
from chipdrift.records import SCHEMA_VERSION, Record
from chipdrift.targets import Target


class ProbeResult(Record):
    """What one probe found. ``profile`` is a TOML's text; ``models`` and ``inputs`` were asked."""

    schema_version: int = SCHEMA_VERSION
    target: str
    evidence: str
    description: str
    versions: dict[str, str]
    created: str
    seed: int
    seconds: float
    models: int
    inputs: int
    findings: tuple[Finding, ...]
    profile: str

    @property
    def rules(self) -> Profile:
        """The profile."""
        return parse_profile(self.profile, "probed", f"profile of {self.target}")


def run_probe(
    target: Target,
    name: str,
    seed: int = 0,
    timeout: float = 120.0,
    tell: Callable[[str], None] = lambda words: None,
    kinds: Sequence[Any] = KINDS,
    widths: Sequence[int] = (8, 16),
) -> ProbeResult:
    """Probe ``target``; ``tell`` hears what is being asked. The same seed asks the same questions.

    A target that refuses a question, crashes or hangs on it leaves that rule unknown.
    """
    started = time.monotonic()
    findings: list[Finding] = []
    with Asker(target, timeout) as asker:
        tell("the input quantizer")
        findings += probe_input(asker, np.random.default_rng([seed, 1]))
        tell("whether answers repeat")
        findings += probe_repeat(asker, np.random.default_rng([seed, 2]))
        tell("the accumulator's width and overflow")
        sums, refused = ask_sums(asker, np.random.default_rng([seed, 3]))
        accumulators = find(sums) if sums else None
        findings += accumulator_findings(accumulators, refused)
        known = accumulators is not None and accumulators.explained >= NEARLY * accumulators.asked
        best = accumulators.rivals[0] if accumulators is not None and known else None
        products = probe_products(
            asker, np.random.default_rng([seed, 4]), kinds, widths, tell, best
        )
        findings += product_findings(products)
        overrides, notes = product_rules(products)
        overrides = _beside(asker, seed, tell, findings, overrides)
        overrides += _more(asker, seed, tell, findings, widths)
        models, inputs = asker.models, asker.inputs
        if not asker.answered:
            last = next((f.words for f in reversed(findings) if f.words), "nothing")
            raise ChipdriftError(
                f"Target {target.name} answered none of {models} questions, so nothing is known of "
                f"it; its last words: {last}"
            )
        opened = dict(asker.opened.versions) if asker.opened else {}
    parts = _parts(findings)
    profile = build_profile(name, f"What {target.name} answered.", parts, overrides)
    created = datetime.now(UTC).strftime("%Y-%m-%d")
    versions = {**target.versions, **opened}
    text = profile_toml(profile, _head(target, created, versions, models, products), notes)
    parse_profile(text, name, f"The profile that was found of {target.name}")  # holds together
    return ProbeResult(
        target=target.name,
        evidence=target.evidence,
        description=target.description,
        versions=versions,
        created=created,
        seed=seed,
        seconds=round(time.monotonic() - started, 1),
        models=models,
        inputs=inputs,
        findings=tuple(findings),
        profile=text,
    )


def _beside(
    asker: Asker,
    seed: int,
    tell: Callable[[str], None],
    findings: list[Finding],
    overrides: list[Override],
) -> list[Override]:
    """The rules of products with what holds for some operands and factors only."""
    found, overrides = probe_second(asker, np.random.default_rng([seed, 7]), overrides, tell)
    findings += found
    found, overrides = probe_least_scale(asker, np.random.default_rng([seed, 8]), overrides, tell)
    findings += found
    return overrides


def _more(
    asker: Asker,
    seed: int,
    tell: Callable[[str], None],
    findings: list[Finding],
    widths: Sequence[int],
) -> list[Override]:
    """Questions on element-wise ops, functions and small floats."""
    found, overrides = probe_elementwise(asker, np.random.default_rng([seed, 5]), tell, widths)
    findings += found
    rng = np.random.default_rng([seed, 9])
    found, constants = probe_constants(asker, rng, overrides, tell, widths)
    findings += found
    overrides += constants
    tell("float16 sums")
    findings += probe_floats(asker, np.random.default_rng([seed, 6]))
    return overrides


def _parts(findings: Sequence[Finding]) -> dict[str, Any]:
    """The tables of the profile that findings speak of by name."""
    parts: dict[str, dict[str, Any]] = {}
    for finding in findings:
        if len(finding.place) == 2 and finding.value is not None:
            table, key = finding.place
            if table in ("input", "floats"):
                parts.setdefault(table, {})[key] = finding.value
    return parts


def _head(
    target: Target, created: str, versions: dict[str, str], models: int, products: Products
) -> str:
    best = sum(group.explained for group in products.groups)
    asked = sum(group.asked for group in products.groups)
    return (
        f"Written by chipdrift probe {target.name} on {created}, from its answers to {models} "
        f"small models.\nEvidence: {target.evidence}; "
        + ", ".join(f"{k} {v}" for k, v in versions.items() if k != "isa")
        + f".\nProducts: {best} of {asked} outputs explained. The page beside this file says why."
    )
