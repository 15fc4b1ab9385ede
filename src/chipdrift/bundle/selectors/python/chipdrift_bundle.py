"""Open a bundle that ``chipdrift bundle`` wrote, and pick what a chip gets; Python 3.10 alone.

    bundle = open_bundle("bundle", PUBLIC_KEY_HEX)
    choice = bundle.select(ro_soc_model, ro_soc_manufacturer, qnn_sdk)
    session = ... choice.model, choice.options, with the NPU only if choice.npu
    answers = [[output.tobytes() for output in run(sample)] for sample in choice.golden]
    if not choice.check(answers).ok: choice = bundle.safe("the self-check failed")

The public key belongs into the app: a key that is read from the bundle proves nothing. Everything
that is wrong with a bundle is a BundleError with one sentence.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import stat
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

SCHEMA_VERSION = 1
_MOST_MANIFEST = 16 << 20
_CHANGED = "it was changed or not fully copied"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


class BundleError(Exception):
    """The bundle cannot be trusted or is not whole; its words say why."""


@dataclass(frozen=True)
class GoldenInput:
    """One input of a sample: little-endian values in a file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: str


@dataclass(frozen=True)
class Verdict:
    """What a self-check found. ``worst`` is in steps of the output, or in its own unit."""

    ok: bool
    why: str
    worst: float = 0.0


@dataclass(frozen=True)
class Context:
    """A model that was compiled for this chip: ``model`` wraps ``binary``."""

    model: str
    binary: str
    sdk: str


@dataclass(frozen=True)
class Choice:
    """What to load.

    ``model`` is a file whose hash was checked, as those that it reads beside it; ``npu`` says
    whether the NPU may be used at all; ``golden`` is empty where there is nothing to check.
    """

    variant: str
    model: str
    npu: bool
    why: str
    options: dict[str, str] = field(default_factory=dict)
    context: Context | None = None
    golden: tuple[tuple[GoldenInput, ...], ...] = ()
    _expected: tuple[tuple[bytes, ...], ...] = ()
    _limits: tuple[dict[str, Any], ...] = ()
    _top: int | None = None

    def check(self, answers: list[list[bytes]]) -> Verdict:
        """Hold the outputs of all golden samples, in order, against what was measured.

        ``answers[sample][output]`` are the output's values, little-endian, in the model's order.
        """
        if not self._expected:
            return Verdict(True, "nothing to check: no answers were measured for this choice")
        if len(answers) != len(self._expected):
            return Verdict(False, f"{len(answers)} samples answered, of {len(self._expected)}")
        worst = 0.0
        for number, (given, wanted) in enumerate(zip(answers, self._expected, strict=True)):
            if len(given) != len(wanted):
                return Verdict(False, f"sample {number}: {len(given)} outputs, of {len(wanted)}")
            for index, limit in enumerate(self._limits):
                found = _compare(number, limit, given[index], wanted[index], index == self._top)
                if not found.ok:
                    return found
                worst = max(worst, found.worst)
        return Verdict(True, "the answers are those that were measured", worst)


