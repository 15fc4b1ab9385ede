"""Every mistake gets one sentence that says what was found, what was expected and what to do."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from chipdrift.numerics.profiles import get_profile
from conftest import save_small_model

if TYPE_CHECKING:
    from conftest import Cli


@pytest.fixture
def refuse(cli: Cli, small_model: Path, small_data: Path, tmp_path: Path) -> Callable[..., str]:
    """Run ``chipdrift matrix`` with some options changed; expect one sentence and exit code 2."""

    def run(**changed: object) -> str:
        options = {
            "model": small_model,
            "data": small_data,
            "scheme": "fp32",
            "target": "ort:cpu",
            "o": tmp_path / "run",
            **changed,
        }
        words: list[object] = ["matrix", options.pop("model")]
        for name, value in options.items():
            if value is not None:
                words += [f"--{name}" if len(name) > 1 else f"-{name}", value]
        code, out, err = cli(*words)
        assert code == 2, err
        assert out == ""
        assert err.startswith("Error: ")
        assert err.count("\n") == 1, "one sentence, one line"
        assert "Traceback" not in err
        return err

    return run


def test_not_an_onnx_file(refuse: Callable[..., str], tmp_path: Path) -> None:
    for content in (b"hello, this is text\n", b"", b"\x89PNG\r\n\x1a\n" + bytes(range(256))):
        path = tmp_path / "no.onnx"
        path.write_bytes(content)
        assert "not an ONNX file, or cut off" in refuse(model=path)
    assert "no such file" in refuse(model=tmp_path / "nowhere.onnx")
    assert "folder" in refuse(model=tmp_path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_model(
    share: float, refuse: Callable[..., str], small_model: Path, tmp_path: Path
) -> None:
    data = small_model.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[: int(share * len(data))])
    assert "cut off" in refuse(model=path)


def test_external_data_missing_or_cut(
    refuse: Callable[..., str], small_model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "external.onnx"
    model = onnx.load(small_model)
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    data = (tmp_path / "w.bin").read_bytes()
    (tmp_path / "w.bin").write_bytes(data[: len(data) // 2])
    assert "external data" in refuse(model=path)
    (tmp_path / "w.bin").unlink()
    assert "external data" in refuse(model=path)


def test_an_op_of_an_unknown_domain_names_the_node(
    refuse: Callable[..., str], tmp_path: Path
) -> None:
    node = helper.make_node("Magic", ["x"], ["y"], "layer7/magic", domain="com.acme")
    path = save_graph(tmp_path / "acme.onnx", node, helper.make_opsetid("com.acme", 1))
    message = refuse(model=path)
    assert "layer7/magic" in message
    assert "com.acme" in message
    node = helper.make_node("Frobnicate", ["x"], ["y"], "layer8")
    assert "layer8" in refuse(model=save_graph(tmp_path / "frob.onnx", node))


def test_an_op_that_onnxruntime_cannot_run(refuse: Callable[..., str], tmp_path: Path) -> None:
    node = helper.make_node("Magic", ["x"], ["y"], "m", domain="com.microsoft")
    path = save_graph(tmp_path / "ms.onnx", node, helper.make_opsetid("com.microsoft", 1))
    data = tmp_path / "d.npz"
    np.savez(data, x=np.zeros((3, 3, 6, 6), np.float32))
    message = refuse(model=path, data=data)
    assert "does not run" in message
    assert "Magic" in message


def test_an_old_opset(refuse: Callable[..., str], tmp_path: Path) -> None:
    assert "opset 9" in refuse(model=save_small_model(tmp_path / "old.onnx", opset=9))


def test_a_dimension_that_is_not_pinned(refuse: Callable[..., str], tmp_path: Path) -> None:
    path = save_small_model(tmp_path / "open.onnx", shape=["N", 3, "H", "W"])
    assert "--shape x=1,3,N,N" in refuse(model=path)
    assert "4" in refuse(model=path, shape="x=1,3,6")
    assert "only open dimensions" in refuse(model=path, shape="x=1,4,6,6")
    assert "no input of that name" in refuse(model=path, shape="y=1,3,6,6")
    assert "--shape" in refuse(model=path, shape="x=1,3,a,6")
    assert "--shape" in refuse(model=path, shape="1,3,6,6")


def test_data_that_does_not_fit(refuse: Callable[..., str], tmp_path: Path) -> None:
    good = np.zeros((5, 3, 6, 6), np.float32)
    broken = good.copy()
    broken[3, 1, 2, 2] = np.nan
    endless = good.copy()
    endless[4, 0, 0, 0] = np.inf
    cases = {
        "lacks the model's input 'x'": {"image": good},
        "has shape (5, 3, 7, 6); expected (N, 3, 6, 6)": {"x": np.zeros((5, 3, 7, 6), np.float32)},
        "is float64, the model takes float32": {"x": good.astype(np.float64)},
        "sample 3 of input 'x' holds NaN": {"x": broken},
        "sample 4 of input 'x' holds infinity": {"x": endless},
        "no samples": {"x": good[:0]},
        "labels are for 4, the inputs hold 5": {"x": good, "labels": np.zeros(4, int)},
    }
    for words, arrays in cases.items():
        np.savez(tmp_path / "bad.npz", **arrays)
        assert words in refuse(data=tmp_path / "bad.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 not a zip")
    assert "not a readable .npz" in refuse(data=tmp_path / "bad.npz")
    assert "no such file" in refuse(data=tmp_path / "nowhere.npz")
    assert "no such file or folder" in refuse(data=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("labels", "words"),
    [([0, 1, 2, 3, 4], "4"), ([0, -1, 2, 3, 0], "-1"), ([0.5, 1, 2, 3, 0], "float64")],
)
def test_labels_out_of_range(
    labels: list[float], words: str, refuse: Callable[..., str], tmp_path: Path
) -> None:
    data = tmp_path / "labels.npz"
    np.savez(data, x=np.ones((5, 3, 6, 6), np.float32), labels=np.array(labels))
    message = refuse(data=data, metric="top1")
    assert "label" in message
    assert words in message


def test_no_calibration_for_a_scheme_that_needs_it(refuse: Callable[..., str]) -> None:
    assert "--calibration" in refuse(scheme="fp32,w8a8")


def test_unknown_names_get_near_names(refuse: Callable[..., str]) -> None:
    assert "ort:cpu" in refuse(target="ort:cpuu")
    assert "sm8550" in refuse(target="htp:sm8555").lower()
    assert "v66" in refuse(target="htp:sm8250")
    assert "chipdrift targets" in refuse(target="tpu:7")
    assert "w8a8" in refuse(scheme="w8a9")
    assert "top1" in refuse(metric="top")
    assert "no_such_module" in refuse(metric="no_such_module:f")
    assert "'y'" in refuse(output="logits") or "y" in refuse(output="logits")


def test_a_scheme_of_ones_own_with_a_mistake(refuse: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('kind = "qdq"\nweigths = "int8"\n')
    assert "weigths" in refuse(scheme=path)
    path.write_text('kind = "qdq"\nweights = "int5"\n')
    assert "int5" in refuse(scheme=path)
    path.write_text("kind = qdq\n")
    assert "TOML" in refuse(scheme=path)
    assert "cannot be read" in refuse(scheme=tmp_path / "none.toml")


def test_a_folder_of_another_model(
    cli: Cli, refuse: Callable[..., str], small_model: Path, small_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = ["--data", small_data, "--scheme", "fp32", "--target", "ort:cpu", "-o", out]
    assert cli("matrix", small_model, *words)[0] == 0
    before = (out / "matrix.json").read_bytes()
    other = save_small_model(tmp_path / "other.onnx", channels=6)
    assert "belongs to another model" in refuse(model=other)
    assert (out / "matrix.json").read_bytes() == before


def test_an_output_folder_that_cannot_be(refuse: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "cannot be written" in refuse(o=tmp_path / "file" / "run")


def test_a_full_disk_keeps_what_was_measured(
    cli: Cli, small_model: Path, small_data: Path, tmp_path: Path
) -> None:
    """A file size limit makes the kernel refuse writes in the middle, as a full disk does."""
    out = tmp_path / "run"
    words = [
        *("matrix", str(small_model), "--data", str(small_data)),
        *("--scheme", "fp32", "--target", "ort:cpu", "-o", str(out)),
    ]
    command = [sys.executable, "-m", "chipdrift.cli.main", *words]

    def limited() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    done = subprocess.run(command, preexec_fn=limited, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "run the same command again" in done.stderr
    code, _, told = cli(*words)
    assert code == 0, told


def test_a_run_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    for words in (
        ["report", tmp_path / "none"],
        ["outputs", tmp_path / "none", "--scheme", "fp32", "--target", "x", "-o", "o.npz"],
    ):
        code, _, err = cli(*words)
        assert code == 2
        assert "no such run" in err


def test_two_at_once_in_one_folder(
    cli: Cli, small_model: Path, small_data: Path, tmp_path: Path
) -> None:
    from chipdrift.store import Store

    with Store.open(tmp_path / "run"):
        words = ["--data", small_data, "--scheme", "fp32", "--target", "ort:cpu"]
        code, _, err = cli("matrix", small_model, *words, "-o", tmp_path / "run")
    assert code == 2
    assert "another chipdrift" in err


def test_chips_by_an_unknown_name(cli: Cli) -> None:
    code, out, err = cli("chips", "sm8560")
    assert (code, out) == (2, "")
    assert "SM8550" in err


def test_misuse_of_the_command_line(cli: Cli) -> None:
    assert cli("matrix")[0] == 2
    assert cli("frobnicate")[0] == 2
    assert cli("matrix", "m.onnx", "--limit", "0")[0] == 2


def save_graph(path: Path, node: onnx.NodeProto, *opsets: onnx.OperatorSetIdProto) -> Path:
    shape = [1, 3, 6, 6]
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), *opsets], ir_version=8
    )
    onnx.save(model, path)
    return path


def test_outputs_and_quantize_do_not_destroy_what_is_there(
    cli: Cli, small_model: Path, small_data: Path, tmp_path: Path
) -> None:
    before = small_model.read_bytes()
    calibration = small_data.with_name("cal.npz")
    words = ["--scheme", "w8a8", "--calibration", calibration, "-o", small_model]
    code, _, err = cli("quantize", small_model, *words)
    assert code == 2
    assert "this is an input" in err
    assert small_model.read_bytes() == before
    run = tmp_path / "run"
    words = ["--data", small_data, "--scheme", "fp32", "--target", "ort:cpu", "-o", run]
    assert cli("matrix", small_model, *words)[0] == 0
    labels = small_data.read_bytes()
    words = ["outputs", run, "--scheme", "fp32", "--target", "ort:cpu", "-o"]
    code, _, err = cli(*words, small_data)
    assert code == 2
    assert "did not write it" in err
    assert small_data.read_bytes() == labels
    assert cli(*words, tmp_path / "out.npz")[0] == 0
    assert cli(*words, tmp_path / "out.npz")[0] == 0


def test_a_misspelt_key_is_named_before_one_that_is_missing(
    refuse: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('calibraton = "mse"\n')
    message = refuse(scheme=path)
    assert "calibraton" in message
    assert "sha256" not in message


def test_a_generator_that_fills_one_buffer_gives_every_sample(
    cli: Cli, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reusing.py").write_text(
        "import numpy as np\n"
        "def samples():\n"
        "    print('loading')\n"
        "    buffer, row = np.empty((3, 6, 6), np.float32), {}\n"
        "    for i in range(5):\n"
        "        buffer[...] = i\n"
        "        row.update(x=buffer, label=i % 4)\n"
        "        yield row\n"
        "def leaving():\n"
        "    import sys\n"
        "    sys.exit(0)\n"
        "    yield\n"
    )
    words = ["matrix", small_model, "--scheme", "fp32", "--target", "ort:cpu", "-o", "run"]
    code, out, err = cli(*words, "--data", "reusing:samples", "--json")
    assert code == 0, err
    import json

    found = json.loads(out)
    assert found["data"]["samples"] == 5
    assert not any("copies" in warning for warning in found["warnings"])
    code, out, err = cli(*words, "--data", "reusing:leaving")
    assert (code, out) == (2, "")
    assert "SystemExit" in err


def test_a_scheme_cannot_write_outside_the_run(refuse: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "out.toml"
    path.write_text('name = "../../evil"\nkind = "float16"\n')
    assert "name" in refuse(scheme=path)


def test_two_schemes_of_one_name(refuse: Callable[..., str], tmp_path: Path) -> None:
    for folder, kind in (("a", "float16"), ("b", "float32")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.toml").write_text(f'kind = "{kind}"\n')
    message = refuse(scheme=f"{tmp_path}/a/mine.toml,{tmp_path}/b/mine.toml")
    assert "'mine'" in message


def test_a_model_without_outputs(refuse: Callable[..., str], small_model: Path) -> None:
    model = onnx.load(small_model)
    del model.graph.output[:]
    onnx.save(model, small_model)
    assert "no outputs" in refuse()


def test_a_run_can_be_read_where_nothing_can_be_written(
    cli: Cli, small_model: Path, small_data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = ["--data", small_data, "--scheme", "fp32", "--target", "ort:cpu", "-o", run]
    assert cli("matrix", small_model, *words)[0] == 0
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("store.sqlite", "matrix.json"):
        (moved / name).write_bytes((run / name).read_bytes())
        (moved / name).chmod(0o444)
    moved.chmod(0o555)
    try:
        words = ["outputs", moved, "--scheme", "fp32", "--target", "ort:cpu", "-o"]
        code, _, err = cli(*words, tmp_path / "o.npz")
        assert code == 0, err
    finally:
        moved.chmod(0o755)
    store = run / "store.sqlite"
    import sqlite3

    with sqlite3.connect(store) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    code, _, err = cli("outputs", run, "--scheme", "fp32", "--target", "ort:cpu", "-o", "x.npz")
    assert code == 2
    assert "format 99" in err


def test_asis_on_a_float_model_has_no_result_on_an_npu(tmp_path: Path, small_model: Path) -> None:
    pytest.importorskip("onnxruntime_qnn")
    from chipdrift import run_matrix

    np.savez(tmp_path / "d.npz", x=np.ones((3, 3, 6, 6), np.float32))
    found = run_matrix(
        small_model,
        tmp_path / "d.npz",
        schemes=["asis"],
        targets=["ort:cpu", "htp:sm8550"],
        out=tmp_path / "run",
    )
    assert [cell.status for cell in found.cells] == ["ok", "unsupported"]
    baseline = found.cells[0]
    assert baseline.delta is not None
    assert not baseline.delta.significant


def test_profiles_that_are_no_files(refuse: Callable[..., str], tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    for target in (pipe, "/dev/zero"):
        assert "it is no regular file" in refuse(target=f"sim:{target}")
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (2 << 20))
    assert "2097152 bytes are no profile" in refuse(target=f"sim:{large}")


def test_numbers_without_an_end(refuse: Callable[..., str], tmp_path: Path) -> None:
    profile = tmp_path / "p.toml"
    profile.write_text('[[rule]]\nops = ["Conv"]\nleast_scale = inf\nrequantize = {}\n')
    assert "least_scale" in refuse(target=f"sim:{profile}")


@pytest.mark.parametrize("verb", ["matrix", "diagnose", "consistency", "probe"])
def test_a_limit_without_an_end(cli: Cli, verb: str) -> None:
    code, _, err = cli(verb, "x", "--timeout", "inf")
    assert code == 2 and "Invalid value for '--timeout'" in err and "Traceback" not in err


def test_a_profile_given_twice(cli: Cli, tmp_path: Path) -> None:
    words = ["--profile", "ort:cpu=ort-mlas", "--profile", "ort:cpu=avx2-saturating"]
    code, _, err = cli("diagnose", tmp_path, *words)
    assert code == 2 and "--profile ort:cpu is given twice, ort-mlas and avx2-saturating" in err


def test_a_profile_that_begins_with_a_mark(tmp_path: Path) -> None:
    profile = tmp_path / "p.toml"
    profile.write_bytes(b'\xef\xbb\xbfdescription = "from an editor"\n')
    assert get_profile(str(profile)).description == "from an editor"
