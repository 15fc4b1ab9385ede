"""Candidates on targets, measured: what the search asks, and what confirms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from chipdrift.data import take
from chipdrift.errors import ModelError
from chipdrift.matrix.answers import check_labels, load_outputs
from chipdrift.matrix.cells import CellPlan, lacks, phone_run_of, placement_of, plan_cell
from chipdrift.matrix.request import BASELINE_TARGET, Request
from chipdrift.matrix.run import claim, run_cells
from chipdrift.matrix.schedule import Progress, Scheduler, usable_cores
from chipdrift.matrix.variants import Variant, known_variant, make_variant
from chipdrift.metrics import Metric, Outputs, answers_agree, compare, evaluate, sqnr_db
from chipdrift.plan.space import Space
from chipdrift.quantize import Preparation
from chipdrift.records import Interval, MetricResult, PhoneRun, Placement
from chipdrift.schemes import Scheme
from chipdrift.store import Store
from chipdrift.targets import Target, get_target

# A quantized output without any noise: far beyond what 16 bits can hold.
NOISELESS_DB = 200.0


@dataclass(frozen=True)
class Figures:
    """A candidate's figures on one target and some samples; ``error`` says why there are none.

    ``loss`` is how much worse than the baseline on the same samples, positive is worse.
    """

    metric: MetricResult | None = None
    loss: Interval | None = None
    agreement: Interval | None = None
    sqnr_db: float | None = None
    placement: Placement | None = None
    phone: PhoneRun | None = None
    samples: int = 0
    error: str | None = None

    @property
    def fallback(self) -> int:
        """How many nodes left the NPU."""
        return 0 if self.placement is None else len(self.placement.fallback)


@dataclass(eq=False)
class Judge:
    """Measures candidates on one set of samples, in a run folder; what is there is not measured.

    Use as a context manager: leaving ends the workers.
    """

    folder: Path
    request: Request
    jobs: int | None
    timeout: float
    progress: Callable[[Progress], None] | None = None
    preparation: Preparation = field(default_factory=Preparation)
    _variants: dict[str, Variant] = field(default_factory=dict)
    _cells: dict[tuple[str, str], CellPlan] = field(default_factory=dict)
    _bases: dict[tuple[int, ...], Outputs] = field(default_factory=dict)

    def __enter__(self) -> Judge:
        self.store = Store.open(self.folder)
        self._space = Space(self.folder / "models")
        self._scheduler: Scheduler | None = None
        try:
            claim(self.store, self.request)
            self._scheduler = Scheduler(
                self.store,
                self.request.samples,
                usable_cores(self.jobs),
                self.timeout,
                self.progress,
            )
            self._measure_baseline()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._scheduler is not None:
            self._scheduler.close()
        self.store.__exit__(kind, error, traceback)

    @property
    def metric(self) -> Metric:
        """The metric that the budget speaks of."""
        return self.request.metric

    @property
    def every(self) -> tuple[int, ...]:
        """All samples."""
        return tuple(range(len(self.request.samples)))

    def variant(self, scheme: Scheme) -> Variant:
        """What ``scheme`` makes of the model, made once; its file may be gone again."""
        known = self._variants.get(scheme.name)
        if known is None or known.scheme != scheme:
            with self.store.understood():
                known = known_variant(
                    self.store, self.request.model, scheme, self.request.calibration_info
                )
            self._variants[scheme.name] = known or self._made(scheme)
            self._space.tidy()
        return self._variants[scheme.name]

    def file(self, scheme: Scheme) -> Path:
        """The candidate's model file; raises ModelError where it cannot be made."""
        variant = self.variant(scheme)
        if variant.file is None:
            raise ModelError(variant.error or f"{scheme.name} makes no model")
        file = self.store.folder / variant.file
        if not self._space.has(file) and self._made(scheme).sha256 != variant.sha256:
            raise ModelError(
                f"Scheme {scheme.name}: its model is another file each time it is made, so what "
                "was measured of it cannot be relied on. Report it with the model and the scheme."
            )
        self._space.use(file)
        return file

    def _made(self, scheme: Scheme) -> Variant:
        """Make it, unless its file is there and whole."""
        with self.store.understood():
            made = make_variant(
                self.store,
                self.request.model,
                scheme,
                self.request.calibration,
                self.request.calibration_info,
                self.preparation,
            )
        if made.file is not None:
            self._space.use(self.store.folder / made.file)
        return made

    def measure(
        self,
        pairs: Iterable[tuple[Scheme, Target]],
        indices: Sequence[int] | None = None,
        level: float = 0.95,
        judged: bool = False,
    ) -> list[Figures]:
        """The figures of every pair on the samples of these ``indices`` (all of them).

        The metric and the loss are those of all samples. On some they are None, unless ``judged``
        asks for them and no sample is one of a pair.
        """
        wanted = self.every if indices is None else tuple(indices)
        cells = [self._cell(scheme, target) for scheme, target in pairs]
        assert self._scheduler is not None
        self._scheduler.begin()
        with self.store.understood():
            for cell in cells:
                if cell.runs and lacks(self.store, self.request.samples, cell, wanted):
                    self.file(cell.variant.scheme)
            run_cells(self.store, self.request, self._scheduler, cells, wanted)
        self._space.tidy()
        base = self.baseline(wanted)
        told = wanted == self.every or (judged and "pairs" not in self.request.samples.extras)
        return [self._figures(cell, base, wanted, level if told else None) for cell in cells]

    def outputs(self, scheme: Scheme, target: Target, indices: Sequence[int]) -> Outputs | None:
        """What was answered on samples that were measured before; None where it did not run."""
        cell = self._cell(scheme, target)
        if not cell.runs:
            return None
        return self._load(cell, tuple(indices))

    def baseline(self, indices: Sequence[int]) -> Outputs:
        """The float model's own answers, which are their own reference."""
        wanted = tuple(indices)
        if wanted not in self._bases:
            cell = self._cell(self.request.baseline, get_target(BASELINE_TARGET))
            outputs = self._load(cell, wanted)
            self._bases[wanted] = replace(outputs, reference=outputs)
        return self._bases[wanted]

    def _measure_baseline(self) -> None:
        cell = self._cell(self.request.baseline, get_target(BASELINE_TARGET))
        assert self._scheduler is not None
        run_cells(self.store, self.request, self._scheduler, [cell], self.every)
        if not cell.runs:
            raise ModelError(
                f"Model {self.request.model.path}: the baseline on {BASELINE_TARGET} does not run: "
                f"{cell.reason}. A model that onnxruntime cannot run, with --shape as it was "
                "given, cannot be planned for."
            )
        check_labels(self.store, self.request, cell)
        for name, array in self.baseline(self.every).arrays.items():
            if not _finite(array):
                wrong = sum(not _finite(row) for row in array)
                raise ModelError(
                    f"Model {self.request.model.path}: in float its output {name} holds NaN or "
                    f"infinity on {wrong} of {len(array)} samples, so nothing can be set against "
                    "it. Mend the model, or leave these samples out."
                )

    def _cell(self, scheme: Scheme, target: Target) -> CellPlan:
        key = (scheme.name, target.name)
        if key not in self._cells:
            self._cells[key] = plan_cell(self.variant(scheme), target, True)
        return self._cells[key]

    def _load(self, cell: CellPlan, indices: tuple[int, ...]) -> Outputs:
        request = self.request
        if indices != self.every:
            samples = take(request.samples, indices, request.samples.name)
            request = replace(request, samples=samples)
        with self.store.understood():
            return load_outputs(self.store, request, cell)

    def _figures(
        self, cell: CellPlan, base: Outputs, indices: tuple[int, ...], level: float | None
    ) -> Figures:
        if not cell.runs:
            return Figures(error=cell.reason)
        found = self._load(cell, indices)
        outputs = replace(found, reference=base)
        noise = sqnr_db(outputs, base)
        broken = [name for name, array in outputs.arrays.items() if not _finite(array)]
        if broken:
            return Figures(error=f"output {broken[0]} holds NaN or infinity", samples=len(indices))
        with self.store.understood():
            placement, phone = placement_of(self.store, cell), phone_run_of(self.store, cell)
        told = Figures(
            agreement=answers_agree(self.metric.answers(outputs), self.metric.answers(base)),
            sqnr_db=NOISELESS_DB if noise is None else noise,
            placement=placement,
            phone=phone,
            samples=len(indices),
        )
        if level is None:
            return told
        difference = compare(self.metric, outputs, base, level)
        sign = -1.0 if self.metric.higher_is_better else 1.0
        bounds = [
            None if bound is None else sign * bound for bound in (difference.low, difference.high)
        ]
        low, high = bounds if sign > 0 else bounds[::-1]
        return replace(
            told,
            metric=evaluate(self.metric, outputs, level),
            loss=Interval(value=sign * difference.value + 0.0, low=low, high=high),
        )


def _finite(array: np.ndarray[Any, Any]) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())
