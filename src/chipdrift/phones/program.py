"""Run a program on a phone to its end: what it printed, which files it left, and a time limit.

Each worker has a folder ``runs/<its machine>-<its process number>`` on the phone. The program's
number there is kept in ``pid``, so that one that hangs can be ended: by its own worker, or by the
next one where that is dead.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import re
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import final

from chipdrift.phones.files import FOLDER
from chipdrift.phones.logcat import restore_log
from chipdrift.phones.phone import Phone
from chipdrift.phones.server import PhoneError, PhoneGoneError

_PRINTED = 65536  # bytes kept of what a program printed, its end
_WORDS = 400  # characters of it in an error
_MARK = "chipdrift-left"
# A number may be another process's by now: what chipdrift runs names its folder.
_END = (
    'n=$(cat {work}/pid 2>/dev/null); if [ -n "$n" ] && grep -q /chipdrift/ '
    "/proc/$n/cmdline 2>/dev/null; then kill -9 $n; fi"
)


@final
@dataclass(frozen=True)
class Ended:
    """A program that ended well: what it printed, and the files in the folder that was asked."""

    printed: str
    left: tuple[str, ...]


def run_program(
    phone: Phone, work: str, command: str, left: str, seconds: float, first: str = "true"
) -> Ended:
    """Run ``command``, a program of a kit and its arguments, in ``work``; both streams are kept.

    Its libraries are found beside it. ``work/out`` is made anew before, and ``first`` run by the
    shell; ``left`` is the folder, seen from ``work``, whose files are listed after. Raises
    PhoneError with the program's own last words where it fails, and where it takes longer than
    ``seconds``: then it is ended.
    """
    kit, _, program = command.split(maxsplit=1)[0].rpartition("/")
    inner = f"echo $$ > pid; export LD_LIBRARY_PATH={kit} ADSP_LIBRARY_PATH={kit}; exec {command}"
    script = (
        f"mkdir -p {work} && cd {work} && rm -rf out && mkdir out && {first} || exit 1; "
        f"sh -c {shlex.quote(inner)} > printed.txt 2>&1 < /dev/null; code=$?; rm -f pid; "
        f"tail -c {_PRINTED} printed.txt; echo; echo {_MARK}; ls {left} 2>/dev/null; exit $code"
    )
    began = time.monotonic()
    try:
        ran = phone.shell(script, seconds)
    except PhoneGoneError:
        raise
    except PhoneError as error:
        end_program(phone, work)
        if time.monotonic() - began < seconds:
            raise
        raise PhoneError(
            f"Phone {phone.serial}: {program} did not end within {seconds:g} s and was ended"
        ) from error
    printed, _, files = ran.out.rpartition(f"\n{_MARK}\n")
    if ran.code:
        words = last_words(printed or ran.err)
        raise PhoneError(
            f"Phone {phone.serial}: {program} ended with exit code {ran.code}; last words: {words}"
        )
    return Ended(printed, tuple(files.split("\n")[:-1]))


def last_words(printed: str) -> str:
    """The end of what a program printed, in one line."""
    words = " ".join("".join(c if c.isprintable() else " " for c in printed).split())
    return words[-_WORDS:] or "it printed nothing"


def end_program(phone: Phone, work: str) -> None:
    """End what runs in ``work``, if it still does."""
    phone.shell(_END.format(work=work))


def sweep_runs(phone: Phone, folder: str) -> str:
    """Make this process's own folder below ``folder``; end and remove what dead ones left.

    A folder of another machine, or of another container, is left alone until it is a day old.
    """
    runs, here = f"{folder}/runs", _here()
    listed = phone.shell(f"ls {runs} 2>/dev/null").out.split()
    old = phone.shell(f"find {folder} -maxdepth 2 -mmin +1440 2>/dev/null").out.split()
    aged = {path.rpartition("/")[2] for path in old if path.startswith(f"{runs}/")}
    left = [name for name in listed if name in aged or not _may_live(name, here)]
    ended = [f"{_END.format(work=f'{runs}/{name}')}; rm -rf {runs}/{name}" for name in left]
    parts = [f"rm -rf {path}" for path in old if path.endswith((".part", ".old"))]
    work = f"{runs}/{here}-{os.getpid()}"
    phone.check("; ".join([*ended, *parts, f"mkdir -p {work}/out"]))
    return work


def end_all(phone: Phone, folder: str) -> None:
    """End whatever runs below ``folder``, whoever started it."""
    runs = f"{folder}/runs"
    for name in phone.shell(f"ls {runs} 2>/dev/null").out.split():
        if re.fullmatch(r"[\w-]+", name):
            end_program(phone, f"{runs}/{name}")


@functools.cache
def _here() -> str:
    """A few digits for this machine since it started, and for this container of it."""
    told = [platform.node()]
    with contextlib.suppress(OSError):
        told.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        told.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("".join(told).encode()).hexdigest()[:8]


def _may_live(name: str, here: str) -> bool:
    """Whether the folder of that name may belong to a process that lives; strangers' always may."""
    mine, _, process = name.rpartition("-")
    if mine != here or not process.isdecimal() or int(process) == os.getpid():
        return mine != here and re.fullmatch(r"[0-9a-f]{8}-\d+", name) is not None
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def clean_phone(phone: Phone, folder: str = FOLDER) -> None:
    """Remove all that chipdrift left: end what runs, put the log back, then the files."""
    end_all(phone, folder)
    restore_log(phone, folder)
    phone.check(f"rm -rf {shlex.quote(folder)}")
