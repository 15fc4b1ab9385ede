"""What each runtime is made of on this machine, what lacks, and how to get it.

A runtime that has ``parts(rest)`` lists its parts, each with its command (see
:mod:`chipdrift.targets.base`). Of one that has not, the versions that it runs are told, or the
reason why it does not run, which names the command.
"""

from __future__ import annotations

from collections.abc import Iterable

from chipdrift.errors import ChipdriftError, UnknownNameError
from chipdrift.records import Record
from chipdrift.sdk import nothing_fetched
from chipdrift.targets import TargetInfo, get_target
from chipdrift.targets.plugins import Runtime
from chipdrift.targets.registry import every_runtime


class Finding(Record):
    """One part: ``found`` is its version or place, None where it lacks; ``get`` how to get it.

    The target is there without what is ``optional``.
    """

    name: str
    found: str | None
    get: str | None
    optional: bool = False


class Checkup(Record):
    """A target, or a runtime with ``here`` of its ``targets`` available.

    ``reasons`` say why it, or some of its targets, cannot be had.
    """

    name: str
    available: bool
    description: str
    reasons: tuple[str, ...]
    parts: tuple[Finding, ...]
    targets: int = 1
    here: int = 1


def check_target(name: str) -> Checkup:
    """One target by its full name, or one runtime by the name before the colon.

    Raises UnknownNameError where nobody knows it; that it cannot be had is an answer.
    """
    name = name.strip()
    prefix, colon, rest = name.partition(":")
    runtime = dict(reversed(every_runtime())).get(prefix)
    if runtime is not None and not colon:
        return _whole(prefix, runtime)
    reason, description = None, ""
    try:
        with nothing_fetched():
            description = get_target(name).description
    except UnknownNameError:
        raise
    except ChipdriftError as error:
        reason = str(error)
    assert runtime is not None  # get_target knows no other name
    line = next((info for info in runtime.listed() if info.name == name), None)
    if line is not None:
        description = line.description
    return Checkup(
        name=name,
        available=reason is None,
        description=description,
        reasons=() if reason is None else (reason,),
        parts=_parts(runtime, [name] if reason is None else [], [rest]),
        here=int(reason is None),
    )


def check_runtimes() -> list[Checkup]:
    """Every runtime, built in or brought by a plugin."""
    return [_whole(prefix, runtime) for prefix, runtime in every_runtime()]


def _whole(prefix: str, runtime: Runtime) -> Checkup:
    infos = runtime.listed()
    here = [info.name for info in infos if info.available]
    rests = [info.name.partition(":")[2] for info in infos]
    return Checkup(
        name=prefix,
        available=bool(here),
        description=infos[0].description if len(infos) == 1 else "",
        reasons=_reasons(infos),
        parts=_parts(runtime, here[:1], rests),
        targets=len(infos),
        here=len(here),
    )


def _reasons(infos: Iterable[TargetInfo]) -> tuple[str, ...]:
    """Each reason once, behind the first target that has it."""
    first: dict[str, str] = {}
    for info in infos:
        if info.reason:
            first.setdefault(info.reason, info.name)
    return tuple(f"{name}: {reason}." for reason, name in first.items())


def _parts(runtime: Runtime, here: list[str], rests: Iterable[str]) -> tuple[Finding, ...]:
    """What the runtime says of its parts, else the versions of the target that is ``here``."""
    tell = getattr(runtime, "parts", None)
    if tell is not None:
        found = dict.fromkeys(part for rest in rests for part in tell(rest))
        return tuple(
            Finding(name=p.name, found=p.found, get=p.get, optional=p.optional) for p in found
        )
    try:
        with nothing_fetched():
            versions = {k: v for name in here for k, v in get_target(name).versions.items()}
    except ChipdriftError:  # a line that stands for many, as import:RUN#TARGET
        versions = {}
    return tuple(Finding(name=key, found=found, get=None) for key, found in versions.items())
