from pathlib import Path

import pytest
from gate_runs import Case


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)
