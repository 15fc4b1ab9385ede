"""Reading a log of 1 GB on one core, beside grep and Python's own loop over lines.

``python bench/logs.py [MB]`` makes two logs of 1,024 MB (or as many as given) in a temporary
folder: a phone's logcat, in which one line of twenty is onnxruntime's or QNN's, and onnxruntime's
verbose log, in which all are. Each is read by ``chipdrift logs --json``, by ``grep -c`` of the
words that mark such lines, by ``grep -c`` of one word, and by a loop over the lines in Python that
looks for one word: processes of their own, one after the other, pinned to one core. The file
is read once before, so that all find it in memory. Speed is of the time on the core: on a shared
machine a process waits for others, too. The ratios are what is kept.
"""

from __future__ import annotations

import gzip
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REAL = Path(__file__).parents[1] / "tests" / "data" / "logs" / "ort_qnn_whole.log.gz"
MARKS = (":onnxruntime:", "QnnDsp", "Operator type: ", "REASON : ", "type=QNN_TENSOR", "tflite")
LOOP = "import sys; print(sum(b'QnnDsp' in line for line in open(sys.argv[1], 'rb')))"
TAGS = """ActivityManager WifiHAL chromium SurfaceFlinger audio_hw_primary CHRE thermal_core
BufferQueue GnssLocationProvider PowerManagerService vendor.qti.bluetooth libprocessgroup Zygote art
InputDispatcher NetworkMonitor""".split()  # noqa: SIM905
WORDS = """the a connection started stopped for process request manager neural onscreen quality
tensor native litter input network power state changed buffer error timeout null layer requested
from uid pid com.google.android.gms android.intent.action.MAIN ok fail code interface operator
reason validation provider delegate QUEUE Qualcomm""".split()  # noqa: SIM905


def foreign(rng: random.Random, count: int) -> list[bytes]:
    """Lines of other programs, all different."""
    return [
        (
            f"01-05 {i // 3600000 % 24:02}:{i // 60000 % 60:02}:{i // 1000 % 60:02}.{i % 1000:03} "
            f"{rng.randrange(300, 30000):5} {rng.randrange(300, 30000):5} {rng.choice('VDIWE')} "
            f"{rng.choice(TAGS):<16}: {' '.join(rng.choices(WORDS, k=rng.randrange(3, 16)))} "
            f"0x{rng.randrange(1 << 48):x} {rng.choice(WORDS)}{rng.randrange(10000)}\n"
        ).encode()
        for i in range(count)
    ]


def real() -> list[bytes]:
    """Lines that onnxruntime and QNN wrote."""
    return gzip.decompress(REAL.read_bytes()).splitlines(True)


def write_logcat(path: Path, size: int) -> None:
    """A session's lines in order, each among some nineteen of other programs."""
    rng = random.Random(1)
    ours = [line for line in real() if line.strip()]
    at = 0
    with path.open("wb") as file:
        while file.tell() < size:
            block = foreign(rng, 19_000)
            for i in range(0, len(block), 19):
                stamp, line = block[i][:18], ours[at % len(ours)]
                file.write(b"%s  4100  4123 V onnxruntime: %s" % (stamp, line))
                file.writelines(block[i : i + 19])
                at += 1


def write_verbose(path: Path, size: int) -> None:
    """Session after session; numbers and addresses change as they do."""
    rng = random.Random(2)
    text = b"".join(real())
    number = re.compile(rb"0x[0-9a-f]{6,}|\d{9}\b")
    with path.open("wb") as file:
        while file.tell() < size:
            file.write(number.sub(lambda m: _like(rng, m[0]), text))


def _like(rng: random.Random, number: bytes) -> bytes:
    if number.startswith(b"0x"):
        return b"0x%x" % rng.randrange(16 ** (len(number) - 3), 16 ** (len(number) - 2))
    return b"%09d" % rng.randrange(10**9)


def timed(words: list[str | Path]) -> tuple[float, float, float]:
    """Seconds of a process on one core, seconds that it computed there, and MB at most."""
    core = max(os.sched_getaffinity(0))
    started = time.perf_counter()
    # To a file: grep stops at the first line where nobody reads what it says.
    with tempfile.TemporaryFile() as answer:
        process = subprocess.Popen(
            words,
            stdout=answer,
            env={**os.environ, "LC_ALL": "C", "NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{words[0]} failed with {process.returncode}")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    size = int(sys.argv[1]) * 10**6 if sys.argv[1:] else 1 << 30
    ours = [sys.executable, "-m", "chipdrift.cli.main", "logs", "--json"]
    with tempfile.TemporaryDirectory(prefix="chipdrift-bench-") as name:
        small = Path(name) / "small.log"
        small.write_bytes(b"".join(real()))
        timed([*ours, small])  # compiles, where nothing is kept on disk yet
        start, _, _ = timed([*ours, small])
        print(f"chipdrift logs on {small.stat().st_size / 1e3:.0f} kB: {start:.2f} s, the start")
        for what, write in (("a phone's logcat", write_logcat), ("a verbose log", write_verbose)):
            path = Path(name) / "big.log"
            write(path, size)
            total = path.stat().st_size / 1e6
            peers: dict[str, list[str | Path]] = {
                f"grep -c of {len(MARKS)} words": ["grep", "-cF", *_given(MARKS), path],
                "grep -c of one word": ["grep", "-cF", "QnnDsp", path],
                "Python's loop over lines": [sys.executable, "-c", LOOP, path],
            }
            with path.open("rb") as file:
                while file.read(1 << 24):
                    pass
            wall, mine, peak = timed([*ours, path])
            print(
                f"{what}, {total:.0f} MB: chipdrift logs {wall:.2f} s, {mine:.2f} s on the core, "
                f"{total / mine:.0f} MB/s (at least 100), {peak:.0f} MB of memory (at most 500)"
            )
            for peer, words in peers.items():
                wall, theirs, _ = timed(words)
                print(
                    f"  {peer}: {wall:.2f} s, {theirs:.2f} s on the core, "
                    f"{total / theirs:.0f} MB/s; chipdrift takes {mine / theirs:.1f} times as long"
                )
            path.unlink()


def _given(words: tuple[str, ...]) -> list[str]:
    return [part for word in words for part in ("-e", word)]


if __name__ == "__main__":
    main()
