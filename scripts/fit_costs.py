"""Fit ``src/chipdrift/plan/cost.json`` to ``latency.csv`` and ``published_work.csv``::

    python scripts/fit_costs.py [--check]

``--check`` prints the tables of docs/decisions/014 and writes nothing. Rows of mixtures
(``w8a8_mixed_int16`` and so on) are never fitted to. A model counts once, however many rows it has,
and every error is that of whole models left out.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

PLAN = Path(__file__).parents[1] / "src" / "chipdrift" / "plan"
DEVICES = {
    "Dragonwing IQ-9075 EVK": "QCS9075",
    "Dragonwing Q-6690 MTP": "QCM6690",
    "Dragonwing RB3 Gen 2 Vision Kit": "QCM6490",
    "QCS8275 (Proxy)": "QCS8275",
    "QCS8450 (Proxy)": "SM8450",
    "QCS8550 (Proxy)": "SM8550",
    "SA7255P ADP": "SA7255P",
    "SA8295P ADP": "SA8295P",
    "SA8775P ADP": "SA8775P",
    "Samsung Galaxy S24": "SM8650",
    "Samsung Galaxy S25": "SM8750",
    "Snapdragon 7 Gen 4 QRD": "SM7750",
    "Snapdragon 8 Elite Gen 5 QRD": "SM8850",
    "Snapdragon 8 Elite QRD": "SM8750",
    "Snapdragon X Elite CRD": "SC8380XP",
}
"""The chip of each device (quic/ai-hub-models, devices_and_chipsets.yaml). For the two proxies the
phone chip of the same number is taken, which is an inference; RB3 Gen 2's QCS6490 is QCM6490's."""
TERMS = ("model", "layer", "gmac", "mwrite", "mweight")
KINDS = {"w8a16": "w8a16", "float": "float"}
LOW, HIGH = 0.1, 0.9


@dataclass(frozen=True)
class Row:
    """One latency; ``part`` is (model, component), ``place`` (device, runtime)."""

    part: tuple[str, str]
    precision: str
    place: tuple[str, str]
    ms: float
    npu: int
    gpu: int
    cpu: int

    @property
    def clean(self) -> bool:
        """Whether all of it ran on the NPU."""
        return self.npu > 0 and not self.gpu and not self.cpu


@dataclass(frozen=True)
class Ratio:
    """The logarithm of a latency against that of the same model in w8a8."""

    model: str
    device: str
    value: float


def read_rows(path: Path) -> list[Row]:
    """All rows of ``latency.csv``."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Row(
                part=(row["model"], row["component"]),
                precision=row["precision"],
                place=(row["device"], row["runtime"]),
                ms=float(row["ms"]),
                npu=int(float(row["npu"] or 0)),
                gpu=int(float(row["gpu"] or 0)),
                cpu=int(float(row["cpu"] or 0)),
            )
            for row in csv.DictReader(file)
        ]


def read_work(path: Path) -> dict[str, tuple[float, float, float]]:
    """Model to (billions of MACs, millions of activations, millions of parameters)."""
    with path.open(newline="", encoding="utf-8") as file:
        return {
            row["model"]: (
                float(row["gmacs"]),
                float(row["mactivations"]),
                float(row["mparameters"]),
            )
            for row in csv.DictReader(file)
        }


def ratios(rows: Iterable[Row], precision: str) -> list[Ratio]:
    """Of every model that ran on the NPU alone in both, on the same device and runtime."""
    clean = [row for row in rows if row.clean]
    base = {(r.part, r.place): r.ms for r in clean if r.precision == "w8a8"}
    return [
        Ratio(r.part[0], r.place[0], float(np.log(r.ms / base[r.part, r.place])))
        for r in clean
        if r.precision == precision and (r.part, r.place) in base
    ]


