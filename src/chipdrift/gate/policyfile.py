"""A policy read from its TOML file, its faults told with the line and the near name."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from chipdrift.errors import ChipdriftError, UnknownNameError
from chipdrift.gate.policy import LIMITS, Limits, Policy, Rule, SinceLimits, parts
from chipdrift.gate.wording import is_share
from chipdrift.named import parsed
from chipdrift.numerics.profiles.complaint import Place, key_of, spot_of
from chipdrift.records import Evidence, Matrix

_LARGEST = 1 << 20
# Fields of ours in a policy, no keys of its file.
_OWN = ("name", "sha256", "text")


def read_policy(path: str | Path) -> Policy:
    """The policy in ``path``; raises ChipdriftError with the line, what was found and the fix."""
    file, where = Path(path), f"Policy {path}"
    try:
        if file.exists() and not file.is_file():
            raise ChipdriftError(f"{where}: it is no regular file. Give the path of a TOML file.")
        if file.stat().st_size > _LARGEST:
            raise ChipdriftError(f"{where}: {file.stat().st_size} bytes are no policy.")
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ChipdriftError(
            f"{where}: cannot be read ({getattr(error, 'strerror', None) or error}). "
            "chipdrift gate --example prints one to start from."
        ) from error
    fields = parsed(text, where)
    stray = [name for name in _OWN if name in fields]
    try:
        if stray:  # fields of ours, no keys of a policy
            raise _unknown_key(text, where, (stray[0],))
        policy = Policy(
            **fields, name=str(path), sha256=hashlib.sha256(text.encode()).hexdigest(), text=text
        )
    except ValidationError as error:
        raise ChipdriftError(_complaint(error, text, where)) from error
    _check_it_limits(policy)
    return policy


def example_policy() -> str:
    """A commented policy to start from."""
    return (resources.files(__package__) / "example.toml").read_text(encoding="utf-8")


def check_rules(policy: Policy, matrix: Matrix) -> None:
    """Refuse patterns and names that match nothing in the run: a slip must not make a gate green.

    Raises UnknownNameError or ChipdriftError, with the line.
    """
    schemes = [scheme.name for scheme in matrix.schemes]
    known = {"targets": matrix.targets, "schemes": schemes}
    for place, named, limits in parts(policy):
        for key, names in known.items() if isinstance(limits, Rule) else ():
            for pattern in getattr(limits, key):
                if not any(fnmatchcase(name, pattern) for name in names):
                    raise _unknown(policy, (*place, key), named, key[:-1], pattern, names)
        if isinstance(limits, Rule) and not any(
            limits.matches(cell.scheme, cell.target) for cell in matrix.cells
        ):
            raise ChipdriftError(
                f"{spot_of(f'Policy {policy.name}', policy.text, place)}: {named} matches no cell "
                f"of the run (its targets: {', '.join(matrix.targets)}; its schemes: "
                f"{', '.join(schemes)}). Mend the patterns, or remove the rule."
            )
        for name in limits.agree_with if isinstance(limits.agree_with, dict) else ():
            if name not in matrix.targets:
                raise _unknown(
                    policy, (*place, "agree_with", name), named, "target", name, matrix.targets
                )


def check_drop(policy: Policy, matrix: Matrix) -> None:
    """Refuse a ``drop`` under which the whole metric could be lost; raises ChipdriftError."""
    info, base = matrix.metric, matrix.baseline.metric
    if base is None or not info.higher_is_better:
        return
    whole = base.value * (100 if is_share(info) else 1)
    for place, named, limits in parts(policy):
        if isinstance(limits.drop, float) and 0 < whole <= limits.drop:
            raise ChipdriftError(
                f"{spot_of(f'Policy {policy.name}', policy.text, (*place, 'drop'))}, {named}: drop "
                f"= {limits.drop:g} lets {info.name} fall to nothing: the {matrix.baseline.words} "
                f"has {whole:.4g}. {info.name} is counted in "
                f"{'points of 100' if is_share(info) else 'its own unit'}; give a smaller limit."
            )


def check_metric(policy: Policy, matrix: Matrix) -> None:
    """Refuse a ``metric`` that no share can have, or that was meant as one of 1."""
    info = matrix.metric
    for place, named, limits in parts(policy):
        limit = limits.metric
        if not isinstance(limit, float) or not is_share(info) or limit == 0:
            continue
        # At least 0.9 points would hold always; at most 0.9 points is a limit.
        slip = info.higher_is_better and 0 < limit <= 1
        if 0 < limit <= 100 and not slip:
            continue
        meant = f"; did you mean {100 * limit:g}?" if slip else "."
        raise ChipdriftError(
            f"{spot_of(f'Policy {policy.name}', policy.text, (*place, 'metric'))}, {named}: metric "
            f"= {limit:g} is no limit for {info.name}, which is counted in points of 100{meant}"
        )


def check_ops(policy: Policy, ops: frozenset[str]) -> None:
    """Refuse ops in ``fallback`` that no model file of the run holds; raises UnknownNameError."""
    for place, named, limits in parts(policy):
        for op in limits.fallback if isinstance(limits.fallback, tuple) else ():
            if op not in ops:
                raise _unknown(policy, (*place, "fallback"), named, "op", op, sorted(ops))


def _unknown(
    policy: Policy, place: Place, named: str, kind: str, name: str, known: Sequence[str]
) -> UnknownNameError:
    spot = spot_of(f"Policy {policy.name}", policy.text, place)
    words = UnknownNameError.of(kind, name, known, "The run holds no such one.")
    return UnknownNameError(f"{spot}, {named}: {words}")


def forbids_ops(policy: Policy) -> bool:
    """Whether any limit names ops."""
    return any(isinstance(limits.fallback, tuple) for _, _, limits in parts(policy))


def _check_it_limits(policy: Policy) -> None:
    where = f"Policy {policy.name}"
    for place, named, limits in parts(policy):
        if isinstance(limits, Rule) and all(
            getattr(limits, n) is None for n in Limits.model_fields
        ):
            raise ChipdriftError(
                f"{spot_of(where, policy.text, place)}: {named} sets no limit. Give it one "
                f"({', '.join(LIMITS)}), or remove it."
            )
    wanted = any(
        getattr(limits, name) not in (None, "off")
        for _, _, limits in parts(policy)
        for name in LIMITS
    )
    if not wanted and policy.since is None:
        raise ChipdriftError(
            f"{where}: it limits nothing, so every run would pass. Set limits in [default], in "
            "[[rule]] or in [since]; chipdrift gate --example prints one to start from."
        )


def _unknown_key(text: str, where: str, place: Place) -> ChipdriftError:
    known = _keys_at(place[:-1])
    near = difflib.get_close_matches(str(place[-1]), known, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return ChipdriftError(
        f"{spot_of(where, text, place)}: {key_of(place)}: no such key.{hint} "
        f"Known here: {', '.join(known)}."
    )


def _keys_at(place: Place) -> list[str]:
    tables: dict[Any, type[BaseModel]] = {"default": Limits, "rule": Rule, "since": SinceLimits}
    model = tables.get(place[0], Policy) if place else Policy
    return [name for name in model.model_fields if not (model is Policy and name in _OWN)]


def _complaint(error: ValidationError, text: str, where: str) -> str:
    """One sentence on the first fault: line, what was found, what would be right."""
    faults = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    # Of an alternative ("a number, or off") the place holds the branch's name; what the person
    # wrote ends at the last part that is a key of the file.
    first = faults[0]
    place = _written(first["loc"])
    if first["type"] == "extra_forbidden":
        return str(_unknown_key(text, where, first["loc"]))
    same = [e for e in faults if _written(e["loc"]) == place]
    told = next((e for e in same if e["type"] == "value_error"), None)
    spot, key = spot_of(where, text, place), key_of(place)
    if told is not None:
        return f"{spot}: {key}: {told['msg'].removeprefix('Value error, ')}."
    wanted = _WANTED.get(str(place[-1]) if place else "", "")
    if first["type"] == "tuple_type" and place == ("rule",):
        wanted = "a list of tables: write [[rule]], in two pairs of brackets"
    elif first["type"] == "model_type":
        wanted = f"a table, [{key}] with its keys below it"
    elif place[-2:-1] == ("agree_with",):
        wanted = _WANTED["agreement"]
    found = first.get("input")
    return f"{spot}: {key}: found {found!r}, expected {wanted or first['msg']}."


_KEYS = {*Limits.model_fields, *Rule.model_fields, *SinceLimits.model_fields, *Policy.model_fields}


def _written(loc: Place) -> Place:
    """The part of a fault's place that stands in the file."""
    kept: Place = ()
    for part in loc:
        inside = bool(kept) and kept[-1] == "agree_with" and not str(part).startswith("dict[")
        if not (isinstance(part, int) or part in _KEYS or (inside and part != "literal['off']")):
            if kept and kept[-1] == "agree_with":
                continue
            break
        kept = (*kept, part)
    while len(kept) > 2 and isinstance(kept[-1], int):
        kept = kept[:-1]
    return kept


