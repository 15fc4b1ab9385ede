"""The Python selector's Ed25519 against RFC 8032, OpenSSL, and signatures to be refused."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from ed25519_cases import RFC_8032, SMALL_ORDER, random_signatures, refused

from chipdrift.bundle.selectors.python.chipdrift_bundle import _P, _point, verify


def check(key: str, message: str, signature: str) -> bool:
    return verify(bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature))


def openssl(key: str, message: str, signature: str) -> bool:
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        public.verify(bytes.fromhex(signature), bytes.fromhex(message))
    except (InvalidSignature, ValueError):
        return False
    return True


def test_the_published_vectors() -> None:
    assert [check(*case) for case in RFC_8032] == [True] * 4
    assert [openssl(*case) for case in RFC_8032] == [True] * 4


def test_what_another_implementation_signed() -> None:
    assert all(check(*case) for case in random_signatures(120))


@pytest.mark.parametrize("case", list(refused()), ids=lambda case: case[0])
def test_what_is_refused(case: tuple[str, str, str, str]) -> None:
    assert not check(*case[1:])


def test_keys_of_small_order_need_their_own_refusal() -> None:
    """Without it anybody could sign: OpenSSL takes such signatures, since the equation holds."""
    forged = [case for case in refused() if case[1] in SMALL_ORDER]
    assert any(openssl(*case[1:]) for case in forged)


def test_a_key_has_one_form() -> None:
    """y + p, and x = 0 with a sign: no signature shows it, since such keys are of small order."""
    points = [y for y in range(19) if _point(y.to_bytes(32, "little")) is not None]
    assert len(points) > 5
    assert all(_point((y + _P).to_bytes(32, "little")) is None for y in points)
    for y in (1, _P - 1):
        assert _point(y.to_bytes(32, "little")) is not None
        assert _point((y | 1 << 255).to_bytes(32, "little")) is None