def quantile(values: Sequence[float], weights: Sequence[float], share: float) -> float:
    """The weighted quantile: the first value at which the weights reach ``share``."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(np.asarray(weights, np.float64)[order])
    place = int(np.searchsorted(total, share * total[-1] * (1 - 1e-12)))
    return float(np.asarray(values, np.float64)[order][place])


def weights_of(models: Sequence[str]) -> list[float]:
    """Every model counts once."""
    count: dict[str, int] = defaultdict(int)
    for model in models:
        count[model] += 1
    return [1 / count[model] for model in models]


def fit_ratio(data: Sequence[Ratio]) -> tuple[float, dict[str, float]]:
    """(the median model's log ratio, what each device adds), by median polish.

    A device's figure is what it adds for the same models, not for those that it happens to have.
    """
    models = sorted({d.model for d in data})
    devices = sorted({d.device for d in data})
    of_model = np.array([models.index(d.model) for d in data])
    of_device = np.array([devices.index(d.device) for d in data])
    values = np.array([d.value for d in data])
    weights = np.array(weights_of([d.model for d in data]))
    model, device = np.zeros(len(models)), np.zeros(len(devices))
    for _ in range(25):
        for index in range(len(models)):
            mine = of_model == index
            model[index] = np.median(values[mine] - device[of_device[mine]])
        for index in range(len(devices)):
            mine = of_device == index
            left = values[mine] - model[of_model[mine]]
            device[index] = quantile(left.tolist(), weights[mine].tolist(), 0.5)
        device -= np.median(device)
    return float(np.median(model)), dict(zip(devices, device.tolist(), strict=True))


def leave_out(
    data: Sequence[Ratio],
    predict: Callable[[float, Mapping[str, float], str], float],
) -> tuple[list[float], list[float]]:
    """Errors (log, measured minus predicted) on models left out whole, and their weights."""
    errors: list[float] = []
    models: list[str] = []
    for model in sorted({d.model for d in data}):
        middle, device = fit_ratio([d for d in data if d.model != model])
        for row in (d for d in data if d.model == model):
            errors.append(row.value - predict(middle, device, row.device))
            models.append(model)
    return errors, weights_of(models)


def fit_kind(
    data: Sequence[Ratio], hexagon: Mapping[str, str | None], fewest: int = 1
) -> dict[str, object]:
    """All that the cost model is told of one kind; figures are ratios, errors their logarithms.

    Errors are on models left out whole: "device" for a device in the table, "generation" for one of
    which only the generation is, "pooled" for any other (that device is left out, too). Devices
    with less than ``fewest`` models are not used.
    """
    of = defaultdict(set)
    for row in data:
        of[row.device].add(row.model)
    data = [row for row in data if len(of[row.device]) >= fewest]
    middle, device = fit_ratio(data)

    def others(effects: Mapping[str, float], name: str, generation: bool) -> float:
        same = [
            v
            for d, v in effects.items()
            if d != name and (not generation or hexagon.get(d) == hexagon.get(name))
        ]
        if not same:
            return others(effects, name, False) if generation else 0.0
        return float(np.median(same))

    predictions = {
        "device": lambda mid, eff, name: mid + eff.get(name, 0.0),
        "generation": lambda mid, eff, name: mid + others(eff, name, hexagon[name] is not None),
        "pooled": lambda mid, eff, name: mid + others(eff, name, False),
    }
    error = {}
    for name, predict in predictions.items():
        found, weights = leave_out(data, predict)
        error[name] = [_rounded(quantile(found, weights, share)) for share in (LOW, 0.5, HIGH)]
    generations = sorted({h for d in device if (h := hexagon.get(d))})
    return {
        "rows": len(data),
        "models": len({d.model for d in data}),
        "pooled": _ratio(middle),
        "generations": {
            generation: _ratio(
                middle + np.median([v for d, v in device.items() if hexagon[d] == generation])
            )
            for generation in generations
        },
        "devices": {name: _ratio(middle + value) for name, value in device.items()},
        "log_error": error,
    }


def features(row: Row, work: Mapping[str, tuple[float, float, float]]) -> list[float]:
    """A constant, layers, billions of MACs, millions of outputs, millions of weights."""
    return [1.0, row.npu, *work[row.part[0]]]


def fit_terms(
    rows: Sequence[Row], work: Mapping[str, tuple[float, float, float]]
) -> tuple[np.ndarray, dict[tuple[str, str], float]]:
    """(ms per term, none negative; factor of each device and runtime) that explain w8a8's times.

    Relative errors, those beyond a quarter with less weight; the median place has factor 1.
    """
    table = np.array([features(row, work) for row in rows])
    times = np.array([row.ms for row in rows])
    places = sorted({row.place for row in rows})
    of_place = np.array([places.index(row.place) for row in rows])
    once = np.array(weights_of([row.part[0] for row in rows]))
    factor = np.array([np.median(times[of_place == i]) for i in range(len(places))])
    factor /= np.median(factor)
    weights = once.copy()
    terms = np.zeros(len(TERMS))
    for _ in range(60):
        scaled = table * (factor[of_place] / times)[:, None]
        root = np.sqrt(weights)
        terms, _norm = nnls(scaled * root[:, None], root)
        left = np.log(times / (table @ terms))
        factor = np.exp([np.median(left[of_place == i]) for i in range(len(places))])
        factor /= np.median(factor)
        left = np.abs(np.log(times / (table @ terms * factor[of_place])))
        weights = once / np.maximum(1.0, left / 0.25)
    return terms, dict(zip(places, factor.tolist(), strict=True))


def fit_times(rows: Sequence[Row], work: Mapping[str, tuple[float, float, float]]) -> dict:
    """The time of w8a8 by work: the mean of fits that each leave one model out.

    MACs, outputs and weights rise together over these models; one fit gives some of them nothing.
    The mean of the fits gives each what some subset of the models says.
    """
    data = [r for r in rows if r.clean and r.precision == "w8a8" and r.part[0] in work]
    models = sorted({r.part[0] for r in data})
    fits, factors, errors, of = [], defaultdict(list), [], []
    for model in models:
        terms, factor = fit_terms([r for r in data if r.part[0] != model], work)
        fits.append(terms)
        for (device, _), value in factor.items():
            factors[device].append(np.log(value))
        for row in (r for r in data if r.part[0] == model and r.place in factor):
            predicted = float(np.dot(features(row, work), terms)) * factor[row.place]
            errors.append(float(np.log(row.ms / predicted)))
            of.append(model)
    weights = weights_of(of)
    return {
        "rows": len(data),
        "models": len(models),
        "terms": _terms(np.mean(fits, axis=0)),
        "left_out": {m: _terms(f) for m, f in zip(models, fits, strict=True)},
        "speeds": {d: _ratio(np.median(v)) for d, v in sorted(factors.items())},
        "log_error": [_rounded(quantile(errors, weights, s)) for s in (LOW, 0.5, HIGH)],
        "median_abs_log_error": _rounded(quantile(np.abs(errors).tolist(), weights, 0.5)),
    }


def cpu_ratios(rows: Iterable[Row], precision: str) -> list[Ratio]:
    """Of every model that ran on the CPU alone, in integers, to its fastest w8a8 on the NPU."""
    rows = list(rows)
    base: dict[tuple[object, str], float] = {}
    for row in rows:
        if row.clean and row.precision == "w8a8":
            key = (row.part, row.place[0])
            base[key] = min(row.ms, base.get(key, np.inf))
    return [
        Ratio(r.part[0], r.place[0], float(np.log(r.ms / base[r.part, r.place[0]])))
        for r in rows
        if r.precision == precision
        and r.cpu
        and not r.npu
        and not r.gpu
        and (r.part, r.place[0]) in base
    ]


def visits(rows: Sequence[Row]) -> dict[str, list[float]]:
    """Model to what one or two CPU layers added, in ms for each layer, on each device.

    Against the same model and precision with no CPU layer in qnn_dlc, times what the runtime takes
    against qnn_dlc for models that have none in either.
    """
    clean = {(r.part, r.precision, r.place): r.ms for r in rows if r.clean}
    usual = defaultdict(list)
    for (part, precision, (device, runtime)), ms in clean.items():
        other = clean.get((part, precision, (device, "qnn_dlc")))
        if other is not None:
            usual[precision, device, runtime].append(np.log(ms / other))
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        device, runtime = row.place
        other = clean.get((row.part, row.precision, (device, "qnn_dlc")))
        same = usual.get((row.precision, device, runtime))
        if row.npu and row.cpu in (1, 2) and not row.gpu and other and same:
            expected = other * float(np.exp(np.median(same)))
            found[row.part[0]].append((row.ms - expected) / row.cpu)
    return dict(found)


def fit_visits(rows: Sequence[Row]) -> dict[str, object]:
    """One way of NPU to CPU and back, in ms."""
    found = visits(rows)
    middles = sorted(float(np.median(values)) for values in found.values())
    values = [v for group in found.values() for v in group]
    even = weights_of([model for model, group in found.items() for _ in group])
    return {
        "rows": len(values),
        "models": len(found),
        "ms": _rounded(float(np.median(middles))),
        "low": _rounded(max(0.0, quantile(values, even, LOW))),
        "high": _rounded(quantile(values, even, HIGH)),
        "by_model": {model: _rounded(float(np.median(v))) for model, v in sorted(found.items())},
    }


def mixtures(
    rows: Sequence[Row], hexagon: Mapping[str, str | None]
) -> dict[tuple[str, str], dict[str, object]]:
    """How mixtures of w8a16 came out against what is fitted without them and without their models.

    By (model, precision): ``held`` of ``rows`` lie between the low and high of w8a16, ``off`` is
    the median of measured over predicted; ``over`` that of measured over the same model's own
    w8a16. What share of a mixture is in the wider type is not published, so that what is held
    against it is the narrower type all over. Only rows with no CPU layer in either.
    """
    pure = {(r.part, r.place, r.precision): r.ms for r in rows if r.clean}
    mixed = [r for r in rows if "mixed" in r.precision and r.clean]
    fitted = [r for r in rows if "mixed" not in r.precision]
    found: dict[tuple[str, str], dict[str, object]] = {}
    for key in sorted({(r.part[0], r.precision) for r in mixed}):
        kind = fit_kind([d for d in ratios(fitted, "w8a16") if d.model != key[0]], hexagon)
        low, _, high = kind["log_error"]["device"]
        mine = [r for r in mixed if (r.part[0], r.precision) == key]
        based = [(r, b) for r in mine if (b := pure.get((r.part, r.place, "w8a8")))]
        own = [r.ms / o for r in mine if (o := pure.get((r.part, r.place, "w8a16")))]
        off = [np.log(r.ms / b / kind["devices"].get(r.place[0], kind["pooled"])) for r, b in based]
        found[key] = {
            "rows": len(mine),
            "with w8a8": len(based),
            "held": sum(low <= value <= high for value in off),
            "off": _ratio(np.median(off)) if off else None,
            "over": _rounded(float(np.median(own))) if own else None,
        }
    return found


def fit(
    rows: Sequence[Row],
    work: Mapping[str, tuple[float, float, float]],
    hexagon: Mapping[str, str | None],
) -> dict[str, object]:
    """Everything in ``cost.json`` but where it is from."""
    fitted = [row for row in rows if "mixed" not in row.precision]
    return {
        "devices": {name: {"soc": soc, "hexagon": hexagon[name]} for name, soc in DEVICES.items()},
        "time": fit_times(fitted, work),
        "kinds": {kind: fit_kind(ratios(fitted, p), hexagon) for kind, p in KINDS.items()},
        "cpu": {
            precision: fit_kind(cpu_ratios(fitted, precision), hexagon, 5)
            for precision in ("w8a8", "w8a16")
        },
        "visit": fit_visits(fitted),
    }


def generations() -> dict[str, str | None]:
    """Device to its chip's Hexagon generation, as the catalogue has it."""
    from chipdrift.chips import all_chips

    known = {chip.soc: chip.hexagon for chip in all_chips()}
    return {device: known.get(soc) for device, soc in DEVICES.items()}


def _terms(values: np.ndarray) -> dict[str, float]:
    return {name: _rounded(float(v)) for name, v in zip(TERMS, values, strict=True)}


def _ratio(log: float) -> float:
    return _rounded(float(np.exp(log)))


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def main() -> None:
    """Fit, and write or print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="print, and write nothing")
    arguments = parser.parse_args()
    rows = read_rows(PLAN / "latency.csv")
    found = fit(rows, read_work(PLAN / "published_work.csv"), generations())
    text = json.dumps({"source": "latency.csv, published_work.csv", **found}, indent=1) + "\n"
    if not arguments.check:
        (PLAN / "cost.json").write_text(text, encoding="utf-8")
        return
    print(text)
    for key, figures in mixtures(rows, generations()).items():
        print(*key, figures)


if __name__ == "__main__":
    main()
