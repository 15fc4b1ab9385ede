"""onnxruntime on this host's processor: ``ort:cpu``."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chipdrift.errors import UnknownNameError
from chipdrift.targets.base import Opened, RefusedError, Session, Target, TargetInfo

if TYPE_CHECKING:
    import onnxruntime

# What decides which integer and float kernels onnxruntime picks on x86-64 and Arm.
_ISA = (
    "avx2",
    "fma",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_int8",
    "asimddp",
    "i8mm",
    "sve",
    "sme",
)


@functools.cache
def host_isa() -> tuple[str, ...]:
    """The instruction sets of this host that matter to onnxruntime's kernels."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ()
    flags: set[str] = set()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            flags.update(value.split())
    return tuple(name for name in _ISA if name in flags)


def resolve(rest: str) -> Target:
    """``ort:cpu``. ``session.x64quantprecision`` keeps u8 x s8 from saturating without VNNI."""
    if rest != "cpu":
        raise UnknownNameError.of("target", f"ort:{rest}", ["ort:cpu"])
    return Target(
        name="ort:cpu",
        runtime=__name__,
        evidence="host-runtime",
        has_npu=False,
        description="onnxruntime, this host",
        options={"session.x64quantprecision": "1"},
        versions={
            "onnxruntime": metadata.version("onnxruntime"),
            "machine": platform.machine(),
            "isa": " ".join(host_isa()) or "unknown",
        },
    )


def listed() -> list[TargetInfo]:
    """One target, always there."""
    return [
        TargetInfo(
            name="ort:cpu",
            evidence="host-runtime",
            available=True,
            description=f"onnxruntime on this host's CPU ({' '.join(host_isa()) or 'unknown'})",
        )
    ]


def preload() -> None:
    """Import onnxruntime."""
    import onnxruntime  # noqa: F401


def open_session(path: str, options: Mapping[str, str]) -> Session:
    """Build the session; raises RefusedError with onnxruntime's words where it will not."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    for key, value in options.items():
        settings.add_session_config_entry(key, value)
    return OrtSession(build(path, settings, ["CPUExecutionProvider"]))


def build(path: str, settings: Any, providers: list[str] | None) -> onnxruntime.InferenceSession:
    """An InferenceSession, its refusals told apart from a broken installation."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    refusals = (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.NotImplemented,
        state.RuntimeException,
        state.EPFail,
    )
    try:
        return onnxruntime.InferenceSession(path, settings, providers=providers)
    except refusals as error:
        raise RefusedError(" ".join(str(error).split())) from error


class OrtSession(Session):
    """A session of onnxruntime, whatever its providers."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._outputs = [output.name for output in session.get_outputs()]

    def opened(self) -> Opened:
        """Placement as onnxruntime records it: the CPU provider is ``cpu``, any other ``npu``."""
        nodes = tuple(
            (
                "cpu" if part.ep_name == "CPUExecutionProvider" else "npu",
                node.name,
                node.op_type,
            )
            for part in self._session.get_provider_graph_assignment_info()
            for node in part.get_nodes()
        )
        return Opened(nodes)

    def run(self, feed: Mapping[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        """One sample's outputs, in the order of the model's outputs."""
        answers: list[np.ndarray[Any, Any]] = self._session.run(self._outputs, dict(feed))
        return answers
