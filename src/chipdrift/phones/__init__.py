"""Phones over adb: find, identify, push by hash, run, watch their health, read their logs."""

from chipdrift.phones.files import PhoneFiles, free_bytes
from chipdrift.phones.health import Health, cool_down, take_health
from chipdrift.phones.identity import Identity, identify
from chipdrift.phones.kit import Kit, Piece, htp_libraries, kit_for, kits_in, piece
from chipdrift.phones.logcat import RunLog
from chipdrift.phones.phone import Phone, Ran, Stream, find_phone
from chipdrift.phones.program import clean_phone
from chipdrift.phones.server import (
    AdbServer,
    PhoneError,
    PhoneGoneError,
    Seen,
    adb_at,
    adb_program,
    current_server,
)

__all__ = [
    "AdbServer",
    "Health",
    "Identity",
    "Kit",
    "Phone",
    "PhoneError",
    "PhoneFiles",
    "PhoneGoneError",
    "Piece",
    "Ran",
    "RunLog",
    "Seen",
    "Stream",
    "adb_at",
    "adb_program",
    "clean_phone",
    "cool_down",
    "current_server",
    "find_phone",
    "free_bytes",
    "htp_libraries",
    "identify",
    "kit_for",
    "kits_in",
    "piece",
    "take_health",
]
