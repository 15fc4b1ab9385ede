"""How a target requantizes products: MatMul, Gemm and convolutions, 8 and 16 bit.

Three steps for every kind of op: ask random settings; search the rules; then, while several rules
explain everything, look for a setting on which they part and ask that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from chipdrift.probe.ask import Asker, NoAnswerError
from chipdrift.probe.predict import Evidence
from chipdrift.probe.search import Found, disagreement, find_requantize, refine
from chipdrift.probe.settings import Kind, Setting, Wish, answers, random_setting
from chipdrift.numerics.profile import Requantize

KINDS: tuple[Kind, ...] = ("matmul", "gemm", "plain", "pointwise", "depthwise")
_SETTINGS = 8
_ROUNDS = 8
_DRAWS = 24


@dataclass(frozen=True)
class ProductFound:
    """What was found for one kind of op at one width, or why nothing could be asked."""

    kind: Kind
    bits: int
    found: Found | None
    refused: str | None = None
    processors: tuple[str, ...] = ()


def probe_products(
    asker: Asker,
    rng: np.random.Generator,
    kinds: Sequence[Kind] = KINDS,
    widths: Sequence[int] = (8, 16),
    tell: Callable[[str], None] = lambda words: None,
) -> list[ProductFound]:
    """The rules of every kind at every width; rules found before are tried first."""
    made: list[ProductFound] = []
    for bits in widths:
        known: list[Requantize] = []
        for kind in kinds:
            tell(f"{kind}, {bits} bit")
            result = _probe(asker, rng, kind, bits, known)
            made.append(result)
            if result.found is not None:
                known.append(result.found.rules)
    return made


def _probe(
    asker: Asker, rng: np.random.Generator, kind: Kind, bits: int, known: list[Requantize]
) -> ProductFound:
    evidence: list[Evidence] = []
    try:
        for index in range(_SETTINGS):
            evidence.append(_ask(asker, random_setting(rng, _wish(kind, bits, index))))
    except NoAnswerError as error:
        return ProductFound(kind, bits, None, str(error))
    processors = asker.opened.nodes if asker.opened else ()
    where = tuple(sorted({place for place, name, _ in processors if name == "op"}))
    found = refine(evidence, known) if known else None
    if found is None or found.explained < found.asked:
        found = find_requantize(evidence, known)
    for _ in range(_ROUNDS):
        if not found.equal:
            break
        rivals = [found.rules, *found.equal]
        setting, parted = _parting(rng, kind, bits, rivals)
        if not parted:
            break
        evidence.append(_ask(asker, setting))
        found = refine(evidence, rivals)
    return ProductFound(kind, bits, found, None, where)


def _wish(kind: Kind, bits: int, index: int) -> Wish:
    return Wish(
        kind=kind,
        bits=8 if bits == 8 else 16,
        bias=kind != "matmul" and index % 8 != 1,
        x_zero=index > 0,
        y_zero=index > 0,
        per_channel=index % 3 > 0,
        dyadic=index % 4 == 3,
    )


def _parting(
    rng: np.random.Generator, kind: Kind, bits: int, rivals: Sequence[Requantize]
) -> tuple[Setting, int]:
    """Of some random settings, the one on which most rivals part from the first."""
    best: tuple[int, Setting] | None = None
    for index in range(_DRAWS):
        wish = _wish(kind, bits, int(rng.integers(8)) if index % 2 else 3)
        setting = random_setting(rng, wish)
        parted = disagreement(rivals, evidence_of(setting, setting.sums * 0))
        if best is None or parted > best[0]:
            best = (parted, setting)
    assert best is not None
    return best[1], best[0]


def _ask(asker: Asker, setting: Setting) -> Evidence:
    return evidence_of(setting, answers(asker, setting))


def evidence_of(setting: Setting, answer: np.ndarray) -> Evidence:  # type: ignore[type-arg]
    """A setting with its answers, as the search reads it."""
    zero = int(setting.y_side.zero_point)
    return Evidence(
        words=str(setting.wish),
        products=setting.sums,
        correction=int(setting.x_side.zero_point) * setting.weight_sums,
        bias=setting.bias,
        x_scale=np.float32(setting.x_side.scale),  # type: ignore[arg-type]
        w_scale=np.asarray(setting.w_side.scale, np.float32),
        y_scale=np.float32(setting.y_side.scale),  # type: ignore[arg-type]
        zero_point=zero,
        low=zero if setting.wish.relu else 0,
        high=(1 << setting.wish.bits) - 1,
        answer=answer,
    )
