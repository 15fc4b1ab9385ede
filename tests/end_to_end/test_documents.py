"""What the documents tell a reader to type works when typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from documents import blocks, run_page, run_page_here

from chipdrift.numerics.profiles import get_profile

ROOT = Path(__file__).parents[2]


@pytest.mark.htp
def test_the_readme(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_qnn")
    printed = run_page(ROOT / "README.md", tmp_path)
    assert "SM8650" in printed[0]


@pytest.mark.htp
def test_how_to_measure_ones_own_model(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_qnn")
    run_page_here(ROOT / "docs" / "howto" / "own-model.md", tmp_path)
    found = json.loads((tmp_path / "runs" / "mine" / "matrix.json").read_text())
    assert {cell["status"] for cell in found["cells"]} == {"ok", "unsupported"}
    assert (tmp_path / "runs" / "mine" / "report.html").exists()
    assert (tmp_path / "out.npz").exists()


@pytest.mark.htp
def test_how_to_mix_layers_in_a_scheme(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_qnn")
    run_page_here(ROOT / "docs" / "howto" / "own-scheme.md", tmp_path)
    found = json.loads((tmp_path / "runs" / "mixed" / "matrix.json").read_text())
    assert {cell["status"] for cell in found["cells"]} == {"ok"}
    mine = next(scheme for scheme in found["schemes"] if scheme["name"] == "mine")
    assert dict(mine["mixed"]["layers"])["head/pool"] == "kept in float32 on the CPU"
    chips = [c for c in found["cells"] if c["scheme"] == "mine" and c["target"] != "ort:cpu"]
    assert all(cell["placement"]["fallback"] == [] for cell in chips)
    kept = [[n["node"] for n in cell["placement"]["kept"]] for cell in chips]
    assert kept == [["head/flatten", "head/pool"]] * 2
    page = (tmp_path / "runs" / "mixed" / "report.html").read_text()
    assert "kept on the CPU by the scheme" in page


def same_bits(folder: Path) -> list[tuple[str, ...]]:
    """Scheme and targets of every pair of the matrix in ``folder`` with no output apart."""
    found = json.loads((folder / "matrix.json").read_text())
    assert {cell["status"] for cell in found["cells"]} == {"ok"}
    pairs = [p for p in found["pairs"] if p["identical"] == 1 and p["samples"] == p["measured"]]
    return sorted((p["scheme"], *sorted((p["a"], p["b"]))) for p in pairs)


def test_how_to_write_a_profile(tmp_path: Path) -> None:
    page = ROOT / "docs" / "howto" / "own-profile.md"
    printed = run_page_here(page, tmp_path)
    complaint = printed[-1].strip().removeprefix("Error: ")
    assert complaint in page.read_text(encoding="utf-8")
    said = " ".join(line for out in printed for line in out.split())
    told = page.read_text(encoding="utf-8").split("has a rule for stem", 1)[1]
    for line in ("has a rule for stem" + told.split("```")[0]).strip().splitlines():
        assert line in said, line
    assert "unknown rule" not in said
    same = ("ort:cpu", "sim:ort-mlas", "sim:wider.toml")
    assert same_bits(tmp_path / "runs" / "mine") == [
        ("w8a8", a, b) for i, a in enumerate(same) for b in same[i + 1 :]
    ]
    found = json.loads((tmp_path / "runs" / "mine" / "matrix.json").read_text())
    kinds = {cell["target"]: cell["evidence"] for cell in found["cells"]}
    assert kinds["sim:mine.toml"] == "hypothesis"
    assert kinds["sim:ort-mlas"] == "prediction"
    assert "hypothesis" in (tmp_path / "runs" / "mine" / "report.html").read_text()


@pytest.mark.system
def test_how_to_probe_onnxruntime(tmp_path: Path) -> None:
    """The page as far as it needs no chip."""
    text = (ROOT / "docs" / "howto" / "probe.md").read_text(encoding="utf-8")
    page = tmp_path / "probe.md"
    page.write_text(text.split("## A chip")[0], encoding="utf-8")
    assert len(blocks(page)) == 3
    printed = run_page_here(page, tmp_path)
    assert 'multiplier = "float32"' in printed[0]
    words = (tmp_path / "ort.md").read_text(encoding="utf-8")
    assert "# What ort:cpu does with numbers" in words
    assert "HALF_EVEN" in words
    profile = get_profile(str(tmp_path / "ort.toml"))
    assert profile.evidence == "prediction"
    assert profile.rules_for("MatMul").requantize.zero_point == "output"
    assert same_bits(tmp_path / "runs" / "ort") == [
        (scheme, "ort:cpu", "sim:ort.toml") for scheme in ("w8a8", "w8a8_pc")
    ]


@pytest.mark.slow
@pytest.mark.htp
def test_how_to_probe_a_chip(tmp_path: Path) -> None:
    """The profile of a probe predicts a network that the probe never saw, every integer."""
    pytest.importorskip("onnxruntime_qnn")
    run_page(ROOT / "docs" / "howto" / "probe.md", tmp_path)
    assert same_bits(tmp_path / "runs" / "v69") == [
        (scheme, "htp:sm8450", "sim:v69.toml") for scheme in ("w8a8", "w8a8_pc")
    ]


def test_the_readmes_result_is_what_the_demo_prints() -> None:
    """The table in the README has the schemes and the chips of the demo."""
    from chipdrift.cli.measuring import DEMO_CHIPS, DEMO_SCHEMES

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.split("```text")[1].split("```")[0]
    for name in [*DEMO_SCHEMES, *DEMO_CHIPS]:
        assert name in table


@pytest.mark.slow
@pytest.mark.htp
def test_how_to_ppocr_direction(tmp_path: Path) -> None:
    pytest.importorskip("rapidocr_onnxruntime")
    run_page(ROOT / "docs" / "howto" / "ppocr-direction.md", tmp_path, CHIPDRIFT_ROOT=str(ROOT))
    found = json.loads((tmp_path / "runs" / "ppocr" / "matrix.json").read_text())
    assert found["data"]["samples"] == 300
    assert found["baseline"]["metric"]["value"] > 0.9
    cells = {(cell["scheme"], cell["target"]): cell for cell in found["cells"]}
    # A convolution has no FP16 on SM7550: no session, in the simulator's own words.
    assert cells["fp16", "htp:sm7550"]["status"] == "unsupported"
    assert "Conv" in cells["fp16", "htp:sm7550"]["reason"]
    # Both are v73, and part under 16-bit activations: the README says so.
    twins = next(
        pair
        for pair in found["pairs"]
        if (pair["scheme"], pair["a"], pair["b"]) == ("w8a16_pc", "htp:sm8550", "htp:sm7550")
    )
    assert twins["identical"] < 1
    for scheme in ("w8a8", "w8a8_pc", "w8a16_pc"):
        placed = cells[scheme, "htp:sm8550"]["placement"]
        assert (placed["cpu"], placed["fallback"]) == (0, [])


@pytest.mark.slow
@pytest.mark.htp
def test_how_to_minilm_wordsim(tmp_path: Path) -> None:
    pytest.importorskip("gensim")
    run_page(ROOT / "docs" / "howto" / "minilm-wordsim.md", tmp_path, CHIPDRIFT_ROOT=str(ROOT))
    found = json.loads((tmp_path / "runs" / "minilm" / "matrix.json").read_text())
    cells = {(cell["scheme"], cell["target"]): cell for cell in found["cells"]}
    # SM7550 has no FP16: the whole transformer runs on the host's CPU, and it says so.
    without = cells["fp16", "htp:sm7550"]
    assert without["placement"]["npu"] <= 1
    assert "no FP16" in without["reason"]
    for chip in ("sm8450", "sm8550"):
        assert cells["fp16", f"htp:{chip}"]["placement"]["cpu"] == 0
    # Preprocessed, LayerNorm and Gelu stay on the NPU; in pieces, Erf leaves it.
    for chip in ("sm8450", "sm8550", "sm7550"):
        for scheme in ("w8a8", "w8a16_pc"):
            assert cells[scheme, f"htp:{chip}"]["placement"]["fallback"] == []
        fallen = cells["w8a8_plain", f"htp:{chip}"]["placement"]["fallback"]
        assert {place["op"] for place in fallen} >= {"Erf"}
    # One value at the other end of its 16-bit range on SM8450: docs/known-faults.md says so.
    parted = next(
        pair
        for pair in found["pairs"]
        if (pair["scheme"], pair["a"], pair["b"]) == ("w8a16_pc", "htp:sm8450", "htp:sm8550")
    )
    assert parted["lsb"]["max"] > 60_000
    # W8A8 collapses on every target alike: the quantization, not the chip.
    lost = [c["delta"] for (scheme, _), c in cells.items() if scheme == "w8a8"]
    assert all(delta["significant"] and delta["value"] < -0.2 for delta in lost)


def test_every_how_to_has_blocks_that_are_run() -> None:
    for page in (ROOT / "docs" / "howto").glob("*.md"):
        assert blocks(page), page.name


def test_how_to_diagnose(tmp_path: Path) -> None:
    page = ROOT / "docs" / "howto" / "diagnose.md"
    run_page_here(page, tmp_path)
    why = json.loads((tmp_path / "why.json").read_text())
    worst = why["findings"][0]
    assert worst["nodes"] == ["stem/conv"]
    assert worst["check"] == "mechanism"
    (explanation,) = why["explanations"]
    assert explanation["mechanisms"][0]["mechanism"] == "accumulator_overflow"
    assert why["verdict"]["cause"] == "chip"
    cells = json.loads((tmp_path / "runs" / "fell" / "matrix.json").read_text())["cells"]
    lost = {(c["scheme"], c["target"]) for c in cells if c["delta"]["significant"]}
    assert lost == {("w8a8_pc", "sim:narrow.toml")}
    report = (tmp_path / "runs" / "fell" / "report.html").read_text()
    assert "an accumulator that overflows" in report
