"""A bundle opened by a selector before it is given away: what was measured must pass, alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chipdrift.bundle.records import ChipGolden, Manifest
from chipdrift.bundle.selectors.python.chipdrift_bundle import Choice, open_bundle


def try_bundle(folder: Path, key: str, manifest: Manifest) -> list[str]:
    """Open and check all of it; warnings about self-checks that let wrong answers pass.

    Raises the selector's BundleError, or AssertionError where a chip would not get its own: a bug.
    """
    bundle = open_bundle(str(folder), key, manifest.serial)
    bundle.check_files()
    warnings = []
    off = set(manifest.off)
    for chip in manifest.chips:
        names = [name for name in chip.names if name not in off]
        if not names:
            continue
        maker = chip.manufacturers[0] if chip.manufacturers else ""
        sdk = chip.context.sdk if chip.context is not None else ""
        choice = bundle.select(names[0], maker, sdk)
        assert (choice.variant, choice.npu) == (chip.variant, chip.npu), chip.name
        assert (choice.context is None) == (chip.context is None), chip.name
        if chip.golden is None:
            continue
        answers = [
            [(folder / name).read_bytes() for name in files] for files in chip.golden.expected
        ]
        assert choice.check(answers).ok, chip.name
        blind = _blind(choice, answers, chip.golden)
        if blind:
            warnings.append(
                f"{chip.name}: its self-check lets {blind} pass, since answers may be "
                f"{_allowed(chip.golden)} off; more golden samples may tell. The limit rests on: "
                f"{chip.golden.rests_on}"
            )
    return warnings


def _blind(choice: Choice, answers: list[list[bytes]], golden: ChipGolden) -> str:
    """What a phone could answer instead without being found out; "" where nothing of these."""
    nothing = [[bytes(len(output)) for output in outputs] for outputs in answers]
    if choice.check(nothing).ok:
        return "a phone that answers zeros"
    same = [answers[0]] * len(answers)
    if len(answers) > 1 and choice.check(same).ok:
        return "a phone that always answers the same"
    flat = [
        [_flat(row[i], limit.dtype) for i, limit in enumerate(golden.limits)] for row in answers
    ]
    if flat != answers and choice.check(flat).ok:
        return "a phone that gives every value of an answer the same number"
    for index, limit in enumerate(golden.limits):
        less = [
            [*row[:index], _half(row[index], limit.dtype), *row[index + 1 :]] for row in answers
        ]
        if less != answers and choice.check(less).ok:
            return f"a phone that answers half of what is right in {limit.name}"
    return ""


def _flat(data: bytes, dtype: str) -> bytes:
    """The output with each of its values in the middle of their range."""
    values = np.frombuffer(data, np.dtype(dtype).newbyteorder("<"))
    if values.dtype.kind == "b" or not values.size:
        return data
    low, high = (float(edge) for edge in (values.min(), values.max()))
    return np.full_like(values, low + (high - low) / 2).tobytes()


def _half(data: bytes, dtype: str) -> bytes:
    """The output's values halved; those of booleans as they are."""
    values = np.frombuffer(data, np.dtype(dtype).newbyteorder("<"))
    if values.dtype.kind == "b":
        return data
    half = values / 2 if values.dtype.kind == "f" else values // 2
    return half.astype(values.dtype).tobytes()


def _allowed(golden: ChipGolden) -> str:
    return ", ".join(
        f"{limit.steps} steps" if limit.steps is not None else f"{limit.most:.3g}"
        for limit in golden.limits
    )
