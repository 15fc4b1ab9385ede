"""chipdrift-runner in tests: built, on which library, and the demo's models as requests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "targets"))

from runner_process import request, saved
from targets_worker import demo_feeds, demo_quantized

from chipdrift.phones import build
from chipdrift.targets import ort

Array = np.ndarray[Any, Any]
Command = list[str]
"""How the runner is started."""
SANITIZED = "gcc -g -fsanitize=address,undefined -fno-sanitize-recover=all"


def library_in(site: Path) -> Path:
    """onnxruntime's library in a folder that wheels are unpacked into."""
    (found,) = (site / "onnxruntime" / "capi").glob("libonnxruntime.so.*")
    return found


LIBRARY = library_in(Path(onnxruntime.__file__).parents[1])


def built(tmp_path_factory: pytest.TempPathFactory, cc: str | None = None) -> str:
    """The program's path; for arm64 without ``cc``."""
    folder = tmp_path_factory.mktemp("built")
    return str(build.build_runner(folder, build.find_compiler(cc)))


def on(model: Path, library: Path = LIBRARY) -> tuple[object, ...]:
    """The arguments that every call has; requests come on standard input."""
    return ("--library", library, "--model", model, "--requests", "-")


def python_session(model: Path) -> ort.OrtSession:
    session = ort.open_session(str(model), {})
    assert isinstance(session, ort.OrtSession)
    return session


def demo_requests(
    scheme: str, count: int, folder: Path
) -> tuple[Path, list[dict[str, Array]], str]:
    """The demo's model in a file, its samples, and one request for each."""
    model = folder / f"{scheme}.onnx"
    model.write_bytes(demo_quantized(scheme).data)
    feeds = demo_feeds(count)
    lines = [
        request(folder / f"out{i}", saved(folder / f"in{i}", feed)) for i, feed in enumerate(feeds)
    ]
    return model, feeds, "".join(lines)


def places(opened: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Like Opened.nodes."""
    return [
        ("cpu" if provider == "CPUExecutionProvider" else "npu", name, op)
        for provider, name, op in opened["nodes"]
    ]


def run_line(tmp_path: Path, array: Any) -> str:
    """A request for a model whose one input is x."""
    return request(tmp_path / "out", saved(tmp_path / "in", {"x": array}))
