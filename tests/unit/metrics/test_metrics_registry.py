import subprocess
import sys

import pytest

from chipdrift.errors import UnknownNameError
from chipdrift.metrics import Metric, get_metric, metric_names


def test_names() -> None:
    assert metric_names() == (
        "agreement",
        "cer",
        "cosine",
        "psnr",
        "spearman",
        "sqnr",
        "token_accuracy",
        "top1",
        "top5",
    )


@pytest.mark.parametrize("name", metric_names())
def test_a_metric_is_named_as_its_file(name: str) -> None:
    metric = get_metric(name)
    assert isinstance(metric, Metric)
    assert metric.name == name
    assert metric.answer
    assert isinstance(metric.needs_labels, bool)
    assert isinstance(metric.needs_reference, bool)


def test_unknown_names_list_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown metric 'top2'. Near names: .*top1"):
        get_metric("top2")


def test_import_leaves_scipy_for_later() -> None:
    code = (
        "import sys, chipdrift.metrics; sys.exit(any(m.startswith('scipy') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
