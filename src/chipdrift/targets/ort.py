"""onnxruntime on a processor: this host's, ``ort:cpu``, or an emulated one.

Without VNNI, onnxruntime's u8 x s8 products saturate in 16 bits (``vpmaddubsw``). ``ort:cpu`` keeps
its answers from depending on the host; ``ort:avx2`` shows what a processor without VNNI answers:
the whole worker runs under qemu's user emulation of a Haswell. ``ort:arm64`` is the same release
for a phone's processor (:mod:`chipdrift.targets.arm64`).
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chipdrift.errors import ChipdriftError, UnknownNameError
from chipdrift.targets import arm64
from chipdrift.targets.base import Opened, Part, RefusedError, Session, Target, TargetInfo
from chipdrift.targets.emulator import Emulator, find_emulator
from chipdrift.targets.tuned import Option, split_options, with_options

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

EMULATED_ISA = "avx2 fma"
"""Of ``_ISA``, what the emulated processor says it has."""
# Haswell's transactional memory, which qemu lacks, would be a warning for every thread.
_EMULATED_CPU = "Haswell,-hle,-rtm"
# The first with AVX2. 7.2.22 and 10.0.2 gave the same bits.
_OLDEST_QEMU = (7, 2)
_HOW = "apt-get install qemu-user"


OPTIONS = {
    "x64quantprecision": Option(
        "session.x64quantprecision", ("0", "1"), "whether u8 x s8 is kept from saturating"
    ),
    "disable_quant_qdq": Option(
        "session.disable_quant_qdq", ("0", "1"), "whether nodes between quantizers stay in float"
    ),
}
"""Options of onnxruntime that may change an answer, by what they are called in a target."""


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
    """``ort:cpu``, ``ort:avx2`` or ``ort:arm64``; behind ``+`` options of onnxruntime."""
    base, given = split_options("ort", rest, OPTIONS)
    return with_options(_plain(base), given, OPTIONS)


def _plain(rest: str) -> Target:
    if rest == "avx2":
        return _avx2()
    if rest == "arm64":
        return arm64.target(__name__)
    if rest != "cpu":
        raise UnknownNameError.of("target", f"ort:{rest}", ["ort:arm64", "ort:avx2", "ort:cpu"])
    return Target(
        name="ort:cpu",
        runtime=__name__,
        evidence="host-runtime",
        has_npu=False,
        description="onnxruntime, this host",
        profile="ort-mlas",
        # Keeps u8 x s8 from saturating on a host without VNNI.
        options={"session.x64quantprecision": "1"},
        versions={
            "onnxruntime": metadata.version("onnxruntime"),
            "machine": platform.machine(),
            "isa": " ".join(host_isa()) or "unknown",
        },
    )


def _avx2() -> Target:
    emulator = _emulator()
    if emulator.reason is not None:
        raise ChipdriftError(f"Target ort:avx2 cannot run here: {emulator.reason}.")
    return Target(
        name="ort:avx2",
        runtime=__name__,
        evidence="emulated-runtime",
        has_npu=False,
        description="onnxruntime, AVX2 without VNNI",
        profile="avx2-saturating",
        versions={
            "onnxruntime": metadata.version("onnxruntime"),
            "machine": "x86_64",
            "isa": EMULATED_ISA,
            "qemu": emulator.version,
            "cpu": "Haswell",
        },
        launcher=(emulator.path, "-cpu", _EMULATED_CPU),
    )


def _emulator() -> Emulator:
    return find_emulator(
        "qemu-x86_64", _OLDEST_QEMU, "the Python of a Linux x86-64 host", f"on Debian, {_HOW}"
    )


def parts(rest: str) -> list[Part]:
    """What ``ort:<rest>`` is made of."""
    here = [Part("onnxruntime", metadata.version("onnxruntime"), "pip install onnxruntime")]
    if rest == "avx2":
        emulator = _emulator()
        found = None if emulator.reason else f"{emulator.version}, {emulator.path}"
        return [*here, Part("qemu-x86_64", found, _HOW)]
    return [*here, *arm64.parts()] if rest == "arm64" else here


def listed() -> list[TargetInfo]:
    """The host, always there, and the emulated processors."""
    reason = _emulator().reason
    return [
        TargetInfo(
            name="ort:cpu",
            evidence="host-runtime",
            available=True,
            description=f"onnxruntime on this host's CPU ({' '.join(host_isa()) or 'unknown'})",
        ),
        TargetInfo(
            name="ort:avx2",
            evidence="emulated-runtime",
            available=reason is None,
            description="onnxruntime on an emulated Haswell: AVX2, no VNNI, u8 x s8 saturates",
            reason=reason,
        ),
        arm64.listed(),
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


def build(
    model: str | bytes, settings: Any, providers: list[str] | None
) -> onnxruntime.InferenceSession:
    """A session of a file or its bytes; refusals are told apart from a broken installation."""
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
        return onnxruntime.InferenceSession(model, settings, providers=providers)
    except refusals as error:
        raise RefusedError(" ".join(str(error).split())) from error


class OrtSession(Session):
    """A session of onnxruntime, whatever its providers.

    ``reasons`` says of nodes why they left the NPU, where somebody found out.
    """

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        # Its answers would come from the CPU, in silence, once a provider has failed to run.
        session.disable_fallback()
        self._session = session
        self._outputs = [output.name for output in session.get_outputs()]
        self.reasons: Mapping[str, str] = {}

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
        return Opened(nodes, reasons=self.reasons)

    def run(self, feed: Mapping[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        """One sample's outputs, in the order of the model's outputs."""
        answers: list[np.ndarray[Any, Any]] = self._session.run(self._outputs, dict(feed))
        return answers
