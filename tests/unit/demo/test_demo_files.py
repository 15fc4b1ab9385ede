import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from chipdrift.demo import paths

README = Path(paths().model).parent / "README.md"


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def test_the_three_files_are_there_and_small() -> None:
    assert all(path.is_file() for path in paths())
    assert sum(path.stat().st_size for path in paths()) < 300_000


def test_the_model_is_valid_of_fixed_shape_and_every_node_is_named() -> None:
    model = onnx.load(paths().model)
    onnx.checker.check_model(model, full_check=True)
    (image,), (logits,) = model.graph.input, model.graph.output
    assert (image.name, logits.name) == ("image", "logits")
    assert [d.dim_value for d in image.type.tensor_type.shape.dim] == [1, 1, 8, 8]
    assert [d.dim_value for d in logits.type.tensor_type.shape.dim] == [1, 10]
    names = [node.name for node in model.graph.node]
    assert all(names)
    assert len(set(names)) == len(names)


def test_shapes_types_and_ranges_are_the_readmes() -> None:
    evaluation, calibration = arrays(paths().data), arrays(paths().calibration)
    assert evaluation.keys() == {"image", "labels"}
    assert calibration.keys() == {"image"}
    assert evaluation["image"].shape == (597, 1, 8, 8)
    assert calibration["image"].shape == (200, 1, 8, 8)
    assert evaluation["labels"].shape == (597,)
    assert evaluation["labels"].dtype == np.int64
    assert set(evaluation["labels"].tolist()) == set(range(10))
    for images in (evaluation["image"], calibration["image"]):
        assert images.dtype == np.float32
        assert images.min() == 0.0
        assert images.max() == 1.0


def test_no_image_is_in_both_files_or_twice() -> None:
    evaluation = [image.tobytes() for image in arrays(paths().data)["image"]]
    calibration = [image.tobytes() for image in arrays(paths().calibration)["image"]]
    assert len(set(evaluation + calibration)) == len(evaluation) + len(calibration)


def test_accuracy_on_the_cpu_is_the_readmes() -> None:
    found = re.search(r"FP32 accuracy: (\d+) of (\d+)\*\* \((0\.\d+)\)", README.read_text())
    assert found is not None
    session = onnxruntime.InferenceSession(paths().model, providers=["CPUExecutionProvider"])
    data = arrays(paths().data)
    answers = [session.run(None, {"image": image[None]})[0].argmax() for image in data["image"]]
    right = int((np.array(answers) == data["labels"]).sum())
    assert (right, len(answers)) == (int(found[1]), int(found[2]))
    assert f"{right / len(answers):.4f}" == found[3]
