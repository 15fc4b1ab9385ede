"""The parts of a manifest, their files laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chipdrift.bundle.assign import Assigned
from chipdrift.bundle.contexts import Compiled
from chipdrift.bundle.golden import Golden
from chipdrift.bundle.layout import Layout, file_name
from chipdrift.bundle.records import (
    BundleChip,
    BundleContext,
    BundleVariant,
    ChipGolden,
    GoldenSet,
    Rest,
)
from chipdrift.bundle.source import Source
from chipdrift.graph.weights import share_weights
from chipdrift.records import Matrix

# A model with its weights in another file cannot be loaded from memory: it has to pay for that.
_LEAST_SAVED, _LEAST_SHARE = 100_000, 0.05
_WEIGHTS = "weights.bin"


def collect_variants(
    source: Source, assigned: Sequence[Assigned], layout: Layout
) -> tuple[tuple[BundleVariant, ...], int, int]:
    """The variants that a chip gets and the safe one; their bytes each alone, and as shipped."""
    wanted = dict.fromkeys([source.plan.safe, *(one.variant for one in assigned)])
    models = {name: source.models[name] for name in wanted}
    alone = sum(map(len, models.values()))
    once = sum(map(len, set(models.values())))
    outside = share_weights(models, _WEIGHTS)
    parted = sum(map(len, set(outside.files.values()))) + len(outside.data)
    pays = once - parted >= max(_LEAST_SAVED, _LEAST_SHARE * once)
    taken: set[str] = {_WEIGHTS.removesuffix(".bin")}
    found = []
    for name in wanted:
        variant = source.variant(name)
        data = outside.files[name] if pays else models[name]
        file = layout.add(f"models/{file_name(name, taken)}.onnx", data)
        beside = (f"models/{_WEIGHTS}",) if pays and name in outside.readers else ()
        found.append(
            BundleVariant(
                name=name,
                scheme=variant.scheme,
                words=variant.words,
                file=file,
                beside=beside,
                measured_sha256=variant.sha256,
            )
        )
    if pays:
        layout.put(f"models/{_WEIGHTS}", outside.data)
    return tuple(found), alone, parted if pays else once


def collect_chips(
    source: Source,
    assigned: Sequence[Assigned],
    golden: Golden,
    compiled: Mapping[str, Compiled],
    layout: Layout,
) -> tuple[BundleChip, ...]:
    """Each chip with what it gets and what that rests on."""
    taken: set[str] = set()
    found = []
    for one in assigned:
        chip, choice = one.chip, one.choice
        folder = file_name(chip.name, taken)
        found.append(
            BundleChip(
                name=chip.name,
                words=chip.words,
                soc=chip.soc,
                soc_model=chip.soc_model,
                names=one.names,
                manufacturers=one.manufacturers,
                variant=one.variant,
                npu=one.npu,
                # Those of a variant that is withheld are not the safe one's.
                options=dict(choice.options) if one.variant == choice.variant else {},
                why=one.why,
                rests_on=Rest(
                    standing=choice.standing,
                    planned=choice.variant,
                    evidence=choice.evidence,
                    target=chip.target,
                    samples=choice.samples,
                    looks=choice.looks,
                    metric=choice.metric,
                    loss=choice.loss,
                    agreement=choice.agreement,
                    fallback=choice.fallback,
                    cost=choice.cost,
                    versions=dict(one.cell.versions) if one.cell is not None else {},
                    words=choice.why,
                ),
                context=_context(compiled.get(chip.name), folder, layout),
                golden=_golden(golden, chip.name, folder, layout),
            )
        )
    return tuple(found)


def _context(made: Compiled | None, folder: str, layout: Layout) -> BundleContext | None:
    if made is None:
        return None
    place = f"contexts/{folder}"
    return BundleContext(
        soc=made.soc,
        soc_model=made.soc_model,
        sdk=made.sdk,
        build=made.build,
        runtime=made.runtime,
        file=layout.put(f"{place}/context.onnx", made.wrapper),
        binary=layout.put(f"{place}/{made.binary_name}", made.binary),
    )


def _golden(golden: Golden, chip: str, folder: str, layout: Layout) -> ChipGolden | None:
    expected = golden.chips.get(chip)
    if expected is None:
        return None
    return ChipGolden(
        expected=tuple(
            tuple(
                layout.add(f"golden/{folder}/{number}-{index}.bin", _raw(array))
                for index, array in enumerate(outputs)
            )
            for number, outputs in enumerate(expected.arrays)
        ),
        limits=expected.limits,
        top=expected.top,
        rests_on=expected.rests_on,
    )


def collect_golden_set(matrix: Matrix | None, golden: Golden, layout: Layout) -> GoldenSet:
    """The golden samples' inputs."""
    if matrix is None or not golden.feeds:
        return GoldenSet()
    inputs = matrix.model.inputs
    return GoldenSet(
        inputs=inputs,
        samples=tuple(
            tuple(
                layout.add(f"golden/inputs/{number}-{index}.bin", _raw(feed[spec.name]))
                for index, spec in enumerate(inputs)
            )
            for number, feed in enumerate(golden.feeds)
        ),
    )


def _raw(array: np.ndarray[Any, Any]) -> bytes:
    """The values alone, little-endian."""
    return np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
