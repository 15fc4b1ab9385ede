"""The folders that qnn-net-run leaves, written here as its documentation says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chipdrift.errors import DataError
from chipdrift.imports.manifest import OutputEntry
from chipdrift.imports.qnn import is_qnn_folder, qnn_name, read_qnn


def results(folder: Path, count: int = 12) -> np.ndarray:
    """``Result_0`` to ``Result_11``: two outputs, and execution_metadata.yaml beside them."""
    values = np.arange(count * 4, dtype="<f4").reshape(count, 4) / 3
    for i, row in enumerate(values):
        place = folder / f"Result_{i}"
        place.mkdir(parents=True)
        row.tofile(place / "logits.raw")
        row[:1].tofile(place / "_7.raw")
    (folder / "execution_metadata.yaml").write_text("inferences_completed: 12\n")
    return values


def test_results_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """Ten comes after nine, not after one."""
    values = results(tmp_path)
    read = read_qnn(tmp_path, "X", {})
    assert sorted(read) == ["_7", "logits"]
    assert read["logits"][0].dtype == np.float32
    np.testing.assert_array_equal(read["logits"][0], values)
    np.testing.assert_array_equal(read["_7"][0], values[:, :1])


def test_native_files_need_their_dtype(tmp_path: Path) -> None:
    for i in range(2):
        (tmp_path / f"Result_{i}").mkdir()
        np.array([i, 255], np.uint8).tofile(tmp_path / f"Result_{i}" / "y_native.raw")
    with pytest.raises(DataError, match=r"y_native.raw is in the graph's own dtype.*outputs.y"):
        read_qnn(tmp_path, "X", {})
    array, _ = read_qnn(tmp_path, "X", {"y": OutputEntry(dtype="uint8", shape=(1, 2))})["y"]
    assert array.tolist() == [[[0, 255]], [[1, 255]]]


def test_float_files_go_before_native_ones_unless_a_scale_is_told(tmp_path: Path) -> None:
    (tmp_path / "Result_0").mkdir()
    np.array([0.5], "<f4").tofile(tmp_path / "Result_0" / "y.raw")
    np.array([130], np.uint8).tofile(tmp_path / "Result_0" / "y_native.raw")
    assert read_qnn(tmp_path, "X", {})["y"][0].tolist() == [[0.5]]
    told = OutputEntry(dtype="uint8", scale=0.25, zero_point=128)
    assert read_qnn(tmp_path, "X", {"y": told})["y"][0].tolist() == [[130]]


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    values = results(tmp_path / "a")
    (tmp_path / "a" / "Result_11" / "logits.raw").unlink()
    with pytest.raises(DataError, match=r"logits.raw is not in both Result_0 and Result_11"):
        read_qnn(tmp_path / "a", "X", {})
    results(tmp_path / "b")
    for file in (tmp_path / "b" / "Result_5").iterdir():
        file.unlink()
    (tmp_path / "b" / "Result_5").rmdir()
    with pytest.raises(DataError, match="no Result_5"):
        read_qnn(tmp_path / "b", "X", {})
    results(tmp_path / "c")
    (tmp_path / "c" / "Result_3" / "logits.raw").write_bytes(values[3].tobytes()[:-4])
    with pytest.raises(DataError, match="3 values in one Result folder and 4 in another"):
        read_qnn(tmp_path / "c", "X", {})
    (tmp_path / "c" / "Result_3" / "logits.raw").write_bytes(b"12345")
    with pytest.raises(DataError, match="no whole number of float32 values"):
        read_qnn(tmp_path / "c", "X", {})
    results(tmp_path / "d")
    with pytest.raises(DataError, match="output 'probs' has no file"):
        read_qnn(tmp_path / "d", "X", {"probs": OutputEntry()})
    (tmp_path / "e").mkdir()
    with pytest.raises(DataError, match="holds no Result_0"):
        read_qnn(tmp_path / "e", "X", {})


def test_names_as_the_tool_writes_them() -> None:
    assert qnn_name("output:0") == "output_0"
    assert qnn_name("7") == "_7"
    assert qnn_name("/head/Softmax_output") == "_head_Softmax_output"
    assert qnn_name("logits") == "logits"


def test_other_folders_are_none_of_it(tmp_path: Path) -> None:
    (tmp_path / "Result_x").mkdir()
    (tmp_path / "Result_0").write_text("a file")
    assert not is_qnn_folder(tmp_path)
    assert not is_qnn_folder(tmp_path / "Result_0")
