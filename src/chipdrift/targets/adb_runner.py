"""A model on a phone under chipdrift's own runner: pushed by hash, asked line by line.

``phones/runner/README.md`` has the lines that the runner understands.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from chipdrift.phones import Identity, Kit, PhoneError, Stream, htp_libraries
from chipdrift.phones.kit import LIBRARY, PROVIDER, RUNNER
from chipdrift.targets.adb_visit import Tell, Visit
from chipdrift.targets.adb_way import Facts, Way
from chipdrift.targets.base import Opened, RefusedError, Session

Array = np.ndarray[Any, Any]

_OPENING = 540.0  # seconds; the scheduler's own limit comes first where it is less
_MOST_BYTES = 1 << 33  # of one output
_PROFILED = 3  # samples of the session that times each node
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "=": "\\="})


@final
class RunnerWay(Way):
    """The runner with onnxruntime's CPU provider, or with QNN's."""

    def needs(self, hexagon: str | None) -> list[str]:
        """The runner, its library, and QNN's where the NPU is asked for."""
        return [RUNNER, LIBRARY, *(htp_libraries(hexagon or "vNN") if self.has_npu else [])]

    def facts(self, phone: Identity, kit: Kit) -> Facts:
        """onnxruntime's release, where its library tells; its CPU kernels have a profile."""
        del phone
        release = kit.release()
        return Facts(
            versions={} if release is None else {"onnxruntime": release},
            profile="" if self.has_npu else "ort-mlas",
        )

    def open_session(self, path: str, options: Mapping[str, str], tell: Tell) -> Session:
        """Push the model and start the runner; raises RefusedError with onnxruntime's words."""
        return RunnerSession(path, options, tell)


CPU = RunnerWay("cpu", "onnxruntime, CPU", has_npu=False)
QNN = RunnerWay("qnn", "onnxruntime, QNN on the NPU", has_npu=True, optional=(PROVIDER,))


