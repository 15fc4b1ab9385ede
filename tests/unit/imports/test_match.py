"""Samples found by name or hash, put in order, or refused."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from chipdrift.errors import DataError
from chipdrift.imports.column import Column
from chipdrift.imports.match import are_hashes, together

HASHES = [hashlib.sha256(bytes([i])).hexdigest() for i in range(6)]


def column(target: str, rows: list[int], ids: list[str] | None) -> Column:
    return Column(
        target=target,
        scheme="w8a8",
        arrays={"y": np.array(rows, np.float32)[:, None], "z": np.array(rows)},
        ids=None if ids is None else tuple(ids),
    )


def rows_of(placed: Column) -> list[int]:
    assert placed.arrays["y"][:, 0].tolist() == placed.arrays["z"].tolist()
    return placed.arrays["z"].tolist()


def test_another_order_is_put_right() -> None:
    a = column("a", [0, 1, 2, 3], HASHES[:4])
    b = column("b", [3, 1, 0, 2], [HASHES[i] for i in (3, 1, 0, 2)])
    keys, placed, warnings = together("X", [a, b], HASHES[:4], common=False, known=True)
    assert keys == tuple(HASHES[:4])
    assert [rows_of(p) for p in placed] == [[0, 1, 2, 3], [0, 1, 2, 3]]
    assert warnings == []


def test_without_a_list_the_first_column_gives_the_order() -> None:
    a, b = column("a", [2, 0, 1], ["n2", "n0", "n1"]), column("b", [0, 1, 2], ["n0", "n1", "n2"])
    keys, placed, _ = together("X", [a, b], None, common=False, known=False)
    assert keys == ("n2", "n0", "n1")
    assert [rows_of(p) for p in placed] == [[2, 0, 1]] * 2


def test_fewer_samples_are_refused_or_all_are_cut_to_them() -> None:
    a = column("a", [0, 1, 2, 3], HASHES[:4])
    b = column("b", [3, 1], [HASHES[3], HASHES[1]])
    with pytest.raises(DataError, match=r"'b' under w8a8 has no answer for 2 of 4 samples") as e:
        together("X", [a, b], HASHES[:4], common=False, known=True)
    assert "--common" in str(e.value)
    keys, placed, warnings = together("X", [a, b], HASHES[:4], common=True, known=True)
    assert keys == (HASHES[1], HASHES[3])
    assert [rows_of(p) for p in placed] == [[1, 3], [1, 3]]
    assert "2 of 4 samples are left out" in warnings[0]


def test_a_first_column_with_fewer_samples_is_no_excuse_to_drop_the_others() -> None:
    a, b = column("a", [1], ["n1"]), column("b", [0, 1], ["n0", "n1"])
    with pytest.raises(DataError, match="'a' under w8a8 has no answer for 1 of 2 samples"):
        together("X", [a, b], None, common=False, known=False)


def test_samples_that_are_not_the_runs_are_left_out_and_said() -> None:
    a = column("a", [0, 1, 5], [HASHES[0], HASHES[1], HASHES[5]])
    keys, placed, warnings = together("X", [a], HASHES[:2], common=False, known=True)
    assert (keys, rows_of(placed[0])) == (tuple(HASHES[:2]), [0, 1])
    assert "1 of its 3 samples are not among the run's" in warnings[0]


def test_rows_without_names_are_in_order_and_complete() -> None:
    a = column("a", [0, 1, 2], None)
    keys, placed, _ = together("X", [a], HASHES[:3], common=False, known=True)
    assert (keys, rows_of(placed[0])) == (tuple(HASHES[:3]), [0, 1, 2])
    with pytest.raises(DataError, match=r"has 3 samples, expected 4, and does not say which"):
        together("X", [a], HASHES[:4], common=True, known=True)
    assert together("X", [a], None, common=False, known=False)[0] == ("0", "1", "2")


def test_positions_find_hashed_samples_and_other_names_do_not() -> None:
    a = column("a", [2, 0], ["2", "0"])
    keys, placed, _ = together("X", [a], HASHES[:3], common=True, known=True)
    assert (keys, rows_of(placed[0])) == ((HASHES[0], HASHES[2]), [0, 2])
    with pytest.raises(DataError, match=r"names its samples 'cat\.jpg' and so on"):
        together("X", [column("a", [0], ["cat.jpg"])], HASHES[:1], common=False, known=True)
    with pytest.raises(DataError, match="names its samples '3' and so on"):
        together("X", [column("a", [0], ["3"])], HASHES[:3], common=False, known=True)


def test_names_twice_too_few_and_only_of_some() -> None:
    with pytest.raises(DataError, match="names sample 'n' twice"):
        together("X", [column("a", [0, 1], ["n", "n"])], None, common=False, known=False)
    with pytest.raises(DataError, match="names 1 samples and holds outputs of 2"):
        together("X", [column("a", [0, 1], ["n"])], None, common=False, known=False)
    some = [column("a", [0], ["n"]), column("b", [0], None)]
    with pytest.raises(DataError, match="'b' under w8a8 does not say which samples"):
        together("X", some, None, common=False, known=False)


def test_what_a_hash_is() -> None:
    assert are_hashes(HASHES)
    assert not are_hashes([HASHES[0].upper()])
    assert not are_hashes([*HASHES, "1"])
