"""Profiles: bad ones are refused with the line and the fix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from single_op import Q

from chipdrift.errors import ChipdriftError, UnknownNameError
from chipdrift.numerics.profiles import get_profile, parse_profile

RNG = np.random.default_rng(6)
X = Q("uint8", 0.05, 131, RNG.integers(0, 256, (4, 8)))

# Name: (the file, the line in its complaint or None, what the complaint says, in order).
BAD: dict[str, tuple[str, int | None, list[str]]] = {
    "unknown table": (
        'description = "x"\n\n[acumulator]\nwidth = 32\n',
        3,
        ["acumulator: no such rule", "Did you mean accumulator?", "Known here: name, "],
    ),
    "unknown rule": (
        "[accumulator]\nwidth = 32\nwidht = 16\n",
        3,
        ["accumulator.widht", "Did you mean width?", "Known here: width, overflow"],
    ),
    "a rule of another table": (
        '[requantize]\nscale = "exact"\n\n[input]\nscale = "exact"\n',
        5,
        ["input.scale: no such rule", "Known here: rounding, arithmetic"],
    ),
    "unknown rule in a [[rule]], not the same word in another": (
        '[requantize]\nscale = "exact"\n[[rule]]\nops = ["Conv"]\n'
        'requantize = { scale = "exact" }\n'
        '[[rule]]\nops = ["Gemm"]\nrequantize = { scal = "exact" }\n',
        8,
        ["rule 2, requantize.scal", "Did you mean scale?"],
    ),
    "unknown rule in a [rule.requantize]": (
        '[[rule]]\n[rule.requantize]\nscale = "exact"\n[[rule]]\n[rule.requantize]\n'
        'scal = "exact"\n',
        6,
        ["rule 2, requantize.scal", "Did you mean scale?"],
    ),
    "unknown table in a table": (
        "[requantize]\ndrop = 1\n\n[requantize.extra]\na = 1\n",
        4,
        ["requantize.extra: no such rule"],
    ),
    "impossible width": (
        'description = "width = 16"\n[accumulator]\n# width = 12\noverflow = "wrap"\nwidth = 12\n',
        5,
        ["accumulator.width: found 12, expected 16, 24, 32 or 64."],
    ),
    "impossible width in the second [[rule]]": (
        "[[rule]]\naccumulator = { width = 16 }\n\n[[rule]]\naccumulator = { width = 12 }\n",
        5,
        ["rule 2, accumulator.width: found 12, expected 16, 24, 32 or 64."],
    ),
    "too many bits": (
        '[requantize]\nmultiplier = "fixed_point"\nbits = 99\n',
        3,
        ["requantize.bits: found 99, expected at most 31."],
    ),
    "no bits at all": (
        '[requantize]\nmultiplier = "significand"\n',
        1,
        ['multiplier = "significand" needs bits, say bits = 31'],
    ),
    "bits of an exact multiplier": (
        '[requantize]\nmultiplier = "exact"\nbits = 12\n',
        1,
        ['bits = 12 contradicts multiplier = "exact"', "remove bits"],
    ),
    "bits of an exact multiplier, in the second [[rule]]": (
        '[[rule]]\nrequantize = { multiplier = "exact" }\n[[rule]]\nrequantize = { bits = 12 }\n',
        4,
        ["rule 2, requantize: ", 'bits = 12 contradicts multiplier = "exact"', "remove bits"],
    ),
    "parts apart with nothing dropped": (
        '[accumulator]\noperands = "stored"\n\n[requantize]\nparts = "apart"\n',
        4,
        ['parts = "apart" needs drop', "say drop = 8"],
    ),
    "parts apart of centred operands": (
        'description = "x"\n[requantize]\nparts = "apart"\ndrop = 8\n',
        2,
        ['requantize.parts = "apart" needs accumulator.operands = "stored"'],
    ),
    "parts apart of centred operands, in the second [[rule]]": (
        '[requantize]\n[[rule]]\nops = ["Conv"]\n\n[[rule]]\n'
        'requantize = { parts = "apart", drop = 8 }\n',
        5,
        ["rule 2: ", 'requantize.parts = "apart" needs accumulator.operands = "stored"'],
    ),
    "two [[rule]]s that contradict only together": (
        '[[rule]]\nops = ["Conv"]\naccumulator = { operands = "stored" }\n'
        'requantize = { parts = "apart", drop = 8 }\n\n[[rule]]\nactivation = 8\n'
        "accumulator = {}\n",
        6,
        ["rules 1, 2 together (Conv, 8 bits): ", 'needs accumulator.operands = "stored"'],
    ),
    "two steps with a rounding of one's own": (
        '[requantize]\nmultiplier = "significand"\nbits = 31\nsteps = "double"\n'
        'rounding = "FLOOR"\n',
        1,
        ['rounding contradicts steps = "double"', "remove rounding"],
    ),
    "two steps without a significand": (
        '[requantize]\nsteps = "double"\n',
        1,
        ['steps = "double" needs multiplier = "significand"'],
    ),
    "the width of blocks that are not there": (
        "[accumulator]\nblock_width = 16\n",
        1,
        ["block_width and block_overflow need block"],
    ),
    "blocks wider than the whole": (
        "[accumulator]\nwidth = 16\nblock = 4\nblock_width = 24\n",
        1,
        ["block_width = 24 is wider than the accumulator's width = 16", "make width larger"],
    ),
    "fixed point without bits": (
        '[elementwise]\narithmetic = "fixed_point"\n',
        1,
        ['elementwise: arithmetic = "fixed_point" and bits go together'],
    ),
    "order of small floats without a block": (
        '[floats]\norder = "blocks"\n',
        1,
        ['order = "blocks" needs block', "say block = 32"],
    ),
    "an unknown rounding": (
        '[requantize]\nrounding = "NEAREST"\n',
        2,
        ["requantize.rounding: found 'NEAREST', expected 'HALF_EVEN', 'HALF_UP'"],
    ),
    "an unknown kernel": (
        '[[rule]]\nops = ["Conv"]\n\n[[rule]]\nkernel = "depthwize"\n',
        5,
        ["rule 2, kernel: found 'depthwize', expected 'plain', 'pointwise', 'depthwise'"],
    ),
    "a kernel of what has none": (
        '[[rule]]\nops = ["MatMul"]\nkernel = "depthwise"\n',
        3,
        ['rule 1, kernel = "depthwise" contradicts ops', "remove kernel"],
    ),
    "an unknown op": (
        '[[rule]]\nops = ["Conv"]\n[[rule]]\nops = [\n  "Gemm",\n  "Matmul",\n]\n',
        4,
        ["rule 2, ops: Matmul is no op", "Did you mean MatMul?"],
    ),
    "an unknown op on the CPU": (
        '[fallback]\nops = ["LayerNorm"]\n',
        2,
        ["fallback.ops: LayerNorm is no op", "Did you mean LayerNormalization?"],
    ),
    "an unknown op, of which many are near": (
        '[fallback]\nops = ["ReduceMed"]\n',
        2,
        ["fallback.ops: ReduceMed is no op", "Did you mean Reduce", "ReduceMean", " or Reduce"],
    ),
    "an unknown op that is near to none": (
        '[fallback]\nops = ["Qwxyz"]\n',
        2,
        ["fallback.ops: Qwxyz is no op", "Remove it."],
    ),
    "an accumulator of what sums no products": (
        '[[rule]]\nops = ["Softmax"]\nfunction = {}\naccumulator = { width = 16 }\n',
        4,
        [
            "rule 1, accumulator: Softmax obeys no rules of accumulator",
            "elementwise, function",
            "Remove accumulator.",
        ],
    ),
    "a function of products, in a table of its own": (
        '[[rule]]\nops = ["Gemm", "Conv", "MatMul"]\n[rule.function]\narithmetic = "exact"\n',
        3,
        [
            "rule 1, function: Conv, Gemm and MatMul obey no rules of function",
            "accumulator, requantize",
        ],
    ),
    "what moves integers of a kernel that only products have": (
        '[[rule]]\nkernel = "pointwise"\nelementwise = { rounding = "FLOOR" }\n',
        3,
        ["rule 1, elementwise: Conv and ConvTranspose obey no rules of elementwise"],
    ),
    "a rule that says nothing": (
        '[[rule]]\naccumulator = { width = 16 }\n[[rule]]\nops = ["Conv"]\nactivation = 8\n',
        3,
        ["rule 2 has no table", "give it one of accumulator, requantize", "or remove it"],
    ),
    "a rule of no op at all": (
        "[[rule]]\nops = []\nrequantize = { drop = 1 }\n",
        2,
        ["rule 1, ops = [] names nothing", "remove rule 1"],
    ),
    "two [[rule]]s that contradict only together, at one node": (
        '[[rule]]\nnodes = ["a"]\naccumulator = { operands = "stored" }\n'
        'requantize = { parts = "apart", drop = 8 }\n[[rule]]\nnodes = ["b", "a"]\n'
        "accumulator = { width = 64 }\n",
        5,
        ["rules 1, 2 together (an op, 8 bits, a): ", 'needs accumulator.operands = "stored"'],
    ),
    "a constant's kernel of what has none": (
        '[[rule]]\nops = ["Conv", "Sum"]\nkernel = "constant"\nrequantize = {}\n',
        3,
        ['rule 1, kernel = "constant" contradicts ops', "a kernel of Add, Div, Max, Min, Mul, Sub"],
    ),
    "a least scale of what has no scale of a product": (
        '[[rule]]\nops = ["Add"]\nleast_scale = 0.5\nelementwise = { rounding = "FLOOR" }\n',
        3,
        ["rule 1, least_scale = 0.5: none of the rule's ops has a product's", "remove least_scale"],
    ),
    "a least scale that is none": (
        '[[rule]]\nops = ["Conv"]\nleast_scale = 0\nrequantize = { drop = 1 }\n',
        3,
        ["rule 1, least_scale: found 0"],
    ),
    "rules that contradict each other from a least scale on": (
        '[[rule]]\nops = ["Conv"]\naccumulator = { operands = "stored" }\n'
        'requantize = { parts = "apart", drop = 8 }\n[[rule]]\nops = ["Conv"]\n'
        "least_scale = 0.5\naccumulator = { width = 64 }\n",
        5,
        ["rules 1, 2 together (Conv, 8 bits): ", 'needs accumulator.operands = "stored"'],
    ),
    "a rule in whose place a wider one comes": (
        '[[rule]]\nops = ["Conv"]\nleast_scale = 0.5\nrequantize = { drop = 1 }\n'
        '[[rule]]\nops = ["Conv"]\nleast_scale = 0.25\nrequantize = { drop = 2 }\n',
        4,
        ["rule 1, requantize: rule 2 puts its own requantize in the place of this one"],
    ),
    "what is stored, of centred operands": (
        '[accumulator]\nstored = "input"\n',
        2,
        ['accumulator.stored needs operands = "stored"'],
    ),
    "a narrow second operand of what has one input": (
        '[[rule]]\nops = ["Gemm", "Relu"]\nnarrow = {}\nrequantize = {}\n',
        3,
        ["rule 1, narrow: Gemm and Relu obey no rules of narrow", "Remove narrow."],
    ),
    "a fraction of exact bytes": (
        "[narrow]\nfraction = 7\n",
        1,
        ['narrow: arithmetic = "fixed_point" and fraction go together'],
    ),
    "a rounding of exact bytes": (
        '[narrow]\nrounding = "UP"\n',
        2,
        ['narrow.rounding needs arithmetic = "fixed_point"'],
    ),
    "a rule of ops that are on the CPU": (
        '[fallback]\nops = ["Softmax", "Conv"]\n[[rule]]\nops = ["Conv"]\nrequantize = {}\n',
        4,
        ["rule 1, ops = ['Conv'] contradicts fallback.ops", "remove one of them"],
    ),
    "a rule in whose place a later one comes": (
        '[[rule]]\nops = ["Conv"]\nkernel = "plain"\naccumulator = {}\nrequantize = { drop = 1 }\n'
        '[[rule]]\nactivation = 8\nrequantize = { drop = 2 }\n[[rule]]\nops = ["Gemm", "Conv"]\n'
        "requantize = { drop = 3 }\n",
        5,
        [
            "rule 1, requantize: rule 3 puts its own requantize in the place of this one",
            "put the narrower rule last",
        ],
    ),
    "a table in whose place every op has another": (
        '[requantize]\nrounding = "FLOOR"\n[accumulator]\nwidth = 64\n'
        '[[rule]]\nops = ["Conv", "ConvTranspose", "MatMul", "Gemm", "Add"]\naccumulator = {}\n',
        3,
        ["accumulator: rule 1 puts its own accumulator in the place of this one"],
    ),
    "a rounding of bits that nothing drops": (
        '[requantize]\ndrop_rounding = "HALF_UP"\n',
        2,
        ["requantize.drop_rounding needs drop or keep", "or remove it."],
    ),
    "a rounding of bits that nothing drops, in a [[rule]]": (
        '[requantize]\ndrop = 2\n[[rule]]\nops = ["Conv"]\n\n[rule.requantize]\n'
        'drop_rounding = "HALF_UP"\n',
        7,
        ["rule 1, requantize.drop_rounding needs drop or keep"],
    ),
    "cuts of parts that are together": (
        '[requantize]\ndrop = 2\nbias_drop = "FLOOR"\n',
        3,
        ['requantize.bias_drop needs parts = "apart"'],
    ),
    "a rounding of a bias that is exact": (
        '[requantize]\nbias_rounding = "HALF_EVEN"\n',
        2,
        ['requantize.bias_rounding needs bias = "float32"'],
    ),
    "the order of a sum that wraps": (
        '[accumulator]\nwidth = 16\norder = "channels_last"\n',
        3,
        ['accumulator.order needs overflow = "saturate" or a block'],
    ),
    "entries of no table": (
        '[function]\narithmetic = "exact"\nentries = 512\n',
        3,
        ['function.entries needs arithmetic = "table"'],
    ),
    "a rounding to single steps": (
        '[elementwise]\narithmetic = "fixed_point"\nbits = 12\nzero_rounding = "FLOOR"\n',
        4,
        ["elementwise.zero_rounding needs a zero_step above 1"],
    ),
    "a block of no format": (
        "[weights]\nblock = 16\n",
        2,
        ['weights.block needs format, say format = "mxfp4"'],
    ),
    "a seed of nothing that is by chance": (
        'seed = 4\n[requantize]\nrounding = "FLOOR"\n',
        1,
        ['seed needs a rounding = "STOCHASTIC"', "remove it"],
    ),
    "a word for a number": (
        '[requantize]\nmultiplier = "significand"\nbits = "many"\n',
        3,
        ["requantize.bits: found 'many', expected a whole number."],
    ),
    "half a bit": (
        '[requantize]\nmultiplier = "significand"\nbits = 12.5\n',
        3,
        ["requantize.bits: found 12.5, expected a whole number."],
    ),
    "a number for a table": (
        'description = "x"\naccumulator = 32\n',
        2,
        ["accumulator: found 32, expected a table, [accumulator]"],
    ),
    "a word for a list, in the second [[rule]]": (
        '[[rule]]\nops = ["Conv"]\n[[rule]]\nops = "Conv"\n',
        4,
        ["rule 2, ops: found 'Conv', expected a list in brackets"],
    ),
    "one pair of brackets": (
        'description = "x"\n[rule]\nops = ["Conv"]\n',
        2,
        ["rule: found ", "expected a list of tables: write [[rule]]"],
    ),
    "another evidence": (
        'evidence = "device"\n',
        1,
        ["evidence: found 'device', expected 'prediction' or 'hypothesis'."],
    ),
    "half a claim": ('[claim]\ntext = "x"\n', 1, ["claim.status is missing; add it."]),
    "a hash of one's own": ('sha256 = "1"\n', 1, ["sha256 is made from the file; remove it."]),
    "no TOML": ("[accumulator\nwidth = 32\n", None, ["not valid TOML: ", "line 1, column 13"]),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_profile_is_refused_with_the_line_and_the_fix(case: str) -> None:
    text, line, words = BAD[case]
    with pytest.raises(ChipdriftError) as caught:
        parse_profile(text, "mine", "Profile mine.toml")
    message = str(caught.value)
    assert message.startswith(
        f"Profile mine.toml, line {line}: " if line else "Profile mine.toml: "
    )
    places = [message.find(part) for part in words]
    assert -1 not in places and places == sorted(places), message
    assert "\n" not in message and "pydantic" not in message
    assert message.endswith((".", "?")) and not message.endswith("..")


def test_a_profile_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ChipdriftError, match=r"nowhere\.toml: cannot be read \(No such file"):
        get_profile(str(tmp_path / "nowhere.toml"))
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    with pytest.raises(ChipdriftError, match=r"folder\.toml: cannot be read \(Is a directory"):
        get_profile(str(folder))
    latin = tmp_path / "latin.toml"
    latin.write_bytes('description = "é"'.encode("latin-1"))
    with pytest.raises(ChipdriftError, match=r"latin\.toml: cannot be read \(.*Give the path of a"):
        get_profile(str(latin))
    with pytest.raises(UnknownNameError, match="ort-mlas"):
        get_profile("ort-mlsa")


def test_good_profiles_are_read() -> None:
    """What a plain reading of lines stumbles over: long strings, lists, dotted keys, no table."""
    text = (
        'description = """\n[accumulator]\nwidth = 12\n"""\nrequantize.multiplier = "significand"\n'
        'requantize.bits = 12\n[[rule]]\nops = [\n  "Conv",\n]\nkernel = "pointwise"\n'
        "accumulator = {}\n"
    )
    found = parse_profile(text, "mine", "Profile mine.toml")
    assert (found.requantize.bits, found.rule[0].ops) == (12, ("Conv",))
    assert found.evidence == "hypothesis"  # nothing is a prediction that does not say so
    assert parse_profile("", "mine", "Profile mine.toml").name == "mine"
