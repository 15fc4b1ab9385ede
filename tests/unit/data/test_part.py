"""Parts of a data set: how samples are parted, and the file that names a part."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from chipdrift.data import Samples, load_data, split_samples, take, write_part
from chipdrift.errors import DataError
from chipdrift.records import TensorSpec

Array = np.ndarray[Any, Any]
INPUTS = (TensorSpec(name="x", dtype="float32", shape=(1, 4)),)


def samples(
    count: int, labels: Array | None = None, copies: int = 1, seed: int = 3, **extras: Array
) -> Samples:
    """``count`` samples, each of them ``copies`` times, copies far apart."""
    rows = np.random.default_rng(seed).standard_normal((count, 1, 4)).astype(np.float32)
    rows = np.concatenate([rows] * copies)
    return Samples("some", INPUTS, len(rows), lambda i: {"x": rows[i]}, labels, dict(extras))


def saved(path: Path, count: int = 40, seed: int = 3, **changes: Any) -> Path:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, 4)).astype(np.float32)
    labels = np.arange(count) % 5
    arrays = {"x": x, "labels": labels, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def load(path: Path, limit: int | None = None) -> Samples:
    return load_data(path, INPUTS, limit)


def rows_of(part: Samples) -> list[bytes]:
    return [part.feed(i)["x"].tobytes() for i in range(len(part))]


# How samples are parted.


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.75, 0.99])
@pytest.mark.parametrize("classes", [None, 3, 10])
def test_parts_are_disjoint_and_cover_all_and_are_as_large_as_asked(
    share: float, classes: int | None
) -> None:
    labels = None if classes is None else np.arange(200) % classes
    first, rest = split_samples(samples(200, labels), share)
    assert sorted(first + rest) == list(range(200))
    assert not set(first) & set(rest)
    assert (first, rest) == (sorted(first), sorted(rest))
    assert abs(len(first) - 200 * share) <= 1


def test_copies_of_a_sample_stay_on_one_side() -> None:
    some = samples(50, copies=3)
    first, rest = split_samples(some, 0.4)
    assert not {some.keys[i] for i in first} & {some.keys[i] for i in rest}
    assert sorted(first + rest) == list(range(150))
    assert len(first) == 60


def test_copies_with_other_labels_stay_together_too() -> None:
    labels = np.concatenate([np.zeros(30, np.int64), np.ones(30, np.int64)])
    some = samples(30, labels, copies=2)
    first, rest = split_samples(some, 0.5)
    assert {i % 30 for i in first}.isdisjoint(i % 30 for i in rest)


def test_classes_are_spread_over_both_sides_by_exact_counts() -> None:
    """Shares of 10, 20 and 70 samples of three classes, in a file that is sorted by class."""
    labels = np.repeat([0, 1, 2], [10, 20, 70])
    first, rest = split_samples(samples(100, labels), 0.3)
    assert Counter(labels[first].tolist()) == {0: 3, 1: 6, 2: 21}
    assert Counter(labels[rest].tolist()) == {0: 7, 1: 14, 2: 49}


def test_classes_of_one_sample_each_are_not_all_put_on_one_side() -> None:
    labels = np.arange(40)
    first, rest = split_samples(samples(40, labels), 0.5)
    assert (len(first), len(rest)) == (20, 20)


def test_the_spread_is_better_than_chance_gives() -> None:
    labels = np.random.default_rng(0).choice(10, 600, p=np.arange(1, 11) / 55)
    first, rest = split_samples(samples(600, labels), 0.5)
    table = [np.bincount(labels[part], minlength=10) for part in (first, rest)]
    assert chi2_contingency(np.stack(table)).pvalue > 0.999
    assert np.abs(table[0] - np.bincount(labels) / 2).max() <= 1


def test_labels_that_are_no_classes_do_not_matter() -> None:
    plain = split_samples(samples(60), 0.5)
    numbers = np.random.default_rng(1).standard_normal(60)
    assert split_samples(samples(60, numbers), 0.5) == plain
    boxes = np.arange(240).reshape(60, 4)
    assert split_samples(samples(60, boxes), 0.5) == plain
    assert split_samples(samples(60, np.arange(60) % 2), 0.5) != plain


def test_the_draw_does_not_depend_on_the_order_of_the_file() -> None:
    some = samples(100)
    shuffled = take(some, np.random.default_rng(5).permutation(100).tolist(), "shuffled")
    first = {some.keys[i] for i in split_samples(some, 0.5)[0]}
    assert first == {shuffled.keys[i] for i in split_samples(shuffled, 0.5)[0]}
    assert split_samples(some, 0.5)[0] != list(range(50))
    assert split_samples(some, 0.5, seed=1) != split_samples(some, 0.5)


def test_another_process_parts_alike(tmp_path: Path) -> None:
    path = saved(tmp_path / "d.npz", 97)
    program = (
        "import sys, json; from chipdrift.data import load_data, split_samples;"
        "from chipdrift.records import TensorSpec;"
        "s = load_data(sys.argv[1], (TensorSpec(name='x', dtype='float32', shape=(1, 4)),));"
        "print(json.dumps(split_samples(s, 0.3)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "12345"},
    )
    assert json.loads(done.stdout) == [*split_samples(load(path), 0.3)]


def test_samples_that_are_appended_hardly_move_the_others() -> None:
    """Places in the draw stay: only at the draw's end does a sample change its side."""
    before = samples(200)
    rows = [before.feed(i)["x"] for i in range(200)]
    more = [*rows, *np.random.default_rng(8).standard_normal((20, 1, 4)).astype(np.float32)]
    after = Samples("more", INPUTS, 220, lambda i: {"x": more[i]})
    old, new = set(split_samples(before, 0.5)[0]), set(split_samples(after, 0.5)[0])
    moved = old ^ {i for i in new if i < 200}
    assert len(moved) <= 10
    joined, left = old - new, {i for i in new if i < 200} - old
    assert not (joined and left)  # all in one direction: the order of the draw is the same


