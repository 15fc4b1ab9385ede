"""Ways to run a model on a phone: each brings what it needs, and one that nobody knew fits in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from chipdrift.errors import ChipdriftError, UnknownNameError
from chipdrift.phones import AdbServer, Identity, Kit, Phone, Seen, kits_in
from chipdrift.phones.identity import identity_of
from chipdrift.targets import adb, get_target
from chipdrift.targets.adb_visit import Tell
from chipdrift.targets.adb_way import Facts, Way
from chipdrift.targets.base import Part, RefusedError, Session

SERIAL = "R5"
PROPERTIES = {
    "ro.soc.manufacturer": "QTI",
    "ro.soc.model": "SM8550",
    "ro.build.version.release": "14",
    "ro.product.cpu.abi": "arm64-v8a",
}
QNN = ["libQnnHtp.so", "libQnnHtpPrepare.so", "libQnnSystem.so"]
V73 = [*QNN, "libQnnHtpV73Stub.so", "libQnnHtpV73Skel.so"]
RUNNER = ["chipdrift-runner", "libonnxruntime.so"]


class Further(Way):
    """One that nobody knew."""

    def needs(self, hexagon: str | None) -> list[str]:
        return ["further", f"further-{hexagon}.so"]

    def require(self, phone: Identity) -> None:
        if phone.soc_model != "SM8550":
            raise ChipdriftError("the further way is for one chip")

    def facts(self, phone: Identity, kit: Kit) -> Facts:
        return Facts(
            versions={"further": kit.path("further").read_bytes()[-3:].decode()},
            options={"detail": "fine"},
            refuses={"uint16": "no 16 bits"},
            cautions={"qdq": "quite new"},
            profile="further-profile",
        )

    def parts(self) -> list[Part]:
        return [Part("further-host", None, "get it")]

    def open_session(self, path: str, options: Mapping[str, str], tell: Tell) -> Session:
        raise RefusedError(f"{path} {options['detail']}")


def elf(words: bytes = b"1.2") -> bytes:
    """A 64-bit file for aarch64 without segments, by the System V ABI's layout."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + (3).to_bytes(2, "little")
    return head + (183).to_bytes(2, "little") + bytes(44) + words


@pytest.fixture
def phone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """A phone of those properties is plugged in, and its kit has the files that are named."""
    monkeypatch.setattr(adb, "current_server", lambda: AdbServer("127.0.0.1", 1))
    monkeypatch.setattr(AdbServer, "phones", lambda self: [Seen(SERIAL, "device")])

    def plugged(*files: str, **properties: str) -> None:
        told = PROPERTIES | {key.replace("_", "."): value for key, value in properties.items()}
        identity = identity_of(SERIAL, told, "aarch64", True)
        monkeypatch.setattr(adb, "identify", lambda phone: identity)
        folder = tmp_path / "arm64-v8a"
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name in files:
            (folder / name).write_bytes(elf())

    def refuse(self: Phone, command: str, seconds: float = 60) -> None:
        raise AssertionError(f"nothing is asked of the phone: {command}")

    monkeypatch.setattr(Phone, "shell", refuse)
    with kits_in(tmp_path):
        yield plugged  # type: ignore[misc]


@pytest.fixture
def further(monkeypatch: pytest.MonkeyPatch) -> Further:
    way = Further("further", "a further way", has_npu=True, optional=("more", "further.txt"))
    monkeypatch.setitem(adb.WAYS, "further", way)
    return way


def test_a_further_way_is_one_class(phone: Callable[..., None], further: Further) -> None:
    phone("further", "further-v73.so", "more")
    target = get_target(f"adb:{SERIAL}/further")
    assert target.setup["files"] == "further further-v73.so more"
    assert target.options == {"serial": SERIAL, "way": "further", "detail": "fine"}
    assert (target.versions["further"], target.versions["soc"]) == ("1.2", "SM8550")
    assert target.refuses["uint16"] == "no 16 bits"
    assert "FP16" in target.refuses["float32"], "as of every NPU"
    assert target.cautions == {"qdq": "quite new"}
    assert (target.profile, target.has_npu) == ("further-profile", True)
    assert target.description.endswith("a further way")
    with pytest.raises(RefusedError, match=r"^m\.onnx fine$"):
        adb.open_session("m.onnx", target.session_options, lambda words: None)
    told = {part.name: part for part in adb.parts(f"{SERIAL}/further")}
    assert told["further"].found and told["more"].found and told["more"].optional
    assert told["further.txt"].found is None and told["further.txt"].optional
    assert not told["further"].optional
    assert told["further-host"].get == "get it"


def test_what_a_way_refuses_or_lacks(phone: Callable[..., None], further: Further) -> None:
    phone("further", ro_soc_model="SM8650")
    with pytest.raises(ChipdriftError, match="for one chip"):
        get_target(f"adb:{SERIAL}/further")
    phone("further")
    with pytest.raises(ChipdriftError, match=r"further-v73\.so is not there"):
        get_target(f"adb:{SERIAL}/further")
    with pytest.raises(UnknownNameError, match="further"):
        get_target(f"adb:{SERIAL}/furtherr")


@pytest.mark.parametrize(
    ("way", "files"),
    [("cpu", RUNNER), ("qnn", RUNNER + V73), ("qnn-net-run", ["qnn-net-run", *V73])],
)
def test_what_each_way_needs(way: str, files: list[str]) -> None:
    assert adb.WAYS[way].needs("v73") == files


def test_the_npu_is_taken_where_all_of_its_files_are(phone: Callable[..., None]) -> None:
    phone(*RUNNER)
    target = get_target(f"adb:{SERIAL}")
    assert (target.options["way"], target.profile, target.has_npu) == ("cpu", "ort-mlas", False)
    phone(*RUNNER, *V73)
    target = get_target(f"adb:{SERIAL}")
    assert (target.options["way"], target.profile, target.has_npu) == ("qnn", "", True)
    provider = "libonnxruntime_providers_qnn.so"
    assert provider not in target.setup["files"]
    phone(*RUNNER, *V73, provider)
    assert provider in get_target(f"adb:{SERIAL}").setup["files"].split()


def test_litert_takes_inference_diff_where_it_is(phone: Callable[..., None]) -> None:
    pytest.importorskip("ai_edge_litert")
    phone("benchmark_model")
    without = get_target(f"adb:{SERIAL}/litert")
    assert without.setup["files"] == "benchmark_model"
    (part,) = [p for p in adb.parts(f"{SERIAL}/litert") if p.name == "inference_diff"]
    assert part.found is None and part.optional
    assert "//tflite/tools/evaluation/tasks/inference_diff:run_eval" in part.get
    phone("benchmark_model", "inference_diff")
    target = get_target(f"adb:{SERIAL}/litert")
    assert target.setup["files"] == "benchmark_model inference_diff"
    assert "on no silicon" in target.cautions["qdq"]
