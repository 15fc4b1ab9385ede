"""The model files of a run: one per scheme, made once, kept in the run folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chipdrift.data import Samples
from chipdrift.errors import ChipdriftError, DataError
from chipdrift.graph import LoadedModel, tap_activations
from chipdrift.quantize import Preparation, apply_scheme, quantizer_versions
from chipdrift.records import CalibrationInfo, MixedInfo, Quantizer
from chipdrift.schemes import Kind, Scheme
from chipdrift.store import Store, content_key


@dataclass(frozen=True)
class Variant:
    """What a scheme made of the model: a file in the run folder, or the reason why there is none.

    ``size`` is the file's, in bytes. ``border`` names the quantization nodes of the graph's own
    inputs and outputs; ``mixed``, ``kept`` and ``fence`` are a QuantizedModel's.
    """

    scheme: Scheme
    kind: Kind
    file: str | None
    sha256: str | None
    quantizers: dict[str, Quantizer]
    border: frozenset[str]
    expandable: dict[str, str]
    trace: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]
    error: str | None = None
    mixed: MixedInfo | None = None
    kept: frozenset[str] = frozenset()
    fence: frozenset[str] = frozenset()
    size: int = 0


def make_variant(
    store: Store,
    model: LoadedModel,
    scheme: Scheme,
    calibration: Samples | None,
    info: CalibrationInfo | None,
    preparation: Preparation | None = None,
) -> Variant:
    """Quantize ``model``, or take what an earlier run of the same made.

    ``preparation`` is shared by calls for one model and calibration: it spares measuring the same
    ranges for each scheme.
    """
    key = _address(model, scheme, info)
    known = _remembered(store, scheme, key)
    if known is not None and _unchanged(store.folder / str(known.file), str(known.sha256)):
        return known
    try:
        feeds = calibration.feeds() if scheme.needs_calibration and calibration else None
        made = apply_scheme(model, scheme, feeds, preparation)
    except DataError:
        raise
    except ChipdriftError as error:
        return Variant(scheme, scheme.kind, None, None, {}, frozenset(), {}, {}, (), str(error))
    name = f"models/{scheme.name}-{key[:8]}.onnx"
    store.write_file(name, made.data)
    variant = Variant(
        scheme=scheme,
        kind=made.kind,
        file=name,
        sha256=made.sha256,
        quantizers=made.quantizers,
        border=made.border,
        expandable=made.expandable,
        trace=made.trace,
        notes=made.notes,
        mixed=made.mixed,
        kept=made.kept,
        fence=made.fence,
        size=len(made.data),
    )
    store.put_fact(
        f"variant:{key}",
        {
            "kind": variant.kind,
            "file": variant.file,
            "sha256": variant.sha256,
            "quantizers": {k: q.model_dump(mode="json") for k, q in variant.quantizers.items()},
            "border": sorted(variant.border),
            "expandable": variant.expandable,
            "trace": variant.trace,
            "notes": variant.notes,
            "error": None,
            "mixed": variant.mixed and variant.mixed.model_dump(mode="json"),
            "kept": sorted(variant.kept),
            "fence": sorted(variant.fence),
            "size": variant.size,
        },
    )
    store.commit()
    return variant


def known_variant(
    store: Store, model: LoadedModel, scheme: Scheme, info: CalibrationInfo | None
) -> Variant | None:
    """What an earlier :func:`make_variant` made, whether or not its file is still there."""
    return _remembered(store, scheme, _address(model, scheme, info))


def _address(model: LoadedModel, scheme: Scheme, info: CalibrationInfo | None) -> str:
    uses = info.sha256 if scheme.needs_calibration and info is not None else None
    return content_key(
        {
            "model": model.info.sha256,
            "inputs": [spec.model_dump(mode="json") for spec in model.info.inputs],
            "scheme": _identity(scheme),
            "calibration": uses,
            "versions": quantizer_versions(),
        }
    )


def _remembered(store: Store, scheme: Scheme, key: str) -> Variant | None:
    kept = store.fact(f"variant:{key}")
    if kept is None:
        return None
    file = store.folder / kept["file"]
    # An earlier chipdrift kept no size.
    size = kept["size"] if "size" in kept else file.exists() and file.stat().st_size
    if not size:
        return None
    return Variant(
        scheme=scheme,
        kind=kept["kind"],
        file=kept["file"],
        sha256=kept["sha256"],
        quantizers={k: Quantizer(**v) for k, v in kept["quantizers"].items()},
        border=frozenset(kept["border"]),
        expandable=kept["expandable"],
        trace={k: tuple(v) for k, v in kept["trace"].items()},
        notes=tuple(kept["notes"]),
        error=kept["error"],
        mixed=MixedInfo(**kept["mixed"]) if kept.get("mixed") else None,
        kept=frozenset(kept.get("kept", ())),
        fence=frozenset(kept.get("fence", ())),
        size=size,
    )


def _identity(scheme: Scheme) -> dict[str, Any]:
    """All that decides what the scheme makes; what most have not got leaves their keys alone."""
    fields = scheme.model_dump(mode="json")
    for key in ("ranges", "weight_ranges", "adjust"):
        if not fields[key]:
            del fields[key]
    if scheme.adjustment:
        fields["adjustment"] = hashlib.sha256(scheme.adjustment).hexdigest()
    return fields


def _unchanged(file: Path, sha256: str) -> bool:
    """Whether the file is still what was written: results are kept under its hash."""
    return file.exists() and hashlib.sha256(file.read_bytes()).hexdigest() == sha256


def tapped_file(store: Store, variant: Variant, folder: Path) -> Path:
    """The variant with all activations as outputs, written to ``folder``."""
    assert variant.file is not None
    path = folder / Path(variant.file).name
    if not path.exists():
        path.write_bytes(tap_activations((store.folder / variant.file).read_bytes()))
    return path
