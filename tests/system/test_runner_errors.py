"""chipdrift-runner when something is wrong: one error each, never a crash."""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runner_models as models
from runner_built import LIBRARY, SANITIZED, Command, built, on, run_line
from runner_process import loaded, request, same_bits, saved, tell

Array = np.ndarray[Any, Any]

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Command:
    return [built(tmp_path_factory, "gcc")]


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Command:
    return [built(tmp_path_factory, SANITIZED)]


def bad_requests(tmp_path: Path) -> dict[str, str]:
    """Lines for a model of one float32 input x (N, 3), by what the answer has to say."""
    good = np.ones((2, 3), "f4")
    here = tmp_path / "files"
    here.mkdir()

    def x(path: Path) -> str:
        return request(tmp_path / "out", {"x": path})

    def written(name: str, data: bytes) -> str:
        (here / name).write_bytes(data)
        return x(here / name)

    def array(name: str, values: Array) -> str:
        np.save(here / f"{name}.npy", values)
        return x(here / f"{name}.npy")

    np.save(here / "good.npy", good)
    whole = (here / "good.npy").read_bytes()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "0.npy.partial").symlink_to("/dev/full")
    fine = {"x": here / "good.npy"}
    return {
        "The request is 'walk'; expected run, put, get or end.": "walk\tout\n",
        "The request is 'end'; expected run, put, get or end.": "end\tnow\n",
        "names no folder": "run\n",
        "expected <input>=<file.npy>": "run\tout\tx\n",
        "lacks the input 'x'": request(tmp_path / "out", {}),
        "has no input 'z'; it has: 'x'": request(tmp_path / "out", {"z": here / "good.npy"}),
        "Input 'x' is given twice": request(tmp_path / "out", fine).replace("\n", "\tx=a\n"),
        "before another character": "run\tout\tx=a\\b\n",
        "A backslash in the path of 'run'": "run\tout\\\n",
        "NUL character": "run\tou\0t\n",
        "holds int32 (2, 3); expected float32 (N, 3)": array("ints", good.astype("i4")),
        "holds float32 (2, 4); expected float32 (N, 3)": array("wide", np.ones((2, 4), "f4")),
        "holds float32 (3,); expected float32 (N, 3)": array("flat", np.ones(3, "f4")),
        "holds float32 (); expected float32 (N, 3)": array("scalar", np.float32(1)),
        "is in Fortran order; expected C order": array("fortran", np.asfortranarray(good)),
        "holds elements of '>f4'": array("big", good.astype(">f4")),
        "holds elements of '<U1'": array("text", np.full((2, 3), "a")),
        "expected a dict of descr": array("record", np.zeros(2, [("a", "f4"), ("b", "i1")])),
        "holds 23 bytes of data; expected 24": written("cut", whole[:-1]),
        "holds 25 bytes of data; expected 24": written("long", whole + b"\0"),
        "ends within its header": written("short", whole[:60]),
        "is not an npy file": written("not", b"PK\x03\x04" + whole),
        "/empty is not an npy file": written("empty", b""),
        "of version 3.0; expected 1.0 or 2.0": written("third", whole[:6] + b"\3" + whole[7:]),
        "No such file or directory": x(here / "missing.npy"),
        "is not a plain file": x(here),
        "cannot be made: Not a directory": request(here / "good.npy" / "out", fine),
        "/full/0.npy cannot be written: No space left": request(tmp_path / "full", fine),
        "too large for this machine": written(
            "huge", whole.replace(b"(2, 3)", b"(4611686018427387904, 4)")
        ),
    }


def test_a_bad_request_is_one_error_and_the_next_one_runs(
    sanitized: Command, tmp_path: Path
) -> None:
    model = tmp_path / "m.onnx"
    models.save(
        model,
        models.helper.make_graph(
            [models.helper.make_node("Relu", ["x"], ["y"])],
            "relu",
            [models.port("x", "float32", ["N", 3])],
            [models.port("y", "float32", None)],
        ),
    )
    bad = bad_requests(tmp_path)
    fine = run_line(tmp_path, np.ones((2, 3), "f4"))
    told = tell(sanitized, *on(model), requests="".join(line + fine for line in bad.values()))
    assert told.code == 0, told
    assert told.kinds == ["opened", *["error", "ran"] * len(bad), "ended"]
    for expected, answer in zip(bad, told.answers[1::2], strict=False):
        assert expected in answer["error"]
        assert answer["error"].count("\n") == 0
    assert told.answers[-1]["ended"]["samples"] == len(bad)
    assert not list(tmp_path.rglob("*.partial"))


