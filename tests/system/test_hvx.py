"""What the HVX's own instructions answer (Debian's clang, qemu-hexagon) against a scalar model."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

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


# The scalar models: to be replaced by the rules of chipdrift.numerics (accumulate: int32, wrap;
# requantize: power of two, HALF_UP, saturate).


def dot_wrap(start: int, a: list[int], w: list[int]) -> int:
    """One lane: exact sum of products, then the low 32 bits as a signed number."""
    total = start + sum(x * y for x, y in zip(a, w, strict=True))
    return (total + 2**31) % 2**32 - 2**31


def shift_half_up(value: int, shift: int, low: int, high: int) -> int:
    """``floor(value / 2**shift + 1/2)`` exactly, saturated to ``low`` .. ``high``."""
    half = (1 << shift) >> 1
    return min(max((value + half) >> shift, low), high)


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
        for lane in range(LANES):
            exact = int(start[lane]) + int(a[lane].astype(np.int64) @ w[lane].astype(np.int64))
            wrapped += not INT32.min <= exact <= INT32.max
            assert answers[lane] == dot_wrap(int(start[lane]), a[lane].tolist(), w[lane].tolist())
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
        for vector, narrowed in zip(values.tolist(), by_vector, strict=True):
            wanted = [shift_half_up(value, words, -32768, 32767) for value in vector]
            assert narrowed.tolist() == wanted, (words, vector)
            ties += sum(words > 0 and value % (1 << words) == 1 << words >> 1 for value in vector)
            saturated += sum(value in (-32768, 32767) for value in wanted)
        for place, half in enumerate(int16.reshape(2, 2 * LANES).tolist()):
            wanted = [shift_half_up(value, halves, 0, 255) for value in half]
            assert uint8[:, place].tolist() == wanted, (halves, half)
    assert min(ties, saturated) > 1000, "the tiles must reach ties and both ends"