class Bundle:
    """A bundle whose manifest is signed by the key that the app knows. See :func:`open_bundle`."""

    def __init__(self, folder: str, manifest: dict[str, Any]) -> None:
        self._folder = folder
        self._told = manifest
        self._files = {entry["name"]: entry for entry in manifest["files"]}
        self._variants = {entry["name"]: entry for entry in manifest["variants"]}

    @property
    def name(self) -> str:
        """The bundle's name: the model's, unless it was given another."""
        return str(self._told["name"])

    @property
    def serial(self) -> int:
        """Rises from bundle to bundle: keep the highest seen, and give it to the next open."""
        return int(self._told["serial"])

    def select(self, soc_model: str, soc_manufacturer: str = "", qnn_sdk: str = "") -> Choice:
        """What the chip gets that Android calls ``ro.soc.model`` and ``ro.soc.manufacturer``.

        ``qnn_sdk`` is the release of the QNN libraries that the app carries ("2.51.0"): without it,
        or with another, no precompiled file is handed out.
        """
        model, maker = soc_model.strip(), soc_manufacturer.strip()
        if model in self._told["off"]:
            return self.safe(f"{model} is on the list of chips whose NPU stays off")
        for chip in self._told["chips"]:
            makers = chip["manufacturers"]
            if model in chip["names"] and (not maker or not makers or maker in makers):
                return self._chosen(chip, qnn_sdk.strip())
        return self.safe(f"nobody has measured {model or 'a chip without a name'}")

    def safe(self, why: str) -> Choice:
        """The variant for a chip that nobody knows, with the NPU off."""
        return Choice(self._told["safe"], self._model(self._told["safe"]), False, why)

    def check_files(self) -> int:
        """Check every file of the bundle, not only one chip's; how many there are."""
        for name in self._files:
            self._checked(name)
        return len(self._files)

    def _chosen(self, chip: dict[str, Any], sdk: str) -> Choice:
        golden = chip["golden"]
        samples, expected = self._golden(golden)
        return Choice(
            variant=chip["variant"],
            model=self._model(chip["variant"]),
            npu=chip["npu"],
            why=chip["why"],
            options=dict(chip["options"]),
            context=self._context(chip["context"], sdk),
            golden=samples,
            _expected=expected,
            _limits=() if golden is None else tuple(golden["limits"]),
            _top=None if golden is None else golden["top"],
        )

    def _model(self, variant: str) -> str:
        entry = self._variants[variant]
        for name in entry["beside"]:
            self._checked(name)
        return self._checked(entry["file"])

    def _there(self, variant: str) -> None:
        """Raise BundleError where its files lack, or are not as long as signed; none is hashed."""
        entry = self._variants[variant]
        for name in (*entry["beside"], entry["file"]):
            if _plain(self._folder, name).stat().st_size != self._files[name]["size"]:
                _fail(f"{name} has another size than was signed: {_CHANGED}")

    def _context(self, context: dict[str, Any] | None, sdk: str) -> Context | None:
        if context is None or sdk != context["sdk"]:
            return None
        binary, model = self._checked(context["binary"]), self._checked(context["file"])
        return Context(model, binary, sdk)

    def _golden(self, golden: dict[str, Any] | None) -> tuple[Any, Any]:
        if golden is None:
            return (), ()
        told = self._told["golden"]
        specs = told["inputs"]
        samples = tuple(
            tuple(
                GoldenInput(spec["name"], spec["dtype"], tuple(spec["shape"]), self._checked(name))
                for spec, name in zip(specs, files, strict=True)
            )
            for files in told["samples"]
        )
        expected = tuple(
            tuple(Path(self._checked(name)).read_bytes() for name in files)
            for files in golden["expected"]
        )
        return samples, expected

    def _checked(self, name: str) -> str:
        """The file's path, once its size and hash are the manifest's."""
        entry = self._files[name]
        path = _plain(self._folder, name)
        digest = hashlib.sha256()
        try:
            if path.stat().st_size != entry["size"]:
                _fail(f"{name} has another size than was signed: {_CHANGED}")
            with path.open("rb") as stream:
                for block in iter(lambda: stream.read(1 << 20), b""):
                    digest.update(block)
        except OSError as error:
            raise BundleError(f"{name} of the bundle cannot be read ({error.strerror})") from error
        if digest.hexdigest() != entry["sha256"]:
            _fail(f"{name} is not what was signed: {_CHANGED}")
        return str(path)


def open_bundle(folder: str, public_key: str, least_serial: int = 0) -> Bundle:
    """Open the bundle in ``folder``; raises BundleError where its manifest is not to be trusted.

    ``public_key`` are the 64 hexadecimal digits that ``chipdrift bundle`` printed. A bundle whose
    serial is under ``least_serial`` is refused: an older one, put in the place of a newer. So is
    one without its safe model, which an app falls back on.
    """
    if not re.fullmatch(r"[0-9a-fA-F]{64}", public_key):
        _fail("the public key is no 64 hexadecimal digits: copy the line that chipdrift printed")
    manifest = _small(folder, "manifest.json", _MOST_MANIFEST)
    signature = _small(folder, "manifest.json.sig", 64)
    if not verify(bytes.fromhex(public_key), manifest, signature):
        _fail("manifest.json is not signed by the app's key: it was changed or is somebody else's")
    try:
        told = json.loads(
            manifest.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_number
        )
        if told["format"] != "chipdrift-bundle" or told["schema_version"] != SCHEMA_VERSION:
            _fail(
                f"manifest.json has schema version {told['schema_version']!r}, and this selector "
                f"reads {SCHEMA_VERSION}: carry the selector of the chipdrift that wrote it"
            )
        _are(int, [told["schema_version"], told["serial"]])
        if told["serial"] < least_serial:
            _fail(
                f"the bundle's serial {told['serial']} is older than {least_serial}, which was "
                "here before: an older bundle was put in its place"
            )
        for entry in told["files"]:
            if not _NAME.fullmatch(entry["name"]):
                _fail(f"the bundle names a file outside of it: {entry['name']!r}")
        bundle = Bundle(folder, told)
        _consistent(told, bundle)
        bundle._there(told["safe"])
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise BundleError(
            f"manifest.json is signed and cannot be read ({type(error).__name__}): carry the "
            "selector of the chipdrift that wrote it"
        ) from error
    return bundle


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name that comes twice")
    return found


