"""Ed25519 keys in PEM files, as openssl reads and writes them."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from chipdrift.bundle.layout import write_whole
from chipdrift.errors import ChipdriftError

_MOST = 1 << 16
_MAKE = "Make one with chipdrift bundle-key -o KEY.pem"


@final
@dataclass(frozen=True)
class PublicKey:
    """What an app carries: ``hex`` are its 32 bytes, ``pem`` the same for openssl."""

    hex: str
    pem: str

    @property
    def fingerprint(self) -> str:
        """The start of the SHA-256 of the key's bytes, to be compared by people."""
        digest = hashlib.sha256(bytes.fromhex(self.hex)).hexdigest()
        return ":".join(digest[at : at + 4] for at in range(0, 32, 4))


@final
class SigningKey:
    """A private key; its bytes are never shown."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def fresh(cls) -> SigningKey:
        """A new one."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def read(cls, file: Path) -> SigningKey:
        """The key in a PEM file; raises ChipdriftError where it is none, or of another kind."""
        try:
            data = _content(file)
        except OSError as error:
            raise ChipdriftError(
                f"Key {file}: cannot be read ({error.strerror}). {_MAKE}."
            ) from error
        if b"PUBLIC KEY" in data:
            raise ChipdriftError(
                f"Key {file}: it is a public key, and only the private one signs. Give that."
            )
        try:
            key = serialization.load_pem_private_key(data, None)
        except TypeError as error:
            raise ChipdriftError(
                f"Key {file}: it has a passphrase. Write it without: openssl pkey -in {file} "
                "-out KEY.pem."
            ) from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ChipdriftError(f"Key {file}: no private key in PEM is in it. {_MAKE}.") from error
        if not isinstance(key, Ed25519PrivateKey):
            kind = type(key).__name__.removeprefix("_").removesuffix("PrivateKey")
            raise ChipdriftError(
                f"Key {file}: it is an {kind} key, and bundles are signed with Ed25519. {_MAKE}."
            )
        return cls(key)

    @property
    def public(self) -> PublicKey:
        """Its public half."""
        return _told(self._key.public_key())

    def sign(self, data: bytes) -> bytes:
        """The 64 bytes of the signature."""
        return self._key.sign(data)

    def write(self, file: Path) -> None:
        """Write it for its owner alone; raises ChipdriftError where the file exists."""
        data = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(file):
                raise FileExistsError
            write_whole(file, data, mode=0o600, over=False)
        except FileExistsError as error:
            raise ChipdriftError(
                f"-o {file}: it exists, and a key that apps trust must not be lost. Give a new "
                "file."
            ) from error
        except OSError as error:
            raise ChipdriftError(f"-o {file}: cannot be written ({error.strerror}).") from error


def read_public(text: str) -> PublicKey:
    """A public key by its 64 hexadecimal digits, or in a PEM file; raises ChipdriftError."""
    try:
        raw = bytes.fromhex(text) if len(text) == 64 else None
    except ValueError:
        raw = None
    if raw is not None:
        return _told(Ed25519PublicKey.from_public_bytes(raw))
    try:
        key = serialization.load_pem_public_key(_content(Path(text)))
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise ChipdriftError(
            f"--public-key {text}: neither 64 hexadecimal digits nor a PEM file with a public key. "
            "chipdrift bundle prints the digits."
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ChipdriftError(f"--public-key {text}: this key is not of the kind Ed25519.")
    return _told(key)


def _content(file: Path) -> bytes:
    """A key file; raises OSError where it is no plain file (a pipe may never end) or too long."""
    # Without O_NONBLOCK, opening a pipe waits for somebody who writes.
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb", closefd=True) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no plain file")
        data = stream.read(_MOST + 1)
    if len(data) > _MOST:
        raise OSError(errno.EFBIG, f"it is longer than {_MOST:,} bytes")
    return data


def _told(key: Ed25519PublicKey) -> PublicKey:
    pem = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return PublicKey(key.public_bytes_raw().hex(), pem.decode())
