"""Runtimes that others bring: the example, installed by pip, and every way to be wrong."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chipdrift.demo import DemoPaths
from chipdrift.errors import ChipdriftError, UnknownNameError
from chipdrift.targets import TargetInfo, get_target, list_targets
from conftest import Cli

EXAMPLE = Path(__file__).parents[3] / "examples" / "tract_plugin"
Bring = Callable[..., Path]

GOOD = """
from chipdrift.targets import Target, TargetInfo

def resolve(rest):
    return Target(name=f"{NAME}:{rest}", runtime=__name__, evidence="hypothesis", has_npu=False)

def listed():
    return [TargetInfo(name=f"{NAME}:one", evidence="hypothesis", available=True, description="d")]

def open_session(path, options):
    raise NotImplementedError
"""


@pytest.fixture
def bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bring:
    """Put a distribution with one entry point on Python's path, as pip would leave it."""

    def put(name: str, text: str, dist: str = "acme", entry: str | None = None) -> Path:
        module = f"{dist}_runtime"
        folder = tmp_path / dist
        info = folder / f"{dist}-1.5.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(
            f"[chipdrift.targets]\n{name} = {entry or module}\n", encoding="utf-8"
        )
        (folder / f"{module}.py").write_text(f"NAME = {name!r}\n{text}", encoding="utf-8")
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, module, raising=False)
        return folder

    return put


def lines(prefix: str) -> list[TargetInfo]:
    return [info for info in list_targets() if info.name.startswith(f"{prefix}:")]


def test_a_plugin_s_targets(bring: Bring) -> None:
    assert not lines("acme")
    bring("acme", GOOD)
    assert [info.name for info in lines("acme")] == ["acme:one"]
    assert get_target("acme:two").name == "acme:two"
    with pytest.raises(UnknownNameError, match="Near names: acme:one"):
        get_target("acne:one")


WRONG = [
    ("import nothing_of_this_name", "importing acme_runtime raised ModuleNotFoundError: No module"),
    ("1 / 0", "importing acme_runtime raised ZeroDivisionError: division by zero"),
    ("import sys; sys.exit(3)", "importing acme_runtime raised SystemExit: 3"),
    ("def (", "importing acme_runtime raised SyntaxError"),
    (GOOD.replace("def listed", "def list_"), "acme_runtime has no function listed"),
    (
        "def listed():\n    return []",
        "acme_runtime has no function resolve and no open_session",
    ),
]


@pytest.mark.parametrize(("text", "what"), WRONG)
def test_a_plugin_that_cannot_be_used(text: str, what: str, bring: Bring) -> None:
    before = [info for info in list_targets() if info.available]
    bring("acme", text)
    (line,) = lines("acme")
    assert (line.name, line.available) == ("acme:*", False)
    assert line.reason is not None
    assert line.reason.startswith(f"Plugin acme (acme 1.5): {what}")
    assert line.reason.endswith("Tell its author, or remove it: pip uninstall acme")
    with pytest.raises(ChipdriftError) as caught:
        get_target("acme:one")
    assert str(caught.value) == f"{line.reason}."
    assert "\n" not in str(caught.value)
    assert [info for info in list_targets() if info.available] == before
    assert get_target("ort:cpu").name == "ort:cpu"


def test_functions_that_raise(bring: Bring) -> None:
    bring("acme", GOOD.replace("return [", "raise KeyError('x')\n    return ["))
    (line,) = lines("acme")
    assert "its listed() raised KeyError: 'x'. Tell its author" in (line.reason or "")
    bring("bolt", GOOD.replace("return Target", "int('x')\n    return Target"), dist="bolt")
    with pytest.raises(ChipdriftError, match=r"its resolve\('one'\) raised ValueError: invalid"):
        get_target("bolt:one")


def test_functions_that_give_something_else(bring: Bring) -> None:
    stranger = GOOD.replace('f"{NAME}:', 'f"other:')
    bring("acme", stranger)
    (line,) = lines("acme")
    assert "its listed() gave other:one, not TargetInfo of its own name" in (line.reason or "")
    with pytest.raises(ChipdriftError, match="gave other:one, not a Target called acme:one"):
        get_target("acme:one")
    bring("bolt", GOOD.replace("return Target(", "return dict("), dist="bolt")
    with pytest.raises(ChipdriftError, match="gave dict, not a Target called bolt:one"):
        get_target("bolt:one")


def test_a_plugin_s_own_refusal_is_handed_on(bring: Bring) -> None:
    text = GOOD.replace(
        "return Target",
        "from chipdrift.errors import ChipdriftError\n"
        "    raise ChipdriftError('Target acme:one: no board is plugged in.')\n    return Target",
    )
    bring("acme", text)
    with pytest.raises(ChipdriftError, match=r"^Target acme:one: no board is plugged in\.$"):
        get_target("acme:one")


