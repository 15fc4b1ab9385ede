"""From what was found to a profile and findings that say why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chipdrift.numerics.profile import Accumulator, Override, Profile, Requantize, Rules
from chipdrift.probe.accumulators import Sums
from chipdrift.probe.finding import Finding
from chipdrift.probe.products import Group, Products
from chipdrift.probe.settings import Kind

# What a kind of question stands for in a profile: (ops, kernels), kernels None for no convolution.
_PLACES: dict[Kind, tuple[str, str | None]] = {
    "gemm": ("Gemm", None),
    "matmul": ("MatMul", None),
    "pointwise": ("Conv", "pointwise"),
    "plain": ("Conv", "plain"),
    "depthwise": ("Conv", "depthwise"),
    "depthwise_stride2": ("Conv", "depthwise_stride2"),
}
NEARLY = 0.99


def product_rules(
    products: Products,
) -> tuple[list[Override], dict[str, str]]:
    """One override for each group, with a comment for the TOML.

    Conv's rules for windows that were not asked about (grouped) are those of plain convolutions. A
    group whose best rules explain less than 99 % gives no rules.
    """
    rules: list[Override] = []
    notes: dict[str, str] = {}
    for group in products.groups:
        if group.explained < NEARLY * group.asked:
            continue
        requantize = group.rivals[0]
        fields = group.accumulator.model_dump(exclude_defaults=True)
        if requantize.parts == "apart":
            fields["operands"] = "stored"
        kernels = [k for op, k in map(_PLACES.__getitem__, group.kinds) if op == "Conv"]
        others = sorted({op for op, k in map(_PLACES.__getitem__, group.kinds) if k is None})
        shared: dict[str, Any] = {
            "activation": group.bits,
            "accumulator": Accumulator(**fields),
            "requantize": requantize,
        }
        words = f"{group.explained} of {group.asked} outputs explained"
        if others:
            notes[f"rule.{len(rules)}"] = words
            rules.append(Override(ops=tuple(others), **shared))
        general = "plain" in kernels
        for kernel in [None] if general else kernels:
            notes[f"rule.{len(rules)}"] = words
            rules.append(Override.model_validate({"ops": ("Conv",), "kernel": kernel, **shared}))
        if general and others:
            # One rule for all of them reads better.
            rules[-2:] = [Override(ops=(*others, "Conv"), **shared)]
            notes.pop(f"rule.{len(rules)}", None)
    # What holds for one kernel must come after what holds for all.
    order = sorted(range(len(rules)), key=lambda i: (rules[i].kernel is not None, i))
    notes = {f"rule.{new}": notes[f"rule.{old}"] for new, old in enumerate(order)}
    return [rules[i] for i in order], notes


def product_findings(products: Products) -> list[Finding]:
    """For every group, each rule of its requantization with the counts."""
    found: list[Finding] = []
    for group in products.groups:
        subject = f"{', '.join(group.kinds)}, {group.bits} bit"
        best = group.rivals[0]
        for name in Requantize.model_fields:
            found.append(_field(group, subject, name, best))
    for (kind, bits), words in products.refused.items():
        found.append(
            Finding(subject=f"{kind}, {bits} bit", rule="requantize", words=f"no answer: {words}")
        )
    return found


def _field(group: Group, subject: str, name: str, best: Requantize) -> Finding:
    fields = best.model_dump(mode="json")
    values = dict.fromkeys(str(getattr(rules, name)) for rules in group.rivals)
    shares = {
        key.removeprefix(f"{name} = "): share
        for key, share in group.shares.items()
        if key.startswith(f"{name} = ")
    }
    known = group.explained >= NEARLY * group.asked
    return Finding(
        subject=subject,
        rule=name,
        place=("requantize", name),
        value=fields[name] if known else None,
        words=group.words or "no other value explains as many outputs"
        if len(values) == 1
        else "no output that was asked for depends on which",
        asked=group.asked,
        explained=group.explained,
        ruled_out=tuple(
            sorted(
                ((v, s) for v, s in shares.items() if v not in values),
                key=lambda entry: -entry[1],
            )[:6]
        ),
        undecided=tuple(values) if len(values) > 1 else (),
    )


def accumulator_findings(sums: Sums | None, refused: Sequence[str]) -> list[Finding]:
    """What the accumulator is, with what else would explain the sums."""
    out: list[Finding] = []
    if sums is not None:
        best = sums.rivals[0]
        for name in Accumulator.model_fields:
            values = dict.fromkeys(str(getattr(rules, name)) for rules in sums.rivals)
            ruled = [
                (key.removeprefix(f"{name} = "), share)
                for key, share in sums.shares.items()
                if key.startswith(f"{name} = ") and key.removeprefix(f"{name} = ") not in values
            ]
            out.append(
                Finding(
                    subject="accumulator",
                    rule=name,
                    place=("accumulator", name),
                    value=best.model_dump(mode="json")[name]
                    if sums.explained >= NEARLY * sums.asked
                    else None,
                    words="sums that reach beyond 16, 24 and 32 bits"
                    + (
                        ""
                        if len(values) == 1
                        else "; no output that was asked for depends on which"
                    ),
                    asked=sums.asked,
                    explained=sums.explained,
                    ruled_out=tuple(sorted(ruled, key=lambda entry: -entry[1])[:6]),
                    undecided=tuple(values) if len(values) > 1 else (),
                )
            )
    return out + [Finding(subject="accumulator", rule="refused", words=words) for words in refused]


def build_profile(
    name: str, description: str, parts: dict[str, Any], rules: list[Override]
) -> Profile:
    """The profile of all that was found; what is unknown keeps its default."""
    return Profile(
        name=name, description=description, evidence="prediction", rule=tuple(rules), **parts
    )


__all__ = [
    "NEARLY",
    "Rules",
    "accumulator_findings",
    "build_profile",
    "product_findings",
    "product_rules",
]