def _no_number(words: str) -> NoReturn:
    raise ValueError(f"{words} is no number of JSON")


def _consistent(told: dict[str, Any], bundle: Bundle) -> None:
    """Raise KeyError where the manifest names what it does not have, TypeError for a wrong type."""
    samples, inputs = _list(told["golden"]["samples"]), _list(told["golden"]["inputs"])
    _list(told["files"])
    _equal(len(inputs), samples)
    _are(str, [told["name"], told["safe"], *_list(told["off"])])
    for spec in inputs:
        _are(str, [spec["name"], spec["dtype"]])
        _are(int, _list(spec["shape"]))
    names = [name for v in _list(told["variants"]) for name in (v["file"], *_list(v["beside"]))]
    names += [name for files in samples for name in _list(files)]
    variants = [told["safe"]]
    for chip in _list(told["chips"]):
        _are(str, [chip["why"], *_list(chip["names"]), *_list(chip["manufacturers"])])
        _are(str, [*chip["options"], *chip["options"].values()])
        _are(bool, [chip["npu"]])
        variants.append(chip["variant"])
        if chip["context"] is not None:
            _are(str, [chip["context"]["sdk"]])
            names += [chip["context"]["file"], chip["context"]["binary"]]
        if chip["golden"] is not None:
            names += _golden_names(chip["golden"], len(samples))
    _are(str, names)
    for name in names:
        bundle._files[name]
    for name in variants:
        bundle._variants[name]
    for entry in bundle._files.values():
        _are(int, [entry["size"]])
        _are(str, [entry["sha256"]])


def _golden_names(golden: dict[str, Any], samples: int) -> list[str]:
    expected, limits = _list(golden["expected"]), _list(golden["limits"])
    _equal(len(limits), expected)
    _equal(samples, [expected])
    _are(int, [] if golden["top"] is None else [golden["top"]])
    for limit in limits:
        _are(str, [limit["name"]])
        _FORMATS[limit["dtype"]]
        _are(float, [limit["most"], 0 if limit["step"] is None else limit["step"]])
    return [name for files in expected for name in _list(files)]


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("a value that is no list")
    return value


def _are(kind: type, values: list[Any]) -> None:
    """Of numbers, ``int`` means whole ones below 2^53, however they are written."""
    for value in values:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if kind is int:
            held = number and value == int(value) and abs(value) <= 2**53
        else:
            held = number if kind is float else isinstance(value, kind)
        if not held:
            raise TypeError("a value of another type")


def _equal(count: int, lists: list[Any]) -> None:
    if any(len(one) != count for one in lists):
        raise ValueError("a sample without all inputs or outputs")


def _small(folder: str, name: str, most: int) -> bytes:
    path = _plain(folder, name)
    try:
        with path.open("rb") as stream:
            data = stream.read(most + 1)
    except OSError as error:
        raise BundleError(f"{name} of the bundle cannot be read ({error.strerror})") from error
    if len(data) > most:
        _fail(f"{name} is too long: it was changed")
    return data


def _plain(folder: str, name: str) -> Path:
    """The path; links and all that is no file are refused: they may lead out of the bundle."""
    path, parts = Path(folder), name.split("/")
    for number, part in enumerate(parts):
        path = path / part
        try:
            mode = path.lstat().st_mode
        except OSError as error:
            raise BundleError(f"{name} of the bundle is not there: it is not whole") from error
        if not (stat.S_ISREG(mode) if number == len(parts) - 1 else stat.S_ISDIR(mode)):
            _fail(f"{name} of the bundle is no plain file")
    return path