@pytest.mark.parametrize("name", ["ort", "import"])
def test_the_name_of_a_built_in_runtime(name: str, bring: Bring) -> None:
    mine = [info for info in list_targets() if info.name.startswith(f"{name}:")]
    bring(name, GOOD)
    (line,) = [info for info in lines(name) if info not in mine]
    assert f"chipdrift itself has {name}:, which goes on to work" in (line.reason or "")
    assert [info for info in lines(name) if info in mine] == mine
    assert get_target("ort:cpu").runtime == "chipdrift.targets.ort"


def test_two_plugins_of_one_name(bring: Bring) -> None:
    bring("twin", GOOD, dist="bolt")
    bring("twin", GOOD, dist="acme")
    first, second = lines("twin")
    assert (first.name, first.available) == ("twin:one", True)
    assert "Plugin twin (bolt 1.5): acme 1.5 has that name" in (second.reason or "")
    assert get_target("twin:one").runtime == "acme_runtime"


@pytest.mark.parametrize("name", ["Acme", "ac me", "1acme"])
def test_names_that_no_target_can_have(name: str, bring: Bring) -> None:
    bring(name, GOOD)
    (line,) = lines(name)
    assert "a name is lower-case letters" in (line.reason or "")


def test_the_command_line_names_the_plugin(
    bring: Bring, cli: Cli, demo: DemoPaths, tmp_path: Path
) -> None:
    bring("acme", "1 / 0")
    code, out, err = cli("targets")
    assert code == 0
    assert "acme:*" in out
    assert "Plugin acme (acme 1.5): importing acme_runtime raised ZeroDivisionError" in err
    code, out, err = cli(
        *("matrix", demo.model, "--data", demo.data, "--scheme", "fp32"),
        *("--target", "ort:cpu,acme:one", "-o", tmp_path / "run"),
    )
    assert (code, out) == (2, "")
    assert err.startswith("Error: Plugin acme (acme 1.5): importing")
    assert "Traceback" not in err


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example as pip installs it, and nothing else."""
    pytest.importorskip("tract")
    folder = tmp_path_factory.mktemp("plugins")
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "chipdrift_tract.py"):
        (source / name).write_bytes((EXAMPLE / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*pip, *offline, "--target", str(folder), str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


def with_plugin(installed: Path, *words: object) -> subprocess.CompletedProcess[str]:
    known = os.environ.get("PYTHONPATH")
    path = str(installed) + (os.pathsep + known if known else "")
    return subprocess.run(
        [sys.executable, "-m", "chipdrift.cli.main", *map(str, words)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


def test_the_example_is_a_target_like_any_other(
    installed: Path, demo: DemoPaths, tmp_path: Path
) -> None:
    done = with_plugin(installed, "doctor", "tract:cpu", "--json")
    assert done.returncode == 0, done.stderr
    (checkup,) = json.loads(done.stdout)["checkups"]
    assert (checkup["name"], checkup["available"]) == ("tract:cpu", True)

    run = tmp_path / "run"
    done = with_plugin(
        installed,
        *("matrix", demo.model, "--data", demo.data, "--calibration", demo.calibration),
        *("--scheme", "fp32,w8a8_pc,w8a16", "--target", "ort:cpu,tract:cpu", "--limit", 40),
        *("-o", run),
    )
    assert done.returncode == 0, done.stderr
    with (run / "cells.csv").open(encoding="utf-8") as file:
        cells = {(row["scheme"], row["target"]): row for row in csv.DictReader(file)}
    cell = cells["w8a8_pc", "tract:cpu"]
    assert (cell["status"], cell["evidence"], cell["lsb_max"]) == ("ok", "host-runtime", "0")
    assert "tract=" in cell["versions"]
    # tract has no 16-bit quantizers: its own words, and no traceback of Rust.
    refused = cells["w8a16", "tract:cpu"]
    assert refused["status"] == "unsupported"
    assert "QuantizeLinear" in refused["reason"]
    assert "backtrace" not in refused["reason"]


def test_the_how_to(installed: Path, tmp_path: Path) -> None:
    from documents import run_page

    known = os.environ.get("PYTHONPATH")
    path = str(installed) + (os.pathsep + known if known else "")
    run_page(EXAMPLE.parents[1] / "docs" / "howto" / "plugins.md", tmp_path, PYTHONPATH=path)
    assert (tmp_path / "runs" / "tract" / "report.html").is_file()
