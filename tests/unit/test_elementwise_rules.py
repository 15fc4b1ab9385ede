"""Fixed-point rules against formulas written a second time, and against the simulator."""

from __future__ import annotations

from math import floor, log2
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from pydantic import ValidationError
from single_op import Array, Case, Q, by_engine, feed_of, model_of, profile

from chipdrift.graph.program import program_of
from chipdrift.numerics.profile import Elementwise, Profile
from chipdrift.numerics.profiles import get_profile
from chipdrift.targets.sim.session import SimSession

BYTES = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")
SEEDS = range(6)


def half_up(v: Any) -> Any:
    return np.floor(np.asarray(v, np.float64) + 0.5).astype(np.int64)


def quantizers(seed: int, top: int) -> tuple[Any, ...]:
    rng = np.random.default_rng([seed, top])
    return (*np.exp(rng.uniform(-4, 2, 3)).astype(np.float32), *map(int, rng.integers(0, top, 3)))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("op", "sign"), [("Add", 1), ("Sub", -1)])
def test_sums_of_bytes(op: str, sign: int, seed: int) -> None:
    sa, sb, so, za, zb, zo = quantizers(seed, 256)
    a, b = BYTES
    ra, rb = float(sa) / float(so), float(sb) / float(so)
    sh = min(15, 13 - floor(log2(ra + rb if sign > 0 else max(ra, rb))))
    ma, mb = round(ra * 2.0**sh), sign * round(rb * 2.0**sh)
    c = floor((zo + 0.5) * 2.0**sh / 256) - floor((za * ma + zb * mb + 128) / 256)
    c = (c + 2**15) % 2**16 - 2**15
    want = np.clip(np.floor((a * ma + b * mb + 256 * c) / 2.0**sh), 0, 255)
    rules = {
        "arithmetic": "fixed_point", "bits": 14, "leading": "sum" if sign > 0 else "largest",
        "fraction": 15, "zero_step": 256, "zero_width": 16, "rounding": "HALF_UP",
    }  # fmt: skip
    case = Case(op, [Q("uint8", sa, za, a), Q("uint8", sb, zb, b)], Q("uint8", so, zo))
    np.testing.assert_array_equal(by_engine(case, elementwise=rules), want)


def test_a_constant_that_wraps_sends_all_outputs_to_one_end() -> None:
    a, b = BYTES
    case = Case(
        "Sub", [Q("uint8", 0.0088, 134, a), Q("uint8", 0.3172, 223, b)], Q("uint8", 1.0, 247)
    )
    rules = {"arithmetic": "fixed_point", "bits": 14, "fraction": 15, "zero_step": 256}
    kept = by_engine(case, elementwise={**rules, "rounding": "HALF_UP"})
    wrapped = by_engine(case, elementwise={**rules, "rounding": "HALF_UP", "zero_width": 16})
    assert kept.min() > 200
    assert not wrapped.any()


@pytest.mark.parametrize("seed", SEEDS)
def test_products_of_bytes(seed: int) -> None:
    sa, sb, so, za, zb, zo = quantizers(seed, 256)
    a, b = BYTES
    r = float(sa) * float(sb) / float(so)
    sh = min(22, 14 - floor(log2(r)))
    m = round(r * 2.0**sh)
    u, v = za - 128, zb - 128
    k = 256 * floor((2 * u * v + u + v + 128) / 256)
    p = (a - za) * (b - zb)
    want = zo + half_up(((p - k) * m + 32768 * floor(k * m / 32768 + 0.5)) / 2.0**sh)
    rules = {
        "arithmetic": "fixed_point", "bits": 15, "fraction": 22, "zero_step": 32768,
        "rounding": "HALF_UP",
    }  # fmt: skip
    case = Case("Mul", [Q("uint8", sa, za, a), Q("uint8", sb, zb, b)], Q("uint8", so, zo))
    np.testing.assert_array_equal(by_engine(case, elementwise=rules), np.clip(want, 0, 255))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("op", "sign"), [("Identity", 1), ("Neg", -1)])
def test_another_quantizer_in_two_roundings(op: str, sign: int, seed: int) -> None:
    si, _, so, zi, _, zo = quantizers(seed, 256)
    r, q = float(si) / float(so), np.arange(256)
    sh = 14 - floor(log2(r))
    k = max(3, 6 - max(0, floor(log2(r))))
    t = half_up(sign * (q - zi) * round(r * 2.0**sh) * 2.0 ** (k - sh))
    want = np.clip(zo + half_up(t / 2.0**k), 0, 255)
    rules = {"arithmetic": "fixed_point", "bits": 15, "guard": 6, "rounding": "HALF_UP"}
    case = Case(op, [Q("uint8", si, zi, q)], Q("uint8", so, zo))
    np.testing.assert_array_equal(by_engine(case, elementwise=rules), want)


