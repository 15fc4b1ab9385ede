"""What the HVX's own instructions answer (clang, qemu-hexagon) against the engine's rules."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from chipdrift.numerics.accumulate import dot, fit
from chipdrift.numerics.profile import Accumulator, Requantize
from chipdrift.numerics.requantize import Channel, requantize
from chipdrift.numerics.rounding import Rounding

pytestmark = pytest.mark.system

Kernel = Callable[[bytes], bytes]
LANES = 32
INT32 = np.iinfo(np.int32)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Kernel]:
    """Compile ``tests/support/hvx/<name>.c`` and hand back a function from stdin to stdout."""
    for tool in ("clang", "ld.lld", "qemu-hexagon"):
        if shutil.which(tool) is None:
            pytest.fail(f"{tool} is missing: run scripts/install-debian clang lld qemu-user")
    folder = tmp_path_factory.mktemp("hvx")
    sources = Path(__file__).parents[1] / "support" / "hvx"

    def build(name: str) -> Kernel:
        program = folder / name
        subprocess.run(
            [
                *("clang", "--target=hexagon", "-mcpu=hexagonv68", "-mhvx", "-mhvx-length=128B"),
                *("-O2", "-Wall", "-Werror", "-ffreestanding", "-nostdlib", "-static"),
                *("-fuse-ld=lld", "-o", str(program), str(sources / f"{name}.c")),
            ],
            check=True,
            timeout=120,
        )

        def run(data: bytes) -> bytes:
            done = subprocess.run(
                ["qemu-hexagon", str(program)],
                input=data,
                capture_output=True,
                timeout=120,
                check=True,
            )
            return done.stdout

        return run

    return build


VRMPY = Accumulator(width=32, overflow="wrap")
# vasr:rnd:sat: the half that is added has more than 32 bits to fall into.
VASR_SUMS = Accumulator(width=64)
VASR = Requantize(multiplier="power_of_two", rounding=Rounding.HALF_UP)


def shifted(values: np.ndarray, shift: int, low: int, high: int) -> np.ndarray:
    """Requantized by ``2**-shift``, saturated to ``low`` .. ``high``."""
    nothing = np.zeros(1, np.int64)
    channel = Channel(Fraction(1, 1 << shift))
    flat = values.astype(np.int64).reshape(-1, 1)
    out = requantize(flat, nothing, [channel], 0, low, high, VASR_SUMS, VASR)
    return out.reshape(values.shape)


def dot_tiles() -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(start (32,) int32, a (32, K) uint8, w (32, K) int8): random ones and all extremes."""
    rng = np.random.default_rng(1)
    tiles = []
    for index in range(220):
        k = 4 * int(rng.integers(1, 65))
        start = rng.integers(INT32.min, INT32.max, LANES, np.int32, endpoint=True)
        if index % 2:
            start = np.zeros(LANES, np.int32)
        a = rng.integers(0, 256, (LANES, k)).astype(np.uint8)
        w = rng.integers(-128, 128, (LANES, k)).astype(np.int8)
        tiles.append((start, a, w))
    # Sums far beyond 16 bits, and over both ends of 32 bits.
    for edge in (INT32.min, -1, 0, 1, INT32.max):
        for x in (0, 1, 255):
            for y in (-128, -127, -1, 1, 127):
                start = np.full(LANES, edge, np.int32)
                a = np.full((LANES, 1024), x, np.uint8)
                tiles.append((start, a, np.full((LANES, 1024), y, np.int8)))
    return tiles


def test_vrmpy_accumulates_in_32_bits_and_wraps(kernel: Callable[[str], Kernel]) -> None:
    tiles = dot_tiles()
    assert len(tiles) >= 200
    data = b""
    for start, a, w in tiles:
        steps = a.shape[1] // 4
        # Step by step: (32, steps, 4) to (steps, 32, 4), activations and weights in turn.
        pairs = np.stack([a.view(np.int8), w]).reshape(2, LANES, steps, 4).transpose(2, 0, 1, 3)
        data += start.tobytes() + np.int32(steps).tobytes() + pairs.tobytes()
    found = np.frombuffer(kernel("vrmpy")(data), np.int32).reshape(len(tiles), LANES)
    wrapped = 0
    for (start, a, w), answers in zip(tiles, found, strict=True):
        sums = dot(a[:, None, :], w[:, :, None], VRMPY)[:, 0, 0]
        wanted = fit(start + sums, VRMPY.width, VRMPY.overflow)
        assert answers.tolist() == wanted.tolist()
        exact = start + np.einsum("lk,lk->l", a.astype(np.int64), w.astype(np.int64))
        wrapped += int((exact != wanted).sum())
    assert wrapped > 100, "the tiles must reach beyond 32 bits for this to say anything"


def shift_tiles() -> list[tuple[int, int, np.ndarray]]:
    """(shift of the words, of the halves, (4, 32) int32): every shift, random words, extremes."""
    rng = np.random.default_rng(2)
    tiles = []
    for index in range(16 * 8 * 2):
        words, halves = index % 16, index // 16 % 8
        # Sizes from a few bits, where halves are common, to all 31.
        bits = rng.integers(1, 32, (4, LANES))
        values = rng.integers(-(2**bits), 2**bits)
        near_half = (values >> words << words) + (1 << words >> 1) + rng.integers(-1, 2, (4, LANES))
        values = np.where(rng.random((4, LANES)) < 0.3, near_half, values)
        edges = [e + d for e in (INT32.min, -32768, 0, 32767, INT32.max) for d in (-1, 0, 1)]
        values[0, : len(edges)] = edges
        tiles.append((words, halves, values.clip(INT32.min, INT32.max).astype(np.int32)))
    return tiles


def test_vasr_rnd_sat_is_half_up_and_saturates(kernel: Callable[[str], Kernel]) -> None:
    tiles = shift_tiles()
    assert len(tiles) >= 200
    data = b"".join(np.int32([w, h]).tobytes() + values.tobytes() for w, h, values in tiles)
    size = 2 * 128 + 128
    found = kernel("vasr")(data)
    assert len(found) == size * len(tiles)
    ties = saturated = 0
    for index, (words, halves, values) in enumerate(tiles):
        answer = found[index * size : (index + 1) * size]
        int16 = np.frombuffer(answer[:256], np.int16).reshape(2, LANES, 2)
        uint8 = np.frombuffer(answer[256:], np.uint8).reshape(2 * LANES, 2)
        # Vector 0 lies in the even places of the first pair, vector 1 in the odd ones.
        by_vector = [int16[0, :, 0], int16[0, :, 1], int16[1, :, 0], int16[1, :, 1]]
        wanted = shifted(values, words, -32768, 32767)
        np.testing.assert_array_equal(np.stack(by_vector), wanted, str(words))
        ties += int((values % (1 << words) == 1 << words >> 1).sum()) if words else 0
        saturated += int(np.isin(wanted, (-32768, 32767)).sum())
        bytes_wanted = shifted(int16.reshape(2, 2 * LANES), halves, 0, 255)
        np.testing.assert_array_equal(uint8.T, bytes_wanted, str(halves))
    assert min(ties, saturated) > 1000, "the tiles must reach ties and both ends"
