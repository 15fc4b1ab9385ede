"""Other releases of the simulator: what a worker needs to run one, and what is told of it."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from chipdrift.chips import get_chip, simulator_id
from chipdrift.demo import paths
from chipdrift.errors import ChipdriftError
from chipdrift.sdk import Pin, current_shelf, elsewhere
from chipdrift.targets.base import Target, TargetInfo
from chipdrift.targets.ort import host_isa
from chipdrift.targets.process import WorkerDiedError, WorkerProcess

_RUNTIME = "chipdrift.targets.htp"
_TRIAL_SECONDS = 300.0


def beside(wheel: str, qnn: str) -> dict[str, str]:
    """The versions of one SDK, and of what runs beside it."""
    return {
        "onnxruntime": metadata.version("onnxruntime"),
        "onnxruntime-qnn": wheel,
        "qnn": qnn,
        # Nodes that leave the NPU run on this host's CPU.
        "isa": " ".join(host_isa()) or "unknown",
    }


def sdk_packages(pin: Pin) -> tuple[str, ...]:
    """The folder in which a worker finds the SDK, fetched where it is not there.

    None is needed for the release that is installed. Raises ChipdriftError where it cannot be had.
    """
    if pin.is_installed:
        return ()
    shelf = current_shelf()
    if shelf is None:
        raise ChipdriftError(
            f"SDK {pin.name}: no folder is named to keep it in. In Python: with "
            "chipdrift.sdks_in(folder). On the command line it is below XDG_CACHE_HOME, or below "
            ".cache in the home folder, and there is neither."
        )
    return (str(shelf.ensure(pin, lambda folder: _try(pin, folder))),)


def _try(pin: Pin, folder: Path) -> None:
    """Build one session with the SDK in ``folder``; raises ChipdriftError where it does not run."""
    target = Target(
        name=f"SDK {pin.name}",
        runtime=_RUNTIME,
        evidence="vendor-simulator",
        has_npu=True,
        options={"soc_model": str(simulator_id(get_chip("sm8550")))},
        versions=beside(pin.wheel, pin.qnn),
        packages=(str(folder),),
    )
    worker = WorkerProcess(target, -1)
    try:
        worker.open("trial", str(paths().model), target.session_options, fresh=True)
        kind, _, told, *_ = (
            worker.receive() if worker.connection.poll(_TRIAL_SECONDS) else ("", "", "no answer")
        )
        words = worker.last_words()
    except WorkerDiedError as death:
        kind, told, words = "died", str(death), ""
    finally:
        worker.stop()
    if kind != "opened":
        spoken = f"; last words: {words}" if words else ""
        raise ChipdriftError(
            f"SDK {pin.name}: onnxruntime-qnn {pin.wheel} does not run beside onnxruntime "
            f"{target.versions['onnxruntime']} ({told}{spoken}). "
            "It is not kept."
        )


def release_info(pin: Pin) -> TargetInfo:
    """What may stand behind a chip's name, and whether it is here."""
    reason = elsewhere()
    if reason is None and (refused := pin.refused(metadata.version("onnxruntime"))) is not None:
        reason = refused.rstrip(".")
    shelf = current_shelf()
    if pin.is_installed:
        where = "the installed wheel"
    elif shelf is not None and shelf.holds(pin):
        where = "here"
    else:
        where = f"fetched when first needed, {pin.fetched} MB"
    return TargetInfo(
        name=f"htp:CHIP@{pin.name}",
        evidence="vendor-simulator",
        available=reason is None,
        description=f"any of these chips under {pin.label}: {where}",
        reason=reason,
    )
