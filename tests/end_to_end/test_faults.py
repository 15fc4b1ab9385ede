"""A worker that crashes, hangs or prints costs its cell and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from faulty_runtime import target

from chipdrift.matrix import cell_outputs, run_matrix
from chipdrift.records import Matrix
from chipdrift.store import Store


def run(model: Path, data: Path, out: Path, *targets: object, **more: object) -> Matrix:
    return run_matrix(
        model, data, schemes=["fp32"], targets=["ort:cpu", *targets], out=out, timeout=5, **more
    )


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("segfault", ["running sample 3", "SIGSEGV", "about to touch address 0"]),
        ("raise", ["running sample 3", "QNN_GRAPH_ERROR 6004"]),
        ("exit-open", ["building the session", "exit code 3", "licence server said no"]),
    ],
)
def test_a_dead_worker_costs_its_cell(
    fault: str, words: list[str], small_model: Path, small_data: Path, tmp_path: Path
) -> None:
    found = run(small_model, small_data, tmp_path / "run", target(fault))
    good, bad = found.cells
    assert (good.status, bad.status) == ("ok", "failed")
    assert bad.metric is None
    for word in words:
        assert word in (bad.reason or "") + (bad.log or "")


@pytest.mark.parametrize("fault", ["hang", "hang-open"])
def test_a_hanging_worker_is_ended(
    fault: str, small_model: Path, small_data: Path, tmp_path: Path
) -> None:
    started = time.monotonic()
    found = run_matrix(
        small_model,
        small_data,
        schemes=["fp32"],
        targets=["ort:cpu", target(fault)],
        out=tmp_path / "run",
        timeout=2,
    )
    assert [cell.status for cell in found.cells] == ["ok", "failed"]
    assert "no answer within 2 s" in (found.cells[1].reason or "")
    assert "--timeout" in (found.cells[1].reason or "")
    assert time.monotonic() - started < 60


def test_noise_on_stdout_harms_nothing(
    small_model: Path, small_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found = run(small_model, small_data, tmp_path / "run", target("noise"))
    assert [cell.status for cell in found.cells] == ["ok", "ok"]
    assert found.pairs[0].identical == 1.0
    assert "progress" not in capfd.readouterr().out


def test_a_failed_cell_is_tried_again_and_keeps_what_it_had(
    small_model: Path, small_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    dying = target("segfault", after="9")
    run(small_model, small_data, out, dying)
    with Store.read(out) as store:
        kept = store._db.execute("SELECT count(*) FROM outputs").fetchone()[0]
    assert kept == 40 + 9
    # Each new worker gets nine samples further: four lose the cell, the fifth finishes it.
    for _ in range(3):
        found = run(small_model, small_data, out, dying)
        assert [cell.status for cell in found.cells] == ["ok", "failed"]
    found = run(small_model, small_data, out, dying)
    assert [cell.status for cell in found.cells] == ["ok", "ok"]


def test_chips_that_are_alike_on_the_audit_share_one(
    small_model: Path, small_data: Path, tmp_path: Path
) -> None:
    twins = [target("none", f"faulty:{i}", family="f", chip=str(i)) for i in (1, 2, 3)]
    other = target("none", "faulty:4", family="f", chip="4", bump="0.5")
    found = run(small_model, small_data, tmp_path / "run", *twins, other, audit=4)
    cells = {cell.target: cell for cell in found.cells}
    assert [cells[f"faulty:{i}"].copied_from for i in (1, 2, 3, 4)] == [
        None,
        "faulty:1",
        "faulty:1",
        None,
    ]
    assert [cells[f"faulty:{i}"].measured for i in (1, 2, 3, 4)] == [40, 4, 4, 40]
    assert cells["faulty:2"].audited == 4
    group = next(group for group in found.groups if "faulty:2" in group.targets)
    # Equal bits to onnxruntime's here, so ort:cpu is in the group as well.
    assert set(group.targets) >= {"faulty:1", "faulty:2", "faulty:3"}
    assert group.measured == 4
    shared = cell_outputs(tmp_path / "run", "fp32", "faulty:2")[0]["y"]
    lead = cell_outputs(tmp_path / "run", "fp32", "faulty:1")[0]["y"]
    np.testing.assert_array_equal(shared, lead)


def test_a_chip_that_parts_in_an_activation_alone_is_not_shared(
    small_model: Path, small_data: Path, tmp_path: Path
) -> None:
    """Outputs equal, activations not: the audit must see the taps, not the outputs alone."""
    one = target("none", "faulty:1", family="f", chip="1")
    two = target("tapped-bump", "faulty:2", family="f", chip="2")
    found = run(small_model, small_data, tmp_path / "run", one, two, audit=4)
    cells = {cell.target: cell for cell in found.cells}
    assert cells["faulty:2"].copied_from is None
    assert cells["faulty:2"].measured == 40


def test_exhaustive_shares_nothing(small_model: Path, small_data: Path, tmp_path: Path) -> None:
    twins = [target("none", f"faulty:{i}", family="f", chip=str(i)) for i in (1, 2)]
    found = run(small_model, small_data, tmp_path / "run", *twins, exhaustive=True)
    assert [cell.copied_from for cell in found.cells] == [None, None, None]
    assert [cell.measured for cell in found.cells] == [40, 40, 40]


def test_a_later_exhaustive_run_finds_what_sharing_missed(
    small_model: Path, small_data: Path, tmp_path: Path
) -> None:
    """Alike on the audit, apart later: exhaustive tells, and so does any run after it."""
    one = target("none", "faulty:1", family="f", chip="1")
    two = target("none", "faulty:2", family="f", chip="2", bump="0.25", bump_after="10")
    out = tmp_path / "run"
    assert run(small_model, small_data, out, one, two, audit=4, jobs=1).cells[2].copied_from
    found = run(small_model, small_data, out, one, two, exhaustive=True, jobs=1)
    assert found.cells[2].copied_from is None
    assert next(p for p in found.pairs if p.a == "faulty:1").identical < 1
    again = run(small_model, small_data, out, one, two, audit=4, jobs=1)
    assert again.cells[2].copied_from is None


def test_kill_dash_nine_loses_at_most_a_second(
    small_model: Path, small_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    script = textwrap.dedent(
        f"""
        from faulty_runtime import target
        from chipdrift.matrix import run_matrix
        run_matrix({str(small_model)!r}, {str(small_data)!r}, schemes=["fp32"],
                   targets=["ort:cpu", target("slow")], out={str(out)!r}, jobs=1)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    seen = 0
    for _ in range(600):
        time.sleep(0.05)
        seen = measured(out)
        if seen >= 40 + 8:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 48 <= seen < 80, "killed in the middle"
    assert measured(out) >= seen
    time.sleep(0.5)
    assert not workers_of(process.pid), "a worker outlived its parent"
    found = run(small_model, small_data, out, target("slow"), jobs=1)
    assert [cell.status for cell in found.cells] == ["ok", "ok"]
    assert found.cells[1].measured == 40


