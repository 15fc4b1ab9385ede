"""Talking to chipdrift-runner in tests: its command line, its requests, its answers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "=": "\\="}


@dataclass(frozen=True)
class Told:
    """What a runner printed until it ended: its answers, in order, and its standard error."""

    answers: list[dict[str, Any]]
    code: int
    log: str

    @property
    def kinds(self) -> list[str]:
        return [next(iter(answer)) for answer in self.answers]

    @property
    def opened(self) -> dict[str, Any]:
        assert self.kinds[0] == "opened", self
        opened: dict[str, Any] = self.answers[0]["opened"]
        return opened

    @property
    def last(self) -> str:
        """The sentence of the last answer, which is a failure."""
        (sentence,) = self.answers[-1].values()
        assert isinstance(sentence, str), self
        return sentence


def escaped(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in text)


def request(folder: Path | str, files: Mapping[str, Path]) -> str:
    """One line: run the model on ``files``, by the names of its inputs."""
    fields = [f"{escaped(name)}={escaped(str(path))}" for name, path in files.items()]
    return "\t".join(["run", escaped(str(folder)), *fields]) + "\n"


def saved(folder: Path, feed: Mapping[str, Array]) -> dict[str, Path]:
    """The arrays of ``feed`` as npy files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"in{i}.npy" for i, name in enumerate(feed)}
    for name, path in paths.items():
        np.save(path, feed[name])
    return paths


def loaded(folder: Path) -> list[Array]:
    """The outputs in ``folder``, by their numbers; nothing else may lie there."""
    count = len(list(folder.iterdir()))
    return [np.load(folder / f"{i}.npy") for i in range(count)]


def tell(
    command: Sequence[str], *arguments: object, requests: str | bytes = "", **how: Any
) -> Told:
    """Run the runner to its end: every line of its standard output is one JSON object."""
    given = requests.encode() if isinstance(requests, str) else requests
    full = [*command, *map(str, arguments)]
    done = subprocess.run(full, input=given, capture_output=True, timeout=120, **how)
    lines = done.stdout.decode("utf-8").splitlines()
    return Told([json.loads(line) for line in lines], done.returncode, done.stderr.decode())


def same_bits(found: Sequence[Array], expected: Sequence[Array]) -> None:
    """Equal dtypes, shapes and bytes: NaN and -0 are told apart."""
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert ours.tobytes() == theirs.tobytes()
