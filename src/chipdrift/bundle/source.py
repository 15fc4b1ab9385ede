"""The plan that a bundle is made of, its files checked against what was measured."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import final

from chipdrift.errors import RunError
from chipdrift.plan import Plan, read_plan
from chipdrift.plan.records import Choice, PlanChip, Variant
from chipdrift.records import SCHEMA_VERSION, Matrix

_AGAIN = "Run the same chipdrift plan command again."


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
    chosen = {choice.chip for choice in plan.choices}
    strangers = sorted(chosen - chips)
    strange = next((name for name in _names(plan) if not name.isprintable()), None)
    if strange is not None:
        raise RunError(
            f"Plan {folder}: its plan.json holds the name {strange!a}, with characters that "
            f"cannot be printed. {_AGAIN}"
        )
    for kind, told in (
        ("variant", [one.name for one in plan.variants]),
        ("chip", [one.name for one in plan.chips]),
        ("choice for", [one.chip for one in plan.choices]),
    ):
        twice = next((name for name in told if told.count(name) > 1), None)
        if twice is not None:
            raise RunError(
                f"Plan {folder}: its plan.json holds the {kind} {twice!r} more than once. {_AGAIN}"
            )
    without = sorted(chips - chosen)
    if without:
        raise RunError(
            f"Plan {folder}: its plan.json holds the chip {without[0]!r} and no choice for it. "
            f"{_AGAIN}"
        )
    for kind, names in (("variant", lacking), ("chip", strangers)):
        if names:
            raise RunError(
                f"Plan {folder}: its plan.json names the {kind} {names[0]!r} and does not hold it. "
                "Run the same chipdrift plan command again."
            )


def _names(plan: Plan) -> Iterator[str]:
    """All by which people and phones tell its parts apart."""
    yield plan.safe
    for variant in plan.variants:
        yield from (variant.name, variant.scheme, variant.file)
    for chip in plan.chips:
        yield from (chip.name, chip.target, chip.soc or "", *chip.ro_soc_models)
    for choice in plan.choices:
        yield from (choice.chip, choice.variant or "")
        for option in choice.options.items():
            yield from option


def check_safe(source: Source, matrix: Matrix | None) -> None:
    """Raises RunError where the plan's safe variant is not the model that all was set against."""
    plan = source.plan
    scheme = source.variant(plan.safe).scheme
    made = next((one for one in plan.candidates if one.scheme == scheme), None)
    base = matrix.baseline.scheme if matrix is not None else None
    if (made is not None and made.how != "float") or base not in (None, scheme):
        named = f"; that is {base}" if base is not None else ""
        raise RunError(
            f"Plan {source.folder}: its plan.json names {plan.safe!r} as the safe variant, which "
            f"is not the model that all others were set against{named}. {_AGAIN}"
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
        if file.exists() and not file.is_file():
            # A pipe or a device may never end.
            raise OSError(errno.EINVAL, "it is no plain file")
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