GUARD = {"arithmetic": "fixed_point", "bits": 15, "guard": 6, "rounding": "HALF_UP"}


def one(scale: Any, zero: int, value: int, rank: int = 1) -> Q:
    """A constant of one element, uint8."""
    return Q("uint8", scale, zero, np.full((1,) * rank, value), constant=True)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("above", [True, False])
@pytest.mark.parametrize(("op", "first"), [("Mul", False), ("Mul", True), ("Div", False)])
def test_a_constant_changes_the_quantizer(op: str, first: bool, above: bool, seed: int) -> None:
    """Under rules with a guard, a negative constant too (N34)."""
    si, sc, so, zi, zc, zo = quantizers(seed, 256)
    zc = zc // 2 if above else 128 + zc // 2
    held = zc + 100 if above else zc - 100
    number = (held - zc) * float(sc)
    r = float(si) * (number if op == "Mul" else 1 / number) / float(so)
    q, sign, r = np.arange(256), np.sign(r), abs(r)
    sh, k = 14 - floor(log2(r)), max(3, 6 - max(0, floor(log2(r))))
    t = half_up(sign * (q - zi) * round(r * 2.0**sh) * 2.0 ** (k - sh))
    want = np.clip(zo + half_up(t / 2.0**k), 0, 255)
    sides = [Q("uint8", si, zi, q), one(sc, zc, held)]
    case = Case(op, sides[::-1] if first else sides, Q("uint8", so, zo))
    np.testing.assert_array_equal(by_engine(case, elementwise=GUARD), want)


def test_a_constant_keeps_the_shape_that_it_broadcasts_to() -> None:
    x = Q("uint8", 0.1, 7, np.arange(12).reshape(3, 4))
    case = Case("Mul", [x, one(0.1, 0, 9, rank=4)], Q("uint8", 0.1, 3))
    assert by_engine(case, elementwise=GUARD).shape == (1, 1, 3, 4)


@pytest.mark.parametrize("op", ["Mul", "Div"])
def test_a_constant_of_nothing(op: str) -> None:
    """By 0: nothing, or the nearest end of the range (N46)."""
    case = Case(op, [Q("uint8", 0.1, 7, np.array([0, 7, 9])), one(0.1, 5, 5)], Q("uint8", 0.1, 3))
    want = [3, 3, 3] if op == "Mul" else [0, 3, 255]
    np.testing.assert_array_equal(by_engine(case, elementwise=GUARD), want)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Min", "Max"])
def test_each_kind_of_constant_has_its_rules(op: str, fast: bool) -> None:
    """A rounding of its own tells which kernel's rules were followed."""
    kernels = ["constant"]
    kernels += ["constant_first"] if op in ("Sub", "Div") else []
    kernels += ["negative_constant"] if op in ("Mul", "Div") else []
    x, y = Q("uint8", 0.013, 90, np.arange(1, 160)), Q("uint8", 0.02, 130)
    tensor = Q("uint8", 0.1, 7, np.full(159, 9), constant=True)
    above, below = one(0.1, 7, 9), one(0.1, 7, 3)
    asked = {
        "constant": [x, above], "negative_constant": [x, below], "constant_first": [above, x],
        None: [x, tensor],
    }  # fmt: skip
    for kernel in [*kernels, None]:
        sides = asked[kernel]
        rounded = {
            name: by_engine(Case(op, sides, y), elementwise={"arithmetic": "exact", "rounding": r})
            for name, r in (("own", "FLOOR"), ("other", "HALF_UP"))
        }
        assert (rounded["own"] != rounded["other"]).any()
        rules = [
            {
                "ops": [op],
                "kernel": known,
                "elementwise": {
                    "arithmetic": "exact", "rounding": "FLOOR" if known == kernel else "HALF_EVEN",
                },
            }
            for known in kernels
        ]  # fmt: skip
        held = profile(elementwise={"arithmetic": "exact", "rounding": "HALF_UP"}, rule=rules)
        case = Case(op, sides, y)
        found = SimSession(program_of(model_of(case)), held, fast).run(feed_of(case))[0]
        np.testing.assert_array_equal(found, rounded["other" if kernel is None else "own"])


