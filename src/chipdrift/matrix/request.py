"""What a matrix is asked to measure, resolved and checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from chipdrift.data import Samples, count_overlap, load_data
from chipdrift.errors import ChipdriftError, DataError, UnknownNameError
from chipdrift.graph import LoadedModel, is_quantized, load_model
from chipdrift.metrics import Metric, get_metric
from chipdrift.records import CalibrationInfo
from chipdrift.schemes import Scheme, get_scheme
from chipdrift.targets import Target, get_target

Named = TypeVar("Named", Scheme, Target)
BASELINE_TARGET = "ort:cpu"
# With fewer samples an interval spans tens of points: said, not refused.
_FEW = 100


@dataclass(frozen=True)
class Request:
    """A model, samples, and what to run them on. ``baseline`` is the scheme of the baseline."""

    model: LoadedModel
    samples: Samples
    calibration: Samples | None
    calibration_info: CalibrationInfo | None
    schemes: tuple[Scheme, ...]
    targets: tuple[Target, ...]
    baseline: Scheme
    metric: Metric
    output: str
    warnings: tuple[str, ...]


def resolve(
    model: str | Path | LoadedModel,
    data: str | Path | Samples,
    *,
    schemes: Sequence[str],
    targets: Sequence[str | Target],
    metric: str | None = None,
    calibration: str | Path | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    limit: int | None = None,
    output: str | None = None,
) -> Request:
    """Look every name up, load and check every file; raises ChipdriftError for the first wrong.

    What is loaded already is taken as it is: ``shapes`` and ``limit`` are for files.
    """
    if not schemes or not targets:
        raise ChipdriftError(
            f"Nothing to measure: {'no scheme' if not schemes else 'no target'} is named. "
            "Give --scheme w8a8 and --target ort:cpu,htp:sm8550, say."
        )
    found_schemes = _unique([get_scheme(name) for name in dict.fromkeys(schemes)])
    found_targets = _unique([t if isinstance(t, Target) else get_target(t) for t in targets])
    found_metric = get_metric(metric) if metric else None
    loaded = model if isinstance(model, LoadedModel) else load_model(model, shapes)
    samples = data if isinstance(data, Samples) else load_data(data, loaded.info.inputs, limit)
    warnings: list[str] = []
    calibrating = [scheme.name for scheme in found_schemes if scheme.needs_calibration]
    calibration_samples = info = None
    if calibration is not None:
        calibration_samples = load_data(calibration, loaded.info.inputs)
        overlap = count_overlap(calibration_samples, samples)
        summary = calibration_samples.info()
        info = CalibrationInfo(
            name=summary.name, sha256=summary.sha256, samples=summary.samples, overlap=overlap
        )
        if overlap:
            warnings.append(
                f"{overlap} of {len(calibration_samples)} calibration samples are also in the "
                "evaluation data: the quantized schemes look better than they are"
            )
    elif calibrating:
        raise DataError(
            f"Scheme{'s' if len(calibrating) > 1 else ''} {', '.join(calibrating)}: calibration "
            "samples are needed to set the activation ranges, and none were given. Give "
            "--calibration with some 100 samples that are not in the evaluation data."
        )
    if metric is None and samples.labels is not None and _default_metric(samples) != "top1":
        warnings.append(
            f"the labels are {samples.labels.dtype.name} and no class numbers, so agreement with "
            "the float model is shown; give --metric for another"
        )
    twice = len(samples) - len(set(samples.keys))
    if twice:
        warnings.append(
            f"{twice} of {len(samples)} evaluation samples are copies of others: intervals and "
            "tests take them for further evidence, which they are not. Leave them out"
        )
    if len(samples) < _FEW:
        warnings.append(
            f"{len(samples)} samples carry little: intervals are wide, and no difference between "
            "targets may be seen that is there"
        )
    name = "asis" if is_quantized(loaded.proto) else "fp32"
    if name == "asis":
        wrong = [s.name for s in found_schemes if s.kind != "asis"]
        if wrong:
            raise ChipdriftError(
                f"Model {loaded.info.name} is already quantized, so {', '.join(wrong)} cannot be "
                "applied. Use --scheme asis, or give the float model."
            )
        warnings.append(
            "the model is already quantized: the baseline is the same model on ort:cpu, so the "
            "loss that quantization brought is not in these figures"
        )
    return Request(
        model=loaded,
        samples=samples,
        calibration=calibration_samples,
        calibration_info=info,
        schemes=tuple(found_schemes),
        targets=tuple(found_targets),
        baseline=get_scheme(name),
        metric=found_metric or get_metric(_default_metric(samples)),
        output=_output(loaded, output),
        warnings=tuple(warnings),
    )


def _default_metric(samples: Samples) -> str:
    labels = samples.labels
    return "top1" if labels is not None and labels.dtype.kind in "iu" else "agreement"


def _output(model: LoadedModel, output: str | None) -> str:
    names = [spec.name for spec in model.info.outputs]
    if output is None:
        return names[0]
    if output not in names:
        raise UnknownNameError.of("output", output, names)
    return output


def _unique(items: list[Named]) -> list[Named]:
    """Each name once; two different things under one name are an error."""
    found = {item.name: item for item in items}
    for item in items:
        if item != found[item.name]:
            raise ChipdriftError(
                f"Two different schemes or targets are called {item.name!r}. Rename one, or set "
                "another name in its TOML."
            )
    return list(found.values())
