"""What ``chipdrift plan`` refuses: one sentence, exit code 2, and what was there stays."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from chipdrift.demo import DemoPaths
from chipdrift.graph import load_model
from chipdrift.plan.ask import look_up
from chipdrift.quantize import apply_scheme
from chipdrift.schemes import get_scheme

if TYPE_CHECKING:
    from conftest import Cli

CHIP = "sim:hexagon-v73"


def ask(cli: Cli, demo: DemoPaths, out: Path, **changes: object) -> tuple[int, str, str]:
    """The demo's plan with some words changed; None leaves an option out."""
    words: dict[str, object] = {
        "model": demo.model,
        "--data": demo.data,
        "--calibration": demo.calibration,
        "--chips": CHIP,
        "--budget": "agreement >= 90%",
        "-o": out,
        "--limit": 32,
    }
    words |= {f"--{k}" if k not in ("model", "o") else k: v for k, v in changes.items()}
    options = [w for k, v in words.items() if k != "model" and v is not None for w in (k, v)]
    return cli("plan", words["model"], *options)


def refused(found: tuple[int, str, str], *words: str) -> None:
    code, shown, told = found
    assert code == 2, told
    assert shown == ""
    assert "Traceback" not in told
    lines = [line for line in told.splitlines() if line]
    assert lines[-1].startswith("Error: ")
    for word in words:
        assert word in lines[-1], told