@pytest.mark.parametrize(
    ("some", "share"),
    [
        (samples(1), 0.5),
        (samples(1, copies=30), 0.5),
        (samples(10), 0.01),
        (samples(10), 0.99),
        (samples(2, np.array([0, 1])), 0.1),
    ],
)
def test_a_side_without_samples_is_refused(some: Samples, share: float) -> None:
    with pytest.raises(DataError, match=r"cannot be parted into some to choose on.*more samples"):
        split_samples(some, share)


def test_pairs_are_refused() -> None:
    some = samples(20, pairs=np.array([[0, 1], [2, 3]]))
    with pytest.raises(DataError, match=r"stand in pairs and cannot be parted.*--confirm"):
        split_samples(some, 0.5)


# Some of the samples.


def test_what_stands_beside_a_sample_goes_with_it() -> None:
    words = np.array([f"word{i}" for i in range(6)])
    table = np.arange(12.0)
    some = samples(6, np.arange(6) * 10, words=words, table=table, scale=np.float32(3))
    part = take(some, [4, 0], "part")
    assert rows_of(part) == [some.feed(4)["x"].tobytes(), some.feed(0)["x"].tobytes()]
    assert part.keys == (some.keys[4], some.keys[0])
    assert part.labels is not None and part.labels.tolist() == [40, 0]
    assert part.extras["words"].tolist() == ["word4", "word0"]
    assert part.extras["table"].tolist() == table.tolist()
    assert part.extras["scale"] == 3
    assert (part.name, len(part), part.inputs) == ("part", 2, INPUTS)


