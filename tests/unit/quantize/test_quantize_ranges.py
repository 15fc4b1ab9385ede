"""Activation ranges against brute force over every sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from quantize_models import Array, Feed, custom, feeds, loaded, quantized, run

from chipdrift.graph import tap_activations
from chipdrift.quantize import apply_scheme
from chipdrift.quantize.ranges import measure_activations, mse_range

OPS = ["Conv", "Relu", "MaxPool", "Clip", "ReduceMean", "Gemm"]


def ranges(folder: Path, samples: list[Feed], method: Any, percentile: float = 99.0) -> Any:
    path = folder / "float.onnx"
    path.write_bytes(loaded("opset11").data)
    measured = measure_activations(
        path, samples, method=method, percentile=percentile, op_types=OPS
    )
    return measured.ranges(256)


def activations(samples: list[Feed]) -> dict[str, Array]:
    """Every tensor's values over all samples, from a tapped model."""
    data = tap_activations(loaded("opset11").data)
    names = [v.name for v in onnx.load_from_string(data).graph.output]
    rows = [dict(zip(names, run(data, feed, plain=True), strict=True)) for feed in samples]
    found = {name: np.stack([row[name] for row in rows]) for name in names}
    return {"x": np.stack([feed["x"] for feed in samples]), **found}


@pytest.fixture(scope="module")
def samples() -> list[Feed]:
    """More than one chunk, the extremes in the last: sample 16 is ten times as large."""
    found = feeds(loaded("opset11"), 17, seed=5)
    found[-1] = {"x": found[-1]["x"] * 10}
    return found


def test_minmax_is_the_brute_force_minimum_and_maximum(samples: list[Feed], tmp_path: Path) -> None:
    found, wanted = ranges(tmp_path, samples, "minmax"), activations(samples)
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        low, high = found[name]
        assert low.dtype == high.dtype == np.float32
        # The calibrator runs the model with onnxruntime's own order of summation.
        tolerance = 1e-6 * float(np.abs(array).max())
        assert abs(low - array.min()) <= tolerance, name
        assert abs(high - array.max()) <= tolerance, name


def test_a_percentile_cuts_what_lies_outside_and_never_widens(
    samples: list[Feed], tmp_path: Path
) -> None:
    wide, values = ranges(tmp_path, samples, "minmax"), activations(samples)
    for percentile in (90.0, 99.0, 100.0):
        found = ranges(tmp_path, samples, "percentile", percentile)
        for name, (low, high) in found.items():
            # One bin of the histogram at either end.
            bin_width = 2 * float(np.abs(values[name]).max()) / 128
            assert low >= wide[name][0] - bin_width
            assert high <= wide[name][1] + bin_width
        kept = (values["x"] >= found["x"][0]) & (values["x"] <= found["x"][1])
        # The calibrator takes the share over both tails.
        assert abs(kept.mean() * 100 - percentile) < 1.5
    assert found["x"][1] > 10, "100 percent keep the large sample"


def test_entropy_gives_ranges_inside_minmax(samples: list[Feed], tmp_path: Path) -> None:
    # The search's time grows with the square of the largest sample's reach: three times, not ten.
    milder = [*samples[:-1], {"x": samples[-1]["x"] * np.float32(0.3)}]
    wide, found = ranges(tmp_path, milder, "minmax"), ranges(tmp_path, milder, "entropy")
    assert set(found) == set(wide)
    assert found["x"] != wide["x"], "a search over one threshold would be min-max"
    for name, (low, high) in found.items():
        assert np.isfinite([low, high]).all()
        assert low < high
        assert max(abs(low), abs(high)) <= 1.02 * max(map(abs, wide[name]))


def squared_error(counts: Array, edges: Array, low: float, high: float, levels: int) -> float:
    """Written out bin by bin, with integers."""
    step = (high - low) / (levels - 1)
    zero = round(-low / step)
    total = 0.0
    for count, left, right in zip(counts.tolist(), edges[:-1], edges[1:], strict=True):
        centre = (float(left) + float(right)) / 2
        integer = max(0, min(levels - 1, round(centre / step) + zero))
        total += count * (centre - (integer - zero) * step) ** 2
    return total


@pytest.mark.parametrize("levels", [16, 256])
@pytest.mark.parametrize("seed", range(4))
def test_mse_is_the_least_error_of_all_candidates(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.standard_normal(2000), rng.standard_normal(3) * 30])
    if seed == 3:
        values = np.abs(values)
    counts, edges = np.histogram(values, 257)
    low, high = values.min(), values.max()
    found = mse_range(counts, edges, low, high, levels=levels)
    best = squared_error(counts, edges, *found, levels)
    low, high = min(low, 0.0), max(high, 0.0)
    shrunken = [
        squared_error(counts, edges, low * s, high * s, levels) for s in np.linspace(1, 0.05, 96)
    ]
    assert best <= min(shrunken) * (1 + 1e-9)
    assert best <= squared_error(counts, edges, low, high, levels)
    if levels == 16:
        assert found[1] - found[0] < 0.8 * (high - low), "three outliers are not worth 4 bits"
    assert found[0] <= 0 <= found[1]


def test_mse_of_nothing_but_zeros_and_of_one_side() -> None:
    counts, edges = np.array([10]), np.array([0.0, 0.0])
    assert mse_range(counts, edges, 0.0, 0.0, levels=256) == (0.0, 0.0)
    counts, edges = np.histogram(np.full(100, 5.0), 64, range=(4, 6))
    low, high = mse_range(counts, edges, 5.0, 5.0, levels=256)
    assert low == 0.0
    assert abs(high - 5) < 0.1


@pytest.mark.parametrize("method", ["percentile", "entropy", "mse"])
def test_every_method_cuts_outliers_and_makes_a_model_that_is_near_the_float(method: str) -> None:
    """Four values of a sample are sixty times the others: min-max wastes six of its eight bits."""
    model = loaded("opset11")
    samples = feeds(model, 12)
    wild = [{"x": feed["x"].copy()} for feed in samples]
    wild[3]["x"][0, 1, :2, :2] *= 60
    scheme = custom(calibration=method, percentile=99.9)
    made, plain = (apply_scheme(model, s, wild) for s in (scheme, custom()))

    def decibels(data: bytes) -> float:
        rest = [feed for i, feed in enumerate(samples) if i != 3]
        wanted = np.stack([run(model.data, feed)[0] for feed in rest]).astype(np.float64)
        found = np.stack([run(data, feed)[0] for feed in rest])
        return float(10 * np.log10((wanted**2).sum() / ((wanted - found) ** 2).sum()))

    assert made.data != plain.data
    assert decibels(made.data) > 12
    if method != "entropy":
        assert decibels(made.data) > decibels(plain.data)


def test_minmax_ranges_become_the_quantizers() -> None:
    """The output's scale spans exactly the range of the calibration samples, zero included."""
    model, made = loaded("two"), quantized("two", "w8a16_pc")
    rows = [run(model.data, feed, plain=True) for feed in feeds(model, 10)]
    for index, output in enumerate(["mid", "y"]):
        values = np.stack([row[index] for row in rows])
        span = max(values.max(), 0) - min(values.min(), 0)
        assert made.quantizers[output].scale[0] == pytest.approx(span / 65535, rel=1e-5)