def contents(folder: Path) -> dict[str, str]:
    """All files of a folder; of a database what it holds, not how it lies on the disk."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".sqlite":
            with contextlib.closing(sqlite3.connect(path)) as db:
                found[str(path.relative_to(folder))] = "\n".join(db.iterdump())
        elif path.is_file() and not path.name.endswith(("-wal", "-shm")):
            found[str(path.relative_to(folder))] = path.read_bytes().hex()
    return found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"chips": "sm9999"}, ["'sm9999'", "Near names"]),
        ({"chips": "s5e9945"}, ["no simulator can stand in for it"]),
        ({"chips": "sim:nowhere.toml"}, ["nowhere.toml"]),
        ({"chips": "nowhere:cpu"}, ["nowhere"]),
        ({"chips": f"ort:cpu,{CHIP},ort:cpu+x64quantprecision=2"}, ["x64quantprecision", "'2'"]),
        ({"chips": ""}, ["No chip is named"]),
        ({"chips": ","}, ["No chip is named"]),
        ({"choose": "0"}, ["--choose 0", "between 0 and 1"]),
        ({"choose": "1"}, ["--choose 1"]),
        ({"choose": "-0.5"}, ["--choose -0.5"]),
        ({"choose": "nan"}, ["--choose nan"]),
        ({"choose": "0.001"}, ["cannot be parted"]),
        ({"limit": "12"}, ["6 samples to choose on are no evidence", "at least 8"]),
        ({"limit": "24", "choose": "0.8"}, ["samples to confirm on are no evidence"]),
        ({"scheme": "w8a8,fp32"}, ["--scheme fp32", "Leave it out"]),
        ({"scheme": "w9a9"}, ["w9a9"]),
        ({"budget": "top1 drop <= 1"}, ["Did you mean 1%?"]),
        ({"budget": "mystery >= 3"}, ["mystery"]),
        ({"objective": "speed"}, ["--objective speed: latency or size"]),
        ({"data": "nowhere.npz"}, ["nowhere.npz"]),
        ({"confirm": "nowhere.npz"}, ["nowhere.npz"]),
        ({"calibration": "nowhere.npz"}, ["nowhere.npz"]),
        ({"model": "nowhere.onnx"}, ["nowhere.onnx"]),
        ({"times": "nowhere.csv"}, ["nowhere.csv", "cannot be read"]),
    ],
)
def test_one_sentence_and_nothing_is_written(
    cli: Cli, demo: DemoPaths, tmp_path: Path, changes: dict[str, str], words: list[str]
) -> None:
    out = tmp_path / "plan"
    refused(ask(cli, demo, out, **changes), *words)
    assert not (out / "plan.json").exists()
    assert not (out / "confirm.part.json").exists()


def test_the_same_chip_twice(cli: Cli, demo: DemoPaths, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_qnn")
    for twice in ("sm8550,SM8550", "sm8550,htp:sm8550"):
        found = ask(cli, demo, tmp_path / "plan", chips=twice)
        refused(found, "are the same target (htp:sm8550)", "Leave one out")
    assert not (tmp_path / "plan").exists()


def test_samples_that_choose_confirm_nothing(cli: Cli, demo: DemoPaths, tmp_path: Path) -> None:
    held = np.load(demo.data)
    shared = tmp_path / "shared.npz"
    rows = np.concatenate([held["image"][500:520], held["image"][3:6]])
    np.savez(shared, image=rows, labels=np.zeros(23, np.int64))
    out = tmp_path / "plan"
    refused(ask(cli, demo, out, confirm=shared), "3 of its 23 samples are also in --data")
    assert not out.exists()


def test_a_model_that_is_quantized_already(cli: Cli, demo: DemoPaths, tmp_path: Path) -> None:
    feeds = [{"image": row[None]} for row in np.load(demo.calibration)["image"][:4]]
    made = apply_scheme(load_model(demo.model), get_scheme("w8a8"), feeds)
    (tmp_path / "q.onnx").write_bytes(made.data)
    found = ask(cli, demo, tmp_path / "plan", model=tmp_path / "q.onnx")
    refused(found, "already quantized", "Give the float model")


def test_samples_in_pairs_need_a_file_to_confirm_on(
    cli: Cli, demo: DemoPaths, tmp_path: Path
) -> None:
    held = np.load(demo.data)
    file = tmp_path / "pairs.npz"
    pairs = np.arange(40).reshape(20, 2)
    np.savez(file, image=held["image"][:40], pairs=pairs, labels=np.linspace(0, 1, 20))
    found = ask(cli, demo, tmp_path / "plan", data=file, budget="spearman drop <= 5%", limit=None)
    refused(found, "stand in pairs and cannot be parted", "--confirm")


@pytest.mark.parametrize("below", ["", "deeper"])
def test_an_out_that_is_a_file(cli: Cli, demo: DemoPaths, tmp_path: Path, below: str) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    refused(ask(cli, demo, file / below), "cannot be written", "-o")
    assert file.read_text() == "mine"


def test_an_out_that_cannot_be_made(cli: Cli, demo: DemoPaths) -> None:
    refused(ask(cli, demo, Path("/proc/none/plan")), "cannot be written")


def test_the_folder_of_another_models_plan_keeps_all_that_it_has(
    cli: Cli, demo: DemoPaths, tmp_path: Path
) -> None:
    out = tmp_path / "plan"
    words: dict[str, Any] = {"chips": [CHIP], "budget": "agreement >= 90%", "out": out}
    look_up(demo.model, demo.data, calibration=demo.calibration, limit=40, **words)
    before = contents(out)
    assert {"choose.part.json", "confirm.part.json"} <= before.keys()
    other = onnx.load(demo.model)
    weight = next(init for init in other.graph.initializer if init.name == "stem/conv/weight")
    values = onnx.numpy_helper.to_array(weight)
    weight.CopyFrom(onnx.numpy_helper.from_array(values + np.float32(0.5), weight.name))
    onnx.save(other, tmp_path / "other.onnx")
    found = ask(cli, demo, out, model=tmp_path / "other.onnx", limit=60)
    refused(found, "belongs to another model", "Give another -o")
    assert contents(out) == before


def test_what_is_wrong_later_leaves_the_parts_of_the_plan_before(
    cli: Cli, demo: DemoPaths, tmp_path: Path
) -> None:
    out = tmp_path / "plan"
    words: dict[str, Any] = {"chips": [CHIP], "budget": "agreement >= 90%", "out": out}
    look_up(demo.model, demo.data, calibration=demo.calibration, limit=40, **words)
    before = contents(out)
    (tmp_path / "t.csv").write_text("chip,scheme,ms\nsm1,w8a8,3\n")
    refused(ask(cli, demo, out, limit=60, times=tmp_path / "t.csv"), "sm1")
    refused(ask(cli, demo, out, limit=60, choose=0.01), "choose")
    assert contents(out) == before


def test_a_plan_that_another_process_is_making(cli: Cli, demo: DemoPaths, tmp_path: Path) -> None:
    from chipdrift.store import Store

    with Store.open(tmp_path / "plan" / "search"):
        refused(ask(cli, demo, tmp_path / "plan"), "another chipdrift is writing it")


@pytest.mark.parametrize("how", ["file", "fact"])
def test_a_store_that_is_damaged(cli: Cli, demo: DemoPaths, tmp_path: Path, how: str) -> None:
    from chipdrift.store import Store

    out = tmp_path / "plan"
    with Store.open(out / "search") as store:
        store.put_fact("model", 5)
    if how == "file":
        (out / "search" / "store.sqlite").write_bytes(b"no database at all" * 100)
    refused(ask(cli, demo, out), str(out / "search"))


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"schema_version": 1})])
def test_a_damaged_plan_is_not_read(tmp_path: Path, text: str) -> None:
    from chipdrift.errors import RunError
    from chipdrift.plan import read_plan

    with pytest.raises(RunError, match=r"no plan.json is there. Make one with chipdrift plan"):
        read_plan(tmp_path)
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(RunError, match=r"its plan.json cannot be read, or another version"):
        read_plan(tmp_path)
