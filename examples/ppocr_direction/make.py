"""Make a real model and labelled data: PP-OCR's text direction classifier on rendered text.

Purpose: a MobileNetV3 as shipped in a product (depthwise convolutions, squeeze-and-excite,
HardSigmoid; 0.13 M parameters) that says whether a line of text is upright (0) or turned by 180
degrees (1). FP32: 285 of 300 right with the default seed. It writes, always the same for the same
``--seed`` and versions::

    model.onnx        as in the wheel: opset 11, dynamic height and width
    eval.npz          300 images under the model's input name, 3 x 48 x 192, and labels
    calibration.npz   100 more, of other words, with labels

Honesty: rendered text is good for FP32-against-quantized differences, not for absolute quality.
Figures from it say nothing about photographs of text. Blur, noise and contrast were chosen by FP32
alone, so that it errs now and then (seeds 0, 1, 2: 0.950, 0.983, 0.973); seed 0 is the hardest.

Licences: the model is PaddleOCR's (Apache-2.0), out of the wheel rapidocr-onnxruntime
(Apache-2.0). The fonts are DejaVu (Bitstream Vera licence) and STIX (their licences lie beside
them), out of the wheel matplotlib. Nothing of them is copied into this repository.

Needs, in an environment of its own or with ``pip install chipdrift[realmodels]``::

    pip install rapidocr-onnxruntime==1.4.4 matplotlib pillow onnx
    python examples/ppocr_direction/make.py --out runs/ppocr
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import random
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
from PIL import Image, ImageDraw, ImageFilter, ImageFont

HEIGHT, WIDTH = 48, 192
EVALUATION, CALIBRATION = 300, 100
FAMILIES = ("DejaVuSans", "DejaVuSerif", "STIXGeneral")
NOT_TEXT = ("Display",)
_WORDS = """
account address airport annual apple arrival august autumn average bakery balance battery
between birthday bottle bridge budget button camera captain carbon castle centre charge chicken
children chocolate circle city coffee college company contact cotton country credit customer
daily danger delivery department design dinner discount doctor double driver early electric
engine entrance evening exit express factory family fashion festival figure finance flight
flower forest fresh friday furniture garden general gentle glass golden grocery guarantee guest
harbour health history holiday honest hospital hotel hundred important include industry island
january journey kitchen language laundry lemon letter library licence light limited liquid
machine market medium member message metal minute model monday morning mountain museum national
natural network nothing number office orange original package paper parking partner payment
people perfect picture platform pocket police present price private product project public
quality quarter question receipt record reduced region repair report restaurant return river
sample saturday school season second service silver single snow soft special spring square
station storage street student summer sunday supply switch system table tariff tea teacher
theatre thursday ticket together tomorrow total tower traffic travel tuesday under university
valid vegetable village visit voucher warehouse water weather weight welcome winter wonder
yellow yesterday
"""
WORDS = _WORDS.split()


def package_folder(name: str) -> Path:
    """Return the folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"The package {name} is not installed: see the top of {__file__}.")
    return Path(spec.submodule_search_locations[0])


