"""How much of a whole model the engine predicts, and which kinds of op part.

``python bench/whole.py MODEL --data EVAL.npz --calibration CAL.npz --scheme w8a8,w8a16_pc
--pair htp:sm8450=sim:hexagon-v69,htp:sm8550=sim:hexagon-v73 [--shape x=1,3,48,192] [--samples 4]``

Two shares of identical integers, per kind of op. *In the whole*: both run the model from its
inputs, so what one op does differently is carried into all behind it. *Alone*: the engine gets
each op's inputs as the target had them, so only the op's own difference is left. It is the second
that says which op owns a difference.

Every activation is watched through an extra output. Where that changes the target's final answer,
the line "watched" says on how many of its integers, and which kinds of op do it when they alone are
watched: what a target fuses it must take apart to show. The table tells of the watched model.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from chipdrift.data import load_data
from chipdrift.graph import load_model, tap_activations
from chipdrift.probe.ask import Asker, NoAnswerError
from chipdrift.quantize import apply_scheme
from chipdrift.schemes import get_scheme
from chipdrift.targets import get_target

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
# What computes nothing: a row of their own, and not counted among all.
_MOVES = frozenset(
    ("Reshape", "Transpose", "Gather", "Flatten", "Squeeze", "Unsqueeze", "Concat", "Slice", "Cast")
)
_MOVED, _INPUT = "moves", "the model's input"
# Constant weights are another computation than two activations.
_TWO_INPUTS = ("Add", "Sub", "Mul", "Div", "MatMul")
_CALIBRATION = 40  # samples, as few as the how-tos use


@dataclass
class Count:
    """Integers asked and identical, and how far the others are apart, by distance in LSB."""

    activations: int = 0
    wholly: int = 0
    asked: int = 0
    distances: Counter[int] = field(default_factory=Counter)

    def add(self, there: list[np.ndarray], here: list[np.ndarray]) -> None:
        apart = [abs(a.astype(np.int64) - b) for a, b in zip(there, here, strict=True)]
        self.activations += 1
        self.wholly += not any(a.any() for a in apart)
        self.asked += sum(a.size for a in apart)
        for a in apart:
            values, counts = np.unique(a[a > 0], return_counts=True)
            self.distances.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))

    @property
    def share(self) -> str:
        """Never rounded up to 100."""
        differ = self.distances.total()
        return "100 %" if not differ else f"{min(1 - differ / self.asked, 0.99999):.3%}"

    @property
    def median(self) -> int:
        """Of those that differ."""
        return int(np.median(list(self.distances.elements()))) if self.distances else 0

    @property
    def most(self) -> int:
        return max(self.distances, default=0)


def integers(tapped: onnx.ModelProto) -> dict[str, str]:
    """The watched integer activations in the model's order, and the ops that made each."""
    makers = {out: node for node in tapped.graph.node for out in node.output}
    outputs = {value.name for value in tapped.graph.output}

    constants = {tensor.name for tensor in tapped.graph.initializer}

    def constant(name: str) -> bool:
        maker = makers.get(name)
        dequantized = maker is not None and maker.op_type == _DEQUANTIZE
        return name in constants or (dequantized and maker.input[0] in constants)

    def ops(name: str) -> Iterator[str]:
        node = makers.get(name)
        if node is None or node.op_type in (_QUANTIZE, _DEQUANTIZE):
            return
        for source in node.input:
            yield from ops(source)
        apart = node.op_type in _TWO_INPUTS and any(constant(source) for source in node.input)
        yield f"{node.op_type} by a constant" if apart else node.op_type

    found = {}
    for node in tapped.graph.node:
        if node.op_type == _QUANTIZE and node.output[0] in outputs:
            made_by = list(ops(node.input[0]))
            if made_by:
                moved = _MOVES.issuperset(made_by)
                found[node.output[0]] = _MOVED if moved else "+".join(made_by)
            else:
                requantized = makers.get(node.input[0]) is not None
                found[node.output[0]] = "to another quantizer" if requantized else _INPUT
    return found


def cut(tapped: onnx.ModelProto, answers: dict[str, np.ndarray]) -> bytes:
    """The model in which nobody reads a watched integer: each reader has an input of its own."""
    model = onnx.ModelProto.FromString(tapped.SerializeToString())
    read = set()
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name in answers:
                node.input[place] = given(name)
                read.add(name)
    for name in answers:
        if name in read:
            array = answers[name]
            kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            model.graph.input.append(
                onnx.helper.make_tensor_value_info(given(name), kind, array.shape)
            )
    return bytes(model.SerializeToString())


def given(name: str) -> str:
    return f"given/{name}"


