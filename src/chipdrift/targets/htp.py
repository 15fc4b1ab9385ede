"""Qualcomm's Hexagon NPU in the vendor's simulator, from onnxruntime-qnn: ``htp:sm8550``.

``htp:sm8550@2.50`` is the same chip under another release of the vendor's SDK: the worker finds
that release's onnxruntime-qnn before the installed one, and tells which it really loaded.

The simulator is reached by its public API only. An unknown ``soc_model`` would silently be another
chip and a provider that fails would silently be the CPU, so ids come from the catalogue alone and
the provider is checked after every session is built.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from importlib import metadata, util
from pathlib import Path

from chipdrift.chips import get_chip, simulated_chips, simulator_id, simulator_rows
from chipdrift.errors import ChipdriftError
from chipdrift.logs import read_text
from chipdrift.logs.printed import printed
from chipdrift.sdk import elsewhere, get_pin, known_pins
from chipdrift.targets.base import Session, Target, TargetInfo, pip_install
from chipdrift.targets.ort import OrtSession, build
from chipdrift.targets.releases import beside, release_info, sdk_packages
from chipdrift.targets.tuned import Option, split_options, with_options

_PROVIDER = "QNNExecutionProvider"
_QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})
_VERBOSE, _WARNING = 0, 2  # onnxruntime's log levels
_MAPS = Path("/proc/self/maps")
# Generations of which a profile comes with chipdrift (docs/generations.md).
_PROBED = frozenset({"v68", "v69", "v73", "v75", "v79", "v81"})
OPTIONS = {
    "offload_graph_io_quantization": Option(
        "offload_graph_io_quantization",
        ("0", "1"),
        "whether the CPU quantizes the graph's own inputs and outputs",
    ),
    "htp_graph_finalization_optimization_mode": Option(
        "htp_graph_finalization_optimization_mode",
        ("1", "2", "3"),
        "how long the compiler may look for a better plan",
    ),
    "enable_htp_fp16_precision": Option(
        "enable_htp_fp16_precision", ("0", "1"), "whether float32 nodes are computed in FP16"
    ),
}
"""Options of the QNN provider that may change an answer, by what they are called in a target."""
FLOAT32 = (
    "not available: the simulator computes a float32 graph in FP16, so what it would answer is the "
    "scheme fp16"
)


def missing() -> str | None:
    """Why the simulator cannot be had on this machine, or None."""
    if util.find_spec("onnxruntime_qnn") is not None:
        return None
    away = elsewhere()
    if away is not None:
        return away
    return f"onnxruntime-qnn is not installed: {pip_install('htp')} (or onnxruntime-qnn)"


@functools.cache
def _versions() -> dict[str, str]:
    from onnxruntime_qnn import build_and_package_info as package

    return beside(metadata.version("onnxruntime-qnn"), package.qnn_version)


def resolve(rest: str) -> Target:
    """``htp:<soc>`` for a chip that the catalogue has and the simulator knows.

    Behind ``+`` options of the provider, behind ``@`` the release of the SDK, which is fetched
    where it is not there.
    """
    tuned, at, release = rest.partition("@")
    soc, given = split_options("htp", tuned, OPTIONS)
    try:
        chip = get_chip(soc)
        pin = get_pin(release) if at else None
    except ChipdriftError as error:
        raise type(error)(f"Target htp:{rest}: {error}") from error
    soc_model = simulator_id(chip)
    if pin is None:
        reason = missing()
        if reason is not None:
            raise ChipdriftError(f"Target htp:{rest} cannot run here: {reason}.")
    elif soc_model in pin.strangers:
        raise ChipdriftError(
            f"Target htp:{rest}: SDK {pin.name} does not know {chip.soc} and would silently "
            "simulate another chip. Take a later SDK."
        )
    row = simulator_rows().get(soc_model)
    cautions = {}
    if row is not None and row.fp16 == "no":
        cautions["float16"] = f"{chip.soc} has no FP16 on the simulated NPU"
    target = Target(
        name=f"htp:{chip.soc.lower()}{at}{release}",
        runtime=__name__,
        evidence="vendor-simulator",
        has_npu=True,
        options={"soc_model": str(soc_model)},
        versions=_versions() if pin is None else beside(pin.wheel, pin.qnn),
        # Two SDKs are compared, so that none may stand in for the other.
        family="htp" if pin is None else f"htp@{pin.name}",
        refuses={"float32": FLOAT32},
        cautions=cautions,
        description=", ".join(
            [
                *chip.marketing_names[:1],
                chip.hexagon or chip.soc,
                *([] if pin is None else [f"QNN {pin.qnn}"]),
            ]
        ),
        # What was probed is one release: docs/generations.md says which.
        profile=f"hexagon-{chip.hexagon}" if chip.hexagon in _PROBED and pin is None else "",
        packages=() if pin is None else sdk_packages(pin),
    )
    return with_options(target, given, OPTIONS)


def listed() -> list[TargetInfo]:
    """Every chip that the simulator knows."""
    reason = missing()
    return [
        TargetInfo(
            name=f"htp:{chip.soc.lower()}",
            evidence="vendor-simulator",
            available=reason is None,
            description=f"{chip.label}, Hexagon {chip.hexagon or 'not known'}, simulated",
            reason=reason,
        )
        for chip in simulated_chips()
    ] + [release_info(pin) for pin in known_pins().values()]


def loaded() -> dict[str, str]:
    """The versions of this process; raises RuntimeError where a library came from elsewhere."""
    import onnxruntime_qnn

    home = Path(onnxruntime_qnn.__file__).resolve().parent
    mapped = {Path(line.split(maxsplit=5)[-1]) for line in _MAPS.read_text().splitlines()}
    strange = [
        path for path in mapped if path.name.startswith("libQnn") and path.resolve().parent != home
    ]
    if strange:
        raise RuntimeError(f"{strange[0]} was loaded in place of the one in {home}")
    return _versions()


def preload() -> None:
    """Import onnxruntime and register the simulator's plugin."""
    import onnxruntime
    import onnxruntime_qnn

    _device(onnxruntime, onnxruntime_qnn.get_library_path())