def only(folder: Path, pattern: str) -> Path:
    """Return the one file of that pattern."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"{folder}: {len(found)} files match {pattern}, expected one.")
    return found[0]


def font_files() -> list[Path]:
    """Return the fonts for running text that matplotlib ships."""
    folder = package_folder("matplotlib") / "mpl-data" / "fonts" / "ttf"
    found = [file for family in FAMILIES for file in sorted(folder.glob(f"{family}*.ttf"))]
    return [file for file in found if not any(word in file.name for word in NOT_TEXT)]


def a_text(words: list[str], rng: random.Random) -> str:
    """Return one to three words in some case, sometimes with a number after them."""
    chosen = rng.sample(words, rng.choice((1, 1, 2, 2, 3)))
    if rng.random() < 0.2:
        chosen.append(str(rng.randint(2, 2999)))
    return rng.choice((str.upper, str.lower, str.title, str.capitalize))(" ".join(chosen))


def rendered(text: str, font: Path, rng: random.Random) -> Image.Image:
    """Draw a line of text as a tight RGB crop, as of a bad scan: tint, blur, tilt and noise."""
    size = rng.randint(16, 56)
    face = ImageFont.truetype(str(font), size, layout_engine=ImageFont.Layout.BASIC)
    left, top, right, bottom = face.getbbox(text)
    margin = [rng.randint(1, 1 + size // 5) for _ in range(4)]
    extent = (
        round(right - left) + margin[0] + margin[2],
        round(bottom - top) + margin[1] + margin[3],
    )
    grey, contrast = rng.randint(120, 255), rng.randint(40, 200)
    paper = tuple(min(255, grey + rng.randint(-40, 40)) for _ in range(3))
    ink = tuple(max(0, channel - contrast) for channel in paper)
    if rng.random() < 0.25:
        paper, ink = ink, paper
    image = Image.new("RGB", extent, paper)
    drawing = ImageDraw.Draw(image)
    drawing.text((margin[0] - left, margin[1] - top), text, fill=ink, font=face)
    tilt = rng.uniform(-2, 2)
    image = image.rotate(tilt, Image.Resampling.BILINEAR, fillcolor=paper)
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, size / 24)))
    strength = rng.uniform(0, 25)
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, strength, (*extent[::-1], 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def preprocessed(image: Image.Image) -> np.ndarray:
    """Turn an RGB image into (3, 48, 192) float32 as PP-OCR's classifier does.

    BGR, scaled to 48 rows (at most 192 columns), within -1..1, zeros to the right. The formula is
    ``TextClassifier.resize_norm_img`` of rapidocr-onnxruntime 1.4.4.
    """
    bgr = np.ascontiguousarray(np.asarray(image)[:, :, ::-1])
    width = min(WIDTH, math.ceil(HEIGHT * bgr.shape[1] / bgr.shape[0]))
    scaled = cv2.resize(bgr, (width, HEIGHT)).astype(np.float32).transpose(2, 0, 1) / 255
    padded = np.zeros((3, HEIGHT, WIDTH), np.float32)
    padded[:, :, :width] = (scaled - 0.5) / 0.5
    return padded


def samples(count: int, words: list[str], rng: random.Random) -> tuple[np.ndarray, np.ndarray]:
    """Render ``count`` texts and turn every other one: images (N, 3, 48, 192), labels (N,)."""
    fonts = font_files()
    images, labels = [], []
    for i in range(count):
        image = rendered(a_text(words, rng), fonts[i % len(fonts)], rng)
        labels.append(i % 2)
        images.append(preprocessed(image.rotate(180) if labels[-1] else image))
    return np.stack(images), np.array(labels, np.int64)


def main() -> None:
    """Write the three files, print the FP32 accuracy and the command to run next."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the three files")
    parser.add_argument("--seed", type=int, default=0, help="of texts and pictures (0)")
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)

    models = package_folder("rapidocr_onnxruntime") / "models"
    content = only(models, "ch_ppocr_mobile_v2.0_cls*.onnx").read_bytes()
    (out / "model.onnx").write_bytes(content)
    name = onnx.load_model_from_string(content).graph.input[0].name

    rng = random.Random(options.seed)
    words = rng.sample(WORDS, len(WORDS))
    cut = len(words) * EVALUATION // (EVALUATION + CALIBRATION)
    images, labels = samples(EVALUATION, words[:cut], rng)
    np.savez_compressed(out / "eval.npz", **{name: images, "labels": labels})
    others, other_labels = samples(CALIBRATION, words[cut:], rng)
    np.savez_compressed(out / "calibration.npz", **{name: others, "labels": other_labels})

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    answers = [session.run(None, {name: image[None]})[0].argmax() for image in images]
    right = int((np.array(answers) == labels).sum())
    print(f"FP32 accuracy on onnxruntime's CPU: {right}/{len(labels)} = {right / len(labels):.4f}")
    print(
        f"chipdrift matrix {out}/model.onnx --data {out}/eval.npz "
        f"--calibration {out}/calibration.npz --shape {name}=1,3,{HEIGHT},{WIDTH} --metric top1 "
        f"--scheme fp32,w8a8,w8a8_pc,w8a16 --target ort:cpu,htp:sm8450,htp:sm8550 -o {out}/run"
    )


if __name__ == "__main__":
    main()
