"""Run a program on a phone to its end: what it printed, which files it left, and a time limit.

Each worker has a folder ``runs/<its process number>`` on the phone. The program's number there is
kept in ``pid``, so that one that hangs can be ended: by its own worker, or by the next one where
that is dead.
"""

from __future__ import annotations

import os
import shlex
import time
from dataclasses import dataclass
from typing import final

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
    """Make this process's own folder below ``folder``; end and remove what dead ones left."""
    runs = f"{folder}/runs"
    listed = phone.shell(f"ls {runs} 2>/dev/null").out.split()
    left = [name for name in listed if name.isdecimal() and not _lives(int(name))]
    ended = [f"{_END.format(work=f'{runs}/{name}')}; rm -rf {runs}/{name}" for name in left]
    work = f"{runs}/{os.getpid()}"
    phone.check("; ".join([*ended, f"mkdir -p {work}/out"]))
    return work


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
