"""What can be done about a finding today, and the command that does it, for the run at hand."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from chipdrift.diagnose.case import FLOAT
from chipdrift.diagnose.distance import range_of
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.mechanisms import FIXES, MORE_BITS
from chipdrift.diagnose.sums import overflowing
from chipdrift.schemes import builtin_schemes, get_scheme

# What a finding says of a difference between A and B that costs nothing.
NONE_NEEDED = "none is needed for accuracy"
# The built-in scheme with 16-bit activations that loses least.
WIDE = "w8a16_pc"
_PER_CHANNEL = "w8a8_pc"
_WIDE_BITS = 16
_WIDER = f"16-bit activations ({WIDE})"
# onnxruntime on an x86 without VNNI adds 8-bit products in pairs of 16 bits: the profile by which
# such a target computes, and the option without which it does. ``ort:cpu`` has it set.
_IN_PAIRS = "avx2-saturating"
_NO_PAIRS = "session.x64quantprecision=1"


def narrow(exam: Exam) -> bool:
    """Whether the model's activations are integers of fewer than 16 bits, all of them."""
    widths = [range_of(q.dtype) for q in exam.anatomy.quantizers.values()]
    return bool(widths) and all((high - low).bit_length() < _WIDE_BITS for low, high in widths)


def harmless(exam: Exam) -> bool:
    """Whether no loss was seen on A nor on B: what parts them needs no fix."""
    return exam.diagnosis.verdict.cause == "neither"


def own_scheme(exam: Exam) -> str | None:
    """The run's scheme as commands take it: its name, or the user's own file; None: it is gone."""
    name = exam.case.scheme
    if name in builtin_schemes():
        return name
    place = exam.case.run.scheme_file(name)
    # A list of schemes is parted at commas.
    return None if place is None or "," in place else place


def scheme_options(exam: Exam) -> str:
    """The options by which a command makes the run's model from MODEL, each with a space behind."""
    own = own_scheme(exam)
    if own is None or own == "asis":
        return ""
    calibration = "--calibration CAL " if get_scheme(own).needs_calibration else ""
    return f"--scheme {shlex.quote(own)} {calibration}"


def matrix_command(
    exam: Exam, *schemes: str, targets: Sequence[str] | None = None, out: str = ""
) -> str | None:
    """The command that measures ``schemes`` beside the run's own scheme.

    ``targets`` are A and B where none are given; the float model, which is no target, is left out.
    The run's folder is called ``out`` and the schemes. None where ``schemes`` hold nothing new, and
    where the run's model came quantized, so that there is nothing to quantize it from.
    """
    scheme = exam.case.scheme
    if schemes and (scheme == "asis" or set(schemes) <= {scheme}):
        return None
    # A scheme of the user's own has its file for a name; one that is gone is left out.
    own = own_scheme(exam)
    mine = [own] if own is not None else []
    chosen = list(dict.fromkeys([*mine, *schemes]))
    if not chosen:
        return None
    asked = [name for name in (targets or exam.targets) if name != FLOAT]
    folder = "-".join(filter(None, (out, scheme, *(name for name in chosen if name not in mine))))
    needs = any(get_scheme(name).needs_calibration for name in chosen)
    calibration = "--calibration CAL " if needs else ""
    return (
        f"chipdrift matrix MODEL --data DATA {calibration}--scheme {shlex.quote(','.join(chosen))} "
        f"--target {','.join(map(shlex.quote, asked))} -o runs/{folder}"
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
    if mechanism == "accumulator_overflow":
        fix, command = overflow_remedy(exam, nodes, overflowing(exam, nodes))
        # Other samples may reach further: the cure is named all the same.
        if harmless(exam):
            return f"{NONE_NEEDED} on these samples; to be rid of it, {fix}", None
        return fix, command
    if harmless(exam):
        return NONE_NEEDED, None
    command = more_bits(exam) if mechanism in MORE_BITS else None
    parts = [_WIDER] if command else []
    if mechanism in FIXES:
        parts.append(FIXES[mechanism])
    if mechanism != "fallback":
        parts.append(on_cpu(nodes))
    return ", or ".join(parts), command


def overflow_remedy(
    exam: Exam, nodes: Sequence[str], targets: Sequence[str]
) -> tuple[str, str | None]:
    """What to do about sums that pass the end in ``nodes`` on ``targets``, with its command.

    An option of onnxruntime is named where it is onnxruntime on an x86 that overflows; the CPU as a
    way out where it is an NPU.
    """
    sides = [side for side in (exam.case.a, exam.case.b) if side and side.name in targets]
    x86 = [side.name for side in sides if side.profile == _IN_PAIRS]
    parts = [f"{_NO_PAIRS} in onnxruntime on {' and '.join(x86)}"] if x86 else []
    command = more_bits(exam)
    parts += [_WIDER] if command else []
    if any(side.has_npu and side.name not in x86 for side in sides):
        parts.append(on_cpu(nodes))
    return ", or ".join([*parts, FIXES["accumulator_overflow"]]), command
