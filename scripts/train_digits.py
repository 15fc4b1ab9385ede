"""Train the digits classifier that chipdrift brings along and write the files of its demo.

The network is a MobileNet in miniature (a stem, five depthwise-separable blocks with ReLU6, global
average pooling, one linear layer) on scikit-learn's ``load_digits``: 1,797 scans of 8 x 8 pixels,
1,200 of them for training and 597 for evaluation, stratified. Batch normalization is folded into
the convolutions and the ONNX file is written node by node, so nothing depends on an exporter.

Development only; the package needs none of this. In an environment of its own::

    pip install torch==2.13.0 scikit-learn==1.9.1 onnx==1.23.2 onnxruntime==1.31.1
    python scripts/train_digits.py

Take PyTorch's CPU build: a plain ``torch`` from PyPI brings several GB of CUDA. The seed is fixed
and training runs on one thread, so one machine gives the same bytes every time; another processor
may sum in another order and end with slightly different weights. The committed file is therefore
the reference, and this script says how it was made.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional

SEED = 20261
TRAIN, CALIBRATION = 1200, 200
EPOCHS, BATCH, RATE, DECAY = 60, 64, 4e-3, 1e-3
STEM = 16
BLOCKS = ((16, 1), (24, 2), (24, 1), (32, 2), (32, 1))  # (channels out, stride) of every block
CLASSES = 10


class Layer(nn.Module):
    """A convolution without bias, its batch normalization and, at the end, ReLU6."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, inputs, height, width) to (batch, outputs, ...), all within 0..6."""
        return functional.relu6(self.norm(self.conv(x)))

    def folded(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the weight and bias of the convolution that does both, computed in float64."""
        scale = self.norm.weight.double() / torch.sqrt(
            self.norm.running_var.double() + self.norm.eps
        )
        weight = self.conv.weight.double() * scale[:, None, None, None]
        bias = self.norm.bias.double() - self.norm.running_mean.double() * scale
        return (
            weight.detach().numpy().astype(np.float32),
            bias.detach().numpy().astype(np.float32),
        )


class Network(nn.Module):
    """Stem, blocks, pooling, linear. ``layers`` are keyed by the names used in the ONNX file."""

    def __init__(self, blocks: Sequence[tuple[int, int]] = BLOCKS) -> None:
        super().__init__()
        layers = {"stem/conv": Layer(1, STEM, 3, 1, 1)}
        width = STEM
        for i, (outputs, stride) in enumerate(blocks, start=1):
            layers[f"block{i}/depthwise"] = Layer(width, width, 3, stride, width)
            layers[f"block{i}/pointwise"] = Layer(width, outputs, 1, 1, 1)
            width = outputs
        self.layers = nn.ModuleDict(layers)
        self.linear = nn.Linear(width, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (batch, 1, side, side) within 0..1 to logits (batch, 10)."""
        for layer in self.layers.values():
            x = layer(x)
        return self.linear(x.mean((2, 3)))


def trained(
    images: np.ndarray,
    labels: np.ndarray,
    blocks: Sequence[tuple[int, int]] = BLOCKS,
    epochs: int = EPOCHS,
) -> Network:
    """Train on (N, 1, side, side) images with Adam under a one-cycle learning rate."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    network = Network(blocks).train()
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=DECAY)
    steps = epochs * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=RATE, total_steps=steps)
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for start in range(0, len(x) // BATCH * BATCH, BATCH):
            batch = order[start : start + BATCH]
            loss = functional.cross_entropy(network(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def to_onnx(network: Network, name: str = "digits", side: int = 8) -> onnx.ModelProto:
    """Write the trained network as ONNX: opset 17, batch 1, every node named."""
    nodes, constants = [], []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    low = constant("relu6/low", np.array(0, np.float32))
    high = constant("relu6/high", np.array(6, np.float32))
    x = "image"
    for layer_name, layer in network.layers.items():
        weight, bias = layer.folded()
        convolution = layer.conv
        inputs = [x, constant(f"{layer_name}/weight", weight), constant(f"{layer_name}/bias", bias)]
        nodes.append(
            helper.make_node(
                "Conv",
                inputs,
                [f"{layer_name}/sum"],
                layer_name,
                kernel_shape=list(convolution.kernel_size),
                strides=list(convolution.stride),
                pads=list(convolution.padding) * 2,
                group=convolution.groups,
            )
        )
        x = f"{layer_name}/out"
        nodes.append(
            helper.make_node("Clip", [f"{layer_name}/sum", low, high], [x], f"{layer_name}/relu6")
        )
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["pool/mean"], "head/pool"))
    nodes.append(helper.make_node("Flatten", ["pool/mean"], ["pool/out"], "head/flatten", axis=1))
    weight = constant("head/linear/weight", network.linear.weight.detach().numpy())
    bias = constant("head/linear/bias", network.linear.bias.detach().numpy())
    nodes.append(
        helper.make_node("Gemm", ["pool/out", weight, bias], ["logits"], "head/linear", transB=1)
    )
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, side, side])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES])],
        constants,
    )
    model = helper.make_model(
        graph,
        producer_name="chipdrift scripts/train_digits.py",
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def accuracy(model: bytes, images: np.ndarray, labels: np.ndarray) -> tuple[int, int]:
    """Count the right answers of onnxruntime's CPU, image by image: (right, all)."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    answers = [session.run(None, {"image": image[None]})[0].argmax() for image in images]
    return int((np.array(answers) == labels).sum()), len(labels)


def main() -> None:
    """Train, write the three files and print what the README of the demo says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    folder = Path(__file__).parents[1] / "src" / "chipdrift" / "demo"
    parser.add_argument("--out", type=Path, default=folder, help="folder of the three files")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[:, None]
    labels = digits.target.astype(np.int64)
    train_x, eval_x, train_y, eval_y = train_test_split(
        images, labels, train_size=TRAIN, stratify=labels, random_state=SEED
    )
    network = trained(train_x, train_y)
    model = to_onnx(network).SerializeToString(deterministic=True)
    (out / "digits.onnx").write_bytes(model)
    np.savez_compressed(out / "digits_eval.npz", image=eval_x, labels=eval_y)
    np.savez_compressed(out / "digits_calibration.npz", image=train_x[:CALIBRATION])

    right, count = accuracy(model, eval_x, eval_y)
    print(f"FP32 accuracy on onnxruntime's CPU: {right}/{count} = {right / count:.4f}")


if __name__ == "__main__":
    main()
