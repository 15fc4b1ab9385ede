"""Which kind of processor stands behind a provider's, a delegate's or a device's name."""

from __future__ import annotations

import re

from chipdrift.logs.findings import Processor

_KINDS: tuple[tuple[Processor, re.Pattern[str]], ...] = (
    ("cpu", re.compile(r"CPUExecutionProvider|xnnpack|nnapi-reference|^Acl|arm_?nn", re.I)),
    ("gpu", re.compile(r"gpu|_CL$|opencl|cuda|webgpu|dml|adreno", re.I)),
    (
        "npu",
        re.compile(
            r"qnn|hexagon|qti-(?:dsp|hta|npu)|edgetpu|neuron|vitisai|openvino.*npu|dispatch|htp"
            r"|compiler plugin|snpe",
            re.I,
        ),
    ),
)


def processor_of(provider: str) -> Processor:
    """The processor behind a name of onnxruntime, LiteRT or NNAPI.

    ``unknown`` where the name does not say: NNAPI's delegate and ``qti-default`` choose themselves.
    """
    for kind, pattern in _KINDS:
        if pattern.search(provider):
            return kind
    return "unknown"
