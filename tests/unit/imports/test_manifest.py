"""import.toml: what it may say, and the line of what is wrong in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from chipdrift.errors import ChipdriftError
from chipdrift.imports.manifest import DTYPES, read_manifest

GOOD = """\
name = "MobileNet"
scheme = "w8a8"
who = "a lab"
when = 2025-03-01
labels = "labels.npy"

[[targets]]
name = "pixel"
evidence = "device"
device = "Pixel 9"
chip = "Tensor G4"

[targets.outputs.logits]
file = "pixel.npy"

[[targets]]
name = "galaxy"
who = "another lab"
samples = ["a", "b"]

[targets.outputs.logits]
files = "galaxy/{sample}.raw"
dtype = "uint8"
shape = [1, 10]
scale = 0.25
zero_point = 128
"""


def save(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "import.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_target_has_its_own_provenance_and_the_manifests(tmp_path: Path) -> None:
    found = read_manifest(save(tmp_path, GOOD))
    pixel, galaxy = found.targets
    assert found.provenance_of(pixel) == {
        "who": "a lab",
        "when": "2025-03-01",
        "device": "Pixel 9",
        "chip": "Tensor G4",
    }
    assert found.provenance_of(galaxy) == {"who": "another lab", "when": "2025-03-01"}
    assert (pixel.evidence, galaxy.evidence) == ("device", "reported")
    assert galaxy.outputs["logits"].shape == (1, 10)


BAD = {
    "no TOML": (GOOD.replace("[[targets]]", "[[targets", 1), "line 7", "not valid TOML"),
    "unknown key": (GOOD.replace("scheme =", "schema ="), "line 2", "Near names: scheme"),
    "unknown key of a target": (GOOD.replace("device =", "devise ="), "line 10", "device"),
    "unknown key of an output": (GOOD.replace("dtype", "dtyp"), "line 23", "Near names: dtype"),
    "unknown dtype": (GOOD.replace('"uint8"', '"unit8"'), "line 23", "Near names: "),
    "no target": ('name = "x"\n', "Manifest", "add [[targets]]"),
    "no name": (GOOD.replace('name = "pixel"\n', ""), "line 7", "target 1, name is missing"),
    "claims too much": (GOOD.replace('device = "Pixel 9"\n', ""), "line 9", "not say device"),
    "unknown evidence": (GOOD.replace('"device"', '"silicon"'), "line 9", "'reported'"),
    "two of a name": (GOOD.replace('"galaxy"', '"pixel"'), "line 17", "called 'pixel' like"),
    "leaves the folder": (GOOD.replace('"pixel.npy"', '"../p.npy"'), "line 14", "within the"),
    "absolute": (GOOD.replace('"pixel.npy"', '"/etc/passwd"'), "line 14", "within the"),
    "no mark": (GOOD.replace("{sample}", "x"), "line 21", "{sample} or {index}"),
    "file and files": (GOOD.replace("dtype", 'file = "x"\ndtype'), "line 21", "one of the two"),
    "no outputs": ('[[targets]]\nname = "x"\n', "line 1", "no outputs"),
    "a number for a name": ("[[targets]]\nname = 3\n", "line 2", "found 3, expected"),
    "scale of zero": (GOOD.replace("0.25", "0"), "line 25", "expected greater than 0"),
    "bad hash": ('model_sha256 = "12"\n' + GOOD, "line 1", "model_sha256"),
    "both ids": (
        GOOD.replace('samples = ["a", "b"]', 'samples = "s.txt"\ninputs = "i.npz"'),
        "line 16",
        "one of the two",
    ),
}


@pytest.mark.parametrize("case", list(BAD))
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, case: str) -> None:
    text, line, words = BAD[case]
    with pytest.raises(ChipdriftError) as caught:
        read_manifest(save(tmp_path, text))
    said = str(caught.value)
    assert words in said, said
    assert line in said, said
    assert "\n" not in said
    assert "import.toml" in said


def test_a_manifest_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "import.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ChipdriftError, match="cannot be read"):
        read_manifest(path)
    with pytest.raises(ChipdriftError, match="cannot be read"):
        read_manifest(tmp_path / "none.toml")


def test_every_dtype_is_numpys() -> None:
    import numpy as np

    assert all(np.dtype(name).name == name for name in DTYPES)
