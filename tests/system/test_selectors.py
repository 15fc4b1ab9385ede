"""The selectors in Java and C++, compiled and run: they answer as the Python one does."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_attacks import attacks
from bundles import make_plan
from documents import run_page
from ed25519_cases import RFC_8032, random_signatures, refused
from selector_process import (
    PythonSelector,
    SelectorProcess,
    build_cpp,
    build_java,
    check_words,
)

from chipdrift.bundle import Made, SigningKey, make_bundle
from chipdrift.plan import read_plan

pytestmark = pytest.mark.system
ROOT = Path(__file__).parents[2]
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.fixture(scope="module", params=["java", "cpp"])
def selector(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SelectorProcess]:
    folder = tmp_path_factory.mktemp(str(request.param))
    built = build_java(folder) if request.param == "java" else build_cpp(folder, *SANITIZED)
    yield built
    built.close()


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey.fresh()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Made:
    place = tmp_path_factory.mktemp("bundle")
    key.write(place / "key.pem")
    plan = make_plan(place / "plan")
    return make_bundle(plan, place / "bundle", key=place / "key.pem", contexts=True, off=["SM8650"])


def test_the_published_vectors(selector: SelectorProcess) -> None:
    assert [selector.ask("verify", *case) for case in RFC_8032] == ["true"] * 4


def test_what_another_implementation_signed(selector: SelectorProcess) -> None:
    assert {selector.ask("verify", *case) for case in random_signatures(200)} == {"true"}


def test_signatures_that_are_refused(selector: SelectorProcess) -> None:
    taken = [name for name, *case in refused() if selector.ask("verify", *case) != "false"]
    assert taken == []


PHONES = (
    ("SM8450", "QTI", "2.51.0"),
    ("SM8550", "QTI", "2.51.0"),
    ("SM8550", "", ""),
    (" SM8550 ", "Qualcomm", "2.50.0"),
    ("SM8550", "Samsung", "2.51.0"),
    ("SM7550", "QTI", "2.51.0"),
    ("SM8650", "QTI", "2.51.0"),
    ("SM8550-AC", "QTI", "2.51.0"),
    ("Exynos 2400", "Samsung", ""),
    ("", "", ""),
)


def test_each_phone_gets_what_the_python_selector_gives(
    selector: SelectorProcess, made: Made
) -> None:
    python = PythonSelector()
    for asked in (selector, python):
        opened = asked.ask("open", str(made.folder), made.key.hex, "0")
        assert opened == f"digits\t{made.manifest.serial}"
    told = []
    for phone in PHONES:
        told.append(selector.ask("select", *phone))
        assert told[-1] == python.ask("select", *phone)
        assert selector.ask("golden") == python.ask("golden")
    variants = [line.split("\t")[0] for line in told]
    assert variants == ["w8a8", *["w8a8_pc"] * 3, *["fp32"] * 6]
    npu = [line.split("\t")[2] for line in told]
    assert npu == ["true"] * 4 + ["false"] * 6
    compiled = [line.split("\t")[4] != "-" for line in told]
    assert compiled == [True, True] + [False] * 8
    assert selector.ask("safe", "because") == python.ask("safe", "because")


def test_every_attack_is_refused(
    selector: SelectorProcess, made: Made, key: SigningKey, tmp_path: Path
) -> None:
    for number, attack in enumerate(attacks(made.folder)):
        folder = Path(shutil.copytree(made.folder, tmp_path / str(number) / "bundle"))
        attack.change(folder, key)
        told = selector.ask("open", str(folder), made.key.hex, "1000")
        if not told.startswith("refused"):
            told = selector.ask("select", "SM8550", "QTI", "2.51.0")
        assert told.startswith("refused\t"), attack.name
        assert attack.words in told, (attack.name, told)
        shutil.rmtree(folder.parent)
    assert number > 200


@pytest.mark.parametrize("how", ["gone", "cut", "a link"])
def test_open_wants_the_safe_model(
    selector: SelectorProcess, made: Made, tmp_path: Path, how: str
) -> None:
    """All with the same words; before a self-check fails and there is nothing to fall back on."""
    folder = Path(shutil.copytree(made.folder, tmp_path / "bundle"))
    model = folder / "models" / "fp32.onnx"
    data = model.read_bytes()
    model.unlink()
    if how == "cut":
        model.write_bytes(data[:-1])
    elif how == "a link":
        model.symlink_to(made.folder / "models" / "fp32.onnx")
    told = [one.ask("open", str(folder), made.key.hex, "0") for one in (selector, PythonSelector())]
    assert told[0] == told[1]
    assert told[0].startswith("refused\t")
    assert "models/fp32.onnx" in told[0]


def mangled(text: str, seed: int) -> str:
    """The manifest with a few characters, or values, that are others."""
    rng = random.Random(seed)
    if seed % 2:
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(text))
            piece = rng.choice([*'"{}[],:0-e', "\\\\", "\\u00e9", "é"])
            text = text[:at] + piece + text[at + rng.randint(0, 2) :]
        return text
    told = json.loads(text)
    place: Any = told
    while isinstance(place, dict | list) and place:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = rng.choice(keys)
        if rng.random() < 0.3 or not isinstance(place[key], dict | list):
            place[key] = rng.choice([None, True, 7, -1, 0.5, "x", "", [], {}, ["x"], {"x": 1}])
            break
        place = place[key]
    return json.dumps(told)


def test_all_read_the_same_manifest(
    selector: SelectorProcess, made: Made, key: SigningKey, tmp_path: Path
) -> None:
    """Of mangled manifests that are signed, each is refused by all, or is the same to all."""
    folder = Path(shutil.copytree(made.folder, tmp_path / "bundle"))
    text = (folder / "manifest.json").read_text()
    python, taken = PythonSelector(), 0
    for seed in range(400):
        data = mangled(text, seed).encode()
        (folder / "manifest.json").write_bytes(data)
        (folder / "manifest.json.sig").write_bytes(key.sign(data))
        ours, theirs = (
            one.ask("open", str(folder), made.key.hex, "0") for one in (python, selector)
        )
        assert theirs.split("\t")[0] == ours.split("\t")[0], (seed, ours, theirs)
        if ours.startswith("refused"):
            continue
        taken += 1
        for phone in PHONES[:6]:
            ours, theirs = (one.ask("select", *phone) for one in (python, selector))
            refused = ours.startswith("refused")
            assert theirs.startswith("refused") if refused else theirs == ours, (seed, phone)
    assert 50 < taken < 350


def self_checks(made: Made) -> Iterator[list[list[bytes]]]:
    """Answers for SM8550, right, nearly right and wrong in every way."""
    entry = next(one for one in made.manifest.chips if one.name == "sm8550")
    assert entry.golden is not None
    step, steps = entry.golden.limits[0].step, entry.golden.limits[0].steps
    assert step is not None
    assert steps is not None

    def good() -> list[list[bytes]]:
        rows = entry.golden.expected if entry.golden is not None else ()
        return [[(made.folder / name).read_bytes() for name in files] for files in rows]

    yield good()
    for off in (steps, -steps, steps + 1, -steps - 1, 1e30, np.nan, np.inf, -np.inf):
        for place in (0, 9):
            answers = good()
            logits = np.frombuffer(answers[1][0], np.float32).copy()
            logits[place] += np.float32(off * step)
            yield [answers[0], [logits.tobytes()], *answers[2:]]
    yield good()[::-1]
    yield [good()[0]] * 4
    yield good()[:3]
    yield [row * 2 for row in good()]
    yield [[b""] for _ in good()]
    yield [[row[0][:-4]] for row in good()]


def test_the_self_check_says_what_the_python_one_says(
    selector: SelectorProcess, made: Made
) -> None:
    python = PythonSelector()
    for asked in (selector, python):
        asked.ask("open", str(made.folder), made.key.hex, "0")
        asked.ask("select", "SM8550", "QTI", "")
    verdicts = []
    for answers in self_checks(made):
        words = check_words(answers)
        ours, theirs = python.ask("check", *words), selector.ask("check", *words)
        assert theirs.split("\t")[0] == ours.split("\t")[0], (ours, theirs)
        verdicts.append(ours.split("\t")[0])
    assert verdicts[:5] == ["true"] * 5
    assert set(verdicts[5:]) == {"false"}


TYPES = (
    *("float16", "float32", "float64", "bool"),
    *("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
)


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_of_output(
    selector: SelectorProcess, made: Made, key: SigningKey, tmp_path: Path, dtype: str
) -> None:
    """A manifest by hand: an output of this type, of which two values may be two apart."""
    rng = np.random.default_rng(5)
    count = 300
    if dtype.startswith("float"):
        expected = rng.standard_normal(count).astype(dtype)
        # Every kind of half: subnormal, largest, smallest, signed zero.
        expected[:6] = [6e-8, 65504, -6e-5, 0.0, -0.0, 5.96e-8]
        near, far = (expected.astype(float) + 0.2), (expected.astype(float) + 0.6)
    else:
        top = 2 if dtype == "bool" else min(np.iinfo(dtype).max, 2**50) - 4
        expected = rng.integers(0, top, count).astype(dtype)
        near, far = expected.astype(float), expected.astype(float) + 3
    folder = Path(shutil.copytree(made.folder, tmp_path / "bundle"))
    name = f"golden/{dtype}.bin"
    told: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    chip = told["chips"][0]
    limit = {"name": "y", "dtype": dtype, "step": None, "steps": None, "most": 0.5}
    chip["golden"] |= {"expected": [[name]] * 4, "limits": [limit], "top": None}
    data = expected.tobytes()
    (folder / name).write_bytes(data)
    entry = {**told["files"][0], "name": name, "size": len(data)}
    told["files"].append(entry | {"sha256": hashlib.sha256(data).hexdigest()})
    text = json.dumps(told).encode()
    (folder / "manifest.json").write_bytes(text)
    (folder / "manifest.json.sig").write_bytes(key.sign(text))
    python = PythonSelector()
    for values, ok in ((expected, True), (near, True), (far, dtype == "bool")):
        if dtype == "float16":
            values[1] = 65504  # half has no steps of less than 32 up there
        if dtype == "bool":
            values = expected
        words = check_words([[values.astype(dtype).tobytes()]] * 4)
        for asked in (selector, python):
            asked.ask("open", str(folder), made.key.hex, "0")
            assert asked.ask("select", "SM8450", "", "").startswith("w8a8\t")
            assert asked.ask("check", *words).startswith(str(ok).lower()), (dtype, ok)


def test_the_how_to(tmp_path: Path) -> None:
    """From the demo's model over a plan to a Java program that picks for three phones."""
    printed = run_page(ROOT / "docs" / "howto" / "bundle.md", tmp_path)
    told = "\n".join(printed)
    picked = told.splitlines()
    plan = read_plan(tmp_path / "runs" / "plan")
    for choice in plan.choices:
        assert choice.standing in ("confirmed", "within")
        assert f"{choice.chip.upper()}: {choice.variant} NPU" in picked
    assert len(plan.choices) == 3
    assert "SM8650: fp32 CPU" in picked
    assert "SM9999: fp32 CPU" in picked
    assert "runs/plan/confirm: passed" in told
    assert "runs/changed: failed" in told
    assert "points of top1 lost against the float model" in told
