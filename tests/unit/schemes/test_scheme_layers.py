"""``[[layer]]`` tables of a scheme: what they hold and what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from chipdrift.errors import ChipdriftError
from chipdrift.schemes import Layer, builtin_schemes, get_scheme

MIXED = """
kind = "qdq"
weights = "int8"
activations = "uint8"
[[layer]]
nodes = ["block1/*", "head"]
activations = "uint16"
[[layer]]
ops = ["Softmax"]
kind = "float32"
[[layer]]
nodes = ["stem/conv"]
weights = "int4"
granularity = "block"
block_size = 32
"""


def own(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_the_tables_are_read_in_order(tmp_path: Path) -> None:
    scheme = get_scheme(str(own(tmp_path, MIXED)))
    assert scheme.layer == (
        Layer(nodes=("block1/*", "head"), activations="uint16"),
        Layer(ops=("Softmax",), kind="float32"),
        Layer(nodes=("stem/conv",), weights="int4", granularity="block", block_size=32),
    )
    raised, kept, blocked = (scheme.setting(layer) for layer in scheme.layer)
    base = scheme.setting()
    assert (base.kind, base.weights, base.activations, base.levels) == ("qdq", "int8", "uint8", 256)
    assert (raised.activations, raised.weights, raised.levels) == ("uint16", "int8", 65536)
    assert (blocked.weights, blocked.block_size, blocked.activations) == ("int4", 32, "uint8")
    assert raised.words(base) == "uint16 activations"
    assert kept.words(base) == "kept in float32 on the CPU"
    assert blocked.words(base) == "int4 weights in blocks of 32"
    assert base.words(base) == ""
    assert base.model_copy(update={"granularity": "channel"}).words(base).endswith("per channel")


def test_what_a_table_leaves_out_is_the_schemes() -> None:
    for scheme in builtin_schemes().values():
        assert scheme.layer == ()
        same = scheme.setting(Layer(nodes=("*",)))
        assert same == scheme.setting()
        assert same.block_size == scheme.block_size


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('activations = "uint16"', r"\[\[layer\]\] 1: .*it names no nodes.*Keys: nodes, ops"),
        ('nodes = "head"', r"\[\[layer\]\] 1: nodes: .*tuple"),
        ('nodes = ["head"]\nactivation = "uint16"', r"\[\[layer\]\] 1: activation: .*Keys: nodes"),
        ('nodes = ["head"]\nactivations = "uint12"', "'uint12'"),
        ('nodes = ["head"]\nkind = "float64"', "'float64'"),
        ('nodes = ["head"]\nkind = "float32"\nactivations = "uint16"', "has no integers"),
        ('nodes = ["head"]\nkind = "float16"\nweights = "int4"', "has no integers"),
        ('nodes = ["head"]\ngranularity = "block"', r"\[\[layer\]\] 1, with .*go together"),
        ('nodes = ["head"]\ngranularity = "block"\nblock_size = 8', 'needs weights = "int4"'),
        ('nodes = ["head"]\n[[layer]]\nops = ["Add"]\nblock_size = 1', r"\[\[layer\]\] 2: block"),
    ],
)
def test_what_is_wrong_is_said(table: str, words: str, tmp_path: Path) -> None:
    path = own(tmp_path, f'kind = "qdq"\n[[layer]]\n{table}\n')
    with pytest.raises(ChipdriftError, match=words) as caught:
        get_scheme(str(path))
    assert "\n" not in str(caught.value)
    assert "mine.toml" in str(caught.value)


@pytest.mark.parametrize("kind", ["float32", "float16", "asis"])
def test_only_integers_have_layers(kind: str, tmp_path: Path) -> None:
    path = own(tmp_path, f'kind = "{kind}"\n[[layer]]\nnodes = ["a"]\nactivations = "uint16"\n')
    with pytest.raises(ChipdriftError, match=rf'needs kind = "qdq", and this is "{kind}"'):
        get_scheme(str(path))


def test_blocks_are_not_handed_down_to_weights_that_have_none(tmp_path: Path) -> None:
    text = 'kind = "qdq"\nweights = "int4"\ngranularity = "block"\nblock_size = 32\n'
    path = own(tmp_path, text + '[[layer]]\nnodes = ["a"]\nweights = "int8"\n')
    with pytest.raises(ChipdriftError, match='needs weights = "int4"'):
        get_scheme(str(path))
    path = own(
        tmp_path, text + '[[layer]]\nnodes = ["a"]\nweights = "int8"\ngranularity = "tensor"\n'
    )
    scheme = get_scheme(str(path))
    assert scheme.setting(scheme.layer[0]).block_size is None
