"""docs/howto/phones.md, with one emulated phone on the desk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from documents import run_page
from emulated_phone import EmulatedPhone
from phone_kit import linux_kit

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.system


def test_how_to_measure_a_phone(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    linux_kit(cache / "chipdrift" / "phones")
    with EmulatedPhone() as phone:
        host, port = phone.server
        printed = run_page(
            ROOT / "docs" / "howto" / "phones.md",
            tmp_path,
            XDG_CACHE_HOME=str(cache),
            ANDROID_ADB_SERVER_ADDRESS=host,
            ANDROID_ADB_SERVER_PORT=str(port),
        )
        assert phone.shell("ls /data/local/tmp/chipdrift").returncode != 0
    assert f"adb:{phone.serial}" in printed[0]
    assert "chipdrift-runner: " in printed[1] and "lacks" not in printed[1]
    assert "emulated-runtime" in printed[2]
    told = printed[3].splitlines()
    assert [line.split()[2] for line in told] == ["emulated-runtime"] * 2
    cells = json.loads((tmp_path / "runs" / "phone" / "matrix.json").read_text())["cells"]
    assert {cell["status"] for cell in cells} == {"ok"}
