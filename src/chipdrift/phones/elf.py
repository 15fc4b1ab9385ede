"""Of an ELF file: which processor it is for, and which loader starts it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import final

from chipdrift.phones.server import PhoneError

# e_machine by the name that ``uname -m`` has for it.
_MACHINES = {3: "i686", 40: "armv7l", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
_PT_INTERP = 3


@final
@dataclass(frozen=True)
class Elf:
    """``loader`` is the program's interpreter, "" of a library or a static program."""

    machine: str
    loader: str


def read_elf(path: Path) -> Elf:
    """Read a 64-bit little-endian ELF file's header; raises PhoneError for any other file.

    Layout: System V ABI, ELF-64 Object File Format.
    """
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01" or len(data) < 64:
        kind = "a 32-bit or big-endian ELF file" if data[:4] == b"\x7fELF" else "no ELF file"
        raise PhoneError(f"{path} is {kind}, and a 64-bit program or library is expected.")
    (machine,) = struct.unpack_from("<H", data, 18)
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    # Linkers write the table of sections last: where it lacks, the file's end does.
    (sections,) = struct.unpack_from("<Q", data, 40)
    each, many = struct.unpack_from("<HH", data, 58)
    if sections + each * many > len(data):
        raise PhoneError(f"{path} is cut short: its section headers are not all there.")
    loader = ""
    for index in range(count):
        at = table + index * size
        if size < 56 or at + 56 > len(data):
            raise PhoneError(f"{path} is cut short: its program headers are not all there.")
        (kind_of,) = struct.unpack_from("<I", data, at)
        if kind_of == _PT_INTERP:
            start, length = (struct.unpack_from("<Q", data, at + off)[0] for off in (8, 32))
            loader = data[start : start + length].rstrip(b"\0").decode("ascii", errors="replace")
    return Elf(_MACHINES.get(machine, f"machine {machine}"), loader)
