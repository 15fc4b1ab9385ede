"""A named peer: NNCF's accuracy-aware quantization, in an environment of its own (see ``INSTALL``).

``PYTHON peers_nncf.py TASK``, started by ``peers.py --nncf PYTHON``, quantizes the task's model in
each of ``TRIES`` and prints one line of JSON for each. NNCF restores layers to float until its own
onnxruntime session on the CPU holds the budget.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peers_export import count_from_front, make_unsigned, repeat_quantizers
from peers_task import Task, Variant, attempt, tell

if TYPE_CHECKING:
    import onnx

INSTALL = """  python3.11 -m venv nncf
  nncf/bin/pip install nncf==3.4.0 onnx==1.23.2 onnxruntime==1.31.1"""

# name: what is set beside NNCF's defaults, in words.
TRIES = {
    "nncf-default": "accuracy control as it comes",
    "nncf-qnn": "one scale per activation, asymmetric; outputs quantized; all 8 bits of weights",
    "nncf-qnn-bias": "the same with the slow, more accurate bias correction",
    "nncf-qnn-tuned": "the same as nncf-qnn, its parameters tuned before layers are restored",
}

_READ = "/read"


def settings(name: str) -> dict[str, Any]:
    """The arguments of a try.

    As it comes NNCF gives the input of a depthwise convolution a scale per channel, which QNN's
    runtime has no kernel for, leaves the outputs real, and halves the weights of the first layer
    for processors whose sums overflow.
    """
    import nncf
    from nncf.quantization.advanced_parameters import (
        AdvancedAccuracyRestorerParameters,
        AdvancedQuantizationParameters,
        OverflowFix,
        QuantizationParameters,
    )

    if name == "nncf-default":
        return {}
    told: dict[str, Any] = {
        "preset": nncf.QuantizationPreset.MIXED,
        "advanced_quantization_parameters": AdvancedQuantizationParameters(
            quantize_outputs=True,
            overflow_fix=OverflowFix.DISABLE,
            activations_quantization_params=QuantizationParameters(per_channel=False),
        ),
    }
    if name == "nncf-qnn-bias":
        told["fast_bias_correction"] = False
    if name == "nncf-qnn-tuned":
        told["advanced_accuracy_restorer_parameters"] = AdvancedAccuracyRestorerParameters(
            tune_hyperparams=True
        )
    return told


def quantize(task: Task, name: str) -> tuple[bytes, float]:
    """The quantized model and its score by onnxruntime on this CPU."""
    import nncf
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1

    def opened(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
        content = model.SerializeToString()
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def validate(model: onnx.ModelProto, items: Iterable[int]) -> tuple[float, list[float]]:
        answer = functools.partial(task.logits, opened(model))
        right = task.right(answer, items)
        return float(right.mean()), [float(value) for value in right]

    model = nncf.quantize_with_accuracy_control(
        with_readers(onnx.load(task.model)),
        calibration_dataset=nncf.Dataset(task.calibration, lambda x: {task.input: x[None]}),
        validation_dataset=nncf.Dataset(range(len(task.images))),
        validation_fn=validate,
        max_drop=task.limit,
        drop_type=nncf.DropType.ABSOLUTE,
        subset_size=len(task.calibration),
        **settings(name),
    )
    without_readers(model)
    make_unsigned(model)
    count_from_front(model)
    repeat_quantizers(model)
    return model.SerializeToString(), task.score(opened(model))


def with_readers(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with an Identity that reads each output: NNCF 3.4 quantizes no edge without end."""
    from onnx import helper

    for output in model.graph.output:
        inner = f"{output.name}{_READ}"
        for node in model.graph.node:
            names = [inner if name == output.name else name for name in node.output]
            node.output[:] = names
            node.input[:] = [inner if name == output.name else name for name in node.input]
        model.graph.node.append(helper.make_node("Identity", [inner], [output.name], inner))
    return model


def without_readers(model: onnx.ModelProto) -> None:
    """Take them out again."""
    ends = {node.input[0]: node.output[0] for node in model.graph.node if node.name.endswith(_READ)}
    kept = [node for node in model.graph.node if not node.name.endswith(_READ)]
    for node in kept:
        node.output[:] = [ends.get(name, name) for name in node.output]
        node.input[:] = [ends.get(name, name) for name in node.input]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def tries(task: Task) -> Iterable[Variant]:
    import onnxruntime

    session = onnxruntime.InferenceSession(task.model, providers=["CPUExecutionProvider"])
    best = task.score(session)
    for name, words in TRIES.items():
        with contextlib.redirect_stdout(sys.stderr):  # where NNCF's progress belongs
            found = attempt(task, name, words, functools.partial(quantize, task, name), best)
        yield found


def main() -> None:
    for variant in tries(Task(Path(sys.argv[1]))):
        tell(variant)


if __name__ == "__main__":
    main()