def test_a_table_has_the_zero_point_inside() -> None:
    """``rint(float32((x + c) / sy) + zy)`` where onnxruntime has a kernel of its own (N32)."""
    q, f = np.arange(256), np.float32
    inside = {"arithmetic": "float32", "rounding": "HALF_EVEN", "zero_point": "inside"}
    case = Case("Add", [Q("uint8", 0.07, 103, q), one(0.05, 3, 19)], Q("uint8", 0.04, 8))
    real = (q - 103).astype(f) * f(0.07) + f(16) * f(0.05)
    want = np.clip(np.rint(real / f(0.04) + f(8)), 0, 255)
    np.testing.assert_array_equal(by_engine(case, elementwise=inside), want)
    fused = by_engine(case, elementwise={**inside, "zero_point": "output"})
    assert (fused != want).any()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("op", "sign"), [("Identity", 1), ("Neg", -1)])
def test_both_parts_counted_from_the_middle(op: str, sign: int, seed: int) -> None:
    si, _, so, zi, _, zo = quantizers(seed, 1 << 16)
    q = np.arange(1 << 16)
    m = round(float(np.float32(si) / np.float32(so)) * 2.0**18)
    x, c = half_up(sign * (q - 32768) * m / 2.0**15), half_up(-sign * (zi - 32768) * m / 2.0**15)
    want = np.clip(zo + half_up((x + c) / 8), 0, 65535)
    rules = {
        "arithmetic": "fixed_point", "bits": 19, "leading": "one", "scale": "float32", "guard": 3,
        "parts": "apart", "rounding": "HALF_UP",
    }  # fmt: skip
    case = Case(op, [Q("uint16", si, zi, q)], Q("uint16", so, zo))
    np.testing.assert_array_equal(by_engine(case, elementwise=rules), want)


def test_what_is_held_of_a_mean_is_the_factor_over_the_count() -> None:
    x = np.random.default_rng(3).integers(0, 1 << 16, (1, 200, 5, 5))
    case = Case("GlobalAveragePool", [Q("uint16", 0.7, 31000, x)], Q("uint16", 0.3, 32000))
    r = float(np.float32(0.7)) / float(np.float32(0.3)) / 25
    sh = 14 - floor(log2(r))
    total = (x - 31000).sum((2, 3), keepdims=True)
    want = np.clip(half_up(total * round(r * 2.0**sh) / 2.0**sh) + 32000, 0, 65535)
    rules = {"arithmetic": "fixed_point", "bits": 15, "rounding": "HALF_UP"}
    np.testing.assert_array_equal(by_engine(case, elementwise=rules), want)


@pytest.mark.parametrize("op", ["Relu", "Abs", "Identity", "LeakyRelu"])
@pytest.mark.parametrize("arithmetic", ["exact", "float32"])
def test_a_zero_point_inside_decides_ties(op: str, arithmetic: str) -> None:
    q = np.arange(256)
    how = {"alpha": 0.5} if op == "LeakyRelu" else {}
    case = Case(op, [Q("uint8", 0.5, 100, q)], Q("uint8", 1.0, 7), how)
    step = (q - 100) / 2
    steps = {"Relu": np.maximum(step, 0), "Abs": np.abs(step), "Identity": step}
    step = steps.get(op, np.where(step < 0, step / 2, step))
    for where, want in (("output", np.rint(step) + 7), ("inside", np.rint(step + 7))):
        rules = {"arithmetic": arithmetic, "zero_point": where}
        got = by_engine(case, elementwise=rules, function={"arithmetic": "exact"})
        np.testing.assert_array_equal(got, np.clip(want, 0, 255))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"bits": 8}, "go together"),
        ({"guard": 3}, "guard contradicts"),
        ({"arithmetic": "fixed_point", "bits": 8, "zero_step": 3}, "no power of two"),
        ({"arithmetic": "fixed_point", "bits": 8, "parts": "apart"}, "needs guard"),
        ({"arithmetic": "fixed_point", "bits": 8, "guard": 3, "zero_width": 16}, "exclude"),
    ],
)
def test_contradictions_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Elementwise(**fields)


def by_profile(case: Case, profile: Profile) -> Array:
    session = SimSession(program_of(model_of(case)), profile)
    return session.run(feeds(case))[0]


def feeds(case: Case) -> dict[str, Array]:
    given = enumerate(case.inputs)
    return {f"x{i}": np.asarray(q.values, q.dtype) for i, q in given if isinstance(q, Q)}


