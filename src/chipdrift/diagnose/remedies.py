"""What can be done about a finding today, and the command that does it, for the run at hand."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import PurePath

from chipdrift.diagnose.case import FLOAT
from chipdrift.diagnose.distance import range_of
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.mechanisms import FIXES, MORE_BITS
from chipdrift.diagnose.scores import coarse_scores
from chipdrift.diagnose.sums import overflowing
from chipdrift.schemes import builtin_schemes, get_scheme
from chipdrift.store import Store
from chipdrift.targets import get_target

# What a finding says of a difference between A and B that costs nothing.
NONE_NEEDED = "none is needed for accuracy"
# The built-in scheme with 16-bit activations that loses least.
WIDE = "w8a16_pc"
_PER_CHANNEL = "w8a8_pc"
_WIDE_BITS = 16
_WIDER = f"16-bit activations ({WIDE})"
_SMALL_MASK = "write a mask as a small number, say -30, so that it does not set the range"
# onnxruntime on an x86 without VNNI adds 8-bit products in pairs of 16 bits: the profile by which
# such a target computes, and the option without which it does. ``ort:cpu`` has it set.
_IN_PAIRS = "avx2-saturating"
_NO_PAIRS = "session.x64quantprecision=1"


def narrow(exam: Exam) -> bool:
    """Whether the model's activations are integers of fewer than 16 bits, all of them."""
    widths = _ranges(exam)
    return bool(widths) and all((high - low).bit_length() < _WIDE_BITS for low, high in widths)


def _ranges(exam: Exam) -> list[tuple[int, int]]:
    """The least and the largest integer of each activation."""
    return [range_of(q.dtype) for q in exam.anatomy.quantizers.values()]


def harmless(exam: Exam) -> bool:
    """Whether what parts A and B costs nothing: no loss on either, or the same on both."""
    return exam.diagnosis.verdict.cause in ("neither", "quantization")


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
    The run's folder is called as the model, ``out`` and the schemes. None where ``schemes`` hold
    nothing new or nothing that all targets take, and where the run's model came quantized, so that
    there is nothing to quantize it from.
    """
    scheme = exam.case.scheme
    if schemes and (scheme == "asis" or set(schemes) <= {scheme}):
        return None
    asked = [name for name in (targets or exam.targets) if name != FLOAT]
    if any(_refused(exam, name, new) for new in {*schemes} - {scheme} for name in asked):
        return None
    # A scheme of the user's own has its file for a name; one that is gone is left out.
    own = own_scheme(exam)
    mine = [own] if own is not None else []
    chosen = list(dict.fromkeys([*mine, *schemes]))
    if not chosen:
        return None
    new = (name for name in chosen if name not in mine)
    folder = "-".join(filter(None, (_stem(exam), out, scheme, *new)))
    needs = any(get_scheme(name).needs_calibration for name in chosen)
    calibration = "--calibration CAL " if needs else ""
    return (
        f"chipdrift matrix MODEL --data DATA {_limit(exam)}{calibration}"
        f"--scheme {shlex.quote(','.join(chosen))} "
        f"--target {','.join(map(shlex.quote, asked))} -o runs/{folder}"
    )


def _limit(exam: Exam) -> str:
    """The option by which the run took the first of its samples only, with a space behind."""
    with Store.read(exam.case.run.folder) as store:
        limit = (store.fact("origin") or {}).get("limit")
    return f"--limit {limit} " if limit else ""


def _stem(exam: Exam) -> str:
    """The model's name as a folder may be called: two models never share a run."""
    return re.sub(r"[^\w.-]+", "_", PurePath(exam.case.run.matrix.model.name).stem)


def _refused(exam: Exam, name: str, scheme: str) -> bool:
    """Whether a target cannot take a scheme: by its own word, or as the run has seen it."""
    cells = exam.case.run.matrix.cells
    cell = next((c for c in cells if (c.scheme, c.target) == (scheme, name)), None)
    if cell is not None:
        return cell.status == "unsupported"
    sides = {side.name: side for side in (exam.case.a, exam.case.b) if side is not None}
    found, wanted = sides.get(name) or get_target(name), get_scheme(scheme)
    return wanted.kind in found.refuses or wanted.activations in found.refuses


def more_bits(exam: Exam, targets: Sequence[str] | None = None) -> str | None:
    """The command that tries 16-bit activations; None where they have them already."""
    return matrix_command(exam, WIDE, targets=targets) if narrow(exam) else None


def per_channel(exam: Exam, targets: Sequence[str] | None = None) -> str | None:
    """The command that tries a weight scale per channel at the run's own activations."""
    return matrix_command(exam, _PER_CHANNEL if narrow(exam) else WIDE, targets=targets)


def probe_command(exam: Exam, names: Sequence[str]) -> str:
    """The command that learns the rules of ``names``, one or both targets, and diagnoses again."""
    bits = {(high - low).bit_length() for low, high in _ranges(exam)}
    width = f"--width {min(bits)} " if len(bits) == 1 and bits <= {8, 16} else ""
    parts, options = [], []
    for name in names:
        file = shlex.quote(re.sub(r"[^\w.-]+", "-", name) + ".toml")
        parts.append(f"chipdrift probe {shlex.quote(name)} {width}-o {file}")
        options.append(f"--profile {shlex.quote(name)}={file}")
    options += [
        f"--profile {shlex.quote(f'{name}={profile}')}"
        for name, profile in exam.case.given.items()
        if name not in names
    ]
    a, b = map(shlex.quote, exam.targets)
    parts.append(
        f"chipdrift diagnose {shlex.quote(str(exam.case.run.folder))} --scheme {exam.case.scheme} "
        f"--target {a} --against {b} {' '.join(options)}"
    )
    return " && ".join(parts)


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
    coarse = coarse_scores(exam)
    elsewhere = [node for node in nodes if node not in coarse]
    if not elsewhere:
        return scores_remedy(exam)
    command = more_bits(exam) if mechanism in MORE_BITS else None
    parts = [_WIDER] if command else []
    if mechanism in FIXES:
        parts.append(FIXES[mechanism])
    if mechanism != "fallback":
        parts.append(on_cpu(elsewhere))
    return ", or ".join(parts), command


def scores_remedy(exam: Exam) -> tuple[str, str | None]:
    """What to do about a Softmax that reads coarse scores, with its command.

    The CPU is no way out: what is lost is lost in the quantizer before it.
    """
    command = more_bits(exam)
    wider = f"keep the scores in 16 bits ({WIDE}), and " if command else ""
    return f"{wider}{_SMALL_MASK}", command


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
