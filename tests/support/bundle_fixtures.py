"""Fixtures for the tests of bundles: ``made = bundle_fixtures.made`` in a test's module.

Not in a ``conftest.py``: tests import the one at their root by that name.
"""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import pytest
from bundles import make_plan

from chipdrift.bundle import Made, SigningKey, make_bundle

Factory = pytest.TempPathFactory


@cache
def _plan(base: Path) -> Path:
    return make_plan(base / "shared-plan")


@cache
def _key(base: Path) -> Path:
    SigningKey.fresh().write(base / "shared-key.pem")
    return base / "shared-key.pem"


@cache
def _made(base: Path) -> Made:
    out = base / "shared" / "bundle"
    return make_bundle(_plan(base), out, key=_key(base), contexts=True, off=["SM8650"])


@pytest.fixture
def plan(tmp_path_factory: Factory) -> Path:
    """A plan for three chips; not to be changed."""
    pytest.importorskip("onnxruntime_qnn")
    return _plan(tmp_path_factory.getbasetemp())


@pytest.fixture
def own_plan(plan: Path, tmp_path: Path) -> Path:
    """A copy of the plan that may be changed."""
    return Path(shutil.copytree(plan, tmp_path / "plan"))


@pytest.fixture
def key_file(tmp_path_factory: Factory) -> Path:
    """The key that signed ``made``."""
    return _key(tmp_path_factory.getbasetemp())


@pytest.fixture
def made(plan: Path, tmp_path_factory: Factory) -> Made:
    """A bundle of the plan, with the precompiled files; not to be changed."""
    return _made(tmp_path_factory.getbasetemp())


@pytest.fixture
def folder(made: Made, tmp_path: Path) -> Path:
    """A copy of the bundle that may be changed."""
    return Path(shutil.copytree(made.folder, tmp_path / "bundle"))