def test_pairs_stay_whose_samples_are_both_taken() -> None:
    pairs = np.array([[0, 5], [5, 4], [1, 0], [4, 0]])
    some = samples(6, np.array([0.1, 0.2, 0.3, 0.4]), pairs=pairs)
    part = take(some, [5, 0, 4], "part")
    assert part.extras["pairs"].tolist() == [[1, 0], [0, 2], [2, 1]]
    assert part.labels is not None and part.labels.tolist() == [0.1, 0.2, 0.4]
    none = take(some, [2, 3], "part")
    assert none.extras["pairs"].shape == (0, 2)
    assert none.labels is not None and len(none.labels) == 0
    # As many pairs as samples are no rows of samples.
    square = samples(3, np.arange(3.0), pairs=np.array([[0, 1], [1, 2], [2, 0]]))
    assert take(square, [2, 0], "part").extras["pairs"].tolist() == [[0, 1]]


# The file.


def parted(tmp_path: Path, indices: list[int], limit: int | None = None) -> tuple[Path, Path]:
    source = saved(tmp_path / "d.npz")
    file = tmp_path / "plan" / "some.part.json"
    write_part(file, str(source), load(source, limit), indices, limit)
    return source, file


def test_a_part_is_read_as_the_samples_that_it_names(tmp_path: Path) -> None:
    source, file = parted(tmp_path, [7, 3, 39])
    whole, part = load(source), load(file)
    assert rows_of(part) == [rows_of(whole)[i] for i in (7, 3, 39)]
    assert part.labels is not None and part.labels.tolist() == [2, 3, 4]
    assert part.info().labels
    assert (part.name, len(part)) == ("some", 3)


def test_a_limit_takes_the_first_of_a_part(tmp_path: Path) -> None:
    source, file = parted(tmp_path, [7, 3, 39])
    assert rows_of(load(file, 2)) == [rows_of(load(source))[i] for i in (7, 3)]
    assert len(load(file, 9)) == 3


def test_a_part_of_the_first_samples_is_read_though_there_are_more(tmp_path: Path) -> None:
    source, file = parted(tmp_path, [0, 11], limit=12)
    assert rows_of(load(file)) == [rows_of(load(source))[i] for i in (0, 11)]
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "samples": [0, 12]}))
    with pytest.raises(DataError, match="names samples that"):
        load(file)


def test_a_part_is_found_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(Path("d.npz"))
    write_part(Path("p.part.json"), "d.npz", load(Path("d.npz")), [1, 2])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(load(Path("../p.part.json"))) == 2


def test_a_part_of_a_part_and_of_a_generator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, file = parted(tmp_path, [7, 3, 39])
    deeper = tmp_path / "deeper.part.json"
    write_part(deeper, str(file), load(file), [2, 0])
    assert rows_of(load(deeper)) == [rows_of(load(source))[i] for i in (39, 7)]
    (tmp_path / "made_for_parts.py").write_text(
        "import numpy as np\n"
        "def make():\n"
        "    for i in range(9):\n"
        "        yield {'x': np.full((1, 4), i, np.float32), 'label': i % 3}\n"
    )
    monkeypatch.chdir(tmp_path)
    whole = load_data("made_for_parts:make", INPUTS)
    write_part(deeper, "made_for_parts:make", whole, [8, 1])
    assert [load(deeper).feed(i)["x"][0, 0] for i in range(2)] == [8.0, 1.0]


@pytest.mark.parametrize(
    "change",
    [
        {"x": np.zeros((40, 4), np.float32)},
        {"labels": np.zeros(40, np.int64)},
        {"labels": None},
        {"words": np.array(["a"] * 40)},
    ],
)
def test_a_source_that_changed_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    source, file = parted(tmp_path, [7, 3, 39])
    saved(source, **change)
    with pytest.raises(DataError, match=r"holds other samples or labels now.*Run the command"):
        load(file)


def test_a_source_with_a_sample_more_is_refused_unless_the_part_is_of_the_first(
    tmp_path: Path,
) -> None:
    source, file = parted(tmp_path, [7, 3])
    first = tmp_path / "first.part.json"
    write_part(first, str(source), load(source, 20), [7, 3], 20)
    before = rows_of(load(file))
    held = np.load(source)
    saved(source, x=np.concatenate([held["x"], held["x"][:1] + 1]), labels=np.arange(41) % 5)
    with pytest.raises(DataError, match="holds other samples or labels now"):
        load(file)
    assert rows_of(load(first)) == before


