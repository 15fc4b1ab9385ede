"""``adb:<serial>/litert``: TensorFlow Lite's benchmark_model on a phone's CPU, with XNNPACK.

The model is written as a TFLite file here (``chipdrift.tflite``), as for ``litert:``. The tool runs
once per sample, ``--num_runs=1`` without warm-up, and prints how long it took; a last run more says
how long each op takes.

Read from LiteRT's source of the tool and its README: ``--input_layer`` and the like take their
entries in the order of the model's inputs, and other names are only warned of; value files hold
the tensor's bytes; ``--output_filepath`` gets the bytes of all outputs one after the other, in the
model's order, and tools older than that option leave it with a warning; with ``--use_xnnpack``
told, LiteRT's own choice of delegates is off; ``Inference (avg)`` is in microseconds. Profiles as
CSV come from TensorFlow's StatsCalculator, ``avg_ms`` in milliseconds; ops within a delegate stand
in a table of their own. LiteRT has a second tool of the same name, for its newer API: that one runs
on random inputs alone, and is told by its warning.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, final

import numpy as np

from chipdrift.errors import ChipdriftError, ModelError
from chipdrift.phones import Identity, Kit, Phone
from chipdrift.targets import adb_diff, litert
from chipdrift.targets.adb_tool import UNSEEN, Array, Place, Tool, ToolSession
from chipdrift.targets.adb_visit import Tell
from chipdrift.targets.adb_way import KINDS, Facts, Way
from chipdrift.targets.base import Opened, Part, RefusedError, Session, pip_install

PROGRAM = "benchmark_model"
_ANSWERS, _PROFILE = "answers.raw", "profile.csv"
_AVERAGE = re.compile(r"Inference \(avg\): ([0-9.e+]+)")
# node type, start, first, avg_ms, %, cdf%, mem KB, times called, name: newer ones have no start,
# and type and name may hold ", ".
_NUMBER = r"[\d.e+-]+"
_ROW = re.compile(
    rf"(?P<op>.*?)(?:, {_NUMBER})?, {_NUMBER}, (?P<ms>{_NUMBER}), {_NUMBER}%, {_NUMBER}%, "
    rf"{_NUMBER}, \d+, (?P<node>.*)"
)
_IGNORED = re.compile(r"Unconsumed cmdline flags:(.*)")
_NEEDED = ("input_layer_value_files", "output_filepath", "use_xnnpack")
_RUNS = "Operator-wise Profiling Info for Regular Benchmark Runs:"
_TABLE, _INSIDE = "Run Order", "Delegate internal:"


@final
class LitertWay(Way):
    """A TFLite file written here, and LiteRT's tool on the phone."""

    def needs(self, hexagon: str | None) -> list[str]:
        """The tool alone: it is linked statically."""
        del hexagon
        return [PROGRAM]

    def require(self, phone: Identity) -> None:
        """Raise ChipdriftError where no model can be made ready for it here."""
        reason = litert.missing()
        if reason is not None:
            raise ChipdriftError(
                f"adb:{phone.serial}/{self.name} writes TFLite files here: {reason}."
            )

    def facts(self, phone: Identity, kit: Kit) -> Facts:
        """The writer's version and what it cannot write; raises ChipdriftError where it lacks."""
        del kit
        self.require(phone)
        host = litert.resolve("xnnpack")
        return Facts(
            versions={"tflite-writer": host.versions["tflite-writer"]},
            refuses=host.refuses,
            cautions=dict.fromkeys(KINDS, UNSEEN),
        )

    def parts(self) -> list[Part]:
        """What writes TFLite files here."""
        found = None if litert.missing() else metadata.version("ai-edge-litert")
        return [Part("ai-edge-litert", found, pip_install("litert"))]

    def open_session(self, path: str, options: Mapping[str, str], tell: Tell) -> Session:
        """Write the model as TFLite and push it; raises RefusedError where it cannot be written."""
        return ToolSession(Benchmark(Path(path)), options, tell)


WAY = LitertWay(
    "litert",
    "LiteRT's benchmark_model, CPU",
    has_npu=False,
    optional=(adb_diff.PROGRAM,),
)