@final
class RunnerSession(Session):
    """One model on one phone, which is waited for where it goes away (see :class:`Visit`)."""

    def __init__(self, path: str, options: Mapping[str, str], tell: Tell) -> None:
        self._visit = Visit(options, tell)
        self._phone = self._visit.phone
        self._options = options
        self._path = Path(path)
        self._stream: Stream | None = None
        self._seconds: list[float] = []
        self._last = b""
        try:
            self._visit.insist(self._begin, lambda: None)
        except BaseException:
            self._visit.leave()
            raise

    def _begin(self) -> None:
        """Everything that a phone that came back needs again."""
        self._end()
        self._visit.begin()
        self._model = self._visit.files.put(self._path)
        self._stream, self._standing = self._start("")

    def _start(self, more: str) -> tuple[Stream, dict[str, Any]]:
        """A runner whose session stands; raises RefusedError with onnxruntime's words."""
        stream = self._phone.start(self._command(more))
        told = self._answer(stream, _OPENING)
        if "refused" in told:
            stream.close()
            raise RefusedError(str(told["refused"]))
        if "opened" not in told:
            stream.close()
            raise PhoneError(f"Phone {self._phone.serial}: {_error(told)}")
        opened = told["opened"]
        if not isinstance(opened, dict) or not isinstance(opened.get("outputs"), list):
            stream.close()
            raise self._strange(told, "the opened session")
        return stream, opened

    def _command(self, more: str) -> str:
        provider = ""
        if self._options["way"] == QNN.name:
            provider = " --provider qnn --provider-option backend_path=libQnnHtp.so"
            if PROVIDER in self._visit.pushed:
                provider += f" --provider-library {self._visit.kit}/{PROVIDER}"
        return (
            f"cd {self._visit.work} && echo $$ > pid && export LD_LIBRARY_PATH={self._visit.kit} "
            f"ADSP_LIBRARY_PATH={self._visit.kit} && exec {self._visit.kit}/{RUNNER} --library "
            f"{self._visit.kit}/{LIBRARY} --model {self._model} --requests -{provider}{more} "
            "2>errors.txt"
        )

    def _answer(self, stream: Stream, seconds: float | None = None) -> dict[str, Any]:
        """The runner's next line; raises PhoneError where there is none."""
        line = stream.line(seconds)
        if line is None:
            self._phone.require()
            words = self._phone.shell(f"tail -c 600 {self._visit.work}/errors.txt").out
            last = " ".join(words.split()) or "it printed nothing"
            raise PhoneError(f"Phone {self._phone.serial}: the runner ended; last words: {last}")
        try:
            told = json.loads(line)
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict):
            raise PhoneError(
                f"Phone {self._phone.serial}: the runner printed {line[:80]!r}, and one JSON "
                "object a line is expected"
            )
        return told

    def opened(self) -> Opened:
        """Placement as the runner reports it."""
        nodes = tuple(
            ("cpu" if provider == "CPUExecutionProvider" else "npu", name, op)
            for provider, name, op in self._standing["nodes"] or ()
        )
        return Opened(nodes, versions={"onnxruntime": str(self._standing["onnxruntime"])})

    def run(self, feed: Mapping[str, Array]) -> list[Array]:
        """One sample's outputs; waits for a phone that went away."""
        try:
            return self._visit.insist(lambda: self._run(feed), self._begin)
        except Exception:
            self._visit.leave()
            raise

    def _run(self, feed: Mapping[str, Array]) -> list[Array]:
        """Everything of one sample goes there at once, and comes back at once."""
        assert self._stream is not None
        content = {name: _npy(array) for name, array in feed.items()}
        places = {name: self._visit.files.place(data) for name, data in content.items()}
        new = {places[name][0]: data for name, data in content.items() if not places[name][1]}
        out = f"{self._visit.work}/out"
        outputs = [f"{out}/{index}.npy" for index in range(len(self._standing["outputs"]))]
        inputs = [f"{name.translate(_ESCAPES)}={place}" for name, (place, _) in places.items()]
        self._last = _request("run", out, *inputs)
        puts = [_request("put", place, str(len(data))) + data for place, data in new.items()]
        gets = [_request("get", path) for path in outputs]
        self._stream.send(b"".join([*puts, self._last, *gets]))
        for place, data in new.items():
            if "put" not in (told := self._answer(self._stream)):
                raise self._visit.files.explain(_error(told))
            self._visit.files.arrived(place, len(data))
        ran = self._answer(self._stream)
        answers = [self._got(self._stream) for _ in outputs]
        if "ran" not in ran:
            raise self._visit.files.explain(_error(ran))
        try:
            self._seconds.append(float(ran["ran"]["seconds"]))
            return [_array(data) for data in answers]
        except (KeyError, TypeError, ValueError) as error:
            raise self._strange(ran, "seconds and whole outputs") from error

    def _got(self, stream: Stream) -> bytes:
        """A file that the runner sends; empty where it could not, since there is none."""
        told = self._answer(stream)
        if "got" not in told:
            return b""
        got = told["got"]
        size = got.get("bytes") if isinstance(got, dict) else None
        if not isinstance(size, int) or not 0 <= size <= _MOST_BYTES:
            raise self._strange(told, "a size")
        return stream.read(size)

    def _strange(self, told: Mapping[str, Any], expected: str) -> PhoneError:
        return PhoneError(
            f"Phone {self._phone.serial}: the runner answered {json.dumps(told)[:120]}, and "
            f"{expected} is expected: build it anew with chipdrift.phones.build"
        )

    def finish(self) -> Mapping[str, Any]:
        """Heat and battery before and after, times on the phone, time per node, its log."""
        further = {"nodes": self._profile} if self._seconds else {}
        told = self._visit.tell(len(self._seconds), self._seconds, further)
        self.close()
        return told

    def _profile(self) -> list[tuple[str, str, float]]:
        """(node, op, mean seconds) of a further session that times each node: the slowest first."""
        self._end()
        stream, _ = self._start(f" --profile {self._visit.work}/profile")
        with stream:
            for _ in range(_PROFILED):
                stream.send(self._last)
                self._answer(stream)
            stream.send(b"end\n")
            ended = self._answer(stream).get("ended", {})
        where = ended.get("profile")
        return read_profile(self._phone.pull(str(where)), _PROFILED) if where else []

    def close(self) -> None:
        """Let the runner end, and the phone's log be as it was."""
        self._end()
        self._visit.leave()

    def _end(self) -> None:
        if self._stream is not None:
            with contextlib.suppress(PhoneError):
                self._stream.close()
            self._stream = None


def read_profile(data: bytes, runs: int) -> list[tuple[str, str, float]]:
    """(node, op, mean seconds of ``runs``) from onnxruntime's profile, the slowest first.

    Its events are of Chrome's trace format: ``dur`` is in microseconds.
    """
    spent: dict[tuple[str, str], float] = {}
    for event in json.loads(data):
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith("_kernel_time"):
            key = (name.removesuffix("_kernel_time"), str(event.get("args", {}).get("op_name", "")))
            spent[key] = spent.get(key, 0.0) + float(event["dur"]) * 1e-6
    return [(*key, s / runs) for key, s in sorted(spent.items(), key=lambda item: -item[1])]


def _request(*fields: str) -> bytes:
    """One line of what the runner understands."""
    return "\t".join(fields).encode() + b"\n"


def _error(told: Mapping[str, Any]) -> str:
    words = f"the runner answered {json.dumps(told)[:120]}, which was not asked for"
    return str(told.get("error", words)).rstrip(".")


def _npy(array: Array) -> bytes:
    file = io.BytesIO()
    # A copy in C order keeps the shape of a scalar, which ascontiguousarray would not.
    np.save(file, np.asarray(array, order="C"), allow_pickle=False)
    return file.getvalue()


def _array(data: bytes) -> Array:
    found: Array = np.load(io.BytesIO(data), allow_pickle=False)
    return found
