"""The chips' profiles where a node's constants, factors or second operand choose the rules.

The vendor's simulator is asked now, on settings that no rule was found on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from chipdrift.graph.program import read_program
from chipdrift.graph.single import OneOp, Side, integers, one_op_model, real
from chipdrift.numerics.profiles import get_profile
from chipdrift.probe.ask import Asker
from chipdrift.targets import get_target
from chipdrift.targets.sim.session import SimSession

Array = np.ndarray[Any, Any]
CHIPS = [("hexagon-v69", "sm8450"), ("hexagon-v73", "sm8550")]
by_chip = pytest.mark.parametrize(("profile", "chip"), CHIPS)
pytestmark = pytest.mark.htp


@pytest.fixture(scope="module")
def chip_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """(profile, chip) to a function: an op and its inputs to (the chip's integers, ours).

    A chip's worker is started once for all tests of this file; every question opens a session of
    its own in it.
    """
    pytest.importorskip("onnxruntime_qnn")
    opened: dict[str, Asker] = {}
    path = tmp_path_factory.mktemp("chip") / "model.onnx"

    def chosen(profile: str, chip: str) -> Any:
        if chip not in opened:
            opened[chip] = Asker(get_target(f"htp:{chip}"))
        asker = opened[chip]

        def both(one: OneOp, *given: Array) -> tuple[Array, Array]:
            fed = [(i, s) for i, s in enumerate(one.inputs) if s.integers is None]
            feed = {f"x{i}": real(x, s) for (i, s), x in zip(fed, given, strict=True)}
            path.write_bytes(one_op_model(one))
            (wanted,) = asker.ask(path.read_bytes(), [feed])
            assert asker.opened is not None
            assert {where for where, _, op in asker.opened.nodes if op == one.op} == {"npu"}
            session = SimSession(read_program(str(path)), get_profile(profile))
            assert not session.opened().reasons
            (found,) = session.run(feed)
            return integers(wanted, one.output), integers(found, one.output)

        return both

    yield chosen
    for asker in opened.values():
        asker.__exit__(None, None, None)


def scale(rng: np.random.Generator, low: float, high: float) -> Any:
    return np.float32(np.exp(rng.uniform(np.log(low), np.log(high))))


LEAST = {
    8: [2.0**-18, 2.0**-16 * 0.9999, 2.0**-16, 2.0**-14, 0.01, 0.4999, 0.5, 0.7, 1.5],
    16: [2.0**-18, 2.0**-16 * 0.9999, 2.0**-13, 0.01, 0.4999, 0.5, 0.7, 1.5],
}


@pytest.mark.parametrize("bits", [8, 16])
@by_chip
def test_strided_depthwise_convolutions(profile: str, chip: str, bits: int, chip_of: Any) -> None:
    """The least factor among the channels chooses the rules of the layer."""
    both, rng, high = chip_of(profile, chip), np.random.default_rng([44, bits]), (1 << bits) - 1
    for least in LEAST[bits]:
        factors = np.exp2(rng.uniform(0, 1, 8)) * max(least, 2.0**-9 if bits == 8 else 2.0**-12)
        factors[5] = least
        few = 100 if least < 0.1 else 2
        w, bias = rng.integers(-few, few + 1, (8, 1, 3, 3)), rng.integers(-40, 41, 8)
        zero = high // 3
        reach = high // 2 if least < 0.1 or bits == 16 else 16
        x = np.clip(zero + rng.integers(-reach, reach, (1, 8, 17, 17)), 0, high)
        sw = factors.astype(np.float32)
        inputs = [
            Side(f"uint{bits}", 1.0, zero, shape=x.shape),
            Side("int8", sw, np.zeros(8, int), 0, integers=w),
            Side("int32", sw, np.zeros(8, int), 0, integers=bias),
        ]
        output = Side(f"uint{bits}", 1.0, high // 2 + 5, shape=(1, 8, 8, 8))
        attributes = {"group": 8, "strides": [2, 2], "kernel_shape": [3, 3]}
        wanted, found = both(OneOp("Conv", inputs, output, attributes), x)
        assert len(np.unique(wanted)) > 10
        np.testing.assert_array_equal(found, wanted, f"least S {least}")


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Min", "Max"])
@by_chip
def test_a_constant_of_one_element(
    profile: str, chip: str, op: str, first: bool, chip_of: Any
) -> None:
    both, rng = chip_of(profile, chip), np.random.default_rng([45, ord(op[0]), first])
    for turn in range(10):
        zero_x, zero_y, zero_c = (int(v) for v in rng.integers(10, 246, 3))
        held = (zero_c + int(rng.integers(1, 256))) % 256
        x_scale, c_scale = scale(rng, 0.02, 0.2), scale(rng, 0.003, 0.05)
        number = abs(held - zero_c) * float(c_scale)
        ratio = 1.5 if turn % 3 == 0 else float(scale(rng, 0.2, 4))
        step = {"Mul": float(x_scale) * number, "Div": float(x_scale) / number}
        if op == "Div" and first:
            step["Div"] = number / float(x_scale) / 32
        y = Side("uint8", np.float32(step.get(op, float(x_scale)) / ratio), zero_y, shape=(1, 256))
        sides = [
            Side("uint8", x_scale, zero_x, shape=(1, 256)),
            Side("uint8", c_scale, zero_c, integers=np.array(held)),
        ]
        x = np.arange(256)[None]
        if op == "Div" and first:
            x = np.where(x == zero_x, zero_x + 1, x)  # a known fault: by 0 it says 255.0
        wanted, found = both(OneOp(op, sides[::-1] if first else sides, y), x)
        np.testing.assert_array_equal(found, wanted)


def product(rng: np.random.Generator, x: Array, w: Array, zero_w: int, held: bool) -> OneOp:
    zero_x = int(np.median(x))
    sums = (x.astype(np.int64) - zero_x) @ (w.astype(np.int64) - zero_w)
    dtype = "uint16" if w.max() > 255 else "uint8"
    sides = [
        Side("uint16", scale(rng, 1e-4, 1e-2), zero_x, shape=x.shape),
        Side(dtype, scale(rng, 1e-5, 1e-2), zero_w, shape=w.shape, integers=w if held else None),
    ]
    step = np.ptp(sums) * float(sides[0].scale) * float(sides[1].scale) / 60_000
    zero_y = int(np.clip(3_000 - sums.min() / np.ptp(sums) * 60_000, 0, 65535))
    return OneOp("MatMul", sides, Side("uint16", np.float32(step), zero_y, shape=sums.shape))


@pytest.mark.parametrize("far", [False, True])
@by_chip
def test_weights_with_a_zero_point(profile: str, chip: str, far: bool, chip_of: Any) -> None:
    """16-bit inputs; ``far``: the weights leave signed 8 bits, and are quantized again (N17).

    Then single weights near a half may go the other way: up to a column in thirty of them.
    """
    both, rng, apart = chip_of(profile, chip), np.random.default_rng([46, far]), 0
    for turn in range(8):
        zero_w = int(rng.integers(0, 256))
        low, high = (0, 256) if far else (max(0, zero_w - 128), min(256, zero_w + 128))
        x = np.clip(rng.normal(rng.integers(0, 65536), 6000, (24, 20)), 0, 65535).astype(int)
        one = product(rng, x, rng.integers(low, high, (20, 32)), zero_w, held=True)
        wanted, found = both(one, x)
        assert len(np.unique(wanted)) > 300, turn
        apart += int((found != wanted).any(axis=0).sum())
    assert apart <= (8 * 32 // 30 if far else 0)


@by_chip
def test_two_activations_of_16_bits(profile: str, chip: str, chip_of: Any) -> None:
    """A batch of them, as attention has it; the second comes to 8 bits first (N16)."""
    both, rng = chip_of(profile, chip), np.random.default_rng(47)
    for zero in (0, 12_345, 25_700, 32_768, int(rng.integers(20_000, 32_000))):
        low, high = max(0, zero - 126 * 257), min(65536, zero + 126 * 257)
        x = np.clip(rng.normal(rng.integers(0, 65536), 6000, (2, 16, 24)), 0, 65535).astype(int)
        w = rng.integers(low, high, (2, 24, 20))
        wanted, found = both(product(rng, x, w, zero, held=False), x, w)
        assert len(np.unique(wanted)) > 200
        np.testing.assert_array_equal(found, wanted, f"zero point {zero}")


@by_chip
def test_two_activations_beyond_signed_bytes(profile: str, chip: str, chip_of: Any) -> None:
    """Columns of each matrix of a batch are quantized again, as weights are (N17)."""
    both, rng, apart = chip_of(profile, chip), np.random.default_rng(48), 0
    for zero in (5_000, 50_000, 60_000):
        x = np.clip(rng.normal(30_000, 6000, (2, 16, 24)), 0, 65535).astype(int)
        w = rng.integers(0, 65536, (2, 24, 20))
        wanted, found = both(product(rng, x, w, zero, held=False), x, w)
        apart += int((found != wanted).any(axis=1).sum())
    assert apart <= 3 * 2 * 20 // 30
