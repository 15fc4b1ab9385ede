"""Folders of images: pixels exactly as PIL and numpy by hand, classes in order, errors named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chipdrift.data import Samples, load_data
from chipdrift.errors import DataError
from chipdrift.records import TensorSpec

RNG = np.random.default_rng(0)


def spec(*shape: int, dtype: str = "float32", name: str = "x") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape)


def picture(path: Path, height: int, width: int, planes: int = 3) -> Any:
    shape = (height, width, 3) if planes == 3 else (height, width)
    pixels = RNG.integers(0, 256, shape, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def load(folder: Path, recipe: str, *inputs: TensorSpec, limit: int | None = None) -> Samples:
    (folder / "chipdrift.toml").write_text(recipe)
    return load_data(folder, list(inputs), limit)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("channels", ["RGB", "BGR"])
def test_png_round_trip_is_exact(layout: str, channels: str, tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a" / "1.png", 6, 5)
    recipe = f'size = [6, 5]\nlayout = "{layout}"\nchannels = "{channels}"\ndivide = 1\n'
    shape = (1, 3, 6, 5) if layout == "NCHW" else (1, 6, 5, 3)
    found = load(tmp_path, recipe, spec(*shape)).feed(0)["x"]
    wanted = pixels[..., ::-1] if channels == "BGR" else pixels
    wanted = wanted.transpose(2, 0, 1) if layout == "NCHW" else wanted
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[0], wanted)


def test_grey_and_colour_become_each_other(tmp_path: Path) -> None:
    grey = picture(tmp_path / "a" / "1.png", 4, 4, planes=1)
    found = load(tmp_path, 'size = [4, 4]\nchannels = "L"\ndivide = 1', spec(1, 1, 4, 4))
    np.testing.assert_array_equal(found.feed(0)["x"][0, 0], grey)
    found = load(tmp_path, "size = [4, 4]\ndivide = 1", spec(1, 3, 4, 4))
    for plane in found.feed(0)["x"][0]:
        np.testing.assert_array_equal(plane, grey)


def test_mean_and_standard_deviation(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a" / "1.png", 4, 4)
    recipe = "size = [4, 4]\nmean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\n"
    found = load(tmp_path, recipe, spec(1, 3, 4, 4)).feed(0)["x"]
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    wanted = ((pixels / 255 - mean) / std).transpose(2, 0, 1)
    # The recipe computes in float32: three roundings of values below 3.
    np.testing.assert_allclose(found[0], wanted, rtol=0, atol=1e-6)
    single = load(tmp_path, "size = [4, 4]\nmean = [0.5]\nstd = [0.25]", spec(1, 3, 4, 4))
    np.testing.assert_allclose(
        single.feed(0)["x"][0], ((pixels / 255 - 0.5) / 0.25).transpose(2, 0, 1), atol=1e-6
    )


@pytest.mark.parametrize(("height", "width"), [(40, 60), (60, 40), (32, 32), (33, 47)])
def test_resize_and_crop_as_pillow_does_it(height: int, width: int, tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a" / "1.png", height, width)
    found = load(tmp_path, "size = [23, 19]\nresize = 32\ndivide = 1", spec(1, 3, 23, 19))
    image = Image.fromarray(pixels)
    if width <= height:
        image = image.resize((32, round(height * 32 / width)), Image.Resampling.BILINEAR)
    else:
        image = image.resize((round(width * 32 / height), 32), Image.Resampling.BILINEAR)
    left, top = (image.width - 19) // 2, (image.height - 23) // 2
    wanted = np.asarray(image)[top : top + 23, left : left + 19]
    np.testing.assert_array_equal(found.feed(0)["x"][0], wanted.transpose(2, 0, 1))


def test_resize_without_crop_and_size_alone_go_to_the_size_outright(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a" / "1.png", 30, 50)
    plain = load(tmp_path, "size = [8, 9]\ndivide = 1", spec(1, 3, 8, 9)).feed(0)["x"]
    wanted = Image.fromarray(pixels).resize((9, 8), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(plain[0], np.asarray(wanted).transpose(2, 0, 1))
    twice = load(
        tmp_path, "size = [8, 9]\nresize = 16\ncrop = false\ndivide = 1", spec(1, 3, 8, 9)
    ).feed(0)["x"]
    first = Image.fromarray(pixels).resize((27, 16), Image.Resampling.BILINEAR)
    wanted = first.resize((9, 8), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(twice[0], np.asarray(wanted).transpose(2, 0, 1))


def test_classes_files_and_turns(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/10.png", "a/z.png", "c/1.png", "b/note.txt", "a/x.JPG"):
        if name.endswith("txt"):
            (tmp_path / name).write_text("no image")
        else:
            picture(tmp_path / name, 4, 4)
    (tmp_path / ".cache").mkdir()
    picture(tmp_path / ".cache" / "1.png", 4, 4)
    samples = load(tmp_path, "size = [4, 4]\ndivide = 1", spec(1, 3, 4, 4))
    assert samples.labels is not None
    assert samples.labels.tolist() == [0, 1, 2, 0, 1], "classes take turns; hidden folders are none"
    wanted = ["a/x.JPG", "b/10.png", "c/1.png", "a/z.png", "b/2.png"]
    for i, name in enumerate(wanted):
        pixels = np.asarray(Image.open(tmp_path / name)).transpose(2, 0, 1)
        np.testing.assert_array_equal(samples.feed(i)["x"][0], pixels)
    few = load_data(tmp_path, [spec(1, 3, 4, 4)], 3)
    assert few.labels is not None
    assert few.labels.tolist() == [0, 1, 2], "a limit covers all classes"
    assert few.keys == samples.keys[:3]
    assert samples.info().name == tmp_path.name


def test_the_order_of_classes_can_be_given(tmp_path: Path) -> None:
    for name in ("cat/1.png", "dog/1.png", "ape/1.png"):
        picture(tmp_path / name, 4, 4)
    recipe = 'size = [4, 4]\nclasses = ["dog", "cat"]'
    samples = load(tmp_path, recipe, spec(1, 3, 4, 4))
    assert samples.labels is not None
    assert samples.labels.tolist() == [0, 1]
    dog = np.asarray(Image.open(tmp_path / "dog" / "1.png"), np.float32) / np.float32(255)
    np.testing.assert_array_equal(samples.feed(0)["x"][0], dog.transpose(2, 0, 1))


def test_the_toml_may_lie_elsewhere(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a" / "1.png", 4, 4)
    toml = tmp_path / "recipe.toml"
    toml.write_text('size = [4, 4]\nfolder = "images"\ninput = "x"')
    samples = load_data(toml, [spec(1, 3, 4, 4)])
    assert len(samples) == 1
    assert samples.name == "images"


def test_integer_inputs_take_pixels_and_refuse_fractions(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a" / "1.png", 4, 4)
    recipe = 'size = [4, 4]\nlayout = "NHWC"\n'
    whole = load(tmp_path, recipe + "divide = 1", spec(1, 4, 4, 3, dtype="uint8"))
    np.testing.assert_array_equal(whole.feed(0)["x"][0], pixels)
    with pytest.raises(DataError, match="divide = 1"):
        load(tmp_path, recipe, spec(1, 4, 4, 3, dtype="uint8"))
    half = load(tmp_path, recipe, spec(1, 4, 4, 3, dtype="float16")).feed(0)["x"]
    np.testing.assert_array_equal(half[0], (pixels / np.float32(255)).astype(np.float16))


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("resize = 4", "size: Field required.*Keys: size, resize"),
        ("size = [4, 4]\nmaen = [0.5]", "maen"),
        ("size = 4", "size"),
        ("size = [0, 4]", "greater than or equal to 1"),
        ("size = [4, 4]\nresize = 0", "greater than or equal to 1"),
        ("size = [4, 4]\ndivide = 0", "greater than 0"),
        ("size = [4, 4]\nmean = [0.5, 0.5]", "mean has 2 values for 3 channels"),
        ('size = [4, 4]\nchannels = "L"\nstd = [1, 1, 1]', "std has 3 values for 1 channels"),
        ("size = [4, 4]\nstd = [0.0]", "std must be greater than 0"),
        ("size = [4, 4", "not valid TOML"),
        ('size = [4, 4]\nfolder = "none"', "does not exist"),
        ('size = [4, 4]\nclasses = ["a", "q"]', "classes without a folder: q"),
        ('size = [4, 4]\ninput = "z"', "no input 'z'"),
        ("size = [5, 5]", r"has shape \(1, 3, 5, 5\), the model takes \(1, 3, 4, 4\)"),
        ('size = [4, 4]\nlayout = "HWC"', "layout"),
    ],
)
def test_what_is_wrong_is_said(recipe: str, words: str, tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.png", 4, 4)
    with pytest.raises(DataError, match=words) as caught:
        load(tmp_path, recipe, spec(1, 3, 4, 4))
    assert "\n" not in str(caught.value)


def test_no_toml_no_images_and_two_inputs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs a chipdrift.toml"):
        load_data(tmp_path, [spec(1, 3, 4, 4)])
    with pytest.raises(DataError, match="no images in class folders"):
        load(tmp_path, "size = [4, 4]", spec(1, 3, 4, 4))
    picture(tmp_path / "1.png", 4, 4)
    with pytest.raises(DataError, match="no images in class folders"):
        load(tmp_path, "size = [4, 4]", spec(1, 3, 4, 4))
    picture(tmp_path / "a" / "1.png", 4, 4)
    with pytest.raises(DataError, match="say which with input"):
        load(tmp_path, "size = [4, 4]", spec(1, 3, 4, 4), spec(1, name="z"))
    with pytest.raises(DataError, match="images feed one input"):
        load(tmp_path, 'size = [4, 4]\ninput = "x"', spec(1, 3, 4, 4), spec(1, name="z"))


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "webp", "tiff"])
def test_a_broken_image_is_named(suffix: str, tmp_path: Path) -> None:
    """Cut off, or with a byte changed: an image or one sentence, never another exception."""
    path = tmp_path / "a" / f"1.{suffix}"
    picture(path, 16, 16)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(DataError, match=f"1.{suffix}: not a readable image"):
        load(tmp_path, "size = [16, 16]", spec(1, 3, 16, 16))
    refused = 0
    for at in [*range(min(60, len(whole))), *RNG.integers(0, len(whole), 40).tolist()]:
        broken = bytearray(whole)
        broken[at] ^= 0xFF
        path.write_bytes(broken)
        try:
            load_data(tmp_path, [spec(1, 3, 16, 16)])
        except DataError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused
