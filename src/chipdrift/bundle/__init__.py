"""Write what each chip gets as a folder that an app loads, signed, and refuse a damaged one."""

from chipdrift.bundle.keys import PublicKey, SigningKey, read_public
from chipdrift.bundle.make import DEFAULT_GOLDEN, Made, make_bundle, schema_bytes
from chipdrift.bundle.records import Manifest, manifest_schema
from chipdrift.bundle.selectors import LANGUAGES, write_selector

__all__ = [
    "DEFAULT_GOLDEN",
    "LANGUAGES",
    "Made",
    "Manifest",
    "PublicKey",
    "SigningKey",
    "make_bundle",
    "manifest_schema",
    "read_public",
    "schema_bytes",
    "write_selector",
]