def open_session(path: str, options: Mapping[str, str]) -> Session:
    """Build the session on the simulated chip; raises RefusedError with the simulator's words."""
    import onnxruntime
    import onnxruntime_qnn

    device = _device(onnxruntime, onnxruntime_qnn.get_library_path())
    provider = {"backend_path": onnxruntime_qnn.get_qnn_htp_path(), **options}

    def opened(level: int) -> OrtSession:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1
        settings.inter_op_num_threads = 1
        settings.log_severity_level = level
        settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        settings.add_provider_for_devices([device], provider)
        session = build(path, settings, None)
        if _PROVIDER not in session.get_providers():
            raise RuntimeError(
                f"{_PROVIDER} could not be created and onnxruntime went on with the CPU in silence"
            )
        return OrtSession(session)

    session = opened(_WARNING)
    left = {n for where, n, op in session.opened().nodes if where == "cpu" and op not in _QDQ}
    if left:
        session.reasons = _reasons(lambda: opened(_VERBOSE), left)
    return session


def _reasons(open_again: Callable[[], OrtSession], left: Collection[str]) -> dict[str, str]:
    """Why nodes left the NPU, in the words of a second session's verbose log."""
    text = printed(open_again)
    return {
        entry.node: ": ".join(filter(None, (entry.reason, *entry.causes)))
        for entry in read_text(text).fallbacks
        if entry.node is not None and entry.node in left and (entry.reason or entry.causes)
    }


@functools.cache
def _device(onnxruntime: object, library: str) -> object:
    """Register the plugin, once per process, and pick its device."""
    onnxruntime.register_execution_provider_library(_PROVIDER, library)  # type: ignore[attr-defined]
    for device in onnxruntime.get_ep_devices():  # type: ignore[attr-defined]
        if device.ep_name == _PROVIDER:
            return device
    raise RuntimeError(f"onnxruntime-qnn offers no device named {_PROVIDER}")
