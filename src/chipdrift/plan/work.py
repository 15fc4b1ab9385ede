"""How each node of the float model runs in a variant, and what crosses between types."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from chipdrift.errors import ChipdriftError
from chipdrift.graph.load import LoadedModel
from chipdrift.graph.work import NodeWork, count_work
from chipdrift.records import MixedInfo
from chipdrift.schemes import Kind, Scheme, Setting

__all__ = ["Crossing", "NodeWork", "Runs", "VariantWork", "model_work", "variant_work"]

Runs = Literal["w8a8", "w8a16", "w4a8", "w4a16", "fp16", "fp32", "cpu", "cpu_w8a8", "cpu_w8a16"]
"""How a node runs: integers or float on the NPU, or ("cpu") in float32 on the CPU. ``cpu_w8a8`` and
``cpu_w8a16`` are integers that fell back to it."""


@dataclass(frozen=True)
class Crossing:
    """A tensor of ``elements`` that is converted from how it was made to how it is read."""

    tensor: str
    source: Runs
    to: Runs
    elements: int

    @property
    def to_cpu(self) -> bool:
        """Whether it goes between NPU and CPU."""
        return self.source.startswith("cpu") != self.to.startswith("cpu")


@dataclass(frozen=True)
class VariantWork:
    """A variant of a model, by the float model's nodes.

    ``runs`` says how each node of ``nodes`` runs.
    """

    nodes: tuple[NodeWork, ...]
    runs: tuple[Runs, ...]

    @property
    def crossings(self) -> tuple[Crossing, ...]:
        """Every tensor that is made in one way and read in another, once for each way of reading.

        The graph's own inputs and outputs cross nothing: they are converted at the edge of any
        quantized model. An input that is read in two types is converted to the wider one there,
        and from it for the others; float reads the input itself. What is no layer of its own
        crosses with the node that takes it in.
        """
        entering = self._entering()
        made: dict[str, Runs] = dict(entering)
        found: dict[tuple[str, str], Crossing] = {}
        for node, how in zip(self.nodes, self.runs, strict=True):
            if node.constant:
                continue
            for name, elements in node.inputs:
                source = made.get(name)
                if name in entering and not _integers(how):
                    continue
                if source is not None and _kind(source) != _kind(how):
                    crossing = Crossing(name, source, how, elements)
                    found.setdefault((name, _kind(how)), crossing)
            made.update((name, how) for name, _ in node.outputs)
        return tuple(found.values())

    def _entering(self) -> dict[str, Runs]:
        """The graph's inputs that the NPU reads in integers, and in which."""
        inner = {name for node in self.nodes for name, _ in node.outputs}
        readers: dict[str, list[Runs]] = defaultdict(list)
        for node, how in zip(self.nodes, self.runs, strict=True):
            for name, _ in node.inputs:
                if name not in inner and not node.constant and _integers(how):
                    readers[name].append(how)
        return {
            name: max(ways, key=lambda how: (how.endswith("a16"), how.endswith("a8")))
            for name, ways in readers.items()
        }

    @property
    def unknown(self) -> tuple[str, ...]:
        """What could not be counted, by node."""
        return tuple(f"{node.name}: {words}" for node in self.nodes for words in node.unknown)

    def falling_back(self, nodes: Collection[str]) -> VariantWork:
        """The same with ``nodes`` (the float model's names) on the CPU.

        What ran in integers stays in integers there. Raises ChipdriftError for a name that the
        model does not hold.
        """
        lacking = sorted(set(nodes) - {node.name for node in self.nodes})
        if lacking:
            raise ChipdriftError(
                f"Fallback: the float model has no node {lacking[0]!r}. Name its nodes by the "
                "source of a placement's fallback, not by the quantized model's names."
            )
        runs = tuple(
            _fallen(how) if node.name in nodes or node.joined in nodes else how
            for node, how in zip(self.nodes, self.runs, strict=True)
        )
        return replace(self, runs=runs)

    def raised(self, nodes: Collection[str], to: str) -> VariantWork:
        """The same with ``nodes`` raised to "uint16", "float16" or "float32" on the CPU.

        A prediction: neighbours that the quantizer would take along stay as they are.
        """
        runs = tuple(
            _raised(how, to) if node.name in nodes or node.joined in nodes else how
            for node, how in zip(self.nodes, self.runs, strict=True)
        )
        return replace(self, runs=runs)