@final
class Benchmark(Tool):
    """A TFLite file."""

    program = PROGRAM
    diff_program = adb_diff.PROGRAM
    folder = "out"

    def __init__(self, path: Path) -> None:
        from chipdrift.graph import load_model
        from chipdrift.tflite import UnwritableError, convert_file

        try:
            nodes, made = convert_file(path)
            info = load_model(path).info
        except (UnwritableError, ModelError) as error:
            raise RefusedError(str(error)) from error
        self._nodes, self._inputs, self._outputs = nodes, made.inputs, made.outputs
        self._shapes: dict[str, tuple[int, ...]] = {}
        for value in (*info.inputs, *info.outputs):
            if not value.shape or None in value.shape:
                raise RefusedError(
                    f"{PROGRAM} takes tensors of fixed dimensions, and {value.name!r} has "
                    f"{list(value.shape)}"
                )
            self._shapes[value.name] = tuple(size or 0 for size in value.shape)
        self.model = made.data

    def opened(self, phone: Phone, place: Place) -> Opened:
        """Every node on the CPU; the tool tells no version."""
        del phone, place
        return Opened(tuple(("cpu", name, op) for name, op in self._nodes))

    def raws(self, feed: Mapping[str, Array]) -> dict[str, bytes]:
        """The TFLite model's inputs, named by their place: flags know neither , nor : in a name."""
        found = {}
        for number, port in enumerate(self._inputs):
            given = feed[port.name]
            if port.shift is not None:
                given = (given.astype(np.int16) - port.shift).astype(np.int8)
            found[f"input{number}"] = given.tobytes()
        return found

    def command(self, place: Place, inputs: Mapping[str, str], profile: bool) -> str:
        """See the module."""
        shapes = ":".join(",".join(map(str, self._shapes[port.name])) for port in self._inputs)
        files = ",".join(f"{name}:{path}" for name, path in inputs.items())
        words = [
            f"{place.kit}/{PROGRAM}",
            f"--graph={place.model}",
            f"--input_layer={','.join(inputs)}",
            f"--input_layer_shape={shapes}",
            f"--input_layer_value_files={files}",
            f"--output_filepath={place.work}/out/{_ANSWERS}",
            "--num_runs=1",
            "--min_secs=0",
            "--warmup_runs=0",
            "--warmup_min_secs=0",
            "--num_threads=1",
            "--use_xnnpack=true",
        ]
        if profile:
            words += [
                "--enable_op_profiling=true",
                "--op_profiling_output_mode=csv",
                f"--op_profiling_output_file={place.work}/out/{_PROFILE}",
            ]
        return " ".join(words)

    def wanted(self, left: Sequence[str], printed: str) -> list[str] | None:
        """One file for all outputs; none that answers to other inputs than those told."""
        return [_ANSWERS] if _ANSWERS in left and not self.hint(printed) else None

    def answers(self, files: Sequence[bytes]) -> list[Array]:
        """Cut the file: one output after the other, in the model's order."""
        (data,) = files
        wanted = [_dtype(port.shift) for port in self._outputs]
        sizes = [
            math.prod(self._shapes[port.name]) * dtype.itemsize
            for port, dtype in zip(self._outputs, wanted, strict=True)
        ]
        if len(data) != sum(sizes):
            raise ValueError(f"{len(data)} bytes, and they have {sum(sizes)}")
        found, at = [], 0
        for port, dtype, size in zip(self._outputs, wanted, sizes, strict=True):
            array = np.frombuffer(data[at : at + size], dtype).reshape(self._shapes[port.name])
            if port.shift:
                array = (array.astype(np.int16) + port.shift).astype(np.uint8)
            found.append(array)
            at += size
        return found

    def seconds(self, printed: str) -> float | None:
        """The average of its only run."""
        found = _AVERAGE.search(printed)
        return float(found[1]) * 1e-6 if found is not None else None

    def nodes(self, left: Mapping[str, bytes]) -> list[tuple[str, str, float]]:
        """Ops of the profile, the slowest first; none where the tool is too old to write it."""
        return read_profile(left.get(_PROFILE, b"").decode("utf-8", errors="replace"))

    def diff_command(self, place: Place) -> str:
        """See :mod:`chipdrift.targets.adb_diff`."""
        return adb_diff.diff_command(place.kit, place.model)

    def diffs(self, printed: str) -> list[dict[str, Any]]:
        """How far XNNPACK lies from the plain kernels, by output."""
        outputs = [(port.name, _dtype(port.shift).name) for port in self._outputs]
        return adb_diff.read_diffs(printed, outputs)

    def hint(self, printed: str) -> str:
        """It only warns of options that it does not know, and goes on with random inputs."""
        ignored = _IGNORED.search(printed)
        lacks = [f"--{name}" for name in _NEEDED if ignored and f"--{name}=" in ignored[1]]
        if not lacks:
            return ""
        return (
            f"; it does not know {' and '.join(lacks)}: take a newer one of TensorFlow Lite's, as "
            "LiteRT's own tool of that name has no inputs"
        )


def _dtype(shift: int | None) -> np.dtype[Any]:
    """What the file has for an output, by what its integers are short of the graph's."""
    return np.dtype(np.float32 if shift is None else np.int8)


def read_profile(text: str) -> list[tuple[str, str, float]]:
    """(tensor, op, mean seconds) of the runs' ops, the slowest first.

    A delegate's own line is left out where its ops are told.
    """
    plain: list[tuple[str, str, float]] = []
    inside: list[tuple[str, str, float]] = []
    rows, found = False, plain
    for line in text.partition(_RUNS)[2].splitlines():
        if line.startswith("=") or line == _INSIDE:
            rows = _TABLE in line
            found = inside if line == _INSIDE else found
        elif rows and (match := _ROW.fullmatch(line)) is not None:
            found.append((match["node"], match["op"], float(match["ms"]) * 1e-3))
    if inside:
        plain = [row for row in plain if "Delegate" not in row[1]]
    return sorted(plain + inside, key=lambda row: -row[2])
