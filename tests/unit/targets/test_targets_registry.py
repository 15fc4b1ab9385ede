"""Targets by name: what there is, what there is not, and why."""

from __future__ import annotations

import importlib.util
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from chipdrift.chips import simulated_chips
from chipdrift.errors import ChipdriftError, UnknownNameError
from chipdrift.targets import get_target, list_targets
from chipdrift.targets.ort import host_isa


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ort", "Unknown target 'ort'. Near names: .*ort:avx2, ort:cpu"),
        ("ort:cpuu", "Unknown target 'ort:cpuu'. Near names: .*ort:cpu"),
        ("ort:", "ort:cpu"),
        ("tpu:7", "chipdrift targets lists them all"),
        ("HTP:sm8550", "htp:sm8550"),
        ("", "Unknown target ''"),
        (":", "Unknown target ':'"),
        ("base:x", "Unknown target"),
        ("worker:1", "Unknown target"),
        ("htp:", "Unknown chip ''"),
        ("htp:sm8555", "Target htp:sm8555: .*SM8550"),
        ("htp:sm8250", "v66"),
    ],
)
def test_names_that_nobody_knows(name: str, words: str) -> None:
    with pytest.raises(ChipdriftError, match=words) as caught:
        get_target(name)
    assert "\n" not in str(caught.value)
    if name != "htp:sm8250":
        assert isinstance(caught.value, UnknownNameError)


def test_spaces_around_a_name_are_no_matter() -> None:
    assert get_target(" ort:cpu ") == get_target("ort:cpu")


def test_the_host_s_cpu() -> None:
    target = get_target("ort:cpu")
    assert (target.evidence, target.has_npu, target.family) == ("host-runtime", False, None)
    # Without VNNI u8 x s8 products saturate in 16 bits: the answer would depend on the host.
    assert target.options == {"session.x64quantprecision": "1"}
    assert target.versions["onnxruntime"] == metadata.version("onnxruntime")
    assert target.versions["machine"] == platform.machine()
    assert target.versions["isa"] == (" ".join(host_isa()) or "unknown")
    assert target.refuses == {}


@pytest.mark.parametrize(
    ("text", "isa"),
    [
        (
            "flags\t\t: fpu sse2 fma avx2 avx512f avx512_vnni\n",
            ("avx2", "fma", "avx512f", "avx512_vnni"),
        ),
        ("Features\t: fp asimd asimddp i8mm bf16\n", ("asimddp", "i8mm")),
        ("model name\t: avx2 fma\nbugs: avx2\n", ()),
        ("processor : 0\nflags : sse2\n\nprocessor : 1\nflags : sse2 avx2\n", ("avx2",)),
    ],
)
def test_instruction_sets(text: str, isa: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    host_isa.cache_clear()
    try:
        monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
        assert host_isa() == isa
        host_isa.cache_clear()

        def fail(*_: Any, **__: Any) -> str:
            raise FileNotFoundError

        monkeypatch.setattr(Path, "read_text", fail)
        assert host_isa() == (), "no /proc, as on a Mac"
    finally:
        host_isa.cache_clear()


def test_every_chip_the_simulator_knows_is_listed() -> None:
    listed = {info.name: info for info in list_targets()}
    chips = {name for name in listed if name.startswith("htp:") and "@" not in name}
    assert chips == {f"htp:{chip.soc.lower()}" for chip in simulated_chips()}
    assert {"ort:cpu", "ort:avx2", "ort:arm64"} == {
        name for name in listed if name.startswith("ort:")
    }
    assert len(listed) == len(list_targets())
    assert listed["ort:cpu"].available
    assert listed["htp:sm8550"].evidence == "vendor-simulator"


@pytest.fixture
def no_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "onnxruntime_qnn" else real(name, *rest),
    )


@pytest.mark.usefixtures("no_simulator")
def test_without_the_simulator_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    listed = {info.name: info for info in list_targets()}
    assert listed["ort:cpu"].available
    for name, info in listed.items():
        # Another release of the SDK is fetched; it needs no installed one.
        if name.startswith("htp:") and "@" not in name:
            assert not info.available
            assert "pip install 'chipdrift[htp]'" in (info.reason or "")
    with pytest.raises(ChipdriftError, match=r"htp:sm8550 cannot run here: .*not installed.*pip"):
        get_target("htp:sm8550")
    with pytest.raises(UnknownNameError):
        get_target("htp:sm8555")


@pytest.mark.usefixtures("no_simulator")
@pytest.mark.parametrize(
    ("system", "machine"), [("darwin", "arm64"), ("win32", "AMD64"), ("linux", "aarch64")]
)
def test_on_another_machine_the_machine_is_the_reason(
    system: str, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    reasons = {info.reason for info in list_targets() if info.name.startswith("htp:")}
    assert len(reasons) == 1
    reason = reasons.pop() or ""
    assert f"this is {system} {machine}" in reason
    assert "pip" not in reason, "installing would not help"
