"""What a peer is given and gives back: read by ``peers.py`` and in each peer's environment.

Needs numpy, onnx and onnxruntime alone. A task is a folder: ``task.json``, ``float.onnx``, and
``calibration.npz`` and ``choose.npz``, which hold one array under the input's name (and labels).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Variant:
    """A peer's model: ``file`` in the task's folder, and what the peer thinks of it.

    ``score`` is on the choosing samples, by the peer's own simulation, ``drop`` how far that is
    below the float model's; both are shares. ``error`` says why there is no file.
    """

    name: str
    words: str
    file: str | None
    seconds: float
    score: float | None = None
    drop: float | None = None
    error: str | None = None


class Task:
    """The float model, its samples and its budget: the score may drop by ``limit`` (a share).

    ``rounding`` is how many steps AdaRound takes for a layer.
    """

    def __init__(self, folder: Path) -> None:
        told = json.loads((folder / "task.json").read_text())
        self.folder, self.model = folder, folder / "float.onnx"
        self.input: str = told["input"]
        self.metric: str = told["metric"]
        self.limit: float = told["limit"]
        self.rounding: int = told["rounding"]
        self.calibration: Array = np.load(folder / "calibration.npz")[self.input]
        choose = np.load(folder / "choose.npz")
        self.images: Array = choose[self.input]
        self.truth: Array = choose["labels"] if self.metric == "top1" else self.float_classes()

    def float_classes(self) -> Array:
        """The float model's own answers, which are the truth of an agreement."""
        import onnxruntime

        session = onnxruntime.InferenceSession(self.model, providers=["CPUExecutionProvider"])
        return np.array([self.logits(session, image).argmax() for image in self.images])

    def logits(self, session: Any, image: Array) -> Array:
        return np.asarray(session.run(None, {self.input: image[None]})[0])[0]

    def right(
        self, answer: Callable[[Array], Array], indices: Iterable[int] | None = None
    ) -> Array:
        """Whether each choosing sample is answered right, of ``answer(image)``, the logits."""
        chosen = range(len(self.images)) if indices is None else indices
        return np.array([answer(self.images[i]).argmax() == self.truth[i] for i in chosen], float)

    def score(self, session: Any) -> float:
        return float(self.right(lambda image: self.logits(session, image)).mean())


def attempt(
    task: Task, name: str, words: str, make: Callable[[], tuple[bytes, float]], best: float
) -> Variant:
    """Run one try: ``make`` gives the model file and its score."""
    started = time.perf_counter()
    try:
        content, score = make()
    except Exception as error:  # a peer's failure is a row of the table
        line = f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]
        return Variant(name, words, None, time.perf_counter() - started, error=line)
    seconds = time.perf_counter() - started
    (task.folder / f"{name}.onnx").write_bytes(content)
    return Variant(name, words, f"{name}.onnx", seconds, score, best - score)


def tell(variant: Variant) -> None:
    """One line of JSON on standard output."""
    print(json.dumps(asdict(variant)), flush=True)
