"""Tables of predictions: what is read, what is refused, and how."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chipdrift.errors import ChipdriftError, UnknownNameError
from chipdrift.imports.column import Imported
from chipdrift.imports.table import PREDICTION, read_predictions

TEXT = "id,a,b,right\n7,3,4,3\n007,5,5,4\nx,6,6,6\n"


def read(path: Path, **changes: Any) -> Imported:
    asked: dict[str, Any] = {
        "index": "id",
        "label": None,
        "columns": (),
        "scheme": "asis",
        "provenance": {},
        "common": False,
    }
    return read_predictions(path, **{**asked, **changes})


def save(tmp_path: Path, data: str | bytes, name: str = "t.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def answers(found: Imported) -> dict[str, list[int]]:
    return {c.target: c.arrays[PREDICTION].tolist() for c in found.columns}


def forms() -> dict[str, bytes]:
    rows = list(csv.reader(io.StringIO(TEXT)))
    names, *body = rows
    table = pa.table(
        {n: [r[i] if n == "id" else int(r[i]) for r in body] for i, n in enumerate(names)}
    )
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return {
        "t.csv": TEXT.encode(),
        "t.csv.gz": gzip.compress(TEXT.encode()),
        "packed.csv": gzip.compress(TEXT.encode()),
        "t.tsv": TEXT.replace(",", "\t").encode(),
        "t.tsv.gz": gzip.compress(TEXT.replace(",", "\t").encode()),
        "semicolon.csv": TEXT.replace(",", ";").encode(),
        "bom.csv": b"\xef\xbb\xbf" + TEXT.encode(),
        "windows.csv": TEXT.replace("\n", "\r\n").encode(),
        "floats.csv": TEXT.replace("3,4,3", "3.0,4,3").encode(),
        "t.parquet": sink.getvalue(),
    }


@pytest.mark.parametrize("name", list(forms()))
def test_every_form_of_the_same_table_is_the_same(tmp_path: Path, name: str) -> None:
    found = read(save(tmp_path, forms()[name], name), label="right")
    assert found.keys == ("7", "007", "x"), "an index is a name: 007 is not 7"
    assert answers(found) == {"a": [3, 5, 6], "b": [4, 5, 6]}
    assert found.labels is not None
    assert found.labels.tolist() == [3, 4, 6]
    assert {c.evidence for c in found.columns} == {"reported"}
    assert found.predictions
    assert not found.hashed


def test_columns_are_chosen_in_the_order_asked_for(tmp_path: Path) -> None:
    path = save(tmp_path, TEXT)
    assert list(answers(read(path, columns=["right", "a"]))) == ["right", "a"]
    assert list(answers(read(path))) == ["a", "b", "right"]


def test_an_index_of_numbers_is_names_all_the_same(tmp_path: Path) -> None:
    assert read(save(tmp_path, "id,a\n7,3\n007,4\n")).keys == ("7", "007")


def test_without_an_index_a_sample_is_its_row(tmp_path: Path) -> None:
    assert read(save(tmp_path, "a,b\n9,8\n9,9\n"), index=None).keys == ("0", "1")


def test_a_column_that_looks_like_labels_is_asked_about(tmp_path: Path) -> None:
    path = save(tmp_path, TEXT.replace("right", "Label"))
    assert any("--label Label" in words for words in read(path).warnings)
    assert read(path, label="Label").warnings == ()


BAD: dict[str, tuple[str | bytes, dict[str, Any], str]] = {
    "empty": ("", {}, "the file is empty"),
    "header only": ("id,a\n", {}, "a header and no rows"),
    "text": ("hello world\nfoo\n", {}, "not a table"),
    "binary": (bytes(range(256)) * 40, {}, "not a table"),
    "no such column": (TEXT, {"index": "idx"}, "Unknown column 'idx'. Near names: id"),
    "no such label": (TEXT, {"label": "rigth"}, "Near names: right"),
    "no such target": (TEXT, {"columns": ["a", "c"]}, "Unknown column 'c'"),
    "index as target": (TEXT, {"columns": ["id"]}, "'id' is given as --index and among --columns"),
    "nothing left": ("id,right\n1,2\n", {"label": "right"}, "no column is left"),
    "index twice": ("id,a\n1,3\n2,3\n1,4\n", {}, "holds '1' twice, in rows 1 and 3"),
    "index empty": ("id,a\n1,3\n,3\n", {}, "index column 'id' is empty in row 2"),
    "gap": ("id,a,b\n1,3,3\n2,,3\n", {}, "'a' under asis has no answer for 1 of 2 samples (2)"),
    "gap as NaN": ("id,a,b\n1,3,3\n2,nan,3\n", {}, "has no answer for 1 of 2 samples (2)"),
    "label gap": ("id,a,right\n1,3,3\n2,3,\n", {"label": "right"}, "'right' is empty in row 2"),
    "words": ("id,a\n1,3\n2,cat\n", {}, "column 'a' holds 'cat' in row 2"),
    "fractions": ("id,a\n1,3\n2,0.25\n", {}, "column 'a' holds 0.25 in row 2"),
    "truth values": ("id,a\n1,true\n2,false\n", {}, "column 'a' holds True in row 1"),
    "too large": ("id,a\n1,1e300\n", {}, "column 'a' holds"),
    "ragged": ("id,a,b\n1,3,3\n2,3\n", {}, "Expected 3 columns, got 2"),
    "two of a name": ("id,a,a\n1,3,3\n", {}, "two columns are called 'a'"),
    "no name": (",a\n1,3\n", {"index": None}, "column 1 has no name"),
    "rows counted": ("id,a\n0,3\n1,3\n2,3\n", {"index": None}, "counts the rows"),
    "cut gzip": (gzip.compress(TEXT.encode())[:-6], {}, "the gzip file is cut off or damaged"),
    "Latin-1": ("id,Gerät\n1,3\n".encode("latin-1"), {}, "not a readable table"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_bad_tables_are_refused_in_one_sentence(tmp_path: Path, case: str) -> None:
    data, options, words = BAD[case]
    with pytest.raises(ChipdriftError) as caught:
        read(save(tmp_path, data), **options)
    text = str(caught.value)
    assert words in text
    assert "\n" not in text
    assert "t.csv" in text


@pytest.mark.parametrize("size", [3, 8, 60, -1, -40])
def test_a_parquet_file_that_is_cut_off(tmp_path: Path, size: int) -> None:
    with pytest.raises(ChipdriftError, match=r"not a (readable|table)"):
        read(save(tmp_path, forms()["t.parquet"][:size], "t.parquet"))


def test_a_missing_file_and_a_folder_without_rights(tmp_path: Path) -> None:
    with pytest.raises(ChipdriftError, match="no such file"):
        read(tmp_path / "none.csv")


def test_a_list_is_no_class_and_no_name(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": [1, 2], "a": [[1], [2]], "b": [1, 2]}), path)
    with pytest.raises(ChipdriftError, match=r"column 'a' holds \[1\]"):
        read(path)
    with pytest.raises(ChipdriftError, match="index column 'a' is of type list"):
        read(path, index="a", columns=["b"])


def test_an_unsigned_number_beyond_int64_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": [1, 2], "a": pa.array([1, 2**64 - 1], pa.uint64())}), path)
    with pytest.raises(ChipdriftError, match=f"holds {2**64 - 1} in row 2"):
        read(path)


def test_numbers_written_as_text_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": ["x", "y"], "a": ["3", "17"]}), path)
    assert answers(read(path)) == {"a": [3, 17]}


def test_common_keeps_the_samples_that_all_answered(tmp_path: Path) -> None:
    text = "id,a,b,right\n1,3,4,0\n2,,5,1\n3,6,,2\n4,7,7,3\n"
    found = read(save(tmp_path, text), label="right", common=True)
    assert found.keys == ("1", "4")
    assert answers(found) == {"a": [3, 7], "b": [4, 7]}
    assert found.labels is not None
    assert found.labels.tolist() == [0, 3], "labels go with their samples"
    assert any("2 of 4 samples are left out" in words for words in found.warnings)
    with pytest.raises(ChipdriftError, match="no sample has an answer of every target"):
        read(save(tmp_path, "id,a,b\n1,3,\n2,,4\n"), common=True)


def test_near_names_are_those_of_the_table(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="qsl_idx"):
        read(save(tmp_path, "qsl_idx,a\n1,2\n"), index="qsl_index")


def test_negative_classes_and_large_ones(tmp_path: Path) -> None:
    found = read(save(tmp_path, f"id,a\n1,-1\n2,{2**62}\n"))
    assert answers(found) == {"a": [-1, 2**62]}
    assert found.columns[0].arrays[PREDICTION].dtype == np.int64
