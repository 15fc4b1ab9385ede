"""Ranges, weights' ranges and an .npz in a scheme: reading, writing, and what is wrong with one."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chipdrift.errors import ChipdriftError
from chipdrift.schemes import (
    Layer,
    Scheme,
    builtin_schemes,
    get_scheme,
    read_adjustment,
    scheme_toml,
    write_adjustment,
)

HEAD = 'kind = "qdq"\n'
ARRAYS = {"conv#1": np.ones((2, 3), np.float32), "a/b #7#2": np.arange(3, dtype=np.float32)}


def own(folder: Path, text: str, data: bytes | None = None) -> Scheme:
    (folder / "mine.toml").write_text(HEAD + text)
    if data is not None:
        (folder / "mine.npz").write_bytes(data)
    return get_scheme(str(folder / "mine.toml"))


def test_the_three_are_read(tmp_path: Path) -> None:
    scheme = own(
        tmp_path,
        'adjust = "mine.npz"\n[ranges]\n"a/b" = [0, 2.5]\n'
        '[weight_ranges]\n"stem/conv" = 0.75\nhead = [1, 2]\n',
        write_adjustment(ARRAYS),
    )
    assert scheme.ranges == {"a/b": (0.0, 2.5)}
    assert scheme.weight_ranges == {"stem/conv": 0.75, "head": (1.0, 2.0)}
    found = read_adjustment(scheme.adjustment, "here")
    assert found.keys() == ARRAYS.keys()
    assert all(np.array_equal(found[key], ARRAYS[key]) for key in ARRAYS)
    assert scheme.adjusted


def test_the_hash_covers_the_file(tmp_path: Path) -> None:
    text = 'adjust = "mine.npz"\n'
    one = own(tmp_path, text, write_adjustment(ARRAYS))
    two = own(tmp_path, text, write_adjustment({**ARRAYS, "conv#1": np.zeros((2, 3), np.float32)}))
    again = own(tmp_path, text, write_adjustment(ARRAYS))
    assert one.sha256 == again.sha256 != two.sha256
    assert one == again != two


def test_plain_schemes_keep_their_hash(tmp_path: Path) -> None:
    import hashlib

    scheme = own(tmp_path, "")
    assert scheme.sha256 == hashlib.sha256(HEAD.encode()).hexdigest()
    assert not scheme.adjusted


def test_arrays_are_no_part_of_the_record(tmp_path: Path) -> None:
    scheme = own(tmp_path, 'adjust = "mine.npz"\n', write_adjustment(ARRAYS))
    assert "adjustment" not in scheme.model_dump(mode="json")
    assert "PK" not in repr(scheme)


def _npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


BAD: list[tuple[bytes, str]] = [
    (b"", "no .npz, or a damaged one"),
    (b"PK\x03\x04 nothing", "no .npz, or a damaged one"),
    (write_adjustment(ARRAYS)[:-30], "no .npz, or a damaged one"),
    (_npz(conv=np.ones(2, np.float32)), "'conv' is not called NODE#SLOT"),
    (_npz(**{"conv#x": np.ones(2, np.float32)}), "'conv#x' is not called NODE#SLOT"),
    (_npz(**{"conv#1": np.ones(2)}), "'conv#1' is float64, and the model's weights are float32"),
    (_npz(**{"conv#1": np.array([1, np.nan], np.float32)}), "'conv#1' holds NaN or infinity"),
    (_npz(**{"conv#1": np.array([{}], object)}), "no .npz, or a damaged one"),
    (_npz(), "it holds no arrays"),
]


@pytest.mark.parametrize(("data", "words"), BAD)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(ChipdriftError, match=words) as caught:
        own(tmp_path, 'adjust = "mine.npz"\n', data)
    assert "adjust: mine.npz: " in str(caught.value)


def test_a_bit_that_turned_is_found(tmp_path: Path) -> None:
    data = bytearray(write_adjustment({"c#1": np.random.default_rng(0).random(99, np.float32)}))
    data[len(data) // 2] ^= 8
    with pytest.raises(ChipdriftError, match="damaged"):
        own(tmp_path, 'adjust = "mine.npz"\n', bytes(data))


def test_an_archive_that_swells_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from chipdrift.schemes import adjustment

    monkeypatch.setattr(adjustment, "_LARGEST", 1000)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conv#1.npy", bytes(2000))
    with pytest.raises(ChipdriftError, match="larger than 4 GiB"):
        read_adjustment(stream.getvalue(), "here")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('adjust = "gone.npz"', "gone.npz cannot be read.*copy both"),
        ('adjust = "../mine.npz"', "not the name of an .npz file"),
        ('adjust = "mine.toml"', "not the name of an .npz file"),
        ("adjust = 3", "adjust: "),
        ("ranges = {a = [1, 0]}", "1.0 is not below 0.0"),
        ("ranges = {a = [0, nan]}", "ranges.a.1: .*finite"),
        ("weight_ranges = {a = 0}", "weight_ranges.a.*greater than 0"),
        ("weight_ranges = {a = inf}", "weight_ranges.a.*finite"),
        ('adjustment = "a"', "adjust names a file beside"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ChipdriftError, match=words):
        own(tmp_path, text)


@pytest.mark.parametrize("key", ['adjust = "mine.npz"', "[ranges]\na = [0, 1]"])
def test_float_schemes_have_none(tmp_path: Path, key: str) -> None:
    (tmp_path / "mine.npz").write_bytes(write_adjustment(ARRAYS))
    (tmp_path / "mine.toml").write_text(f'kind = "float16"\n{key}\n')
    with pytest.raises(ChipdriftError, match='need kind = "qdq"'):
        get_scheme(str(tmp_path / "mine.toml"))


def test_a_scheme_written_is_the_scheme_read(tmp_path: Path) -> None:
    scheme = Scheme(
        name="odd+1",
        description='a "quoted" \\ tab\t\x7f ä\n',
        kind="qdq",
        granularity="channel",
        calibration="percentile",
        percentile=99.9,
        preprocess=False,
        layer=(
            Layer(nodes=("a*", 'b"'), activations="uint16"),
            Layer(ops=("Softmax",), kind="float32"),
        ),
        ranges={"t\x01/ü": (-1e-7, 3.0), "": (0.0, 1e20)},
        weight_ranges={"n.1": 0.1, "n 2": (0.3, 1e-9)},
    )
    path = tmp_path / "odd.toml"
    path.write_text(scheme_toml(scheme), encoding="utf-8")
    assert get_scheme(str(path)).model_copy(update={"sha256": ""}) == scheme


@pytest.mark.parametrize("name", sorted(builtin_schemes()))
def test_every_builtin_scheme_is_written(name: str, tmp_path: Path) -> None:
    scheme = builtin_schemes()[name]
    path = tmp_path / "copy.toml"
    path.write_text(scheme_toml(scheme, "copy"))
    made = get_scheme(str(path))
    assert made.model_copy(update={"name": name, "sha256": scheme.sha256}) == scheme


def test_the_bytes_are_the_same_for_the_same_arrays() -> None:
    turned = dict(reversed(ARRAYS.items()))
    assert write_adjustment(ARRAYS) == write_adjustment(turned)
    assert np.load(io.BytesIO(write_adjustment(ARRAYS)))["conv#1"].shape == (2, 3)


@pytest.mark.parametrize(
    ("text", "place", "found"),
    [
        ("[ranges]\na = [-1e39, 1e39]\n", "ranges.a.0", "-1e+39"),
        (f"[ranges]\na = [0, {'9' * 41}]\n", "ranges.a.1", "9" * 41),
        (f"[ranges]\na = [0, {'9' * 4000}]\n", "ranges.a.1", "9" * 60),
        ("[ranges]\na = [0, inf]\n", "ranges.a.1", "inf"),
        ("[ranges]\na = [nan, 1]\n", "ranges.a.0", "nan"),
        ('[weight_ranges]\n"a/b" = 1e39\n', "weight_ranges.a/b", "1e+39"),
        ('[weight_ranges]\n"a/b" = [1, 1e39]\n', "weight_ranges.a/b.1", "1e+39"),
    ],
)
def test_what_float32_does_not_hold_is_refused(
    tmp_path: Path, text: str, place: str, found: str
) -> None:
    """It became a scale of infinity in the model."""
    with pytest.raises(ChipdriftError) as caught:
        own(tmp_path, text)
    words = f": {place}: a number that float32 holds is expected: finite, at most 3.403e+38"
    assert f"{words} (found {found}). Keys: " in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "[ranges]\na = [false, true]\n",
        '[ranges]\na = ["0", "1"]\n',
        "[weight_ranges]\na = true\n",
        "[weight_ranges]\na = [1, true]\n",
    ],
)
def test_true_and_text_are_no_numbers(tmp_path: Path, text: str) -> None:
    with pytest.raises(ChipdriftError, match=r"ranges\.a.*: a number is expected"):
        own(tmp_path, text)


def test_the_largest_float32_is_a_range(tmp_path: Path) -> None:
    most = float(np.finfo(np.float32).max)
    scheme = own(tmp_path, f"[ranges]\na = [{-most!r}, {most!r}]\n[weight_ranges]\nb = {most!r}\n")
    assert scheme.ranges == {"a": (-most, most)}
    assert scheme.weight_ranges == {"b": most}


def zipped(*members: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return stream.getvalue()


def npy(shape: str) -> bytes:
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + bytes(12)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (zipped(("c#1.npy", b"hello world")), "the member 'c#1' is no array"),
        (zipped(("c#1", b"hello world")), "the member 'c#1' is no array"),
        (zipped(("c#1.npy", npy(f"({10**23},)"))), "no .npz, or a damaged one"),
        (zipped((f"c#{'9' * 5000}.npy", npy("(3,)"))), "9999... is not called NODE#SLOT"),
        (zipped(("c#1.npy", npy("(3,)")), ("c#1", npy("(3,)"))), "'c#1' is in it twice"),
    ],
)
def test_a_member_that_is_no_array_is_one_sentence(data: bytes, words: str) -> None:
    with pytest.raises(ChipdriftError) as caught:
        read_adjustment(data, "here")
    said = str(caught.value)
    assert said.startswith("here: ") and "\n" not in said and len(said) < 400
    assert words.split("...")[0] in said and words.split("...")[-1] in said


def test_an_array_that_is_twice_in_it_by_one_name_is_refused() -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = zipped(("c#1.npy", npy("(3,)")), ("c#1.npy", npy("(3,)")))
    with pytest.raises(ChipdriftError, match="'c#1' is in it twice"):
        read_adjustment(data, "here")
