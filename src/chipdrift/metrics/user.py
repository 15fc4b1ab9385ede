"""A metric of the user's own: ``module:function``, called as ``function(outputs, labels)``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import numpy as np

from chipdrift.errors import DataError
from chipdrift.metrics.base import Array, Floats, Ints, Kind, Metric, Outputs, PerSample, Statistic
from chipdrift.metrics.closeness import bit_answers, describe_bits

_RESAMPLES = 1_999  # Each is a call of the user's function; p-values go down to 0.001.


@final
class UserMetric(Metric):
    """The user's ``function(outputs, labels)``.

    ``outputs`` is the array (N, *shape) of a model with one output, else a dict of arrays by name,
    ``shape`` being the output's without its batch of 1;
    ``labels`` is the data's array or None. It returns N scores, one per sample, or one number; all
    finite. Scores of dtype bool make a proportion, other scores a mean, and one number a statistic
    over samples, for which the function is called again on 1,999 resamples for each interval and
    test: scores per sample are faster by far. A resample on which it raises or returns NaN is left
    out. The function's attributes ``higher_is_better`` (default True) and
    ``needs_labels`` (default False) are heeded.
    """

    answer = "output bits"
    kind: Kind = "mean"
    needs_reference = False

    def __init__(self, name: str, function: Callable[[Any, Any], Any]) -> None:
        self.name = name
        self.higher_is_better = bool(getattr(function, "higher_is_better", True))
        self.needs_labels = bool(getattr(function, "needs_labels", False))
        self._function = function

    def check_shapes(self, outputs: Outputs) -> None:
        """Nothing: the function knows."""

    def measure(self, outputs: Outputs) -> PerSample | Statistic:
        """Call the function; :class:`DataError` where it raises or returns something else."""
        found = self._call(outputs, None)
        if found.shape == (outputs.samples,):
            boolean = found.dtype.kind == "b"
            return PerSample(found.astype(np.float64), "proportion" if boolean else "mean")
        if found.ndim != 0:
            raise DataError(
                f"Metric {self.name!r} returned an array of shape {found.shape}, expected "
                f"({outputs.samples},), one score per sample, or one number."
            )
        if outputs.labels is not None and len(np.atleast_1d(outputs.labels)) != outputs.samples:
            raise DataError(
                f"Metric {self.name!r} returned one number over {outputs.samples} samples and "
                f"{len(np.atleast_1d(outputs.labels))} labels, expected a label per sample so that "
                "samples can be drawn again; return one score per sample."
            )

        def values(weights: Ints) -> Floats:
            return np.array([self._on_draw(outputs, row) for row in weights])

        return Statistic(outputs.samples, values, _RESAMPLES)

    def answers(self, outputs: Outputs) -> Array:
        """A digest of each sample's bits in the primary output."""
        return bit_answers(outputs)

    def describe(self, answer: Any) -> str:
        """The digest's first digits."""
        return describe_bits(answer)

    def describe_label(self, outputs: Outputs, row: int) -> str | None:
        """The label as Python prints it, where there is one per sample."""
        if outputs.labels is None or len(outputs.labels) != outputs.samples:
            return None
        text = str(outputs.labels[row].tolist())
        return text if len(text) <= 60 else text[:57] + "..."

    def _on_draw(self, outputs: Outputs, weights: Ints) -> float:
        """The function on a draw; NaN where it cannot score it, as when a class is missing."""
        every = bool((weights == 1).all())
        try:
            found = self._call(
                outputs, None if every else np.repeat(np.arange(len(weights)), weights)
            )
        except DataError:
            if every:
                raise
            return float("nan")
        return float(found) if found.ndim == 0 else float("nan")

    def _call(self, outputs: Outputs, rows: Ints | None) -> Array:
        part = slice(None) if rows is None else rows
        # Copies: the function may write into what it gets.
        arrays = {
            name: _without_batch(array)[part].copy() for name, array in outputs.arrays.items()
        }
        labels = None if outputs.labels is None else outputs.labels[part].copy()
        try:
            returned = self._function(
                next(iter(arrays.values())) if len(arrays) == 1 else arrays, labels
            )
        except (Exception, SystemExit) as error:
            words = " ".join(str(error).split())
            raise DataError(
                f"Metric {self.name!r} raised {type(error).__name__}: {words}; mend the function "
                "or the data it is given."
            ) from error
        return self._numbers(returned)

    def _numbers(self, returned: Any) -> Array:
        try:
            found = np.asarray(returned)
        except ValueError:
            found = np.empty(0, np.object_)
        if found.dtype.kind not in "fiub":
            raise DataError(
                f"Metric {self.name!r} returned {type(returned).__name__} "
                f"{_short(returned)}, expected one number per sample or one number."
            )
        wrong = np.argwhere(~np.isfinite(found))
        if len(wrong):
            where = "" if found.ndim == 0 else f" for sample {int(wrong[0][0])}"
            raise DataError(
                f"Metric {self.name!r} returned {found[tuple(wrong[0])]}{where}, expected a finite "
                "number; decide in the function what such a sample is worth."
            )
        return found


def _without_batch(array: Array) -> Array:
    """(N, 1, *rest) to (N, *rest), as the data file has its inputs; else ``outputs == labels``
    would silently broadcast to N x N."""
    return array[:, 0] if array.ndim > 2 and array.shape[1] == 1 else array


def load_user_metric(name: str) -> UserMetric:
    """Import the function named ``module:function``, from the current directory or installed.

    Raises :class:`DataError` where the module cannot be imported or has no such function.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise DataError(
            f"Metric {name!r} is not of the form 'module:function', as in 'mymetrics:f1'."
        )
    with _current_directory_first():
        try:
            module = importlib.import_module(module_name)
        except Exception as error:
            raise DataError(
                f"Metric {name!r}: importing module {module_name!r} raised "
                f"{type(error).__name__}: {error}; expected {module_name.replace('.', '/')}.py in "
                f"{Path.cwd()} or an installed module that imports cleanly."
            ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        found = sorted(n for n in vars(module) if callable(getattr(module, n)) and n[0] != "_")
        raise DataError(
            f"Metric {name!r}: module {module_name!r} has no function {function_name!r}; it has "
            f"{', '.join(found[:10]) or 'none'}."
        )
    return UserMetric(name, function)


@contextmanager
def _current_directory_first() -> Iterator[None]:
    # sys.path is put back as the module may itself have changed it and others must not see that.
    before = list(sys.path)
    sys.path.insert(0, str(Path.cwd()))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before


def _short(value: object) -> str:
    text = repr(value).replace("\n", " ")
    return text if len(text) <= 60 else text[:57] + "..."
