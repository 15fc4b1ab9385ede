"""One command, ten targets: simulators of two generations and two SDKs, a phone, other runtimes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from emulated_phone import EmulatedPhone
from phone_kit import linux_kit

from chipdrift.demo import DemoPaths
from conftest import Cli

pytestmark = [pytest.mark.system, pytest.mark.htp]

EVIDENCE = {
    "htp:sm8450": "vendor-simulator",
    "htp:sm8550": "vendor-simulator",
    "htp:sm8450@2.50": "vendor-simulator",
    "htp:sm8550@2.50": "vendor-simulator",
    "ort:cpu": "host-runtime",
    "ort:avx2": "emulated-runtime",
    "litert:xnnpack": "host-runtime",
    "litert:reference": "host-runtime",
    "openvino:cpu": "host-runtime",
}
SAMPLES = 40


@pytest.fixture(scope="module")
def kits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return linux_kit(tmp_path_factory.mktemp("kits"))


@pytest.fixture
def phone(kits: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatedPhone]:
    with EmulatedPhone() as running:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(running.server[1]))
        monkeypatch.setattr("chipdrift.cli.phones.kits_folder", lambda: kits)
        yield running


def test_ten_targets_in_one_command_and_any_two_diagnosed(
    cli: Cli, demo: DemoPaths, phone: EmulatedPhone, tmp_path: Path
) -> None:
    run, mine = tmp_path / "run", f"adb:{phone.serial}"
    names = [*EVIDENCE, mine]
    code, out, err = cli(
        *("matrix", demo.model, "--data", demo.data, "--calibration", demo.calibration),
        *("--scheme", "w8a8", "--target", ",".join(names), "--limit", SAMPLES, "-o", run),
    )
    assert code == 0, err
    matrix = json.loads((run / "matrix.json").read_text())
    cells = {cell["target"]: cell for cell in matrix["cells"]}
    assert sorted(cells) == sorted(names)
    names = list(cells)
    assert {cell["status"] for cell in cells.values()} == {"ok"}
    found = {name: cell["evidence"] for name, cell in cells.items()}
    assert found == {**EVIDENCE, mine: "emulated-runtime"}
    # What each rests on is told.
    assert "emulated processor: its code, not its silicon" in " ".join(out.split())
    page = (run / "report.html").read_text()
    for kind in set(found.values()):
        assert kind in page
    # Eight bits on the phone's processor are the host's; the chips are not.
    pairs = {(p["a"], p["b"]): p for p in matrix["pairs"]}
    apart = {pair for pair, told in pairs.items() if told["identical"] < 1}
    assert ("ort:cpu", mine) in pairs and ("ort:cpu", mine) not in apart
    assert ("htp:sm8450", "htp:sm8550") in apart
    assert len(pairs) == len(names) * (len(names) - 1) // 2
    # Each against its neighbour: two diagnoses of every target.
    for a, b in itertools.pairwise([*names, names[0]]):
        code, told, err = cli(
            *("diagnose", run, "--scheme", "w8a8", "--target", a, "--against", b, "--json")
        )
        assert code == 0, f"{a} against {b}: {err}"
        case = json.loads(told)
        assert (case["a"]["target"], case["b"]["target"]) == (a, b)
        assert (case["first_layer"] is not None) == ({(a, b), (b, a)} & apart != set()), (a, b)
