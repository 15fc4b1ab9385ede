"""How much of a target the engine predicts, on models and inputs that no probe ever saw.

``python bench/prediction.py htp:sm8450 sim:v69.toml [SETTINGS]`` asks both the same random products
(SETTINGS models of each kind, 8 and 16 bit, every one with its own shapes, scales and zero points)
and the same whole network (MobileNetV2's size at 96x96, seeded random weights), and prints how
many output integers are identical.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import network
import numpy as np
import onnx

from chipdrift.data import load_data
from chipdrift.graph import load_model, tap_activations
from chipdrift.probe.ask import Asker, NoAnswerError
from chipdrift.probe.products import KINDS
from chipdrift.probe.settings import Wish, answers, random_setting
from chipdrift.quantize import apply_scheme
from chipdrift.schemes import get_scheme
from chipdrift.targets import get_target

SEED = 20_261_121  # no probe's


def products(real: Asker, ours: Asker, settings: int) -> None:
    rng = np.random.default_rng(SEED)
    for bits in (8, 16):
        for kind in KINDS:
            asked = equal = 0
            for index in range(settings):
                wish = Wish(
                    kind=kind,
                    bits=bits,
                    bias=kind != "matmul" and index % 4 > 0,
                    x_zero=True,
                    y_zero=True,
                    per_channel=index % 2 == 0,
                )
                setting = random_setting(rng, wish)
                try:
                    there, here = answers(real, setting), answers(ours, setting)
                except NoAnswerError as error:
                    print(f"{kind}, {bits} bit: {error}")
                    break
                asked, equal = asked + there.size, equal + int((there == here).sum())
            print(f"W8A{bits:<2} {kind:18} {equal:>9,} of {asked:>9,} identical", flush=True)


def whole_network(real: Asker, ours: Asker, folder: Path, images: int = 2) -> None:
    network.build(folder / "float.onnx", size=96)
    rng = np.random.default_rng(2)
    pictures = np.kron(rng.standard_normal((8, 3, 12, 12)), np.ones((8, 8))).astype(np.float32)
    np.savez(folder / "pictures.npz", image=pictures)
    loaded = load_model(folder / "float.onnx")
    feeds = load_data(str(folder / "pictures.npz"), loaded.info.inputs, None).feeds()
    for scheme in ("w8a8", "w8a8_pc", "w8a16_pc"):
        model = apply_scheme(loaded, get_scheme(scheme), feeds).data
        tapped = tap_activations(model)
        names = [value.name for value in onnx.load_from_string(tapped).graph.output]
        inputs = [{"image": picture[None]} for picture in pictures[:images]]
        same = dict.fromkeys(names, True)
        shares, plain = [], []
        for asked, only in ((tapped, False), (model, True)):
            there = real.ask_all(asked, inputs)
            here = ours.ask_all(asked, inputs)
            for a, b in zip(there, here, strict=True):
                if only:
                    plain.append(float((a[0] == b[0]).mean()))
                    continue
                for name, x, y in zip(names, a, b, strict=True):
                    same[name] &= np.array_equal(x, y)
                    shares.append(float((x == y).mean()))
        print(
            f"{scheme:9} MobileNetV2-size network: logits {np.mean(plain):.2%} identical; "
            f"{sum(same.values())} of {len(names)} activations wholly, {np.mean(shares):.3%} of "
            f"their integers on average, {images} images",
            flush=True,
        )


def main() -> None:
    target, simulated = sys.argv[1], sys.argv[2]
    settings = int(sys.argv[3]) if len(sys.argv) > 3 else 8
    with Asker(get_target(target)) as real, Asker(get_target(simulated)) as ours:
        print(f"{simulated} against {target}")
        products(real, ours, settings)
        with tempfile.TemporaryDirectory() as folder:
            whole_network(real, ours, Path(folder))


if __name__ == "__main__":
    main()