def measured(out: Path) -> int:
    if not (out / "store.sqlite").exists():
        return 0
    try:
        with Store.read(out) as store:
            return int(store._db.execute("SELECT count(*) FROM outputs").fetchone()[0])
    except Exception:
        return 0


def workers_of(pid: int) -> list[int]:
    """Worker processes whose parent was ``pid`` (reparented ones have the parent 1)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if b"chipdrift.targets.worker" in words and parent in (pid, 1):
                found.append(int(entry.name))
    return found


def test_a_model_that_was_changed_in_the_run_folder_is_made_anew(
    small_model: Path, small_data: Path, tmp_path: Path
) -> None:
    """Results are kept under the file's hash: another file must not run under it."""
    out = tmp_path / "run"
    asked = {"calibration": small_data.with_name("cal.npz"), "limit": 10}
    first = run_matrix(
        small_model, small_data, schemes=["w8a8"], targets=["ort:cpu"], out=out, **asked
    )
    file = out / (first.schemes[0].file or "")
    right = file.read_bytes()
    file.write_bytes(small_model.read_bytes())
    asked["limit"] = 20
    run_matrix(small_model, small_data, schemes=["w8a8"], targets=["ort:cpu"], out=out, **asked)
    assert file.read_bytes() == right


def test_a_sample_that_is_there_twice_counts_twice(small_model: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((10, 3, 6, 6)).astype(np.float32)
    np.savez(tmp_path / "twice.npz", x=np.concatenate([x, x]))
    twins = [target("none", f"faulty:{i}", family="f", chip=str(i)) for i in (1, 2)]
    found = run(small_model, tmp_path / "twice.npz", tmp_path / "run", *twins, exhaustive=True)
    assert [cell.measured for cell in found.cells] == [20, 20, 20]
    assert [pair.measured for pair in found.pairs] == [20, 20, 20]
    assert [group.measured for group in found.groups] == [20]
