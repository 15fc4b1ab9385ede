"""From which S on a kernel's rules hold: some take small or large factors another way (N20).

A layer follows one rule in all its channels, chosen by the least S among them. The rules that were
found hold for ordinary factors; here layers with a smaller and with only larger ones are asked, and
where others hold the border is searched for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from chipdrift.graph.single import Side
from chipdrift.numerics.profile import Override, Requantize
from chipdrift.numerics.rounding import Rounding
from chipdrift.probe.ask import Asker, NoAnswerError
from chipdrift.probe.finding import Finding
from chipdrift.probe.settings import (
    Kind,
    Setting,
    Wish,
    answers,
    evidence_of,
    setting_of,
    window_of,
)

Array = np.ndarray[Any, Any]

KERNEL: Kind = "depthwise_stride2"
# Powers of two between which the least S lies; ordinary layers have some 2**-8.
_LEAST, _ORDINARY, _MOST = -19.0, -8.0, 1.0
# Where what was found is checked.
_CHECKED = (-18.5, -17.0, -16.01, -15.99, -15.0, -14.0, -12.0, -3.0, -1.01, -0.99, 0.0, 0.9)
_CHANNELS, _SIDE = 8, 16
_SHARPER = 12


class _Layers:
    """Layers of one width with a least S of one's choice, and who explains the target's answer."""

    def __init__(self, asker: Asker, rng: np.random.Generator, bits: int) -> None:
        self._asker, self._rng, self._bits = asker, rng, bits

    def explains(self, least: float, *rules: Override) -> list[bool]:
        """Whether each of ``rules`` explains every output; raises NoAnswerError."""
        counts, size = self.counts(least, *rules)
        return [count == size for count in counts]

    def counts(self, least: float, *rules: Override) -> tuple[list[int], int]:
        """How many outputs each of ``rules`` explains, and of how many; raises NoAnswerError."""
        setting = self._setting(least)
        answer = answers(self._asker, setting)
        found = []
        for rule in rules:
            entry = evidence_of(setting, answer, rule.accumulator)
            found.append(entry.confirmed(rule.requantize or Requantize()))
        return found, answer.size

    def _setting(self, least: float) -> Setting:
        """All S at 2**-8 but one, or, where ``least`` is more, all between it and twice that."""
        rng, high = self._rng, (1 << self._bits) - 1
        wish = Wish(KERNEL, self._bits, bias=True, channels=_CHANNELS, rows=_SIDE * _SIDE)  # type: ignore[arg-type]
        k, step = window_of(KERNEL)
        size = (_SIDE - 1) * step + k
        ordinary = 2.0**_ORDINARY * (1 if self._bits == 8 else 0.5)
        scale = np.exp2(rng.uniform(0, 1, _CHANNELS)) * max(ordinary, least)
        scale[int(rng.integers(_CHANNELS))] = least
        zero_x = int(rng.integers(high // 8, high // 2))
        spread = high // 2
        weights = rng.integers(-127, 128, (_CHANNELS, k * k))
        if least > ordinary:  # sums as small as the output's range
            spread = max(2, min(spread, int(high / (16 * least)))) if self._bits == 8 else spread
            few = 3 if self._bits == 8 else 2
            weights = rng.integers(-few, few + 1, weights.shape)
        offset = rng.integers(-spread // 2, spread // 2 + 1, (1, _CHANNELS, size, size))
        x = np.clip(zero_x + offset, 0, high)
        bias = rng.integers(-spread, spread + 1, _CHANNELS)
        kind = f"uint{self._bits}"
        sides = Side(kind, np.float32(1), zero_x), Side(kind, np.float32(1), high // 2 + 3)
        return setting_of(wish, x, weights, scale.astype(np.float32), bias, *sides)


def probe_least_scale(
    asker: Asker,
    rng: np.random.Generator,
    known: Sequence[Override],
    tell: Callable[[str], None] = lambda words: None,
) -> tuple[list[Finding], list[Override]]:
    """Findings, and ``known``, the rules of products, with the S from which they hold.

    Asked of depthwise convolutions of stride 2, whose rules other convolutions do not share. A
    refused question is a finding with the target's words.
    """
    rules, more, findings = list(known), list[Override](), list[Finding]()
    for index, rule in enumerate(rules):
        if rule.kernel != KERNEL or rule.requantize is None or rule.activation is None:
            continue
        bits = rule.activation
        tell(f"{KERNEL}, {bits} bit: small and large scales")
        other = _general(rules, bits)
        layers = _Layers(asker, rng, bits)
        try:
            below = None if other is None else _lower(layers, rule, other)
            above = _upper(layers, rule)
            mine = rule if below is None else rule.model_copy(update={"least_scale": below})
            chosen = [*([other] if other and below else []), mine, *([above] if above else [])]
            told = _findings(bits, layers, chosen, below)
        except NoAnswerError as error:
            words = f"no answer: {error}"
            findings.append(
                Finding(subject=f"{KERNEL}, {bits} bit", rule="least_scale", words=words)
            )
            continue
        rules[index] = mine
        more += [] if above is None else [above]
        findings += told
    return findings, rules + more


def _general(rules: Sequence[Override], bits: int) -> Override | None:
    """The rules of convolutions that have no kernel of their own."""
    found = [
        r for r in rules
        if r.kernel is None and r.activation == bits and r.ops and "Conv" in r.ops
    ]  # fmt: skip
    return found[-1] if found else None


def _lower(layers: _Layers, rule: Override, other: Override) -> float | None:
    """The least S from which ``rule`` holds, where ``other`` does below; else None."""
    first, second = layers.explains(2.0**_LEAST, rule, other)
    if first or not second:
        return None
    return _border(_LEAST, _ORDINARY, lambda least: layers.explains(least, rule)[0])


def _upper(layers: _Layers, rule: Override) -> Override | None:
    """Other rules that hold where all S are large, from the S on from which they do."""
    if layers.explains(2.0**_MOST, rule)[0]:
        return None
    others = list(_roundings(rule))
    held = layers.explains(2.0**_MOST, *others)
    if not any(held):
        return None
    found = others[held.index(True)]
    border = _border(_ORDINARY, _MOST, lambda least: layers.explains(least, found)[0])
    return found.model_copy(update={"least_scale": border})


def _border(fails: float, holds: float, test: Callable[[float], bool]) -> float:
    """The least S at which ``test`` holds: a power of two, or nearly what it is.

    It fails at ``2**fails`` and holds at ``2**holds``.
    """
    while holds - fails > 1:
        middle = float(np.floor((fails + holds) / 2))
        holds, fails = (middle, fails) if test(2.0**middle) else (holds, middle)
    least = float(2.0**holds)
    if not test(float(np.nextafter(np.float32(least), np.float32(0)))):
        return least
    for _ in range(_SHARPER):
        middle = (fails + holds) / 2
        holds, fails = (middle, fails) if test(2.0**middle) else (holds, middle)
    return float(np.float32(2.0**holds))


def _roundings(rule: Override) -> Iterator[Override]:
    """The rule with every other rounding at its end."""
    assert rule.requantize is not None
    for rounding in Rounding:
        if rounding not in (rule.requantize.rounding, Rounding.STOCHASTIC):
            made = rule.requantize.model_copy(update={"rounding": rounding})
            yield rule.model_copy(update={"requantize": made})


def _findings(
    bits: int, layers: _Layers, rules: Sequence[Override], below: float | None
) -> list[Finding]:
    """What was found, with how much of fresh layers it explains; raises NoAnswerError.

    ``rules`` are those of small S, where there are any, of the kernel, and of large S.
    """
    explained = asked = 0
    for power in _CHECKED:
        least = 2.0**power
        chosen = [r for r in rules if r.least_scale is None or r.least_scale <= least][-1]
        (count,), size = layers.counts(least, chosen)
        explained, asked = explained + count, asked + size
    words = "the least S of the channels from which these rules hold; below, those of Conv do"
    values: list[tuple[float | None, str]] = [
        (below, words if below else "no other rules were found for a small S")
    ]
    last = rules[-1]
    if last.requantize is not None and last.least_scale not in (None, below):
        rounding = last.requantize.rounding.value
        values.append((last.least_scale, f"from this least S on the rounding is {rounding}"))
    return [
        Finding(
            subject=f"{KERNEL}, {bits} bit",
            rule="least_scale",
            place=("rule", "least_scale"),
            value=value,
            words=words,
            asked=asked,
            explained=explained,
        )
        for value, words in values
    ]
