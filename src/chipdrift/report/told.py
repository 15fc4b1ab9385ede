"""A diagnosis in sentences, the same on the page and in the terminal."""

from __future__ import annotations

from chipdrift.counts import counted
from chipdrift.findings import WORDS, Activation, Diagnosis, Distance, Side
from chipdrift.report.figures import listing, percent

FLOAT = "float"


def pair_of(diagnosis: Diagnosis) -> str:
    """The two that are compared, and under which scheme."""
    return f"{diagnosis.scheme}: {diagnosis.a.target} against {diagnosis.b.target}"


def alike(diagnosis: Diagnosis) -> bool:
    """Whether no activation and no output differs."""
    return not any(a.distance.differing for a in (*diagnosis.activations, *diagnosis.outputs))


def stepped(diagnosis: Diagnosis) -> bool:
    """Whether its tensors are integers of a quantizer, so that distances are in steps (LSB)."""
    tensors = (*diagnosis.activations, *diagnosis.outputs)
    far = [*(a.distance for a in tensors), *(o.distance for o in diagnosis.own if o.distance)]
    return not far or any(d.max_lsb is not None for d in far)


def calm(diagnosis: Diagnosis) -> str | None:
    """What is to be said before the first note where no accuracy is lost, or None."""
    severities = {finding.severity for finding in diagnosis.findings}
    if diagnosis.verdict.cause != "neither" or "note" not in severities or "error" in severities:
        return None
    if "warning" in severities:  # these ask for something
        return (
            "The notes below ask for nothing, as far as accuracy on these samples tells; they say "
            "how the two part."
        )
    return (
        "No action is needed for accuracy, as far as these samples tell; the notes below say how "
        "the two part."
    )


def briefly(diagnosis: Diagnosis) -> str:
    """The verdict's first sentence, without a full stop."""
    return diagnosis.verdict.words.partition(". ")[0].rstrip(".")


def commanded(diagnosis: Diagnosis) -> list[int | None]:
    """For each finding the number (from 1) of an earlier one with the same command, or None."""
    first: dict[str, int] = {}
    found: list[int | None] = []
    for number, finding in enumerate(diagnosis.findings, 1):
        earlier = first.setdefault(finding.command, number) if finding.command else number
        found.append(None if earlier == number else earlier)
    return found


def where_they_part(diagnosis: Diagnosis) -> str:
    """The first activation that differs, and the first node that does so by itself."""
    samples, own = counted(diagnosis.samples, "sample"), counted(diagnosis.own_samples, "sample")
    if diagnosis.watched == "outputs":
        inside = f"{diagnosis.b.target} holds outputs alone: nothing inside the model is compared"
        if alike(diagnosis):
            return f"The two are identical in every output of {samples}, to the bit. {inside}."
        return f"{inside}, only the outputs of {samples}."
    if alike(diagnosis):
        return f"The two are identical: every activation and every output of {samples}, to the bit."
    if diagnosis.b.target == FLOAT:
        return (
            f"Compared are {samples}. What a node adds itself is measured with the float model's "
            f"values, quantized, as its inputs ({own})."
        )
    values = "integers" if stepped(diagnosis) else "values"
    first = next((o for o in diagnosis.own if o.node == diagnosis.first_op), None)
    how = "run alone"
    if first is not None and first.together:
        how = f"run with {listing(list(first.together), 3)}, with which it is computed together,"
    alone = f"{how} fed with the same {values} on both ({own})".replace("alone fed", "alone, fed")
    if diagnosis.first_layer is None:
        start = f"All activations of {samples} are identical; only the outputs differ"
    else:
        start = f"Over {samples} the first activation that differs is that of"
        start += f" {diagnosis.first_layer}"
    if diagnosis.first_op is None:
        return (
            f"{start}. No node differs when {alone}: the difference comes from nodes computed "
            "together, or from samples beyond these."
        )
    if diagnosis.first_op == diagnosis.first_layer:
        words = f"{start}, and it is also the first node that differs when {alone}."
    else:
        words = f"{start}. The first node that differs when {alone} is {diagnosis.first_op}."
    return words + _most_added(diagnosis)


def _most_added(diagnosis: Diagnosis) -> str:
    """The node that adds most noise by itself, where that is not the first one."""
    loud = [(o.distance.sqnr_db, o.node) for o in diagnosis.own if o.distance is not None]
    known = [(decibels, node) for decibels, node in loud if decibels is not None]
    if not known or min(known)[1] == diagnosis.first_op:
        return ""
    return f" Most is added by {min(known)[1]} ({min(known)[0]:.0f} dB)."


