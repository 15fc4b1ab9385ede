"""RFC 8032's published vectors for Ed25519, and signatures that must be refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

L = 2**252 + 27742317777372353535851937790883648493
P = 2**255 - 19

# RFC 8032, section 7.1: public key, message, signature.
RFC_8032 = (
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        "4a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").hexdigest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e030"
        "3dca179c138ac17ad9bef1177331a704",
    ),
)

# The points of order 1, 2, 4 and 8, and longer forms of them (y + p, or x = 0 with the sign set).
_EIGHT = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"
_EIGHT_TOO = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"


def _with_sign(point: str) -> str:
    raw = bytearray(bytes.fromhex(point))
    raw[31] ^= 0x80
    return raw.hex()


def _number(value: int) -> str:
    return value.to_bytes(32, "little").hex()


SMALL_ORDER = (
    _number(1),
    _number(P - 1),
    _number(0),
    _with_sign(_number(0)),
    _EIGHT,
    _with_sign(_EIGHT),
    _EIGHT_TOO,
    _with_sign(_EIGHT_TOO),
    _with_sign(_number(1)),
    _with_sign(_number(P - 1)),
    _number(P),
    _number(P + 1),
    _with_sign(_number(P)),
    _with_sign(_number(P + 1)),
)


def refused() -> Iterator[tuple[str, str, str, str]]:
    """What it is; public key, message and signature in hexadecimal."""
    for key in SMALL_ORDER:
        # R = 1 and S = 0: h*A is 1 for every message whose h the order divides, which for the
        # neutral element is every one.
        yield f"small order {key[:8]}", key, "00", _number(1) + _number(0)
        for text in ("00", "01", "02", "03", "04", "05", "06", "07"):
            yield f"small order {key[:8]} {text}", key, text, _number(1) + _number(0)
    for key, message, signature in RFC_8032:
        s = int.from_bytes(bytes.fromhex(signature[64:]), "little")
        for times in range(1, 15):
            if s + times * L < 2**256:
                yield f"S + {times} L", key, message, signature[:64] + _number(s + times * L)
        yield "another message", key, message + "00", signature
        yield "R in another form", key, message, _with_sign(signature[:64]) + signature[64:]
        for at in range(0, 64, 7):
            raw = bytearray(bytes.fromhex(signature))
            raw[at] ^= 4
            yield f"byte {at}", key, message, raw.hex()
        yield "too short", key, message, signature[:-2]
        yield "too long", key, message, signature + "00"
        yield "key too short", key[:-2], message, signature
        yield (
            "another's key",
            RFC_8032[0][0] if key != RFC_8032[0][0] else RFC_8032[1][0],
            (message),
            signature,
        )
    yield "no point", _number(2), "00", _number(1) + _number(0)


def random_signatures(count: int) -> Iterator[tuple[str, str, str]]:
    """Made by another implementation: OpenSSL, by the package cryptography."""
    for number in range(count):
        key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"k{number}".encode()).digest())
        message = hashlib.shake_256(f"m{number}".encode()).digest(number * 3 % 400)
        public = key.public_key().public_bytes_raw().hex()
        yield public, message.hex(), key.sign(message).hex()
