"""A named peer: AIMET's mixed precision (aimet-onnx), in an environment of its own.

``PYTHON peers_aimet.py TASK``, started by ``peers.py --aimet PYTHON``, quantizes the task's model
in each of ``TRIES`` with AIMET's configuration of the HTP, until its own simulation holds the
budget, and prints one line of JSON for each. The environment is ``aimet.INSTALL``'s.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peers_export import convert_at_borders
from peers_task import Task, Variant, attempt, tell

if TYPE_CHECKING:
    import onnxruntime
    from aimet_onnx import QuantizationSimModel

CONFIG = "htp_v73"
SHARES = (10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
TRIES = {
    "aimet-ptq": "8 bits as they come: the percentage is 0",
    "aimet-amp": "automatic mixed precision, 8 and 16 bits of activations",
    "aimet-lite": "lite mixed precision: the most sensitive layers to 16 bits",
    "aimet-amp-best": "the same as aimet-amp after equalization and AdaRound",
    "aimet-amp-float": "automatic mixed precision, 8 bits and float16",
}


def simulated(task: Task, best: bool) -> QuantizationSimModel:
    """The quantsim of the float model, calibrated; ``best`` equalizes and rounds, too."""
    import aimet_onnx
    import onnx
    from aimet_onnx.cross_layer_equalization import equalize_model

    model = onnx.load(task.model)
    if best:
        equalize_model(model)
    sim = aimet_onnx.QuantizationSimModel(
        model,
        param_type=aimet_onnx.int8,
        activation_type=aimet_onnx.int8,
        quant_scheme="tf_enhanced" if best else "min_max",
        config_file=CONFIG,
        session_options_kwargs={"intra_op_num_threads": 1, "inter_op_num_threads": 1},
    )
    feeds = calibration(task)
    if best:
        aimet_onnx.apply_adaround(sim, feeds, num_iterations=task.rounding)
    sim.compute_encodings(feeds)
    return sim


def calibration(task: Task) -> list[dict[str, Any]]:
    return [{task.input: image[None]} for image in task.calibration]


def signal(task: Task) -> Callable[[onnxruntime.InferenceSession], float]:
    """PSNR on the calibration samples: what AIMET's documentation ranks layers by."""
    import onnxruntime
    from aimet_onnx.utils import make_psnr_eval_fn

    session = onnxruntime.InferenceSession(task.model, providers=["CPUExecutionProvider"])
    found: Callable[[onnxruntime.InferenceSession], float] = make_psnr_eval_fn(
        session, calibration(task)[:100]
    )
    return found


def raise_by_amp(task: Task, sim: QuantizationSimModel, best: float, kind: str) -> None:
    """``choose_mixed_precision``: layers are lowered from the widest while the budget holds."""
    from aimet_onnx.common.defs import CallbackFunc, QuantizationDataType
    from aimet_onnx.mixed_precision import choose_mixed_precision

    integer, real = QuantizationDataType.int, QuantizationDataType.float
    wide = ((16, integer), (8, integer)) if kind == "int16" else ((16, real), (16, real))
    rank = signal(task)
    feeds = calibration(task)

    def forward(session: onnxruntime.InferenceSession, _: Any) -> None:
        for feed in feeds:
            session.run(None, feed)

    with tempfile.TemporaryDirectory(prefix="aimet-") as folder:
        choose_mixed_precision(
            sim,
            [wide, ((8, integer), (8, integer))],
            CallbackFunc(lambda session, _: rank(session)),
            CallbackFunc(lambda session, _: task.score(session)),
            allowed_accuracy_drop=task.limit,
            results_dir=folder,
            clean_start=True,
            forward_pass_callback=CallbackFunc(forward),
        )


def raise_by_share(task: Task, sim: QuantizationSimModel, best: float) -> QuantizationSimModel:
    """``flip_layers_to_higher_precision``: the least share of ``SHARES`` that holds."""
    import aimet_onnx
    from aimet_onnx.lite_mp import flip_layers_to_higher_precision

    ranks = aimet_onnx.analyze_per_layer_sensitivity(sim, signal(task))
    for share in SHARES:
        if best - task.score(sim.session) <= task.limit:
            break
        sim = simulated(task, False)
        flip_layers_to_higher_precision(sim, ranks, share, (aimet_onnx.int8, aimet_onnx.int16))
        sim.compute_encodings(calibration(task))
    return sim


def quantize(task: Task, name: str, best: float) -> tuple[bytes, float]:
    """The QDQ model and its score by AIMET's simulation."""
    sim = simulated(task, name.endswith("best"))
    if "amp" in name:
        raise_by_amp(task, sim, best, "float16" if name.endswith("float") else "int16")
    elif name.endswith("lite"):
        sim = raise_by_share(task, sim, best)
    model = sim.to_onnx_qdq(prequantize_constants=True)
    convert_at_borders(model)
    return model.SerializeToString(), task.score(sim.session)


def tries(task: Task) -> Iterable[Variant]:
    import onnxruntime

    session = onnxruntime.InferenceSession(task.model, providers=["CPUExecutionProvider"])
    best = task.score(session)
    for name, words in TRIES.items():
        with contextlib.redirect_stdout(sys.stderr):
            found = attempt(task, name, words, functools.partial(quantize, task, name, best), best)
        yield found


def main() -> None:
    for variant in tries(Task(Path(sys.argv[1]))):
        tell(variant)


if __name__ == "__main__":
    main()