def test_a_source_that_is_gone_is_refused(tmp_path: Path) -> None:
    source, file = parted(tmp_path, [7, 3])
    source.unlink()
    with pytest.raises(DataError, match=r"d\.npz"):
        load(file)
    with pytest.raises(DataError, match="not a part of a data set"):
        load(tmp_path / "none.part.json")


GOOD = {"part_of": "d.npz", "sha256": "0" * 64, "samples": [1]}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "7",
        '"part_of"',
        "\xff\xfe",
        json.dumps({**GOOD, "samples": None}),
        json.dumps({**GOOD, "samples": ["one"]}),
        json.dumps({**GOOD, "samples": [None]}),
        json.dumps({**GOOD, "limit": "all"}),
        json.dumps({**GOOD, "limit": 0}),
        json.dumps({**GOOD, "limit": 1.5}),
        json.dumps({**GOOD, "samples": [float("inf")]}),
        json.dumps({**GOOD, "samples": [1.7]}),
        json.dumps({**GOOD, "samples": [True]}),
        json.dumps({**GOOD, "samples": "0123"}),
        json.dumps({**GOOD, "samples": {"1": 2}}),
        json.dumps({**GOOD, "part_of": "x" * 5000}),
        json.dumps({**GOOD, "part_of": "a\0b"}),
        json.dumps({**GOOD, "part_of": 7}),
        "[" * 200_000,
        json.dumps({k: v for k, v in GOOD.items() if k != "sha256"}),
        json.dumps({k: v for k, v in GOOD.items() if k != "part_of"}),
    ],
)
def test_a_damaged_part_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "p.part.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"p.part.json: not a part of a data set") as caught:
        load(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wanted", [[], [40], [-1], [0, 10**12]])
def test_samples_that_are_not_there_are_refused(tmp_path: Path, wanted: list[int]) -> None:
    _, file = parted(tmp_path, [7, 3])
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "samples": wanted}))
    with pytest.raises(DataError, match=r"it names samples that .* does not have, or none"):
        load(file)


def test_a_part_of_itself_is_refused(tmp_path: Path) -> None:
    _, file = parted(tmp_path, [7, 3])
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "part_of": str(file)}))
    with pytest.raises(DataError, match="a part of itself"):
        load(file)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    source = saved(tmp_path / "d.npz")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"part.json: cannot be written \(File exists\)"):
        write_part(tmp_path / "file" / "p.part.json", str(source), load(source), [1])


def test_two_parts_of_each_other_are_refused(tmp_path: Path) -> None:
    one, two = tmp_path / "one.part.json", tmp_path / "two.part.json"
    one.write_text(json.dumps({**GOOD, "part_of": str(two)}))
    two.write_text(json.dumps({**GOOD, "part_of": str(one)}))
    with pytest.raises(DataError, match=r"one\.part\.json: it says that it is a part of itself"):
        load(one)


def test_a_long_chain_of_parts_is_refused(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.part.json" for number in range(2000)]
    for file, source in pairwise(files):
        file.write_text(json.dumps({**GOOD, "part_of": str(source)}))
    with pytest.raises(DataError, match="a part of a part, 16 deep"):
        load(files[0])


def test_a_sample_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    _, file = parted(tmp_path, [7, 3])
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "samples": [7, 3, 7]}))
    with pytest.raises(DataError, match="it names sample 7 twice"):
        load(file)


def test_a_pipe_and_a_large_file_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe.part.json")
    with pytest.raises(DataError, match="not a part of a data set"):
        load(tmp_path / "pipe.part.json")
    _, file = parted(tmp_path, [7, 3])
    monkeypatch.setattr("chipdrift.data.part._LARGEST", 10)
    with pytest.raises(DataError, match="not a part of a data set"):
        load(file)


def test_a_name_that_no_system_takes_is_told() -> None:
    with pytest.raises(DataError, match=r"^Data '.*': cannot be looked up \(.*\)\.$"):
        load_data("x" * 5000, INPUTS)
