"""What can be done about a finding today, and the command that does it, for the run at hand."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from chipdrift.diagnose.case import FLOAT
from chipdrift.diagnose.distance import range_of
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.mechanisms import FIXES, MORE_BITS
from chipdrift.schemes import builtin_schemes

# What a finding says of a difference between A and B that costs nothing.
NONE_NEEDED = "none is needed for accuracy"
# The built-in scheme with 16-bit activations that loses least.
WIDE = "w8a16_pc"
_PER_CHANNEL = "w8a8_pc"
_WIDE_BITS = 16
# Saturating pairs of products are a habit of x86 alone; its runtimes run on the host.
_HOST = "ort:"
_X86 = (
    "session.x64quantprecision=1 or weights of 7 bits (reduce_range) where {host} runs on x86 "
    "without VNNI"
)


def narrow(exam: Exam) -> bool:
    """Whether the model's activations are integers of fewer than 16 bits, all of them."""
    widths = [range_of(q.dtype) for q in exam.anatomy.quantizers.values()]
    return bool(widths) and all(
        (high - low).bit_length() < _WIDE_BITS for low, high in widths
    )


def harmless(exam: Exam) -> bool:
    """Whether no loss was seen on A nor on B: what parts them needs no fix."""
    return exam.diagnosis.verdict.cause == "neither"


def matrix_command(
    exam: Exam, *schemes: str, targets: Sequence[str] | None = None, own: bool = True
) -> str | None:
    """The command that measures ``schemes`` beside the run's own (``own``).

    ``targets`` are A and B where none are given; the float model, which is no target, is left out.
    None where the model was quantized elsewhere, so that there is nothing to quantize it from, and
    where no scheme is left that differs from the run's.
    """
    scheme = exam.case.scheme
    if scheme == "asis" or (schemes and set(schemes) <= {scheme}):
        return None
    # A scheme of the user's own is known by its file, which the run does not keep.
    mine = [scheme] if own and scheme in builtin_schemes() else []
    chosen = list(dict.fromkeys([*mine, *schemes]))
    if not chosen:
        return None
    asked = [name for name in (targets or exam.targets) if name != FLOAT]
    return (
        "chipdrift matrix MODEL --data DATA --calibration CAL "
        f"--scheme {','.join(chosen)} --target {','.join(map(shlex.quote, asked))} "
        f"-o runs/{'-'.join([scheme, *(name for name in chosen if name != scheme)])}"
    )


def more_bits(exam: Exam, targets: Sequence[str] | None = None) -> str | None:
    """The command that tries 16-bit activations; None where they have them already."""
    return matrix_command(exam, WIDE, targets=targets) if narrow(exam) else None


def per_channel(exam: Exam, targets: Sequence[str] | None = None) -> str | None:
    """The command that tries a weight scale per channel at the run's own activations."""
    return matrix_command(exam, _PER_CHANNEL if narrow(exam) else WIDE, targets=targets)


def on_cpu(nodes: Sequence[str]) -> str:
    """The nodes on the CPU, in words."""
    if len(nodes) == 1:
        return f"keep {nodes[0]} on the CPU"
    return f"keep the nodes named on the CPU, {nodes[0]} first"


def remedy(exam: Exam, mechanism: str, nodes: Sequence[str]) -> tuple[str, str | None]:
    """What to do about a mechanism in ``nodes``, with its command (None: there is none)."""
    if harmless(exam):
        return NONE_NEEDED, None
    command = more_bits(exam) if mechanism in MORE_BITS else None
    parts = [f"{16}-bit activations ({WIDE})"] if command else []
    if mechanism in FIXES:
        parts.append(FIXES[mechanism])
    if mechanism != "fallback":
        parts.append(on_cpu(nodes))
    hosts = [name for name in exam.targets if name.startswith(_HOST)]
    if mechanism == "accumulator_overflow" and hosts:
        parts.append(_X86.format(host=" and ".join(hosts)))
    return ", or ".join(parts), command
