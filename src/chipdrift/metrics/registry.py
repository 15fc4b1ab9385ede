"""Finds a metric by its name: the file ``kinds/<name>.py``, or a user's ``module:function``."""

from __future__ import annotations

import importlib
import pkgutil

from chipdrift.errors import UnknownNameError
from chipdrift.metrics import kinds
from chipdrift.metrics.base import Metric
from chipdrift.metrics.user import load_user_metric


def metric_names() -> tuple[str, ...]:
    """The built-in metrics' names, sorted; nothing is imported."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(kinds.__path__)))


def get_metric(name: str) -> Metric:
    """The metric of that name, or the user's function where the name is ``module:function``.

    Raises :class:`UnknownNameError` for an unknown name and :class:`DataError` for a user's
    function that cannot be imported.
    """
    if ":" in name:
        return load_user_metric(name)
    if name not in metric_names():
        raise UnknownNameError.of(
            "metric", name, metric_names(), "A function of your own is 'module:function'."
        )
    metric: Metric = importlib.import_module(f"{kinds.__name__}.{name}").METRIC
    return metric