_EVIDENCE = ", ".join(f'"{kind}"' for kind in get_args(Evidence))
_WANTED = {
    "drop": "points of the metric that may be lost, a number of 0 or more",
    "metric": "the least of the metric (the most where lower is better), a number: points of 100 "
    "for a share, else its own unit",
    "agreement": "the least per cent of the same answers, a number up to 100",
    "agree_with": 'targets with the least per cent of the same answers, { "ort:cpu" = 99 }',
    "fallback": "the most nodes that may leave the NPU, a whole number of 0 or more, or a list of "
    'ops of which none may, as in ["Conv"]',
    "unexplained": "the most per cent of the drift, a number from 0 to 100",
    "lsb": "the largest distance of an output in steps of its quantizer, a whole number of 0 or "
    "more",
    "latency_ms": "milliseconds, a number above 0",
    "status": 'a list of what is accepted, of "ok", "unsupported", "failed"',
    "evidence": f"the least that is accepted, or a list of what is, of {_EVIDENCE}",
    "min_samples": "a whole number of 1 or more",
    "judge": '"interval" or "value"',
    "unproven": '"fail" or "warn"',
    "targets": 'a list of patterns, as in ["htp:*"]',
    "schemes": 'a list of patterns, as in ["w8a*"]',
    "new_fallback": "the most nodes that may have left the NPU, a whole number of 0 or more",
    "bits": '"fail", "warn" or "off"',
    "missing": '"fail" or "warn"',
    "other_model": '"refuse" or "warn"',
    "other_data": '"refuse" or "warn"',
    "description": "words",
}
