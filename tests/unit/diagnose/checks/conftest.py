"""Exams for the tests of checks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from exams import Exams


@pytest.fixture(scope="module")
def exam_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exams]:
    """``exam_of(model, feeds, a, b, ...)``: see :class:`exams.Exams`."""
    exams = Exams(tmp_path_factory.mktemp("exams"))
    yield exams
    exams.close()