def test_a_bool_that_is_neither_and_an_output_that_npy_cannot_hold(
    sanitized: Command, tmp_path: Path
) -> None:
    bools = models.identity(tmp_path / "b.onnx", "bool")
    line = run_line(tmp_path, np.array([1, 2], np.uint8).view(bool))
    told = tell(sanitized, *on(bools), requests=line)
    assert "a bool in it is neither 0 nor 1" in told.answers[1]["error"]
    words = models.string_output(tmp_path / "s.onnx")
    told = tell(sanitized, *on(words), requests=run_line(tmp_path, np.ones(2, "f4")))
    assert "Output 'y': it is string of 1 dimensions" in told.answers[1]["error"]


def as_arm64(library: bytes) -> bytes:
    """The same file, its ELF header saying that it is for another machine."""
    return library[:18] + (183).to_bytes(2, "little") + library[20:]  # EM_AARCH64


def test_what_keeps_a_model_from_being_opened(sanitized: Command, tmp_path: Path) -> None:
    model = models.product(tmp_path / "m.onnx")
    (tmp_path / "broken.onnx").write_bytes(model.read_bytes()[:-9])
    away = tmp_path / "away.so"
    away.write_bytes(as_arm64(LIBRARY.read_bytes()))
    qnn = ("--provider", "qnn")
    cases: list[tuple[str, int, tuple[object, ...]]] = [
        ("/none.so: cannot open shared object file", 4, on(model, Path("/none.so"))),
        ("expected a libonnxruntime.so for x86_64", 4, on(model, away)),
        ("has no OrtGetApiBase", 4, on(model, Path("libm.so.6"))),
        ("The model /none.onnx cannot be read: No such file", 4, on(Path("/none.onnx"))),
        ("Protobuf parsing failed", 4, on(tmp_path / "broken.onnx")),
        ("No Op registered for Frobnicate", 3, on(models.unknown_op(tmp_path / "u.onnx"))),
        ("no provider QNN built in", 4, (*on(model), *qnn)),
        ("/none.so", 4, (*on(model), *qnn, "--provider-library", "/none.so")),
        ("--model is missing", 4, ("--library", LIBRARY)),
        ("need --provider qnn", 4, (*on(model), "--provider-option", "a=b")),
        ("expected <name>=<value>", 4, (*on(model), "--session-option", "abc")),
        ("expected cpu or qnn", 4, (*on(model), "--provider", "gpu")),
        ("a whole number from 1 to 1024", 4, (*on(model), "--threads", "0")),
        ("a whole number from 0 to 4", 4, (*on(model), "--log-level", "5")),
        ("expected seconds above 0", 4, (*on(model), "--timeout", "nan")),
        ("--speed is not an option", 4, (*on(model), "--speed", "9")),
        ("--timeout needs a value", 4, (*on(model), "--timeout")),
        ("'now' stands alone", 4, (*on(model), "now")),
        ("cannot be read", 4, ("--library", LIBRARY, "--model", model, "--requests", "/none")),
    ]
    for expected, code, arguments in cases:
        told = tell(sanitized, *arguments, requests="end\n")
        assert (told.kinds, told.code) == (["refused" if code == 3 else "error"], code), told
        assert expected in told.last
        assert "Sanitizer" not in told.log


def test_what_a_library_prints_is_not_among_the_answers(runner: Command, tmp_path: Path) -> None:
    source, library = tmp_path / "noise.c", tmp_path / "noise.so"
    source.write_text(
        "#include <stdio.h>\n__attribute__((constructor)) static void noise(void)"
        '{ puts("noise on stdout"); fflush(stdout); }\n'
    )
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    told = tell(runner, *on(models.product(tmp_path / "m.onnx"), library))
    assert (told.kinds, told.code) == (["error"], 4)
    assert "noise on stdout" in told.log


def test_an_answer_that_nobody_reads_ends_it(runner: Command, tmp_path: Path) -> None:
    command = [*runner, *map(str, on(models.identity(tmp_path / "m.onnx")))]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, input=b"", stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, b"Nobody reads the answers" in done.stderr) == (4, True)