def compare(
    real: Asker, ours: Asker, data: bytes, feeds: list[dict[str, np.ndarray]]
) -> tuple[dict[str, Count], dict[str, Count], list[str]]:
    """Counts by kind of op, in the whole and alone; and what else there is to say."""
    tapped = onnx.ModelProto.FromString(tap_activations(data))
    names = [value.name for value in tapped.graph.output]
    kinds = integers(tapped)
    own = len(onnx.ModelProto.FromString(data).graph.output)
    plain = real.ask_all(data, feeds)
    there = real.ask_all(tapped.SerializeToString(), feeds)
    here = ours.ask_all(tapped.SerializeToString(), feeds)
    final = ours.ask_all(data, feeds)
    seen = [dict(zip(names, answer, strict=True)) for answer in there]
    mine = [dict(zip(names, answer, strict=True)) for answer in here]
    said = [{name: answer[name] for name in kinds} for answer in seen]
    parts = cut(tapped, said[0])
    inputs = {value.name for value in onnx.ModelProto.FromString(parts).graph.input}
    fed = [
        {**feed, **{given(n): a for n, a in answer.items() if given(n) in inputs}}
        for feed, answer in zip(feeds, said, strict=True)
    ]
    alone = [dict(zip(names, answer, strict=True)) for answer in ours.ask_all(parts, fed)]

    whole: dict[str, Count] = {}
    single: dict[str, Count] = {}
    first = ""
    for name, kind in kinds.items():
        for table, answers in ((whole, mine), (single, alone)):
            count = table.setdefault(kind, Count())
            count.add([answer[name] for answer in seen], [answer[name] for answer in answers])
        if not first and any(
            not np.array_equal(a[name], b[name]) for a, b in zip(seen, mine, strict=True)
        ):
            first = f"{name} ({kind})"
    pairs = list(zip(plain, final, strict=True))
    equal = np.mean([np.mean(a[i] == b[i]) for a, b in pairs for i in range(own)])
    notes = [
        f"final outputs identical: {equal:.2%}",
        f"first to part: {first or 'none'}",
        f"watched: {watching(real, tapped, kinds, plain, there, feeds)}",
    ]
    return whole, single, notes


def watching(
    real: Asker,
    tapped: onnx.ModelProto,
    kinds: dict[str, str],
    plain: list[list[np.ndarray]],
    there: list[list[np.ndarray]],
    feeds: list[dict[str, np.ndarray]],
) -> str:
    """What extra outputs do to the target's own answer."""

    def changed(watched: list[list[np.ndarray]]) -> float:
        pairs = zip(plain, watched, strict=True)
        return float(
            np.mean([np.mean(a != b) for p, w in pairs for a, b in zip(p, w, strict=False)])
        )

    whole = changed(there)
    if not whole:
        return "the target's final answer is the same"
    culprits = []
    for kind in dict.fromkeys(kinds.values()):
        fewer = onnx.ModelProto.FromString(tapped.SerializeToString())
        own, extra = fewer.graph.output[: len(plain[0])], fewer.graph.output[len(plain[0]) :]
        kept = [*own, *(value for value in extra if kinds.get(value.name) == kind)]
        del fewer.graph.output[:]
        fewer.graph.output.extend(kept)
        if share := changed(real.ask_all(fewer.SerializeToString(), feeds)):
            culprits.append(f"{kind} {share:.1%}")
    return f"{whole:.1%} of the target's final answer changes; by one kind alone: " + (
        ", ".join(culprits) or "none"
    )


def table(whole: dict[str, Count], single: dict[str, Count]) -> Iterator[str]:
    yield (
        "| op | activations | integers | identical in the whole | median, max LSB of the others "
        "| identical alone | median, max LSB of the others |"
    )
    yield "|---|---|---|---|---|---|---|"
    rows = [(kind, whole[kind], single[kind]) for kind in whole]
    rows.sort(key=lambda row: -row[2].distances.total() / row[2].asked)
    rows.append(("all that compute", computed(whole), computed(single)))
    for kind, a, b in rows:
        yield (
            f"| {kind} | {a.activations} | {a.asked:,} | {a.share} | {a.median}, {a.most:,} "
            f"| {b.share} | {b.median}, {b.most:,} |"
        )


def computed(counts: dict[str, Count]) -> Count:
    """All but moves and the model's inputs."""
    total = Count()
    for kind, count in counts.items():
        if kind in (_MOVED, _INPUT):
            continue
        total.activations += count.activations
        total.wholly += count.wholly
        total.asked += count.asked
        total.distances.update(count.distances)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--scheme", default="w8a8,w8a8_pc,w8a16_pc")
    parser.add_argument("--pair", default="htp:sm8450=sim:hexagon-v69,htp:sm8550=sim:hexagon-v73")
    parser.add_argument("--shape", default="", help="input=1,3,48,192 where the model's is open")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--timeout", type=float, default=240, help="seconds an answer may take")
    options = parser.parse_args()
    shape = {}
    if options.shape:
        name, _, sizes = options.shape.partition("=")
        shape = {name: tuple(int(size) for size in sizes.split(","))}
    loaded = load_model(options.model, shape)
    feeds = [
        dict(feed)
        for feed in load_data(options.data, loaded.info.inputs, None).feeds()[: options.samples]
    ]
    calibration = load_data(options.calibration, loaded.info.inputs, None).feeds()[:_CALIBRATION]
    for scheme in options.scheme.split(","):
        data = apply_scheme(loaded, get_scheme(scheme), calibration).data
        for pair in options.pair.split(","):
            target, _, simulated = pair.partition("=")
            print(f"\n## {scheme}: {simulated} against {target}, {len(feeds)} samples", flush=True)
            with (
                Asker(get_target(target), options.timeout) as real,
                Asker(get_target(simulated), options.timeout) as ours,
            ):
                try:
                    whole, single, notes = compare(real, ours, data, feeds)
                except NoAnswerError as error:
                    print(f"no answer: {error}")
                    continue
            print("\n".join(["", *table(whole, single), "", *(f"- {note}" for note in notes)]))
            a, b = computed(whole), computed(single)
            print(
                f"- activations identical throughout: {a.wholly} of {a.activations} in the whole, "
                f"{b.wholly} alone",
                flush=True,
            )


if __name__ == "__main__":
    main()
