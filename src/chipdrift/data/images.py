"""A folder of images by class, with a small TOML that says how they become arrays."""

from __future__ import annotations

import tomllib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from chipdrift.data.samples import Array, Samples
from chipdrift.errors import DataError
from chipdrift.records import Record, TensorSpec

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"})


Side = Annotated[int, Field(ge=1, le=8192)]


class ImageRecipe(Record):
    """How an image becomes an input.

    The image is resized so that its shorter side is ``resize`` (or, without ``resize``, to
    ``size`` outright), the centre ``size`` = [height, width] is cut out when ``crop`` is true,
    values are divided by 255, and ``(value - mean) / std`` is taken per channel. ``classes`` fixes
    the order of the class folders; without it they are sorted by name.
    """

    size: tuple[Side, Side]
    resize: Side | None = None
    crop: bool = True
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    channels: Literal["RGB", "BGR", "L"] = "RGB"
    divide: float = Field(default=255.0, gt=0, allow_inf_nan=False)
    input: str | None = None
    folder: str = "."
    classes: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> ImageRecipe:
        planes = 1 if self.channels == "L" else 3
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, planes):
                raise ValueError(f"{name} has {len(values)} values for {planes} channels")
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise ValueError("classes holds a name twice")
        if min(self.std) <= 0:
            raise ValueError("std must be greater than 0")
        return self


def load_images(path: Path, inputs: Sequence[TensorSpec], limit: int | None) -> Samples:
    """Samples from ``folder/class/*.png`` and the like, each class sorted by file name.

    The classes take turns, so that few samples under a limit still cover them all. Labels are the
    class's number. Raises DataError for a missing or wrong TOML, an unreadable image, no images.
    """
    toml = path / "chipdrift.toml" if path.is_dir() else path
    recipe = _recipe(toml)
    folder = toml.parent / recipe.folder
    spec = _input(toml, recipe, inputs)
    files = _files(toml, recipe, folder)
    if limit is not None:
        files = files[:limit]
    cache: dict[int, Array] = {}

    def fetch(index: int) -> dict[str, Array]:
        if index not in cache:
            array = _typed(toml, spec, _read(files[index][1], recipe))
            # Small sets stay in memory, large ones are decoded again when they are run.
            if len(files) * array.nbytes > 1 << 30:
                return {spec.name: array}
            cache[index] = array
        return {spec.name: cache[index]}

    labels = np.array([label for label, _ in files], dtype=np.int64)
    return Samples(folder.resolve().name, [spec], len(files), fetch, labels)


def _recipe(toml: Path) -> ImageRecipe:
    if not toml.exists():
        raise DataError(
            f"Data {toml.parent}: a folder of images needs a chipdrift.toml that says at least "
            "size = [height, width]; mean, std, crop, layout and channels as the model wants them."
        )
    try:
        return ImageRecipe(**tomllib.loads(toml.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise DataError(f"Data {toml}: not valid TOML: {error}.") from error
    except ValidationError as error:
        first: Any = error.errors()[0]
        raise DataError(
            f"Data {toml}: {'.'.join(map(str, first['loc']))}: {first['msg']} (found "
            f"{first.get('input')!r}). Keys: {', '.join(ImageRecipe.model_fields)}."
        ) from error


def _input(toml: Path, recipe: ImageRecipe, inputs: Sequence[TensorSpec]) -> TensorSpec:
    names = [spec.name for spec in inputs]
    if recipe.input is None and len(inputs) != 1:
        raise DataError(f"Data {toml}: the model has inputs {names}; say which with input = ...")
    for spec in inputs:
        if recipe.input in (None, spec.name):
            if len(inputs) > 1:
                raise DataError(
                    f"Data {toml}: images feed one input, the model has {names}. "
                    "Use an .npz or module:function instead."
                )
            return spec
    raise DataError(f"Data {toml}: the model has no input {recipe.input!r}; it has {names}.")


def _files(toml: Path, recipe: ImageRecipe, folder: Path) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        raise DataError(f"Data {toml}: folder {folder} does not exist.")
    classes = recipe.classes or tuple(
        sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    )
    missing = [name for name in classes if not (folder / name).is_dir()]
    if missing:
        raise DataError(f"Data {toml}: classes without a folder: {', '.join(missing[:5])}.")
    per_class = [
        [(i, p) for p in sorted((folder / name).iterdir()) if p.suffix.lower() in _SUFFIXES]
        for i, name in enumerate(classes)
    ]
    longest = max((len(group) for group in per_class), default=0)
    files = [group[turn] for turn in range(longest) for group in per_class if turn < len(group)]
    if not files:
        raise DataError(
            f"Data {folder}: no images in class folders (folder/class/image.png). "
            f"Read are {', '.join(sorted(_SUFFIXES))}."
        )
    return files


def _typed(toml: Path, spec: TensorSpec, values: Array) -> Array:
    """``values`` in the input's type; what an integer input would lose is an error."""
    array: Array = values.astype(spec.dtype)
    if array.dtype.kind in "iu" and not np.array_equal(array, values):
        raise DataError(
            f"Data {toml}: input {spec.name!r} is {spec.dtype}, and the recipe makes fractions or "
            "values out of its range. Set divide = 1, and mean and std to leave whole numbers."
        )
    return array


def _read(path: Path, recipe: ImageRecipe) -> Array:
    from PIL import Image

    height, width = recipe.size
    try:
        with warnings.catch_warnings():
            # Odd metadata; the pixels are what counts.
            warnings.simplefilter("ignore")
            with Image.open(path) as opened:
                if opened.mode[:1] in "IF":
                    raise DataError(
                        f"Data {path}: its pixels are of mode {opened.mode} (16 bits or more), "
                        "which would be clipped to 8. Convert it, or use an .npz."
                    )
                image = opened.convert("L" if recipe.channels == "L" else "RGB")
    except DataError:
        raise
    # Pillow's decoders raise whatever they trip over in a damaged file.
    except Exception as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"Data {path}: not a readable image ({words}). Mend or remove it."
        ) from error
    if recipe.resize is not None:
        scale = recipe.resize / min(image.size)
        sides = tuple(max(recipe.resize, round(side * scale)) for side in image.size)
        image = image.resize((sides[0], sides[1]), Image.Resampling.BILINEAR)
        if recipe.crop and (image.width < width or image.height < height):
            raise DataError(
                f"Data {path}: resized to {image.width} x {image.height}, too small to cut "
                f"{width} x {height} out of it. Give a larger resize, or crop = false."
            )
        if recipe.crop:
            left, top = (image.width - width) // 2, (image.height - height) // 2
            image = image.crop((left, top, left + width, top + height))
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.float32)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if recipe.channels == "BGR":
        pixels = pixels[..., ::-1]
    mean, std = np.array(recipe.mean, np.float32), np.array(recipe.std, np.float32)
    values = (pixels / np.float32(recipe.divide) - mean) / std
    if recipe.layout == "NCHW":
        values = np.moveaxis(values, -1, 0)
    array: Array = np.ascontiguousarray(values, dtype=np.float32)[None]
    return array