def test_a_request_that_takes_too_long_ends_it(runner: Command, tmp_path: Path) -> None:
    model = models.endless(tmp_path / "m.onnx")
    x = np.zeros(4096, "f4")
    brief, longer = (
        request(tmp_path / f"out{go}", saved(tmp_path / f"in{go}", {"go": np.array(go), "x": x}))
        for go in (False, True)
    )
    start = time.monotonic()
    told = tell(runner, *on(model), "--timeout", 1.5, requests=brief + longer)
    assert 1.5 < time.monotonic() - start < 20
    assert (told.kinds, told.code) == (["opened", "ran", "error"], 5)
    assert "A request took longer than the 1.5 s" in told.last
    listed = tmp_path / "requests"
    listed.write_text(brief + longer)
    end = ("--library", LIBRARY, "--model", model, "--requests", listed, "--timeout", "0.5")
    told = tell(runner, *end)
    (document,) = told.answers
    assert (list(document), len(document["ran"]), told.code) == (["opened", "ran", "error"], 1, 5)
    os.mkfifo(tmp_path / "pipe.onnx")
    told = tell(runner, *on(tmp_path / "pipe.onnx"), "--timeout", 0.3)
    assert (told.kinds, told.code) == (["error"], 5)
    assert "Opening the model took longer" in told.last


def test_the_limit_holds_after_a_pause_that_was_longer(runner: Command, tmp_path: Path) -> None:
    model = models.endless(tmp_path / "m.onnx")
    feed = {"go": np.array(True), "x": np.zeros(4, "f4")}
    line = request(tmp_path / "out", saved(tmp_path / "in", feed))
    command = [*runner, *map(str, on(model)), "--timeout", "0.5"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(1.2)
        try:
            out, _ = process.communicate(line, timeout=20)
        finally:
            process.kill()
    assert (process.returncode, "A request took longer" in out) == (5, True)


# Fuzzing, with the sanitizers


def mutated(rng: random.Random, data: bytes, alphabet: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.randint(0, 3)):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            del out[at : at + rng.randint(1, 3)]
        elif kind == 1:
            out[at:at] = bytes(rng.choice(alphabet) for _ in range(rng.randint(1, 4)))
        elif kind == 2 and at < len(out):
            out[at] = rng.choice(alphabet)
        else:
            out[at:at] = out[rng.randrange(len(out) + 1) :][: rng.randint(1, 12)]
    return bytes(out)


def test_npy_files_with_errors_are_refused_or_read_as_numpy_does(
    sanitized: Command, tmp_path: Path
) -> None:
    rng = random.Random(5)
    model = models.identity(tmp_path / "m.onnx")
    any_byte, common = bytes(range(256)), b"    \n0123(),'\"{}:<|fub48"
    seeds = []
    for shape in ((), (3,), (2, 3), (0, 2), (1, 1, 2)):
        np.save(tmp_path / "seed.npy", np.arange(np.prod(shape), dtype="f4").reshape(shape))
        seeds.append((tmp_path / "seed.npy").read_bytes())
    lines = []
    for i in range(800):
        seed = rng.choice(seeds)
        # Half of them keep the header's length, so that its words are what is wrong.
        words = seed[10 : seed.index(b"}") + 1]
        spoiled = mutated(rng, words, common).ljust(117)[:117]
        data = seed[:10] + spoiled + b"\n" + seed[128:] if i % 2 else mutated(rng, seed, any_byte)
        (tmp_path / f"{i}.npy").write_bytes(data)
        lines.append(request(tmp_path / f"out{i}", {"x": tmp_path / f"{i}.npy"}))
    told = tell(sanitized, *on(model), requests="".join(lines))
    assert told.code == 0, told.log[-3000:]
    assert len(told.answers) == 802
    ran = [i for i, kind in enumerate(told.kinds[1:-1]) if kind == "ran"]
    assert 100 < len(ran) < 500
    for i in ran:
        same_bits(loaded(tmp_path / f"out{i}"), [np.load(tmp_path / f"{i}.npy")])


def test_requests_with_errors_are_answered(sanitized: Command, tmp_path: Path) -> None:
    rng = random.Random(7)
    model = models.product(tmp_path / "m.onnx")
    saved(tmp_path, {"a": np.ones((2, 3), "f4"), "b": np.ones((3, 2), "f4")})
    seed = b"run\tout\ta=in0.npy\tb=in1.npy"
    # Without / and . nothing is written elsewhere, and without a newline a line stays one.
    alphabet = b"\t\t\t===\\\\\\tnrab\0\xff\x80\xc3\xa9 " + bytes(range(0x3A, 0x5B))
    lines = [mutated(rng, seed, alphabet) for _ in range(600)]
    told = tell(sanitized, *on(model), requests=b"\n".join(lines) + b"\n", cwd=tmp_path)
    assert told.code == 0, told.log[-3000:]
    ended = [i for i, line in enumerate(lines) if line == b"end"]
    assert len(told.answers) == 2 + (ended[0] if ended else len(lines))
    assert {"ran", "error"} < set(told.kinds)
