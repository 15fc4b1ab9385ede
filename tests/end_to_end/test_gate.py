"""``chipdrift gate`` as it is typed: exit codes, files, mistakes; the how-to; the GitHub Action."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest
from documents import run_page_here
from page_shell import PageShell, page_shell

import chipdrift
from chipdrift.gate import read_policy, run_gate
from chipdrift.matrix import run_matrix

if TYPE_CHECKING:
    from chipdrift.demo import DemoPaths
    from conftest import Cli

ROOT = Path(__file__).parents[2]
CPU, COARSE = "ort:cpu", "sim:hypothesis-int16-accumulator"
GREEN = "[default]\ndrop = 40\n"
RED = f'[default]\njudge = "value"\n[[rule]]\ntargets = ["{COARSE}"]\ndrop = 0.1\n'


@pytest.fixture(scope="module")
def run(demo: DemoPaths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "a run"
    options: dict[str, Any] = {"calibration": demo.calibration, "limit": 120, "jobs": 1}
    run_matrix(demo.model, demo.data, schemes=["w8a8"], targets=[CPU, COARSE], out=out, **options)
    return out


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> Path:
        Path("policy.toml").write_text(text)
        return Path("policy.toml")

    return write


def test_green_and_red(run: Path, policy: Callable[[str], Path], cli: Cli) -> None:
    code, out, err = cli("gate", run, "--policy", policy(GREEN))
    assert (code, err) == (0, "")
    assert out.strip() == f"{run}: passed, 6 held"
    code, out, err = cli("gate", run, "--policy", policy(RED))
    assert (code, err) == (1, "")
    assert f"{run}: failed, 1 limit broken, 4 held" in out
    command = shlex.join(["chipdrift", "diagnose", str(run), "--scheme", "w8a8"])
    assert f"{command} --target {COARSE} --against {CPU} says why." in out


def test_files_and_json(run: Path, policy: Callable[[str], Path], cli: Cli, tmp_path: Path) -> None:
    files = ["--junit", "ci/g.xml", "--sarif", "ci/g.sarif", "--markdown", "ci/g.md"]
    code, out, err = cli("gate", run, "--policy", policy(RED), "--json", *files)
    assert (code, err) == (1, "")
    found = json.loads(out)
    assert found["failed"] is True
    assert [c["limit"] for c in found["checks"] if c["breaks"]] == ["drop"]
    assert ElementTree.parse("ci/g.xml").getroot().get("failures") == "1"
    log = json.loads(Path("ci/g.sarif").read_text())
    (result,) = log["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "policy.toml"}, "region": {"startLine": 5}}
    assert "failed, 1 limit broken" in Path("ci/g.md").read_text()


def test_a_baseline_written_and_held(run: Path, policy: Callable[[str], Path], cli: Cli) -> None:
    since = policy(GREEN + '[since]\nbits = "fail"\n')
    code, _, err = cli("gate", run, "--policy", since, "--write-baseline", "base.json")
    assert (code, err) == (0, "Baseline: base.json\n")
    code, out, err = cli("gate", run, "--policy", since, "--baseline", "base.json")
    assert (code, err) == (0, "")
    assert "Since the baseline: no change in 2 cells." in out
    # An older baseline may be replaced, another file may not.
    assert cli("gate", run, "--policy", since, "--write-baseline", "base.json")[0] == 0
    Path("mine.json").write_text("{}")
    code, _, err = cli("gate", run, "--policy", since, "--write-baseline", "mine.json")
    assert code == 2
    assert Path("mine.json").read_text() == "{}"


def test_a_baseline_of_a_run_that_fails_is_written_and_still_fails(
    run: Path, policy: Callable[[str], Path], cli: Cli
) -> None:
    code, _, _ = cli("gate", run, "--policy", policy(RED), "--write-baseline", "base.json")
    assert code == 1
    assert Path("base.json").exists()


def test_the_example_is_a_policy(run: Path, policy: Callable[[str], Path], cli: Cli) -> None:
    code, out, err = cli("gate", "--example")
    assert (code, err) == (0, "")
    code, out, err = cli("gate", run, "--policy", policy(out))
    # On 120 samples a loss of a point or so is neither proven nor excluded.
    assert (code, err) == (0, "")
    assert "passed, 3 unproven, 7 held" in out


@pytest.fixture
def refuse(run: Path, policy: Callable[[str], Path], cli: Cli) -> Callable[..., str]:
    """One sentence on stderr, exit code 2."""

    def asked(*words: object, text: str = GREEN, run: object = run) -> str:
        code, _, err = cli("gate", run, "--policy", policy(text), *words)
        assert code == 2, err
        assert err.splitlines()[-1].startswith("Error: ")
        assert "Traceback" not in err
        return err.splitlines()[-1]

    return asked


def test_mistakes(refuse: Callable[..., str], cli: Cli, run: Path, tmp_path: Path) -> None:
    assert "no such run" in refuse(run=tmp_path / "nowhere")
    (tmp_path / "plan" / "confirm").mkdir(parents=True)
    (tmp_path / "plan" / "confirm" / "matrix.json").write_text("{}")
    assert f"it is a plan. Its run is {tmp_path / 'plan' / 'confirm'}." in refuse(
        run=tmp_path / "plan"
    )
    assert "line 2" in refuse(text="[default]\ndrop = \n")
    assert "Did you mean drop" in refuse(text="[default]\ndorp = 1\n")
    assert "Near names: ort:cpu" in refuse(text='[[rule]]\ntargets = ["ort:cup"]\ndrop = 1\n')
    assert "needs a baseline" in refuse(text="[since]\ndrop = 1\n")
    assert "cannot be read" in refuse("--baseline", "nowhere.json")
    assert "no baseline that this chipdrift can read" in refuse("--baseline", "policy.toml")
    for words in (["gate"], ["gate", run], ["gate", "--policy", "policy.toml"]):
        code, _, err = cli(*words)
        assert code == 2
        assert "--example" in err


@pytest.mark.parametrize("option", ["--junit", "--sarif", "--markdown", "--write-baseline"])
def test_outputs_that_cannot_be_written(
    option: str, refuse: Callable[..., str], run: Path, tmp_path: Path
) -> None:
    assert "this is the policy" in refuse(option, "policy.toml")
    assert "this is a folder" in refuse(option, tmp_path)
    assert "a file of the run" in refuse(option, run / "matrix.json")
    assert "cannot be written" in refuse(option, "policy.toml/x")
    assert json.loads((run / "matrix.json").read_text())["complete"]
    for other in {"--junit", "--sarif"} - {option}:
        assert f"this is the file of {other}" in refuse(other, "same", option, "same") or (
            f"this is the file of {option}" in refuse(other, "same", option, "same")
        )


def test_a_folder_in_which_nobody_may_write(refuse: Callable[..., str]) -> None:
    """Not even root makes a file there."""
    assert "cannot be written" in refuse("--junit", "/proc/x.xml")


def test_a_full_disk(refuse: Callable[..., str]) -> None:
    assert "cannot be written (No space left on device)" in refuse("--markdown", "/dev/full")


def test_the_function_is_public(run: Path, policy: Callable[[str], Path]) -> None:
    assert chipdrift.run_gate is run_gate
    assert not chipdrift.run_gate(run, policy(GREEN)).failed
    assert chipdrift.run_gate(str(run), read_policy(policy(RED))).failed


def test_the_run_is_only_read(run: Path, policy: Callable[[str], Path], cli: Cli) -> None:
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in sorted(run.rglob("*"))}
    cli("gate", run, "--policy", policy(RED), "--write-baseline", "b.json", "--junit", "x.xml")
    after = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in sorted(run.rglob("*"))}
    sqlite = {p for p in {*before, *after} if p.suffix in (".sqlite-wal", ".sqlite-shm")}
    assert {p: v for p, v in after.items() if p not in sqlite} == {
        p: v for p, v in before.items() if p not in sqlite
    }


def test_how_to_gate(tmp_path: Path) -> None:
    page = ROOT / "docs" / "howto" / "gate.md"
    printed = run_page_here(page, tmp_path)
    shown = page.read_text(encoding="utf-8")
    told = [block.split("```")[0].strip() for block in shown.split("```text\n")[1:]]
    assert len(told) == 3
    everything = "".join(printed)
    for block in told:
        assert block in everything
    assert "Since the baseline: no change in 2 cells." in everything
    root = ElementTree.parse(tmp_path / "gate.xml").getroot()
    assert root.get("failures") == "6"
    assert len(json.loads((tmp_path / "gate.sarif").read_text())["runs"][0]["results"]) == 6
    assert "failed, 6 limits broken" in (tmp_path / "gate.md").read_text()
    # Before the diagnosis the model is all that can be named, after it two nodes.
    for file, first in (("gate", ["model"]), ("nodes", ["image_QuantizeLinear", "stem/conv"])):
        log = json.loads((tmp_path / f"{file}.sarif").read_text())
        drop = next(r for r in log["runs"][0]["results"] if r["ruleId"] == "chipdrift.drop")
        names = [p["logicalLocations"][0]["fullyQualifiedName"] for p in drop["locations"]]
        assert names[:2] == first


# The Action and its workflow.

ACTION = ROOT / ".github" / "actions" / "gate" / "action.yml"
WORKFLOW = ROOT / ".github" / "workflows" / "gate-example.yml"


def parsed(file: Path) -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="pyyaml reads the Action")
    return dict(yaml.safe_load(file.read_text(encoding="utf-8")))


@pytest.fixture
def shell() -> Iterator[PageShell]:
    with page_shell() as shell:
        yield shell


def act(shell: PageShell, inputs: dict[str, str], folder: Path) -> tuple[int, str]:
    """Run the Action's steps as GitHub does: exit code and what the summary shows."""
    action = parsed(ACTION)
    given = {name: str(held.get("default", "")) for name, held in action["inputs"].items()}
    given.update(inputs)
    summary = folder / "summary.md"
    summary.write_text("earlier\n")
    path = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]
    code = 0
    for step in action["runs"]["steps"]:
        env = {
            name: given[value.removeprefix("${{ inputs.").removesuffix(" }}")]
            for name, value in step["env"].items()
        }
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "an input in a script's text may be a command"
        done = shell.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            folder,
            {**os.environ, **env, "PATH": path, "GITHUB_STEP_SUMMARY": str(summary)},
        )
        code = code or done.returncode
    return code, summary.read_text()


