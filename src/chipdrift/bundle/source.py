"""The plan that a bundle is made of, its files checked against what was measured."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import final

from chipdrift.errors import RunError
from chipdrift.plan import Plan, read_plan
from chipdrift.plan.records import Choice, PlanChip, Variant
from chipdrift.records import SCHEMA_VERSION


@final
@dataclass(frozen=True, eq=False)
class Source:
    """``models`` has each variant's file by the variant's name; ``confirm`` is the run folder."""

    folder: Path
    plan: Plan
    models: Mapping[str, bytes]

    @property
    def confirm(self) -> Path:
        """The run that confirmed the choices."""
        return self.folder / "confirm"

    def variant(self, name: str) -> Variant:
        """The variant of this name, which is there."""
        return next(one for one in self.plan.variants if one.name == name)

    def chip(self, choice: Choice) -> PlanChip:
        """The chip of a choice, which is there."""
        return next(one for one in self.plan.chips if one.name == choice.chip)


def open_plan(folder: Path) -> Source:
    """Read a plan and its models; raises RunError where one is gone, or not what was measured."""
    plan = read_plan(folder)
    if plan.schema_version != SCHEMA_VERSION:
        raise RunError(
            f"Plan {folder}: its schema version is {plan.schema_version}, and this chipdrift reads "
            f"{SCHEMA_VERSION}. Run the same chipdrift plan command again."
        )
    _check_names(folder, plan)
    return Source(folder, plan, {one.name: _model(folder, one) for one in plan.variants})


def _check_names(folder: Path, plan: Plan) -> None:
    variants = {one.name for one in plan.variants}
    chips = {one.name for one in plan.chips}
    wanted = {choice.variant for choice in plan.choices if choice.variant is not None}
    lacking = sorted((wanted | {plan.safe}) - variants)
    strangers = sorted({choice.chip for choice in plan.choices} - chips)
    for kind, names in (("variant", lacking), ("chip", strangers)):
        if names:
            raise RunError(
                f"Plan {folder}: its plan.json names the {kind} {names[0]!r} and does not hold it. "
                "Run the same chipdrift plan command again."
            )


def _model(folder: Path, variant: Variant) -> bytes:
    place = PurePosixPath(variant.file)
    if place.is_absolute() or ".." in place.parts:
        raise RunError(
            f"Plan {folder}: its variant {variant.name} names the file {variant.file}, which is "
            "not in the plan's folder. Run the same chipdrift plan command again."
        )
    file = folder / place
    try:
        data = file.read_bytes()
    except OSError as error:
        raise RunError(
            f"Plan {folder}: {variant.file} of its variant {variant.name} cannot be read "
            f"({error.strerror}). Run the same chipdrift plan command again."
        ) from error
    if hashlib.sha256(data).hexdigest() != variant.sha256:
        raise RunError(
            f"Plan {folder}: {variant.file} is not the file that was measured (its hash is another "
            "one). Run the same chipdrift plan command again."
        )
    return data
