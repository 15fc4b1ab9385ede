"""Put onnxruntime's library into a kit: ``python -m chipdrift.phones.library FOLDER``.

For a Linux with adbd (``.../linux-aarch64``) it comes from the aarch64 wheel of the installed
release, fetched by pip. For Android (``.../arm64-v8a``) it is taken out of the AAR that ``--aar``
names: com.microsoft.onnxruntime:onnxruntime-android, or onnxruntime-android-qnn with QNN inside.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path

from chipdrift.errors import ChipdriftError
from chipdrift.phones.kit import LIBRARY

# glibc of a board may be old: the wheel that asks for least is taken.
_GLIBC = range(17, 40)


def library_from_wheel(folder: Path, machine: str) -> Path:
    """Fetch the wheel of the installed onnxruntime for ``machine``; raises ChipdriftError."""
    release = metadata.version("onnxruntime")
    with tempfile.TemporaryDirectory() as place:
        platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in _GLIBC]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check"),
                *("--quiet", "--no-input", "--no-deps", "--only-binary=:all:", "--dest", place),
                *platforms,
                f"onnxruntime=={release}",
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        wheels = sorted(Path(place).glob("*.whl"))
        if done.returncode or not wheels:
            words = " ".join((done.stderr or done.stdout).split())[-300:]
            raise ChipdriftError(
                f"onnxruntime {release} for {machine} could not be fetched (pip: {words})."
            )
        return _unpack(wheels[0], f"onnxruntime/capi/{LIBRARY}.{release}", folder)


def library_from_aar(folder: Path, aar: Path, abi: str) -> Path:
    """Take the library of ``abi`` out of an Android archive; raises ChipdriftError."""
    return _unpack(aar, f"jni/{abi}/{LIBRARY}", folder)


def _unpack(archive: Path, member: str, folder: Path) -> Path:
    target = folder / LIBRARY
    try:
        with zipfile.ZipFile(archive) as files:
            data = files.read(member)
    except KeyError as error:
        raise ChipdriftError(f"{archive} holds no {member}.") from error
    except (OSError, zipfile.BadZipFile) as error:
        words = getattr(error, "strerror", None) or "it is no zip archive"
        raise ChipdriftError(f"{archive} cannot be read: {words}.") from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{LIBRARY}.partial")
        partial.write_bytes(data)
        partial.replace(target)
    except OSError as error:
        raise ChipdriftError(f"{target} cannot be written: {error.strerror}.") from error
    return target


def main() -> None:
    """Read the command line: 0 there, 2 not."""
    parser = argparse.ArgumentParser(prog="python -m chipdrift.phones.library")
    parser.add_argument("folder", type=Path, help="the kit, as chipdrift doctor adb: names it")
    parser.add_argument("--aar", type=Path, help="onnxruntime-android-<release>.aar, for Android")
    given = parser.parse_args()
    folder = given.folder.absolute()
    try:
        if given.aar is not None:
            print(library_from_aar(folder, given.aar, folder.name))
        elif folder.name.startswith("linux-"):
            print(library_from_wheel(folder, folder.name.removeprefix("linux-")))
        else:
            raise ChipdriftError(
                f"{folder.name} is Android's: no wheel holds its library. Give the archive "
                "onnxruntime-android (com.microsoft.onnxruntime, from Maven) by --aar FILE."
            )
    except ChipdriftError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