def _fail(words: str) -> NoReturn:
    raise BundleError(words)


_FORMATS = {
    "float16": "e",
    "float32": "f",
    "float64": "d",
    "int8": "b",
    "uint8": "B",
    "bool": "B",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
}


def _compare(number: int, limit: dict[str, Any], given: bytes, wanted: bytes, top: bool) -> Verdict:
    name = limit["name"]
    if len(given) != len(wanted):
        words = f"sample {number}: {name} has {len(given)} bytes, and {len(wanted)} were measured"
        return Verdict(False, words)
    found, expected = _values(limit["dtype"], given), _values(limit["dtype"], wanted)
    worst = 0.0
    for a, b in zip(found, expected, strict=True):
        if a != b:
            apart = abs(a - b)
            worst = max(worst, apart if not math.isnan(apart) else math.inf)
    step = limit["step"] or 1.0
    if worst > limit["most"]:
        unit = " steps" if limit["step"] else ""
        words = (
            f"sample {number}: {name} is {worst / step:.3g}{unit} off what was measured, and "
            f"{limit['most'] / step:.3g} are allowed"
        )
        return Verdict(False, words, worst / step)
    if top and found and found.index(max(found)) != expected.index(max(expected)):
        return Verdict(False, f"sample {number}: another answer than was measured", worst / step)
    return Verdict(True, "", worst / step)


def _values(dtype: str, data: bytes) -> list[float]:
    code = _FORMATS[dtype]
    count = len(data) // struct.calcsize("<" + code)
    return [float(value) for value in struct.unpack(f"<{count}{code}", data)]


# Ed25519 as in RFC 8032, to verify only: nothing here is secret, so nothing has to be constant in
# time. A point is (X, Y, Z, T) with x = X/Z, y = Y/Z, x*y = T/Z.
_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)
_Point = tuple[int, int, int, int]


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` (64 bytes) over ``message`` is of ``public_key`` (32 bytes).

    Refused as well: S that is not below the group's order, for which a signature has twins; keys of
    small order, for which anybody can sign; a key or R that is not written in its shortest form.
    """
    if len(public_key) != 32 or len(signature) != 64:
        return False
    key, s = _point(public_key), int.from_bytes(signature[32:], "little")
    if key is None or s >= _L:
        return False
    eight = key
    for _ in range(3):
        eight = _add(eight, eight)
    if eight[0] % _P == 0:
        return False
    digest = hashlib.sha512(signature[:32] + public_key + message).digest()
    h = int.from_bytes(digest, "little") % _L
    x, y, z, t = key
    minus = (-x % _P, y, z, -t % _P)
    return _bytes(_twice(s, _BASE, h, minus)) == signature[:32]


def _point(data: bytes) -> _Point | None:
    """The point that 32 bytes are, None where they are none or not the shortest form of one."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    if y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if v * x * x % _P == -u % _P:
        x = x * _ROOT % _P
    if v * x * x % _P != u or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _add(a: _Point, b: _Point) -> _Point:
    """RFC 8032, 5.1.4; complete, so it doubles as well."""
    p = (a[1] - a[0]) * (b[1] - b[0]) % _P
    q = (a[1] + a[0]) * (b[1] + b[0]) % _P
    r = 2 * a[3] * b[3] * _D % _P
    s = 2 * a[2] * b[2] % _P
    e, f, g, h = q - p, s - r, s + r, q + p
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _twice(s: int, a: _Point, h: int, b: _Point) -> _Point:
    """``s*a + h*b``, both scalars bit by bit at once."""
    both = _add(a, b)
    total: _Point = (0, 1, 1, 0)
    for bit in range(252, -1, -1):
        total = _add(total, total)
        which = (s >> bit & 1) | (h >> bit & 1) << 1
        if which:
            total = _add(total, (a, b, both)[which - 1])
    return total


def _bytes(point: _Point) -> bytes:
    x, y, z, _ = point
    back = pow(z, _P - 2, _P)
    return (y * back % _P | (x * back % _P & 1) << 255).to_bytes(32, "little")


_BASE = _point((4 * pow(5, _P - 2, _P) % _P).to_bytes(32, "little")) or (0, 1, 1, 0)
