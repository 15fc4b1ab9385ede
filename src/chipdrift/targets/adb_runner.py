"""A model on a phone under chipdrift's own runner: pushed by hash, asked line by line.

``phones/runner/README.md`` has the lines that the runner understands.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from chipdrift.phones import (
    AdbServer,
    Kit,
    Phone,
    PhoneError,
    PhoneFiles,
    PhoneGoneError,
    RunLog,
    Stream,
    cool_down,
    take_health,
)
from chipdrift.phones.kit import LIBRARY, PROVIDER, RUNNER
from chipdrift.targets.base import Opened, RefusedError, Session

Array = np.ndarray[Any, Any]

_OPENING = 540.0  # seconds; the scheduler's own limit comes first where it is less
_PROFILED = 3  # samples of the session that times each node
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "=": "\\="})


@final
class RunnerSession(Session):
    """One model on one phone. A phone that went away in the middle is waited for, once a sample."""

    def __init__(self, path: str, options: Mapping[str, str]) -> None:
        self._phone = Phone(options["serial"], AdbServer.at(options["server"]))
        self._phone.require()
        self._options = options
        self._path = Path(path)
        self._stream: Stream | None = None
        self._log: RunLog | None = None
        self._seconds: list[float] = []
        self._last = b""
        self._away = 0
        self._told: dict[str, Any] = {}
        self._notes = "notes" in options
        if self._notes:
            before, waited = cool_down(self._phone, float(options["cool"]))
            self._told = {"before": vars_of(before), "cooled": round(waited, 1)}
        self._begin()

    def _begin(self) -> None:
        """Everything that a phone that came back needs again."""
        names = self._options["files"].split()
        kit = Kit(Path(self._options["kit"]))
        self._files = PhoneFiles(self._phone)
        self._kit = self._files.put_kit({name: kit.path(name) for name in names})
        self._model = self._files.put(self._path)
        self._work = f"{self._files.folder}/runs/{os.getpid()}"
        self._sweep()
        if self._notes:
            self._log = RunLog(self._phone, self._files.folder)
        self._stream, self._standing = self._start("")

    def _sweep(self) -> None:
        """End what dead workers left: their runner may hang, and their folder takes room."""
        runs = f"{self._files.folder}/runs"
        listed = self._phone.shell(f"ls {runs} 2>/dev/null").out.split()
        left = [name for name in listed if name.isdecimal() and not _lives(int(name))]
        ended = [_END.format(work=f"{runs}/{name}") for name in left]
        self._phone.check("; ".join([*ended, f"mkdir -p {self._work}/out"]))

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
        opened: dict[str, Any] = told["opened"]
        return stream, opened

    def _command(self, more: str) -> str:
        provider = ""
        if self._options["way"] == "qnn":
            provider = " --provider qnn --provider-option backend_path=libQnnHtp.so"
            if PROVIDER in self._options["files"].split():
                provider += f" --provider-library {self._kit}/{PROVIDER}"
        return (
            f"cd {self._work} && echo $$ > pid && export LD_LIBRARY_PATH={self._kit} "
            f"ADSP_LIBRARY_PATH={self._kit} && exec {self._kit}/{RUNNER} --library "
            f"{self._kit}/{LIBRARY} --model {self._model} --requests -{provider}{more} "
            "2>errors.txt"
        )

    def _answer(self, stream: Stream, seconds: float | None = None) -> dict[str, Any]:
        """The runner's next line; raises PhoneError where there is none."""
        line = stream.line(seconds)
        if line is None:
            self._phone.require()
            words = self._phone.shell(f"tail -c 600 {self._work}/errors.txt").out
            last = " ".join(words.split()) or "it printed nothing"
            raise PhoneError(f"Phone {self._phone.serial}: the runner ended; last words: {last}")
        try:
            told = json.loads(line)
        except ValueError:
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
        """One sample's outputs; waits once for a phone that went away."""
        try:
            return self._run(feed)
        except PhoneGoneError as error:
            limit = float(self._options["returns"])
            if not self._phone.returns(limit):
                raise PhoneGoneError(
                    f"{str(error).rstrip('.')}; it did not come back within {limit:g} s. What it "
                    "had answered is kept: run the same command again"
                ) from error
            self.close()
            self._away += 1
            self._begin()
            return self._run(feed)

    def _run(self, feed: Mapping[str, Array]) -> list[Array]:
        """Everything of one sample goes there at once, and comes back at once."""
        assert self._stream is not None
        content = {name: _npy(array) for name, array in feed.items()}
        places = {name: self._files.place(data) for name, data in content.items()}
        new = {places[name][0]: data for name, data in content.items() if not places[name][1]}
        out = f"{self._work}/out"
        outputs = [f"{out}/{index}.npy" for index in range(len(self._standing["outputs"]))]
        inputs = [f"{name.translate(_ESCAPES)}={place}" for name, (place, _) in places.items()]
        self._last = _request("run", out, *inputs)
        puts = [_request("put", place, str(len(data))) + data for place, data in new.items()]
        gets = [_request("get", path) for path in outputs]
        self._stream.send(b"".join([*puts, self._last, *gets]))
        for place, data in new.items():
            if "put" not in (told := self._answer(self._stream)):
                raise self._files.explain(_error(told))
            self._files.arrived(place, len(data))
        ran = self._answer(self._stream)
        answers = [self._got(self._stream) for _ in outputs]
        if "ran" not in ran:
            raise self._files.explain(_error(ran))
        self._seconds.append(float(ran["ran"]["seconds"]))
        return [_array(data) for data in answers]

    def _got(self, stream: Stream) -> bytes:
        """A file that the runner sends; empty where it could not, since there is none."""
        told = self._answer(stream)
        return stream.read(int(told["got"]["bytes"])) if "got" in told else b""

    def finish(self) -> Mapping[str, Any]:
        """Heat and battery before and after, times on the phone, time per node, its log."""
        log = ""
        self._told |= {"after": vars_of(take_health(self._phone)), "away": self._away}
        if self._log is not None:
            log = self._log.read()
            self._log.restore()
        if self._seconds:
            self._told |= {
                "samples": len(self._seconds),
                "median_seconds": statistics.median(self._seconds),
                "slowest_seconds": max(self._seconds),
                "nodes": self._profile(),
            }
        self._told |= {"sent": self._files.sent, "log": log}
        self.close()
        return self._told

    def _profile(self) -> list[tuple[str, str, float]]:
        """(node, op, mean seconds) of a further session that times each node: the slowest first."""
        self.close()
        stream, _ = self._start(f" --profile {self._work}/profile")
        with stream:
            for _ in range(_PROFILED):
                stream.send(self._last)
                self._answer(stream)
            stream.send(b"end\n")
            ended = self._answer(stream).get("ended", {})
        where = ended.get("profile")
        return read_profile(self._phone.pull(str(where)), _PROFILED) if where else []

    def close(self) -> None:
        """Let the runner end."""
        if self._stream is not None:
            with contextlib.suppress(PhoneError):
                self._stream.close()
            self._stream = None


# The process may be another one by now: its command line tells.
_END = (
    'n=$(cat {work}/pid 2>/dev/null); if [ -n "$n" ] && grep -q chipdrift-runner '
    "/proc/$n/cmdline 2>/dev/null; then kill -9 $n; fi; rm -rf {work}"
)


def _lives(process: int) -> bool:
    """Whether another process of this host has that number."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


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


def vars_of(record: Any) -> dict[str, Any]:
    """A frozen record as plain JSON values."""
    return dict(vars(record))


def _request(*fields: str) -> bytes:
    """One line of what the runner understands."""
    return "\t".join(fields).encode() + b"\n"


def _error(told: Mapping[str, Any]) -> str:
    return str(told.get("error", f"the runner answered {json.dumps(told)[:120]}")).rstrip(".")


def _npy(array: Array) -> bytes:
    file = io.BytesIO()
    # A copy in C order keeps the shape of a scalar, which ascontiguousarray would not.
    np.save(file, np.asarray(array, order="C"), allow_pickle=False)
    return file.getvalue()


def _array(data: bytes) -> Array:
    found: Array = np.load(io.BytesIO(data), allow_pickle=False)
    return found
