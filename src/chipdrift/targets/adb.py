"""Phones, and whatever else runs adbd: ``adb:<serial>``, or ``adb:`` where there is only one.

Behind ``/`` stands what runs the model there: ``cpu`` and ``qnn`` are chipdrift's own runner over
onnxruntime's C API, ``qnn-net-run`` is Qualcomm's, ``litert`` is LiteRT's benchmark_model. Without
it the phone's NPU is taken where its kit is there, else its CPU.

A result's evidence is ``device`` only where the phone says that it is silicon, and which.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata, util

from chipdrift.errors import ChipdriftError, UnknownNameError
from chipdrift.phones import (
    Identity,
    Phone,
    PhoneError,
    Seen,
    adb_program,
    current_server,
    find_phone,
    identify,
    kit_for,
)
from chipdrift.phones.kit import Kit, piece
from chipdrift.phones.server import INSTALL
from chipdrift.records import Evidence
from chipdrift.targets import adb_litert, adb_netrun, adb_runner
from chipdrift.targets.adb_visit import Tell
from chipdrift.targets.adb_way import KINDS, Way
from chipdrift.targets.base import Part, Session, Target, TargetInfo

_QUALCOMM = ("qti", "qcom", "qualcomm")
_COOL_SECONDS = "180"
_RETURN_SECONDS = "60"
_FLOAT32 = (
    "not available: the NPU computes a float32 graph in FP16, so what it would answer is the "
    "scheme fp16"
)


WAYS: dict[str, Way] = {
    way.name: way for way in (adb_runner.CPU, adb_runner.QNN, adb_netrun.WAY, adb_litert.WAY)
}


def resolve(rest: str) -> Target:
    """The phone with that serial, and a way that its kit allows."""
    serial, slash, wanted = rest.partition("/")
    if slash and not wanted:
        raise UnknownNameError(
            f"Target adb:{rest} ends with /, and names no way: {', '.join(WAYS)}."
        )
    if slash and wanted not in WAYS:
        raise UnknownNameError.of("way to run on a phone", wanted, WAYS, "It stands behind the /.")
    phone = find_phone(serial, current_server())
    identity = identify(phone)
    kit = kit_for(identity.abi)
    way = WAYS[wanted] if slash else _best(kit, identity)
    way.require(identity)
    needed, files = _needed(way, identity), _files(kit, way, identity)
    lacks = [name for name in needed if not kit.holds(name)]
    if lacks:
        raise ChipdriftError(
            f"Target adb:{rest}: {_and([kit.lack(name) for name in lacks])}, in {kit.folder}. "
            f"For {lacks[0]}: "
            f"{piece(identity.abi, lacks[0], kit.folder).get}. All of it: chipdrift doctor "
            f"adb:{phone.serial}/{way.name}."
        )
    kit.check(phone, identity, [name for name in files if "Skel" not in name])
    return _target(
        f"adb:{rest}" if serial else f"adb:{phone.serial}{slash}{wanted}",
        phone,
        identity,
        kit,
        way,
        files,
    )


def _target(
    name: str, phone: Phone, identity: Identity, kit: Kit, way: Way, files: list[str]
) -> Target:
    facts = way.facts(identity, kit)
    versions = {
        **facts.versions,
        "soc": identity.soc_model or "unknown",
        "build": identity.build or "unknown",
        "android": identity.android or "none",
        "machine": identity.machine,
        "kit": kit.digest(files),
    }
    cautions = []
    if identity.emulated is not None:
        cautions.append(f"not silicon: {identity.emulated}")
    elif identity.unknown_chip is not None:
        cautions.append(identity.unknown_chip)
    refuses = {"float32": _FLOAT32} if way.has_npu else {}
    told = {kind: "; ".join(filter(None, (*cautions, facts.cautions.get(kind)))) for kind in KINDS}
    return Target(
        name=name,
        runtime=__name__,
        evidence=_evidence(identity),
        has_npu=way.has_npu,
        profile=facts.profile,
        # Two phones of one chip and one build are two phones: each answers for itself.
        options={"serial": phone.serial, "way": way.name, **facts.options},
        versions=versions,
        refuses={**refuses, **facts.refuses},
        cautions={kind: words for kind, words in told.items() if words},
        description=f"{identity.label}, {way.words}",
        setup={
            "server": str(phone.server),
            "kit": str(kit.folder),
            "files": " ".join(files),
            "cool": _COOL_SECONDS,
            "returns": _RETURN_SECONDS,
        },
        place=f"phone {phone.serial}",
    )


def _needed(way: Way, identity: Identity) -> list[str]:
    return way.needs(None if identity.chip is None else identity.chip.hexagon)


def _files(kit: Kit, way: Way, identity: Identity) -> list[str]:
    """What is pushed: what the way needs, and what else it takes of what the kit has."""
    return [*_needed(way, identity), *(name for name in way.optional if kit.holds(name))]


def _best(kit: Kit, identity: Identity) -> Way:
    """The NPU where the chip has one that is known and the kit has its files, else the CPU."""
    chip, maker = identity.chip, identity.soc_manufacturer.lower()
    if chip is None or chip.hexagon is None or maker not in _QUALCOMM:
        return adb_runner.CPU
    whole = all(kit.holds(name) for name in adb_runner.QNN.needs(chip.hexagon))
    return adb_runner.QNN if whole else adb_runner.CPU


def listed() -> list[TargetInfo]:
    """Every phone that a running adb server sees; no server is started for it."""
    server = current_server()
    if not server.answers():
        how = (
            "adb start-server"
            if adb_program()
            else "install adb first (Debian: apt-get install adb)"
        )
        return [_line("SERIAL", "a phone over adb", f"no adb server answers at {server}: {how}")]
    try:
        seen = server.phones()
    except PhoneError as error:
        return [_line("SERIAL", "a phone over adb", str(error).rstrip("."))]
    if not seen:
        words = f"the adb server at {server} sees no phone: plug one in with USB debugging on"
        return [_line("SERIAL", "a phone over adb", words)]
    return [_listed(one) for one in seen]


def _listed(one: Seen) -> TargetInfo:
    if one.trouble is not None:
        return _line(one.serial, "a phone over adb", f"it {one.trouble}")
    evidence: Evidence = "device"
    try:
        identity = identify(find_phone(one.serial, current_server()))
        evidence = _evidence(identity)
        target = resolve(one.serial)
    except ChipdriftError as error:
        return _line(one.serial, "a phone over adb", str(error).rstrip("."), evidence)
    return TargetInfo(
        name=target.name,
        evidence=target.evidence,
        available=True,
        description=target.description,
    )


def _evidence(identity: Identity) -> Evidence:
    """Silicon has to be shown."""
    return "device" if identity.emulated is None else "emulated-runtime"


def parts(rest: str) -> list[Part]:
    """What ``adb:<rest>`` is made of: adb, the phone, and each file of its kit."""
    serial, slash, wanted = rest.partition("/")
    server = current_server()
    program = adb_program()
    found = [
        Part("adb", program, "apt-get install adb (Debian; elsewhere Android's platform tools)"),
        Part("adbutils", _adbutils(), INSTALL),
    ]
    if wanted and wanted not in WAYS:
        raise UnknownNameError.of("way to run on a phone", wanted, WAYS, "It stands behind the /.")
    if serial in ("SERIAL", "") and not slash and not server.answers():
        return found
    try:
        phone = find_phone("" if serial == "SERIAL" else serial, server)
        identity = identify(phone)
        kit = kit_for(identity.abi)
    except ChipdriftError as error:
        return [*found, Part("phone", None, str(error).rstrip("."))]
    found.append(Part("phone", f"{phone.serial}: {identity.label}, {identity.abi}", ""))
    way = WAYS.get(wanted) or _best(kit, identity)
    for name in (*_needed(way, identity), *way.optional):
        here = str(kit.path(name)) if kit.holds(name) else None
        get = piece(identity.abi, name, kit.folder).get
        found.append(Part(name, here, get, optional=name in way.optional))
    return [*found, *way.parts()]


def _adbutils() -> str | None:
    return metadata.version("adbutils") if util.find_spec("adbutils") is not None else None


def _line(serial: str, words: str, reason: str, evidence: Evidence = "device") -> TargetInfo:
    """A phone that cannot be had; of one that was not asked, what it may be."""
    return TargetInfo(
        name=f"adb:{serial}", evidence=evidence, available=False, description=words, reason=reason
    )


TELLS = True
"""``open_session`` takes a function for words while it waits: a phone cools down, comes back."""


def open_session(path: str, options: Mapping[str, str], tell: Tell) -> Session:
    """The model at ``path`` on the phone; raises RefusedError with the runtime's words."""
    return WAYS[options["way"]].open_session(path, options, tell)


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
