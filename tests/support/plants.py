"""Mechanisms planted at nodes of a model in the engine, and diagnosed as if nothing were known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from chipdrift.data import Samples
from chipdrift.diagnose.case import Case
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.mechanisms import Tables, altered
from chipdrift.diagnose.run import examine
from chipdrift.errors import ChipdriftError
from chipdrift.graph import Anatomy
from chipdrift.graph.program import parse_program
from chipdrift.matrix.reopen import Reopened
from chipdrift.numerics.profile import Fallback, Function, Override, Profile, Rules
from chipdrift.numerics.rounding import Rounding
from chipdrift.probe.ask import Asker, NoAnswerError
from chipdrift.targets import Target, get_target
from chipdrift.targets.sim.plan import IntegerUnit, make_plan
from chipdrift.targets.sim.session import SimSession

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Plant:
    """One mechanism at one strength: a table of a node's rules and what is changed in it.

    ``ops`` are those at whose nodes it can act; () is any.
    """

    mechanism: str
    part: str
    changes: tuple[tuple[str, Any], ...]
    ops: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.mechanism} {dict(self.changes)}"


def plants() -> list[Plant]:
    """Mechanisms, strong and weak."""
    found = [
        Plant("rounding", "requantize", (("rounding", r),))
        for r in (Rounding.FLOOR, Rounding.TOWARD_ZERO, Rounding.HALF_UP)
    ]
    found += [Plant("rounding", "elementwise", (("rounding", Rounding.FLOOR),))]
    found += [Plant("dropped_bits", "requantize", (("drop", d),)) for d in (4, 6, 8, 10)]
    found += [
        Plant("dropped_bits", "requantize", (("keep", k), ("drop_rounding", how)))
        for k in (0, 1, 2, 3)
        for how in ("FLOOR", "HALF_UP")
    ]
    found += [
        Plant("accumulator_overflow", "accumulator", (("width", 16), ("overflow", how)))
        for how in ("saturate", "wrap")
    ]
    found.append(
        Plant(
            "accumulator_overflow",
            "accumulator",
            (
                ("operands", "stored"), ("block", 2), ("block_width", 16),
                ("block_overflow", "saturate"),
            ),
        )
    )  # fmt: skip
    found += [
        Plant("scale_precision", "requantize", (("multiplier", "significand"), ("bits", b)))
        for b in (4, 5, 6, 7)
    ]
    found.append(Plant("scale_precision", "requantize", (("multiplier", "power_of_two"),)))
    found += [Plant("block_scales", "weights", (("collapse", "per_tensor"),))]
    found += [
        Plant("function_table", "function", (("arithmetic", "table"), ("entries", n)))
        for n in (8, 16, 32)
    ]
    found.append(Plant("function_table", "function", (("arithmetic", "float16"),)))
    # Strengths that the catalogue of the search does not hold.
    found.append(
        Plant(
            "dropped_bits", "requantize", (("drop", 5), ("keep", 2), ("drop_rounding", "HALF_UP"))
        )
    )
    found.append(Plant("function_table", "function", (("arithmetic", "table"), ("entries", 24))))
    found.append(
        Plant(
            "accumulator_overflow",
            "accumulator",
            (
                ("operands", "stored"), ("block", 7), ("block_width", 16),
                ("block_overflow", "wrap"),
            ),
        )
    )  # fmt: skip
    found.append(
        Plant("scale_precision", "requantize", (("multiplier", "fixed_point"), ("bits", 6)))
    )
    found.append(Plant("fallback", "fallback", ()))
    fusions: list[tuple[tuple[str, Any], ...]] = [
        (("attention_scores", "fused"),),
        (("attention_softmax", Function(arithmetic="float16")),),
        (("attention_softmax", Function(arithmetic="table", entries=24)),),
        (
            ("attention_scores", "fused"),
            ("attention_softmax", Function(arithmetic="float32", relative_error=2.0**-9)),
        ),
    ]
    found += [Plant("fused_attention", "fusion", changes, ("Softmax",)) for changes in fusions]
    narrows: list[tuple[tuple[str, Any], ...]] = [
        (("arithmetic", "exact"),),
        (("arithmetic", "fixed_point"), ("fraction", 7), ("rounding", "UP")),
        (("arithmetic", "fixed_point"), ("fraction", 2), ("rounding", "FLOOR")),
    ]
    found += [Plant("narrowed_operand", "narrow", changes, ("MatMul",)) for changes in narrows]
    return found


class LocalAsker(Asker):
    """The engine asked in this process, under a profile that no file holds."""

    def __init__(self, target: Target, profile: Profile) -> None:
        super().__init__(target)
        self._profile = profile
        self._sessions: dict[bytes, SimSession] = {}

    def ask_each(self, model: bytes, feeds: Iterable[Mapping[str, Array]]) -> Iterator[list[Array]]:
        try:
            session = SimSession(parse_program(model), self._profile)
            for feed in feeds:
                yield session.run(feed)
        except (ChipdriftError, ValueError) as error:
            raise NoAnswerError(str(error)) from error


def nodes_of(model: bytes, profile: Profile) -> dict[str, tuple[str, Rules]]:
    """Op and rules of every node that runs in integers."""
    units = make_plan(parse_program(model), profile).units
    return {u.step.name: (u.step.op, u.spec.rules) for u in units if isinstance(u, IntegerUnit)}


def planted(profile: Profile, rules: Rules, node: str, plant: Plant) -> Profile | None:
    """``profile`` with the mechanism at ``node``; None where its rules forbid it."""
    if plant.part == "fallback":
        return profile.model_copy(
            update={"fallback": Fallback(nodes=(*profile.fallback.nodes, node))}
        )
    table = Tables.of(profile, rules).table(plant.part)
    made = None if table is None else altered(table, dict(plant.changes))
    if made is None or made == table:
        return None
    override = Override.model_validate({"nodes": (node,), plant.part: made})
    return profile.model_copy(update={"rule": (*profile.rule, override)})


def diagnosed(
    base: Reopened,
    scheme: str,
    anatomy: Anatomy,
    samples: int,
    a: Profile,
    b: Profile,
) -> Exam:
    """A under ``a``, whose rules are known, against B under ``b``, of which nothing is known."""
    target = get_target(f"sim:{a.name}")
    other = replace(target, name="sim:planted", profile="")
    model = base.files[scheme].read_bytes()
    case = Case(base, scheme, target, other, model, {target.name: a})
    with LocalAsker(target, a) as one, LocalAsker(other, b) as two:
        return examine(case, anatomy, range(samples), one, two)


def digits_run(folder: Path) -> Path:
    """A finished run of the digits CNN under two schemes on one target."""
    from chipdrift import run_matrix
    from chipdrift.demo import paths

    files = paths()
    run_matrix(
        files.model,
        files.data,
        schemes=["w8a8", "w8a8_pc"],
        targets=["sim:ort-mlas"],
        out=folder,
        calibration=files.calibration,
        limit=40,
    )
    return folder


__all__ = ["LocalAsker", "Plant", "Samples", "diagnosed", "digits_run", "nodes_of", "plants"]
