"""``adb:<serial>/qnn-net-run``: Qualcomm's own tool on a phone, with the user's SDK in the kit.

onnxruntime-qnn compiles the model on this host into a QNN context binary for the phone's chip; the
tool loads that and nothing else, so a model that does not go to the NPU whole is refused. The
quantization of the graph's own inputs and outputs stays on the host, by onnxruntime, as it does
under ``htp:``. Loading the context is part of every run: the tool is started anew for each sample.

Options as in Qualcomm's documentation of the SDK's tools, qnn-net-run, and in LiteRT's page on
running QNN natively: ``--retrieve_context``, ``--backend``, ``--input_list`` (one line per
inference, ``name:=file`` separated by blanks, whole paths), ``--output_dir``,
``--use_native_input_files`` and ``--use_native_output_files`` (the graph's own types; without them
files are float32). Answers stand in ``Result_0``: ``<output>_native.raw``, or ``<output>.raw`` of
outputs that are float32 anyway, as the SDK's sample application writes them. ``--version`` prints
``QNN SDK v`` and the release.
"""

from __future__ import annotations

import math
import re
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, final

import numpy as np

from chipdrift.errors import ChipdriftError, ModelError
from chipdrift.graph.context import ContextModel, ContextTensor, Fitted, fit_names, read_context
from chipdrift.phones import Identity, Kit, Phone, htp_libraries
from chipdrift.targets import htp
from chipdrift.targets.adb_tool import UNSEEN, Array, Place, Tool, ToolSession
from chipdrift.targets.adb_visit import Tell
from chipdrift.targets.adb_way import KINDS, Facts, Way
from chipdrift.targets.base import Opened, Part, RefusedError, Session, Target, pip_install
from chipdrift.targets.ort import OrtSession, build

PROGRAM = "qnn-net-run"
BACKEND = "libQnnHtp.so"
_PROVIDER = "QNNExecutionProvider"
_ERROR = 3  # of onnxruntime's log levels
_RELEASE = re.compile(r"v(\d+\.\d+\.\d+)")
# libQnnHtp.so holds the build's name once more, alone.
_BUILD = re.compile(rb"\x00v(\d+\.\d+\.\d+)\.\d{6,}[\w.-]*\x00")


@final
class NetRunWay(Way):
    """A context binary compiled here, and Qualcomm's tool with its libraries on the phone."""

    def needs(self, hexagon: str | None) -> list[str]:
        """The tool and QNN's libraries."""
        return [PROGRAM, *htp_libraries(hexagon or "vNN")]

    def require(self, phone: Identity) -> None:
        """Raise ChipdriftError where no context can be compiled for its chip here."""
        _simulated(phone)

    def facts(self, phone: Identity, kit: Kit) -> Facts:
        """What compiles here, and the SDK; raises ChipdriftError where no context can be made."""
        simulated = _simulated(phone)
        found = _BUILD.search(kit.path(BACKEND).read_bytes())
        versions = {f"host-{key}": value for key, value in simulated.versions.items()}
        if found is not None:
            versions["sdk"] = found[1].decode()
        return Facts(
            versions=versions,
            options={"soc_model": simulated.options["soc_model"]},
            cautions={
                kind: "; ".join(filter(None, (simulated.cautions.get(kind), UNSEEN)))
                for kind in KINDS
            },
        )

    def parts(self) -> list[Part]:
        """What compiles here."""
        found = None if htp.missing() else metadata.version("onnxruntime-qnn")
        return [Part("onnxruntime-qnn", found, pip_install("htp"))]

    def open_session(self, path: str, options: Mapping[str, str], tell: Tell) -> Session:
        """Compile the model and push it; raises RefusedError where the NPU takes it in parts."""
        return ToolSession(NetRun(Path(path), options["soc_model"]), options, tell)


WAY = NetRunWay(PROGRAM, "Qualcomm's qnn-net-run on the NPU", has_npu=True)


def _simulated(phone: Identity) -> Target:
    """The same chip under ``htp:``, which has its number."""
    if phone.chip is None:
        raise ChipdriftError(
            f"adb:{phone.serial}/{PROGRAM} needs the chip's soc_model to compile for it, and "
            f"{phone.unknown_chip}. Take adb:{phone.serial}/qnn, which compiles on the phone."
        )
    try:
        return htp.resolve(phone.chip.soc.lower())
    except ChipdriftError as error:
        raise ChipdriftError(
            f"adb:{phone.serial}/{PROGRAM} compiles on this host, and cannot. {error}"
        ) from error


@final
@dataclass(frozen=True)
class Compiled:
    """A context, the names around it, and where each node of the graph runs."""

    context: ContextModel
    names: Fitted
    opened: Opened


