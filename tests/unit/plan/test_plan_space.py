"""The disk that a search takes: bounded, and no answer depends on it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from judges import judge_in

from chipdrift.errors import ModelError
from chipdrift.plan import judge as judging
from chipdrift.plan.space import Space
from chipdrift.schemes import get_scheme
from chipdrift.targets import get_target

SCHEMES = [get_scheme(name) for name in ("w8a8", "w8a8_pc", "w8a16", "w8a16_pc")]


def written(folder: Path, name: str, size: int, age: int) -> Path:
    file = folder / f"{name}.onnx"
    file.write_bytes(bytes(size))
    os.utime(file, (1_000_000 - age, 1_000_000 - age))
    return file


def left(folder: Path) -> set[str]:
    return {file.stem for file in folder.iterdir()}


def test_what_was_used_longest_ago_leaves_first(tmp_path: Path) -> None:
    files = [written(tmp_path, name, 10, age) for age, name in enumerate("dcba")]
    space = Space(tmp_path, 30)
    assert not any(space.has(file) for file in files)  # an earlier process left them
    space.use(tmp_path / "a.onnx")  # the oldest of them
    space.tidy()
    assert left(tmp_path) == {"a", "c", "d"}
    assert space.has(tmp_path / "a.onnx")
    space.use(written(tmp_path, "e", 5, 0))
    space.tidy()
    assert left(tmp_path) == {"a", "d", "e"}
    space.use(written(tmp_path, "f", 500, 0))
    space.tidy()
    assert left(tmp_path) == {"f"}
    (tmp_path / "f.onnx").unlink()
    assert not space.has(tmp_path / "f.onnx")


def test_a_folder_that_is_not_there_yet_holds_nothing(tmp_path: Path) -> None:
    Space(tmp_path / "models").tidy()


def test_models_are_made_again_when_they_are_asked_for(
    small_model: Path, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = get_target("ort:cpu")
    with judge_in(tmp_path / "roomy", small_model, small_data) as judge:
        expected = judge.measure([(scheme, target) for scheme in SCHEMES])
        sizes = [judge.variant(scheme).size for scheme in SCHEMES]
        assert sizes == [judge.file(scheme).stat().st_size for scheme in SCHEMES]
    monkeypatch.setattr(judging, "Space", lambda folder: Space(folder, max(sizes)))
    folder = tmp_path / "narrow"
    with judge_in(folder, small_model, small_data) as judge:
        few = judge.measure([(scheme, target) for scheme in SCHEMES], (0, 1, 2))
        assert len(left(folder / "models")) == 1
        found = judge.measure([(scheme, target) for scheme in SCHEMES])
        assert found == expected
        assert [one.samples for one in few] == [3] * 4
        for scheme, size in zip(SCHEMES, sizes, strict=True):
            assert judge.file(scheme).stat().st_size == size
    # What is known is not made again by the next process, either.
    made: list[str] = []

    def counted(store: object, model: object, scheme: object, *more: object) -> object:
        made.append(scheme.name)  # type: ignore[attr-defined]
        return making(store, model, scheme, *more)

    making = judging.make_variant
    monkeypatch.setattr(judging, "make_variant", counted)
    with judge_in(folder, small_model, small_data) as judge:
        again = judge.measure([(scheme, target) for scheme in SCHEMES])
        assert [one.loss for one in again] == [one.loss for one in expected]
        assert not set(made) & {scheme.name for scheme in SCHEMES}


def test_a_file_that_was_damaged_meanwhile_is_made_again(
    small_model: Path, small_data: Path, tmp_path: Path
) -> None:
    target, scheme = get_target("ort:cpu"), SCHEMES[0]
    with judge_in(tmp_path, small_model, small_data) as judge:
        file = judge.file(scheme)
        whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with judge_in(tmp_path, small_model, small_data) as judge:
        assert judge.measure([(scheme, target)])[0].loss is not None
        assert file.read_bytes() == whole


def test_a_model_that_is_another_each_time_is_refused(
    small_model: Path, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with judge_in(tmp_path, small_model, small_data) as judge:
        judge.file(SCHEMES[0]).unlink()
        making = judging.make_variant
        monkeypatch.setattr(
            judging, "make_variant", lambda *given: replace(making(*given), sha256="0" * 64)
        )
        with pytest.raises(ModelError, match="w8a8: its model is another file each time"):
            judge.file(SCHEMES[0])


def test_a_folder_of_an_earlier_chipdrift_is_taken_as_it_is(
    small_model: Path, small_data: Path, tmp_path: Path
) -> None:
    """It kept no sizes: what is there is used, what is gone is made again."""
    there, gone = SCHEMES[:2]
    with judge_in(tmp_path, small_model, small_data) as judge:
        files = {scheme.name: judge.file(scheme) for scheme in (there, gone)}
    with contextlib.closing(sqlite3.connect(tmp_path / "store.sqlite")) as db, db:
        db.execute(
            "update facts set value = json_remove(value, '$.size') where key like 'variant%'"
        )
    files[gone.name].unlink()
    stamp = files[there.name].stat().st_mtime_ns
    with judge_in(tmp_path, small_model, small_data) as judge:
        for scheme in (there, gone):
            assert judge.variant(scheme).size == judge.file(scheme).stat().st_size
    assert files[there.name].stat().st_mtime_ns == stamp