def test_the_action(
    run: Path, policy: Callable[[str], Path], shell: PageShell, tmp_path: Path
) -> None:
    policy(GREEN)
    given = {"run": str(run), "policy": "policy.toml"}
    code, summary = act(shell, given, tmp_path)
    assert code == 0
    assert summary.startswith("earlier\n### chipdrift gate: passed")
    assert {p.name for p in (tmp_path / "gate").iterdir()} == {"gate.md", "gate.sarif", "gate.xml"}
    policy(RED)
    code, summary = act(shell, given, tmp_path)
    assert code == 1
    assert "### chipdrift gate: failed, 1 limit broken" in summary
    # What is misuse leaves no summary of an earlier run.
    policy("[default]\ndorp = 1\n")
    assert act(shell, given, tmp_path) == (2, "earlier\n")
    evil = {"run": str(run), "policy": '$(touch evil)"; touch evil; "'}
    assert act(shell, evil, tmp_path)[0] == 2
    assert not (tmp_path / "evil").exists()


def test_the_action_with_a_baseline(
    run: Path, policy: Callable[[str], Path], cli: Cli, shell: PageShell, tmp_path: Path
) -> None:
    since = policy(GREEN + "[since]\ndrop = 1\n")
    given = {"run": str(run), "policy": "policy.toml", "output": "a folder"}
    assert act(shell, given, tmp_path)[0] == 2
    assert cli("gate", run, "--policy", since, "--write-baseline", "a base.json")[0] == 0
    code, summary = act(shell, {**given, "baseline": "a base.json"}, tmp_path)
    assert code == 0
    assert "Since the baseline" in summary
    assert (tmp_path / "a folder" / "gate.xml").exists()


def test_the_workflow_uses_the_action_as_it_is() -> None:
    action, workflow = parsed(ACTION), parsed(WORKFLOW)
    (job,) = workflow["jobs"].values()
    (step,) = [s for s in job["steps"] if s.get("uses", "").startswith("./")]
    assert ROOT / step["uses"] == ACTION.parent
    required = {name for name, held in action["inputs"].items() if held["required"]}
    assert required <= step["with"].keys() <= action["inputs"].keys()
    limits = read_policy(ROOT / step["with"]["policy"])
    assert limits.default.drop is not None
    for other in job["steps"]:
        if "run" in other:
            subprocess.run(["bash", "-n", "-c", other["run"]], check=True)
    sarif = next(s for s in job["steps"] if "upload-sarif" in s.get("uses", ""))
    assert sarif["with"]["sarif_file"] == "gate/gate.sarif"
    assert sarif["if"] == "always()"