def compile_context(path: Path, soc: str, folder: Path) -> Compiled:
    """Compile for the chip of number ``soc`` into ``folder``; raises RefusedError."""
    import onnxruntime
    import onnxruntime_qnn

    htp.preload()
    names = fit_names(path)
    # Bytes, not a file: the context would have its name inside, and be another in each folder.
    model = path.read_bytes() if names.data is None else names.data
    written = folder / "context.onnx"
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.inter_op_num_threads = 1
    settings.log_severity_level = _ERROR
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    settings.add_session_config_entry("ep.context_enable", "1")
    settings.add_session_config_entry("ep.context_embed_mode", "0")
    settings.add_session_config_entry("ep.context_file_path", str(written))
    device = next(one for one in onnxruntime.get_ep_devices() if one.ep_name == _PROVIDER)
    provider = {"backend_path": onnxruntime_qnn.get_qnn_htp_path(), "soc_model": soc}
    settings.add_provider_for_devices([device], provider)
    session = build(model, settings, None)
    if _PROVIDER not in session.get_providers():
        raise RuntimeError(
            f"{_PROVIDER} could not be created and onnxruntime went on with the CPU in silence"
        )
    opened = OrtSession(session).opened()
    try:
        if not written.is_file():
            raise ModelError("the NPU takes no node of it")
        return Compiled(read_context(written), names, opened)
    except ModelError as error:
        raise RefusedError(
            f"{PROGRAM} runs a model that is on the NPU whole, and {error}; adb:SERIAL/qnn runs "
            "the rest on the phone's CPU"
        ) from error


@final
class NetRun(Tool):
    """A context binary, and the quantization around it."""

    program = PROGRAM
    folder = "out/Result_0"

    def __init__(self, path: Path, soc: str) -> None:
        import onnxruntime

        with tempfile.TemporaryDirectory(prefix="chipdrift-context-") as folder:
            self._made = compile_context(path, soc, Path(folder))
            self.model = self._made.context.binary.read_bytes()
        self._context = self._made.context
        self._before, self._after = (
            None
            if part is None
            else onnxruntime.InferenceSession(part, providers=["CPUExecutionProvider"])
            for part in (self._context.before, self._context.after)
        )
        self._told = ""

    def opened(self, phone: Phone, place: Place) -> Opened:
        """All of the context on the NPU; the tool's own release."""
        ran = phone.shell(
            f"LD_LIBRARY_PATH={place.kit} {place.kit}/{PROGRAM} --version < /dev/null"
        )
        found = _RELEASE.search(ran.out) or _RELEASE.search(ran.err)
        self._told = "" if found is None else found[1]
        return replace(self._made.opened, versions={"sdk": self._told} if self._told else {})

    def raws(self, feed: Mapping[str, Array]) -> dict[str, bytes]:
        """The context's inputs in its own types, by the names inside it."""
        values = {self._made.names.inputs[name]: array for name, array in feed.items()}
        values |= _ran(self._before, values)
        return {one.inside: _bytes(values[one.name], one) for one in self._context.inputs}

    def first(self, inputs: Mapping[str, str]) -> str:
        """Write the list of inputs: one line, one inference."""
        line = " ".join(f"{name}:={path}" for name, path in inputs.items())
        return f"echo {shlex.quote(line)} > inputs.txt"

    def command(self, place: Place, inputs: Mapping[str, str], profile: bool) -> str:
        """See the module."""
        del inputs, profile
        return (
            f"{place.kit}/{PROGRAM} --retrieve_context {place.model} "
            f"--backend {place.kit}/{BACKEND} --input_list {place.work}/inputs.txt "
            f"--output_dir {place.work}/out --use_native_input_files --use_native_output_files"
        )

    def wanted(self, left: Sequence[str], printed: str) -> list[str] | None:
        """A file for each of the context's outputs."""
        del printed
        both = [(f"{one.inside}_native.raw", f"{one.inside}.raw") for one in self._context.outputs]
        found = [next((name for name in names if name in left), None) for names in both]
        return None if None in found else [name for name in found if name is not None]

    def answers(self, files: Sequence[bytes]) -> list[Array]:
        """The graph's outputs: dequantized here where the NPU leaves them quantized."""
        values = {
            one.name: _array(data, one)
            for one, data in zip(self._context.outputs, files, strict=True)
        }
        values |= _ran(self._after, values)
        return [values[name] for name in self._made.names.outputs]

    def hint(self, printed: str) -> str:
        """A context is for the release that made it, and later ones."""
        del printed
        made = _RELEASE.match(self._context.sdk)
        if not self._told or made is None or _numbers(self._told) >= _numbers(made[1]):
            return ""
        return (
            f". The tool is of SDK {self._told} and the context of {made[1]}: take the kit's files "
            "from that SDK or a later one"
        )


def _ran(session: Any, values: Mapping[str, Array]) -> dict[str, Array]:
    """What a model of the border makes of ``values``."""
    if session is None:
        return {}
    names = [value.name for value in session.get_outputs()]
    feed = {value.name: values[value.name] for value in session.get_inputs()}
    return dict(zip(names, session.run(names, feed), strict=True))


def _bytes(array: Array, wanted: ContextTensor) -> bytes:
    if array.dtype.name != wanted.dtype or array.shape != wanted.shape:
        raise ValueError(
            f"input {wanted.name!r} is {array.dtype.name}{list(array.shape)}, and the context "
            f"takes {wanted.dtype}{list(wanted.shape)}"
        )
    return array.tobytes()


def _array(data: bytes, wanted: ContextTensor) -> Array:
    dtype, count = np.dtype(wanted.dtype), math.prod(wanted.shape)
    if len(data) != count * dtype.itemsize:
        raise ValueError(
            f"{wanted.inside!r} has {len(data)} bytes, and {count} values of {wanted.dtype} have "
            f"{count * dtype.itemsize}"
        )
    return np.frombuffer(data, dtype).reshape(wanted.shape)


def _numbers(release: str) -> list[int]:
    return [int(part) for part in release.split(".")]
