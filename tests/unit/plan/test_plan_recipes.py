"""Schemes that a search writes: the same when read again, each with a name of its own."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from chipdrift.errors import RunError
from chipdrift.graph import LoadedModel, load_model
from chipdrift.plan.recipes import Raise, Recipes
from chipdrift.quantize import apply_scheme
from chipdrift.schemes import Layer, Scheme, get_scheme, scheme_toml, write_adjustment

AWKWARD = ['say "a"', "back\\slash", "add[1]", "add[12]", "mul*", "mul*2", "what?", "tab\there"]


def raised(names: list[str], to: str = "uint16") -> Raise:
    return Raise(frozenset(names), to)


@pytest.fixture
def recipes(tmp_path: Path) -> Recipes:
    return Recipes(tmp_path / "schemes")


@pytest.mark.parametrize("to", ["uint16", "float16", "float32"])
def test_a_scheme_is_read_again_as_it_was_written(recipes: Recipes, to: str) -> None:
    found = recipes.raised(get_scheme("w8a8_pc"), [raised(["b", "a"], to)], "what it is")
    file = recipes.folder / f"{found.name}.toml"
    again = get_scheme(str(file))
    assert again == found
    assert recipes.place(found) == str(file)
    document = tomllib.loads(file.read_text())  # Python's own reader
    key = ("activations", "uint16") if to == "uint16" else ("kind", to)
    assert document["layer"] == [{"nodes": ["a", "b"], key[0]: key[1]}]
    assert (document["granularity"], document["description"]) == ("channel", "what it is")
    base = get_scheme("w8a8_pc").model_dump(exclude={"name", "description", "layer", "sha256"})
    assert again.model_dump(exclude={"name", "description", "layer", "sha256"}) == base


def test_the_same_tables_have_the_same_name_in_every_plan(tmp_path: Path) -> None:
    base = get_scheme("w8a8")
    one, two = Recipes(tmp_path / "one"), Recipes(tmp_path / "two")
    first = one.raised(base, [raised(["x", "y", "z"])], "words")
    assert one.raised(base, [raised(["z", "y", "x"])], "words") is first
    assert two.raised(base, [raised(["y", "x", "z"])], "words") == first
    assert first.name.startswith("w8a8+3at16-")
    others = [
        one.raised(base, [raised(["x", "y"])], "words"),
        one.raised(base, [raised(["x", "y", "w"])], "words"),
        one.raised(base, [raised(["x", "y", "z"], "float32")], "words"),
        one.raised(get_scheme("w8a8_pc"), [raised(["x", "y", "z"])], "words"),
    ]
    assert len({scheme.name for scheme in (first, *others)}) == 5


def test_many_sets_of_one_size_have_names_of_their_own(recipes: Recipes) -> None:
    """With 16 bits of a digest some of 800 would share a name, and with it a scheme."""
    base = get_scheme("w8a8")
    made = {i: recipes.raised(base, [raised([f"layer{i}"])], "words") for i in range(800)}
    assert len({scheme.name for scheme in made.values()}) == 800
    assert all(scheme.layer[0].nodes == (f"layer{i}",) for i, scheme in made.items())


def test_raising_nothing_is_the_base(recipes: Recipes) -> None:
    base = get_scheme("w8a8")
    assert recipes.raised(base, [], "words") is base
    assert recipes.raised(base, [raised([])], "words") is base
    assert recipes.place(base) == "w8a8"
    assert not recipes.folder.exists()


def test_several_raises_are_tables_in_their_order(recipes: Recipes) -> None:
    own = get_scheme("w8a8").model_copy(
        update={"name": "mine", "layer": (Layer(ops=("Softmax",), activations="uint16"),)}
    )
    found = recipes.raised(own, [raised(["a"]), raised(["b", "c"], "float32")], "words")
    assert found.layer == (
        Layer(ops=("Softmax",), activations="uint16"),
        Layer(nodes=("a",), activations="uint16"),
        Layer(nodes=("b", "c"), kind="float32"),
    )
    assert found.name.startswith("mine+1at16+2cpu-")


def test_a_long_base_leaves_a_name_that_a_scheme_may_have(recipes: Recipes) -> None:
    base = get_scheme("w8a8").model_copy(update={"name": "a" * 64})
    other = base.model_copy(update={"name": "a" * 63 + "b"})
    names = [str(i) for i in range(999)]
    one, two = (recipes.raised(b, [raised(names)], "words") for b in (base, other))
    assert len(one.name) <= 64
    assert one.name != two.name


def calibrated(folder: Path) -> Scheme:
    """A base with everything that calibration on a target may leave in one."""
    folder.mkdir(parents=True)
    (folder / "cal.npz").write_bytes(write_adjustment({"conv#1": np.ones((2, 2), np.float32)}))
    (folder / "cal.toml").write_text(
        'kind = "qdq"\nadjust = "cal.npz"\ncalibration = "mse"\n'
        '[ranges]\n"a[0]" = [-1.5, 2.25]\n"say \\"b\\"" = [0.0, 1e-7]\n'
        '[weight_ranges]\nconv = 0.125\n"mul*" = [0.5, 0.25]\n'
        '[[layer]]\nops = ["Softmax"]\nactivations = "uint16"\n'
    )
    return get_scheme(str(folder / "cal.toml"))


def test_a_calibrated_base_keeps_all_that_it_has(recipes: Recipes) -> None:
    base = calibrated(recipes.folder)
    found = recipes.raised(base, [raised(["x"])], "words")
    assert found.adjustment == base.adjustment != b""
    assert found.calibration == "mse"
    assert found.ranges == {"a[0]": (-1.5, 2.25), 'say "b"': (0.0, 1e-7)}
    assert found.weight_ranges == {"conv": 0.125, "mul*": (0.5, 0.25)}
    assert found.layer == (*base.layer, Layer(nodes=("x",), activations="uint16"))
    assert tomllib.loads(scheme_toml(found))["ranges"]["a[0]"] == [-1.5, 2.25]


def test_a_users_own_scheme_keeps_its_weights_and_its_place(
    recipes: Recipes, tmp_path: Path
) -> None:
    """Its file lies elsewhere; what is made from it lies in the plan, with the weights too."""
    base = calibrated(tmp_path / "mine")
    file = str(tmp_path / "mine" / "cal.toml")
    recipes = Recipes(recipes.folder, {base.name: file})
    assert recipes.place(base) == file
    found = recipes.raised(base, [raised(["x"])], "words")
    again = get_scheme(recipes.place(found))
    assert again == found
    assert again.adjustment == base.adjustment != b""
    assert (recipes.folder / again.adjust).is_file()


def awkward_model(path: Path) -> LoadedModel:
    """A chain of products whose nodes have the names of AWKWARD, and two that they would match."""
    names = [*AWKWARD, "add1", "mulberry", "whatX"]
    rng = np.random.default_rng(1)
    tensors = ["x", *(f"t{i}" for i in range(len(names) - 1)), "y"]
    nodes = [
        helper.make_node("MatMul", [tensors[i], f"w{i}"], [tensors[i + 1]], name)
        for i, name in enumerate(names)
    ]
    weights = [
        numpy_helper.from_array(rng.standard_normal((4, 4)).astype(np.float32), f"w{i}")
        for i in range(len(names))
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "awkward", ends[:1], ends[1:], weights)
    opset = [helper.make_opsetid("", 21)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return load_model(path)


@pytest.mark.parametrize("name", AWKWARD)
def test_a_node_of_an_awkward_name_is_raised_and_it_alone(
    recipes: Recipes, tmp_path: Path, name: str
) -> None:
    model = awkward_model(tmp_path / "m.onnx")
    rng = np.random.default_rng(2)
    feeds: list[dict[str, Any]] = [
        {"x": rng.standard_normal((1, 4)).astype(np.float32)} for _ in range(3)
    ]
    scheme = recipes.raised(get_scheme("w8a8"), [raised([name])], "words")
    made = apply_scheme(model, scheme, feeds)
    assert made.mixed is not None
    assert {node for node, _ in made.mixed.layers} == {name}


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"toml: cannot be written"):
        Recipes(tmp_path / "file").raised(get_scheme("w8a8"), [raised(["a"])], "words")
