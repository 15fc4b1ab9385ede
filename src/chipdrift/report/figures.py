"""How figures are written: the metric in its own unit, shares never rounded to all or nothing.

Everything here is ASCII but for the sign ``±``, so that it can be printed on any terminal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from chipdrift.records import Cell, Interval, Matrix, Pair

_CHIPS = frozenset({"device", "reported", "vendor-simulator"})
_ENGINE = frozenset({"prediction", "hypothesis"})
_DECIBELS = frozenset({"sqnr", "psnr"})
_MANY_SAMPLES = 5000  # From here on a share's interval is narrower than a tenth of a point or so.


@final
@dataclass(frozen=True)
class Figures:
    """The figures of one matrix's metric.

    ``share`` is True for a proportion, written in percent and its differences in points; else the
    metric's own numbers with ``decimals`` places and ``unit`` ("dB" or nothing).
    """

    share: bool
    unit: str
    decimals: int
    higher_is_better: bool

    @classmethod
    def of(cls, matrix: Matrix) -> Figures:
        """Wilson's interval says that the metric is a proportion."""
        if "wilson" in matrix.metric.interval.lower():
            places = 2 if matrix.data.samples >= _MANY_SAMPLES else 1
            return cls(True, "%", places, matrix.metric.higher_is_better)
        values = [abs(c.metric.value) for c in matrix.cells if c.metric is not None]
        top = max((v for v in values if math.isfinite(v)), default=1.0)
        places = 1 if top >= 100 else 2 if top >= 10 else 4
        unit = "dB" if matrix.metric.name in _DECIBELS else ""
        return cls(False, unit, places, matrix.metric.higher_is_better)

    def bare(self, value: float) -> str:
        """The value alone: "97.3"."""
        if not math.isfinite(value):
            return str(value)
        return _bounded(value, self.decimals) if self.share else f"{value:.{self.decimals}f}"

    def value(self, value: float) -> str:
        """With its unit: "97.3 %"."""
        return f"{self.bare(value)} {self.unit}".rstrip()

    def half_width(self, of: Interval) -> str | None:
        """Half the interval's width, "1.3", or None where there is no interval."""
        if of.low is None or of.high is None:
            return None
        half = (of.high - of.low) / 2
        return f"{half * 100 if self.share else half:.{self.decimals}f}"

    def span(self, of: Interval) -> str | None:
        """The interval's ends: "95.7 to 98.3"."""
        if of.low is None or of.high is None:
            return None
        return f"{self.bare(of.low)} to {self.bare(of.high)}"

    def change(self, value: float) -> str:
        """A difference with its sign: "-1.5", "+0.2", "0"."""
        text = self.size(value)
        return text if text == "0" else f"{'-' if value < 0 else '+'}{text}"

    def change_span(self, of: Interval) -> str | None:
        """A difference's interval: "-3.1 to -0.2"."""
        if of.low is None or of.high is None:
            return None
        return f"{self.change(of.low)} to {self.change(of.high)}"

    def amount(self, value: float) -> str:
        """The size of a difference with its unit: "1.5 points"."""
        return f"{self.size(value)} {self.change_unit}".rstrip()

    @property
    def change_unit(self) -> str:
        """What differences are counted in."""
        return "points" if self.share else self.unit

    def worse(self, change: float) -> float:
        """A change turned so that more is worse."""
        return -change if self.higher_is_better else change

    def size(self, value: float) -> str:
        """The size of a difference without sign and unit: "1.5"."""
        size = abs(value) * (100 if self.share else 1)
        if size == 0 or not math.isfinite(size):
            return "0" if size == 0 else str(size)
        text = f"{size:.{self.decimals}f}"
        return text if float(text) else f"{size:.1g}"


def percent(share: float) -> str:
    """A share in percent; only 0 and 1 themselves are "0 %" and "100 %"."""
    if share in (0.0, 1.0):
        return f"{share * 100:.0f} %"
    return f"{_bounded(share, 1)} %"


def p_value(p: float) -> str:
    """Three digits, never rounded across 0.05."""
    return "< 0.001" if p < 0.001 else f"{p:.3g}"


def number(value: float) -> str:
    """Three significant digits."""
    return f"{value:.3g}" if abs(value) < 1000 or not math.isfinite(value) else f"{value:,.0f}"


def listing(words: Sequence[str], most: int | None = None) -> str:
    """ "a, b and c"; beyond ``most`` names, "a, b and 7 more"."""
    shown = list(words)
    if most is not None and len(shown) > most:
        shown = [*shown[: most - 1], f"{len(words) - most + 1} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def pieces(name: str) -> list[str]:
    """Where a name may be cut, which can be a long path: behind ``/ : _ - .``.

    A file's own ending stays with it.
    """
    return re.findall(r"(?:[^/:_.-]|\.(?=(?:toml|onnx)$))*[/:_.-]?", name)[:-1]


def hosts(matrix: Matrix) -> frozenset[str]:
    """Targets that are this machine's own runtime and no chip."""
    return frozenset(c.target for c in matrix.cells if c.evidence == "host-runtime")


def chips(matrix: Matrix) -> frozenset[str]:
    """Targets that are silicon or the vendor's simulator of it."""
    return frozenset(c.target for c in matrix.cells if c.evidence in _CHIPS)


def held(matrix: Matrix) -> str:
    """What targets are seen to share: "bits", or "answers" where classes alone were imported."""
    outputs = matrix.model.outputs
    classes = all(not o.shape and o.dtype.startswith(("int", "uint")) for o in outputs)
    return "answers" if matrix.imported is not None and classes else "bits"


def noun(matrix: Matrix) -> str:
    """What the targets beside the host's are called: "chip" only where all of them are."""
    others = set(matrix.targets) - hosts(matrix)
    return "chip" if others and others <= chips(matrix) else "target"


def name_targets(matrix: Matrix, targets: Sequence[str], most: int | None = 4) -> str:
    """Some targets in words: "every target", "every chip", "every target but X", or their names."""
    every, own = set(targets), hosts(matrix)
    if len(every) > 1 and every == set(matrix.targets):
        return "every target"
    if len(every) > 1 and every == chips(matrix):
        return "every chip"
    if len(every) > 1 and len(own) == 1 and every == set(matrix.targets) - own:
        return f"every target but {listing(list(own))}"
    return listing(targets, most)


def has_npu(cell: Cell) -> bool:
    """Whether the cell's target has an NPU, as its placement shows; our own engine has none."""
    place = cell.placement
    return not is_engine(cell) and place is not None and (place.npu > 0 or bool(place.fallback))


def is_engine(cell: Cell) -> bool:
    """Whether chipdrift's own engine answered, under a profile."""
    return cell.evidence in _ENGINE


def differing(pair: Pair) -> int:
    """The number of samples with two answers."""
    return round((1 - pair.agreement) * pair.samples)


def _bounded(share: float, decimals: int) -> str:
    """Percent with as many places as keep a share short of 1 from reading as 100."""
    for places in range(decimals, 7):
        text = f"{share * 100:.{places}f}"
        if (share >= 1.0 or float(text) < 100) and (share <= 0.0 or float(text) > 0):
            return text
    return f"{share * 100:.{decimals}f}"