def cases(seed: int) -> list[Case]:
    rng = np.random.default_rng([seed, 99])
    made = []
    for dtype, top in (("uint8", 256), ("uint16", 1 << 16)):
        a, b = BYTES if top == 256 else rng.integers(0, top, (2, 1 << 15))
        one = np.arange(top)
        so = np.float32(np.exp(rng.uniform(-4, 0)))
        sa, sb = (np.float32(so * r) for r in np.exp(rng.uniform(-1.2, 0.6, 2)))
        za, zb, zo = map(int, rng.integers(0, top, 3))
        x, y, out = Q(dtype, sa, za, a), Q(dtype, sb, zb, b), Q(dtype, so, zo)
        made += [Case(op, [x, y], out) for op in ("Add", "Sub")]
        if top == 256:
            made.append(Case("Mul", [x, y], Q(dtype, float(sa) * float(sb) * 90, zo)))
            for op, s, z in (
                ("Sigmoid", 1 / 256, 0),
                ("Tanh", 1 / 128, 128),
                ("HardSwish", 0.0413, 9),
            ):
                made.append(Case(op, [Q(dtype, 0.06, 120, one)], Q(dtype, s, z)))
        made += [Case(op, [Q(dtype, sa, za, one)], out) for op in ("Neg", "Relu")]
        ends = [Q(dtype, sa, za, one), Q(dtype, sb, zb, one)]
        made.append(Case("Concat", ends, out, {"axis": 0}))
    image = rng.integers(0, 1 << 16, (1, 64, 6, 6))
    made.append(
        Case("GlobalAveragePool", [Q("uint16", 0.7, 31000, image)], Q("uint16", 0.5, 32000))
    )
    return made


@pytest.mark.htp
@pytest.mark.parametrize("soc", ["sm8450", "sm8550"])
def test_the_profiles_answer_as_the_simulator(soc: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_qnn")
    from chipdrift.targets import htp
    from chipdrift.targets.registry import get_target

    profile = get_profile({"sm8450": "hexagon-v69", "sm8550": "hexagon-v73"}[soc])
    for seed in range(2):
        for case in cases(seed):
            path = tmp_path / "op.onnx"
            onnx.save(model_of(case), path)
            session = htp.open_session(str(path), get_target(f"htp:{soc}").options)
            assert {where for where, _, _ in session.opened().nodes} == {"npu"}
            want = session.run(feeds(case))[0]
            np.testing.assert_array_equal(by_profile(case, profile), want, err_msg=case.op)


@pytest.mark.htp
@pytest.mark.parametrize("soc", ["sm8450", "sm8550"])
def test_the_known_faults_are_there(soc: str, tmp_path: Path) -> None:
    """docs/known-faults.md, the smallest way to see each of three."""
    pytest.importorskip("onnxruntime_qnn")
    from chipdrift.targets import htp
    from chipdrift.targets.registry import get_target

    def answer(case: Case) -> Array:
        onnx.save(model_of(case), tmp_path / "op.onnx")
        session = htp.open_session(str(tmp_path / "op.onnx"), get_target(f"htp:{soc}").options)
        fed = {k: v for k, v in feeds(case).items() if not case.inputs[int(k[1:])].constant}  # type: ignore[union-attr]
        return session.run(fed)[0].astype(np.int64)

    a, b = BYTES
    sub = Case("Sub", [Q("uint8", 0.0088, 134, a), Q("uint8", 0.3172, 223, b)], Q("uint8", 1, 247))
    assert not answer(sub).any()
    every = Q("uint16", 2.0**-12, 32768, np.arange(1 << 16))
    for op, step, zero in (("Sigmoid", -16, 0), ("Tanh", -15, 32768), ("HardSigmoid", -16, 0)):
        told = [answer(Case(op, [every], Q("uint16", 2.0 ** (step + i), zero))) for i in (0, 1)]
        np.testing.assert_array_equal(*told)
    weights = np.zeros((8, 1, 5, 5), np.int64)
    weights[:, 0, 3] = 100
    x = Q("uint16", 2.0**-8, 0x12FF, np.full((1, 8, 12, 12), 0x12FF))
    w = Q("int8", 2.0**-7, 0, weights, constant=True)
    how = {"kernel_shape": [5, 5], "strides": [2, 2], "pads": [2] * 4, "group": 8}
    steps = answer(Case("Conv", [x, w], Q("uint16", 2.0**-6, 30000), how)) - 30000
    assert (steps[:, :, 1::2, 0] == -93).all()
    steps[:, :, 1::2, 0] = 0
    assert not steps.any()