def model_work(model: LoadedModel) -> tuple[NodeWork, ...]:
    """The work of every node of the float model; what is not known is 0 and listed in it."""
    return count_work(model)


class Made(Protocol):
    """What a scheme made of a model, as far as it says how nodes run."""

    @property
    def scheme(self) -> Scheme:
        """What was asked for."""

    @property
    def kind(self) -> Kind:
        """What the model is."""

    @property
    def mixed(self) -> MixedInfo | None:
        """What ``[[layer]]`` tables changed."""


def variant_work(work: Sequence[NodeWork], quantized: Made) -> VariantWork:
    """How each node of ``work`` runs in ``quantized``, a variant of the same float model.

    Raises ChipdriftError for a model that was quantized before it came here: which of its nodes
    run in what is not known.
    """
    if quantized.kind == "asis":
        raise ChipdriftError(
            f"Scheme {quantized.scheme.name}: the model is quantized already, so its cost against "
            "w8a8 of the same model is not known. Give the float model."
        )
    own = _own(quantized)
    base = _base(quantized)
    runs = {node.name: own.get(node.name, base) for node in work}
    # A Relu is what the node is that takes it in, whichever of the two a table named.
    for node in work:
        if node.joined is not None:
            host = own.get(node.joined) or own.get(node.name) or base
            runs[node.name] = runs[node.joined] = host
    return VariantWork(tuple(work), tuple(runs[node.name] for node in work))


def _base(quantized: Made) -> Runs:
    if quantized.kind == "float32":
        return "fp32"
    return "fp16" if quantized.kind == "float16" else _runs(quantized.scheme.setting())


def _own(quantized: Made) -> dict[str, Runs]:
    """The nodes that do not run as the scheme's own keys say."""
    if quantized.mixed is None:
        return {}
    scheme = quantized.scheme
    base = scheme.setting()
    known: dict[str, Runs] = {"kept in float32 on the CPU": "cpu", "computed in float16": "fp16"}
    for layer in scheme.layer:
        setting = scheme.setting(layer)
        known.setdefault(setting.words(base), _runs(setting))
    return {node: known[words] for node, words in quantized.mixed.layers}


def _runs(setting: Setting) -> Runs:
    if setting.kind != "qdq":
        return "cpu" if setting.kind == "float32" else "fp16"
    if setting.weights == "int4":
        return "w4a16" if setting.activations == "uint16" else "w4a8"
    return "w8a16" if setting.activations == "uint16" else "w8a8"


def _integers(how: Runs) -> bool:
    """Whether the NPU computes it in integers."""
    return how in ("w8a8", "w8a16", "w4a8", "w4a16")


def _kind(how: Runs) -> str:
    """What a tensor is that is made so: its type, and which processor has it."""
    place = "cpu" if how.startswith("cpu") else "npu"
    for part in ("a16", "a8"):
        if how.endswith(part):
            return f"{place} {part}"
    return f"{place} {how}"


def _fallen(how: Runs) -> Runs:
    if how.startswith("cpu"):
        return how
    if how in ("fp16", "fp32"):
        return "cpu"
    return "cpu_w8a16" if how.endswith("a16") else "cpu_w8a8"


def _raised(how: Runs, to: str) -> Runs:
    if to == "uint16":
        wider: dict[Runs, Runs] = {"w8a8": "w8a16", "w4a8": "w4a16"}
        return wider.get(how, how)
    return "fp16" if to == "float16" else "cpu"


def count_runs(variant: VariantWork) -> dict[Runs, int]:
    """How many layers run in which way, most first; what is joined or constant is no layer."""
    pairs = zip(variant.nodes, variant.runs, strict=True)
    return dict(Counter(how for node, how in pairs if node.runs).most_common())
