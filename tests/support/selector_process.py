"""The selectors behind one face: a process in Java or C++, or Python's own, asked line by line."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chipdrift.bundle import write_selector
from chipdrift.bundle.selectors.python import chipdrift_bundle as own

SOURCES = Path(__file__).parent / "selectors"
Answers = Sequence[Sequence[bytes]]


class PythonSelector:
    """What the Python selector answers, in the drivers' lines."""

    def __init__(self) -> None:
        self._bundle: Any = None
        self._choice: Any = None

    def ask(self, *words: str) -> str:
        try:
            return self._answer(*words)
        except own.BundleError as error:
            return f"refused\t{error}"

    def close(self) -> None:
        return

    def _answer(self, verb: str, *words: str) -> str:
        if verb == "verify":
            key, message, signature = map(bytes.fromhex, words)
            return str(own.verify(key, message, signature)).lower()
        if verb == "open":
            self._bundle = own.open_bundle(words[0], words[1], int(words[2]))
            return f"{self._bundle.name}\t{self._bundle.serial}"
        if verb in ("select", "safe"):
            self._choice = getattr(self._bundle, verb)(*words)
            return self._told()
        if verb == "golden":
            inputs = [
                f"{i.name}:{i.dtype}:[{','.join(map(str, i.shape))}]:{Path(i.path).name}"
                for sample in self._choice.golden
                for i in sample
            ]
            return "\t".join([str(len(self._choice.golden)), *inputs])
        verdict = self._choice.check([[bytes.fromhex(o) for o in s.split(",")] for s in words])
        return f"{str(verdict.ok).lower()}\t{verdict.why}"

    def _told(self) -> str:
        found = self._choice
        options = ", ".join(f"{key}={value}" for key, value in sorted(found.options.items()))
        context = "-" if found.context is None else found.context.model
        npu = str(found.npu).lower()
        return "\t".join([found.variant, found.model, npu, f"{{{options}}}", context, found.why])


class SelectorProcess:
    """A driver that was compiled."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )

    def ask(self, *words: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\t".join(words) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line.endswith("\n"), f"the driver ended ({self._process.wait()}) at {words[:3]}"
        return line[:-1]

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(timeout=20) == 0


def build_java(folder: Path) -> SelectorProcess:
    """Java 8's language, every warning an error."""
    files = write_selector("java", folder / "sources")
    command = ["javac", "--release", "8", "-Xlint:all,-options", "-Werror", "-d", folder / "built"]
    subprocess.run([*command, *files, SOURCES / "Driver.java"], check=True)
    return SelectorProcess(["java", "-cp", str(folder / "built"), "chipdrift.Driver"])


def build_cpp(folder: Path, *flags: str) -> SelectorProcess:
    """C++17, every warning an error."""
    files = [f for f in write_selector("cpp", folder / "sources") if f.suffix == ".cpp"]
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
    program = folder / "driver"
    command = ["g++", "-std=c++17", "-O1", *strict, *flags, "-I", folder / "sources", "-o", program]
    subprocess.run([*command, *files, SOURCES / "driver.cpp"], check=True)
    return SelectorProcess([str(program)])


def check_words(answers: Answers) -> list[str]:
    """Answers as the words behind "check"."""
    return [",".join(output.hex() for output in outputs) for outputs in answers]
