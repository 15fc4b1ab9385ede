"""The samples on which targets part: one card per sample, the same answers together."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from chipdrift.records import Matrix, Parting
from chipdrift.report.figures import name_targets

_PNG = b"\x89PNG\r\n\x1a\n"
_SMALL = 64  # Narrower pictures are enlarged pixel by pixel.


@final
@dataclass(frozen=True)
class Answer:
    """One answer and who gave it. ``right`` is None where there is no label to set it against."""

    words: str
    targets: str
    right: bool | None


@final
@dataclass(frozen=True)
class Card:
    """A sample, with the answers under each scheme where targets part on it."""

    sample: int
    label: str | None
    picture: str | None
    small: bool
    schemes: tuple[tuple[str, tuple[Answer, ...]], ...]


def cards(matrix: Matrix, pictures: Mapping[int, bytes]) -> list[Card]:
    """Samples that part under the most schemes first; ``pictures`` are PNG files by sample."""
    by_sample: dict[int, list[Parting]] = defaultdict(list)
    for parting in matrix.partings:
        by_sample[parting.sample].append(parting)
    ordered = sorted(by_sample.items(), key=lambda item: (-len(item[1]), item[0]))
    return [_card(matrix, sample, found, pictures.get(sample)) for sample, found in ordered]


def _card(matrix: Matrix, sample: int, found: list[Parting], png: bytes | None) -> Card:
    picture, small = None, False
    if png is not None and png.startswith(_PNG):
        picture = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        small = int.from_bytes(png[16:20], "big") < _SMALL
    return Card(
        sample=sample,
        label=found[0].label,
        picture=picture,
        small=small,
        schemes=tuple((parting.scheme, _answers(matrix, parting)) for parting in found),
    )


def _answers(matrix: Matrix, parting: Parting) -> tuple[Answer, ...]:
    """The right answer first, then by how many gave it."""
    who: dict[str, list[str]] = defaultdict(list)
    for target, answer in parting.answers.items():
        who[answer].append(target)
    answers = [
        (
            Answer(
                words=words,
                targets=name_targets(matrix, targets, most=None),
                right=None if parting.label is None else words == parting.label,
            ),
            len(targets),
        )
        for words, targets in who.items()
    ]
    answers.sort(key=lambda item: (not item[0].right, -item[1]))
    return tuple(answer for answer, _ in answers)
