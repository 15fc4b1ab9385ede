"""The folder: what is in it, its schema, its signature, and what each choice rests on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import bundle_fixtures
import jsonschema
import pytest
from bundles import change_plan
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from chipdrift.bundle import Made, Manifest, make_bundle, manifest_schema, schema_bytes
from chipdrift.errors import ChipdriftError

pytestmark = pytest.mark.htp
plan = bundle_fixtures.plan
own_plan = bundle_fixtures.own_plan
made = bundle_fixtures.made


def test_the_shipped_schema_is_of_the_records() -> None:
    """Written by: python -m chipdrift.bundle.schema > src/chipdrift/bundle/manifest.schema.json."""
    assert json.loads(schema_bytes()) == manifest_schema()
    jsonschema.Draft202012Validator.check_schema(manifest_schema())


def test_the_manifest_holds_its_schema(made: Made) -> None:
    told = json.loads((made.folder / "manifest.json").read_bytes())
    schema = json.loads((made.folder / "manifest.schema.json").read_bytes())
    jsonschema.validate(told, schema, cls=jsonschema.Draft202012Validator)
    for change in ({"serial": -1}, {"files": [{"name": "../x"}]}, {"chips": None}, {"more": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**told, **change}, schema)
    assert Manifest.model_validate(told) == made.manifest


def test_every_file_is_listed_with_its_hash(made: Made) -> None:
    there = {
        str(file.relative_to(made.folder))
        for file in made.folder.rglob("*")
        if file.is_file() and file.name not in ("manifest.json", "manifest.json.sig", "key.pub")
    }
    assert {entry.name for entry in made.manifest.files} == there
    for entry in made.manifest.files:
        data = (made.folder / entry.name).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (entry.sha256, entry.size)


def test_the_signature_is_over_the_very_bytes(made: Made) -> None:
    key = load_pem_public_key((made.folder / "key.pub").read_bytes())
    signed = (made.folder / "manifest.json").read_bytes()
    key.verify((made.folder / "manifest.json.sig").read_bytes(), signed)  # type: ignore[union-attr,call-arg]
    assert made.key.hex == key.public_bytes_raw().hex()  # type: ignore[union-attr]
    digest = hashlib.sha256(bytes.fromhex(made.key.hex)).hexdigest()
    assert made.key.fingerprint.replace(":", "") == digest[:32]


def test_what_a_choice_rests_on(made: Made) -> None:
    chips = {chip.name: chip for chip in made.manifest.chips}
    rests = chips["sm8550"].rests_on
    assert (rests.standing, rests.planned, rests.evidence) == (
        "within",
        "w8a8_pc",
        "vendor-simulator",
    )
    assert rests.samples == 60
    assert rests.loss is not None
    assert (rests.loss.low, rests.loss.high) == (-0.002, 0.012)
    assert rests.versions["onnxruntime-qnn"] == "2.7.0"
    assert (chips["sm8550"].soc, chips["sm8550"].soc_model) == ("SM8550", 43)
    missed = chips["sm7550"]
    assert (missed.variant, missed.rests_on.planned) == ("fp32", "w8a8")
    assert any("sm7550: the plan found nothing that holds" in w for w in made.warnings)


def test_missed_and_none(own_plan: Path, tmp_path: Path) -> None:
    allowed = make_bundle(own_plan, tmp_path / "a", allow_missed=True, golden=0)
    chip = next(one for one in allowed.manifest.chips if one.name == "sm7550")
    assert (chip.variant, chip.npu) == ("w8a8", True)
    assert "misses the budget and is shipped because --allow-missed was given" in chip.why
    choices = json.loads((own_plan / "plan.json").read_text())["choices"]
    choices[2].update(variant=None, standing="none", loss=None)
    change_plan(own_plan, choices=choices)
    made = make_bundle(own_plan, tmp_path / "b", allow_missed=True, golden=0)
    chip = next(one for one in made.manifest.chips if one.name == "sm7550")
    assert (chip.variant, chip.npu, chip.golden) == ("fp32", False, None)
    assert chip.why == "nothing quantized runs on sm7550: the safe variant fp32"


def test_only_what_a_chip_gets_is_shipped(own_plan: Path, tmp_path: Path) -> None:
    choices = json.loads((own_plan / "plan.json").read_text())["choices"]
    choices[1].update(variant="w8a8")
    change_plan(own_plan, choices=choices)
    made = make_bundle(own_plan, tmp_path / "b")
    assert {v.name for v in made.manifest.variants} == {"fp32", "w8a8"}
    assert not (made.folder / "models" / "w8a8_pc.onnx").exists()


def test_two_variants_of_the_same_bytes_are_one_file(own_plan: Path, tmp_path: Path) -> None:
    plan = json.loads((own_plan / "plan.json").read_text())
    twin = next(v for v in plan["variants"] if v["name"] == "w8a8")
    copy = own_plan / "models" / "twin.onnx"
    copy.write_bytes((own_plan / twin["file"]).read_bytes())
    variants = [*plan["variants"], {**twin, "name": "twin", "file": "models/twin.onnx"}]
    plan["choices"][1].update(variant="twin")
    change_plan(own_plan, variants=variants, choices=plan["choices"])
    made = make_bundle(own_plan, tmp_path / "b")
    files = {v.name: v.file for v in made.manifest.variants}
    assert files["twin"] == files["w8a8"]
    assert made.alone - made.shared == copy.stat().st_size


def test_a_phone_that_two_chips_of_the_plan_name(own_plan: Path, tmp_path: Path) -> None:
    """The stronger evidence has it; on equal evidence nobody can say."""
    plan = json.loads((own_plan / "plan.json").read_text())
    phone = {**plan["chips"][1], "name": "adb:1", "target": "htp:sm8450", "evidence": "device"}
    chosen = {**plan["choices"][0], "chip": "adb:1", "evidence": "device"}
    chips, choices = [*plan["chips"], phone], [*plan["choices"], chosen]
    change_plan(own_plan, chips=chips, choices=choices)
    made = make_bundle(own_plan, tmp_path / "b", golden=0)
    assert [c.name for c in made.manifest.chips] == ["sm8450", "sm7550", "adb:1"]
    assert any("it gets what was planned for adb:1 (device)" in w for w in made.warnings)
    choices[-1]["evidence"] = "vendor-simulator"
    change_plan(own_plan, choices=choices)
    with pytest.raises(ChipdriftError, match="a phone tells both as SM8550"):
        make_bundle(own_plan, tmp_path / "c", golden=0)


def test_off(own_plan: Path, tmp_path: Path) -> None:
    made = make_bundle(own_plan, tmp_path / "b", off=["sm8550", "SM1234"], golden=0)
    assert made.manifest.off == ("SM8550", "SM1234")
    assert any("SM1234: the catalogue does not know" in w for w in made.warnings)
    assert any("sm8550: planned for, and on the list of --off" in w for w in made.warnings)