def left_npu(side: Side) -> str:
    """What a side's placement adds to its name: what fell back, or nothing."""
    place = side.placement
    if place is None or not place.fallback or side.evidence in ("prediction", "hypothesis"):
        return ""
    total = counted(place.npu + place.cpu, "node")
    names = listing([node.node for node in place.fallback], 4)
    return f"; {len(place.fallback)} of {total} left the NPU: {names}"


def at_the_output(diagnosis: Diagnosis) -> str | None:
    """How far the outputs are apart, or None where they are equal."""
    apart = [o for o in diagnosis.outputs if o.distance.differing]
    if not apart:
        return None
    words = [f"{o.tensor}: {measured(o.distance)}" for o in apart[:3]]
    return f"At the output, {listing(words)}."


def measured(distance: Distance) -> str:
    """A distance in words: "55.6 % of the values differ, up to 3 LSB, SQNR 35 dB"."""
    words = [f"{percent(distance.differing)} of the values differ"]
    if distance.max_lsb is not None:
        words.append(f"up to {distance.max_lsb:,.0f} LSB")
    elif distance.differing:
        words.append(f"up to {distance.max_abs:.3g}")
    if distance.sqnr_db is not None:
        words.append(f"SQNR {distance.sqnr_db:.0f} dB")
    return ", ".join(words)


def mechanisms_of(diagnosis: Diagnosis) -> list[tuple[str, str, int | None, float]]:
    """What the drift at the output comes from: share in words, cause, nodes, share.

    The share that is unexplained comes last, its cause "unexplained", without nodes.
    """
    found: list[tuple[str, str, int | None, float]] = [
        (part(a.drift), a.words or WORDS.get(a.mechanism, a.mechanism), len(a.nodes), a.drift)
        for a in diagnosis.attributions
    ]
    if found and diagnosis.unexplained is not None:
        left = diagnosis.unexplained
        found.append((part(left), "unexplained", None, left))
    return found


def left_over(diagnosis: Diagnosis) -> str | None:
    """What shares below 0 mean, and where the rest arises where every node is explained."""
    words = []
    if any(a.drift < -0.005 for a in diagnosis.attributions):
        words.append("A share below 0 takes away from what others make.")
    left = diagnosis.unexplained or 0.0
    known = all(e.unexplained < _LITTLE for e in diagnosis.explanations)
    if left >= _MUCH and known and all(a.at == "output" for a in diagnosis.attributions):
        words.append(
            "Every node by itself is explained; the rest is where the engine, in the whole model, "
            "is near A and not equal to it."
        )
    return " ".join(words) or None


def where_from(diagnosis: Diagnosis) -> str:
    """What the shares of :func:`mechanisms_of` are shares of."""
    if any(a.at == "nodes" for a in diagnosis.attributions):
        return (
            "Where the noise that the nodes add comes from (the engine is not near enough to A in "
            "the whole model to tell it at the output):"
        )
    return "Where the difference at the output comes from:"


def layers_of(diagnosis: Diagnosis) -> str | None:
    """The layers' shares of the same, in words: "By layers: c1 40 %, c2 35 %, 3 others 25 %."."""
    shares = [layer for layer in diagnosis.layers if layer.nodes]
    if len(shares) < 2:
        return None
    words = []
    for layer in shares:
        name = layer.nodes[0] if len(layer.nodes) == 1 else f"{len(layer.nodes)} others"
        words.append(f"{name} {part(layer.drift)}")
    return f"By layers: {', '.join(words)}."


# Unexplained shares: of a node, and of the whole.
_LITTLE, _MUCH = 0.02, 0.05


def part(share: float) -> str:
    """A part of a whole: whole percent, and a small one neither none nor negative zero."""
    if share == 0:
        return "0 %"
    if abs(share) < 0.005:
        return "under 1 %"
    return f"{100 * share:.0f} %"


def thinned(activations: tuple[Activation, ...], most: int) -> list[Activation]:
    """At most ``most`` or so, evenly along the depth, the first that differs among them."""
    if len(activations) <= most:
        return list(activations)
    step = len(activations) / most
    chosen = {int(i * step) for i in range(most)} | {len(activations) - 1}
    first = next((i for i, a in enumerate(activations) if a.distance.differing > 0), None)
    if first is not None:
        chosen.add(first)
    return [activations[i] for i in sorted(chosen)]
