"""The probe: what it finds of targets whose rules are known, and what it says where it cannot."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chipdrift.numerics import accumulate
from chipdrift.numerics.profile import Accumulator, Override, Profile
from chipdrift.numerics.profiles import get_profile
from chipdrift.probe import accumulators
from chipdrift.probe.accumulators import ask_sums, find
from chipdrift.probe.ask import Asker
from chipdrift.probe.inputs import probe_input
from chipdrift.probe.products import Products, probe_products
from chipdrift.probe.toml import profile_toml
from chipdrift.targets import Target, get_target
from support.random_profiles import differing, random_profile, written

Array = np.ndarray[Any, Any]


def reference(name: str) -> Target:
    """A target of our own engine that runs the reference functions."""
    target = get_target(name)
    options: Mapping[str, str] = {**target.options, "engine": "reference"}
    return replace(target, options=options)


def recovered(folder: Path, profile: Profile, seed: int, bits: int, kinds: Any) -> Products:
    path = folder / "drawn.toml"
    path.write_text(written(profile), encoding="utf-8")
    with Asker(reference(f"sim:{path}")) as asker:
        return probe_products(asker, np.random.default_rng(seed), kinds, (bits,))


# Two of the 200 drawn profiles; `make test-all` takes them all.
@pytest.mark.parametrize("index", [4, 9])
def test_a_random_profile_is_recovered(index: int, tmp_path: Path) -> None:
    profile = random_profile(np.random.default_rng([99, index]))
    products = recovered(tmp_path, profile, index, 8 if index % 3 else 16, ("gemm",))
    assert all(group.complete for group in products.groups)
    assert differing(profile, products, np.random.default_rng([index, 2])) == 0


@pytest.mark.slow
@pytest.mark.parametrize("index", range(200))
def test_every_random_profile_is_recovered(index: int, tmp_path: Path) -> None:
    profile = random_profile(np.random.default_rng([99, index]))
    products = recovered(tmp_path, profile, index, 8 if index % 3 else 16, ("gemm", "plain"))
    assert all(group.complete for group in products.groups)
    assert differing(profile, products, np.random.default_rng([index, 2])) == 0


def test_stochastic_rounding_is_called_so(tmp_path: Path) -> None:
    profile = Profile(
        name="s", seed=3, requantize={"rounding": "STOCHASTIC"}, input={"rounding": "STOCHASTIC"}
    )
    path = tmp_path / "s.toml"
    path.write_text(profile_toml(profile, "drawn"), encoding="utf-8")
    with Asker(reference(f"sim:{path}")) as asker:
        rng = np.random.default_rng(0)
        assert probe_input(asker, rng)[0].value == "STOCHASTIC"
    plain = profile.model_copy(update={"input": Profile(name="x").input})
    products = recovered(tmp_path, plain, 0, 8, ("gemm",))
    assert products.groups[0].rivals[0].rounding == "STOCHASTIC"


@pytest.fixture(scope="module")
def sums_once() -> Iterator[None]:
    """What a candidate predicts for a question is computed once: they ask the same questions."""
    made: dict[tuple[Any, ...], Any] = {}

    def product_sums(x: Array, w: Array, x_zero: int, w_zero: Array, rules: Accumulator) -> Any:
        arrays = (hashlib.sha256(a.tobytes()).digest() for a in (x, w, w_zero))
        key = (*arrays, x.shape, w.shape, x.dtype, w.dtype, x_zero, rules)
        if key not in made:
            made[key] = accumulate.product_sums(x, w, x_zero, w_zero, rules)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accumulators, "product_sums", product_sums)
        yield


@pytest.mark.usefixtures("sums_once")
@pytest.mark.parametrize(
    "true",
    [
        Accumulator(),
        Accumulator(width=64),
        Accumulator(overflow="saturate"),
        Accumulator(width=16, overflow="saturate"),
        Accumulator(width=24),
        Accumulator(operands="stored", block=2, block_width=16, block_overflow="saturate"),
        Accumulator(width=16, overflow="saturate", order="channels_last"),
    ],
    ids=str,
)
def test_an_accumulator_is_recovered(true: Accumulator, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    profile = Profile(name="a", rule=(Override(accumulator=true),))
    path.write_text(profile_toml(profile, "drawn"), encoding="utf-8")
    with Asker(reference(f"sim:{path}")) as asker:
        questions, refused = ask_sums(asker, np.random.default_rng(1))
    sums = find(questions)
    assert not refused
    assert sums.explained == sums.asked
    assert true in sums.rivals
    # What is not decided decides nothing: every rival explains every answer.
    assert all(sum(q.explained(r) for q in questions) == sums.asked for r in sums.rivals[:3])


def test_onnxruntime_is_what_is_known_of_it() -> None:
    with Asker(get_target("ort:cpu")) as asker:
        products = probe_products(asker, np.random.default_rng(0), ("gemm", "pointwise"), (8,))
        found = {f.rule: f.value for f in probe_input(asker, np.random.default_rng(0))}
    assert found == {"rounding": "HALF_EVEN", "arithmetic": "float32"}
    (group,) = products.groups
    assert group.complete
    assert get_profile("ort-mlas").rules_for("Gemm").requantize in group.rivals


@pytest.mark.htp
@pytest.mark.slow
@pytest.mark.parametrize("soc", ["sm8350", "sm8450", "sm8550", "sm8650", "sm8750", "sm8850"])
def test_a_probed_chip_is_predicted_on_what_it_never_saw(soc: str, tmp_path: Path) -> None:
    from chipdrift.probe import run_probe

    target = get_target(f"htp:{soc}")
    result = run_probe(target, soc, seed=1)
    path = tmp_path / f"{soc}.toml"
    path.write_text(result.profile, encoding="utf-8")
    assert unseen(target, f"sim:{path}", 777) == 0


def unseen(target: Target, name: str, seed: int) -> int:
    """On how many outputs of fresh models of every kind the two part."""
    from chipdrift.probe.products import KINDS
    from chipdrift.probe.settings import Wish, answers, random_setting

    rng, parted = np.random.default_rng(seed), 0
    with Asker(target) as real, Asker(get_target(name)) as ours:
        for kind in KINDS:
            for bits in (8, 16):
                for per in (True, False):
                    wish = Wish(
                        kind=kind, bits=bits, bias=kind != "matmul", x_zero=True, y_zero=True,
                        per_channel=per,
                    )  # type: ignore[arg-type]  # fmt: skip
                    setting = random_setting(rng, wish)
                    parted += int((answers(real, setting) != answers(ours, setting)).sum())
    return parted


def test_a_target_that_refuses_leaves_rules_unknown() -> None:
    with Asker(get_target("litert:reference")) as asker:
        products = probe_products(asker, np.random.default_rng(0), ("gemm",), (16,))
    assert not products.groups
    assert ("gemm", 16) in products.refused


def test_the_command_writes_a_profile_and_its_page(cli: Any, tmp_path: Path) -> None:
    """Of a target that refuses 16-bit products; what it finds of ort:cpu: test_documents.py."""
    out = tmp_path / "tflite.toml"
    code, printed, words = cli("probe", "litert:reference", "--width", "16", "-o", out, "--json")
    assert code == 0, words
    (told,) = json.loads(printed)["probes"]
    assert told["target"] == "litert:reference"
    assert told["profile"] == out.read_text(encoding="utf-8")
    page = out.with_suffix(".md").read_text(encoding="utf-8")
    assert "# What litert:reference does with numbers" in page
    assert "gemm, 16 bit: not possible here" in page
    assert get_profile(str(out)).evidence == "prediction"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("ort:cpu", "-o", "x.txt"), ".toml"),
        (("ort:cpu", "litert:xnnpack", "-o", "x.toml"), "folder"),
        (("ort:gpu",), "ort:gpu"),
        (("ort:cpu", "--width", "12"), "--width 12"),
        (("sim:missing.toml",), "missing.toml"),
    ],
)
def test_misuse_is_one_sentence(cli: Any, words: tuple[str, ...], expected: str) -> None:
    code, _, said = cli("probe", *words)
    assert code == 2
    assert said.startswith("Error: ")
    assert expected in said
    assert "Traceback" not in said
