"""Recipes: the built-in files, the user's own, and what is wrong with one."""

from __future__ import annotations

import hashlib
import tomllib
from importlib import resources
from pathlib import Path

import pytest
from pydantic import ValidationError

from chipdrift.errors import ChipdriftError, UnknownNameError
from chipdrift.schemes import builtin_schemes, get_scheme

FILES = [
    entry for entry in resources.files("chipdrift.schemes").iterdir() if entry.name.endswith("toml")
]


@pytest.mark.parametrize("name", [entry.name for entry in FILES])
def test_every_file_beside_the_module_is_a_scheme(name: str) -> None:
    text = next(entry for entry in FILES if entry.name == name).read_text(encoding="utf-8")
    scheme = get_scheme(name.removesuffix(".toml"))
    assert scheme.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert scheme.description.endswith(".")
    for key, value in tomllib.loads(text).items():
        assert getattr(scheme, key) == value
    assert scheme.name == name.removesuffix(".toml")


def test_the_order_is_from_the_finest_to_the_coarsest() -> None:
    assert list(builtin_schemes()) == [
        "fp32",
        "fp16",
        *("w8a8", "w8a8_pc", "w8a16", "w8a16_pc", "w4a16_pc", "w4a16_b32"),
        "asis",
    ]
    assert [s.name for s in builtin_schemes().values() if s.needs_calibration] == [
        *("w8a8", "w8a8_pc", "w8a16", "w8a16_pc", "w4a16_pc", "w4a16_b32")
    ]


def test_names_say_what_is_in_them() -> None:
    for name, scheme in builtin_schemes().items():
        if scheme.kind == "qdq":
            bits = name[1], name.split("a")[1].split("_")[0]
            assert scheme.weights.removeprefix("int") == bits[0]
            assert scheme.activations.removeprefix("uint") == bits[1]
            suffix = {"tensor": "", "channel": "_pc", "block": f"_b{scheme.block_size}"}
            assert name.endswith(suffix[scheme.granularity])
            assert ("_" in name) == (scheme.granularity != "tensor")


def test_upper_case_finds_it_and_near_names_are_told() -> None:
    assert get_scheme("W8A8") is builtin_schemes()["w8a8"]
    with pytest.raises(UnknownNameError, match=r"'w8a9'.*w8a8.*TOML"):
        get_scheme("w8a9")


def test_a_scheme_of_one_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.toml"
    text = 'kind = "qdq"\nweights = "int4"\ngranularity = "block"\nblock_size = 64\n'
    path.write_text(text)
    scheme = get_scheme(str(path))
    assert (scheme.name, scheme.block_size, scheme.activations) == ("mine", 64, "uint8")
    assert scheme.sha256 == hashlib.sha256(text.encode()).hexdigest()
    path.write_text(f'name = "small"\n{text}')
    assert get_scheme(str(path)).name == "small"
    assert get_scheme(str(path)).sha256 != scheme.sha256
    monkeypatch.chdir(tmp_path)
    assert get_scheme("mine.toml").name == "small"
    assert get_scheme("./mine.toml").name == "small"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind = qdq", "not valid TOML"),
        ('weights = "int8"', "kind: Field required"),
        ('kind = "qdq"\nweights = "int5"', "'int5'"),
        ('kind = "qdq"\nweigths = "int8"', "weigths.*Keys: name, description, kind"),
        ('kind = "qdq"\ngranularity = "block"', "go together"),
        ('kind = "qdq"\nblock_size = 32', "go together"),
        ('kind = "qdq"\ngranularity = "block"\nblock_size = 32', 'weights = "int4"'),
        (
            'kind = "qdq"\ngranularity = "block"\nweights = "int4"\nblock_size = 1',
            "greater than or equal to 2",
        ),
        ('kind = "qdq"\npercentile = 50', "greater than 50"),
        ('kind = "qdq"\npercentile = 100.1', "less than or equal to 100"),
        ('kind = "qdq"\nname = "w8a8"', "built-in"),
    ],
)
def test_what_is_wrong_is_said(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ChipdriftError, match=words) as caught:
        get_scheme(str(path))
    assert "\n" not in str(caught.value)
    assert "mine.toml" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ChipdriftError, match="No such file"):
        get_scheme(str(tmp_path / "none.toml"))
    with pytest.raises(ChipdriftError, match="cannot be read"):
        get_scheme(str(tmp_path) + "/")
    (tmp_path / "latin.toml").write_bytes('description = "größer"'.encode("latin-1"))
    with pytest.raises(ChipdriftError, match="cannot be read"):
        get_scheme(str(tmp_path / "latin.toml"))


def test_a_scheme_is_frozen() -> None:
    with pytest.raises(ValidationError):
        get_scheme("w8a8").weights = "int4"  # type: ignore[misc]
