"""Every rule of the catalogue is said as a clause with a verb, without a bare entry of a table."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from chipdrift.diagnose.catalogue import catalogue, fusions, narrowings
from chipdrift.diagnose.mechanisms import Tables
from chipdrift.diagnose.wording import clause, nearest, said, share, titled
from chipdrift.findings import WORDS, Mechanism
from chipdrift.numerics.profile import Profile
from chipdrift.numerics.profiles import builtin_profiles
from chipdrift.numerics.smallfloat import SmallFloat


@pytest.mark.parametrize("name", sorted(builtin_profiles()))
def test_clauses_have_verbs(name: str) -> None:
    profile = builtin_profiles()[name]
    held = Tables.of(profile)
    for tables in (
        replace(held, floats=None),
        replace(held, floats=held.floats or SmallFloat()),
        Tables.of(profile, profile.rules_for("Conv")),
        Tables.of(profile, profile.rules_for("Add")),
    ):
        for variation in (*catalogue(tables), *fusions(), *narrowings()):
            if variation.changed(tables) in (None, tables.table(variation.part)):
                continue
            spoken = said(variation, tables)
            assert spoken[0] != spoken[1]
            for words in spoken:
                assert re.match(r"(the sum|[a-z]+s )", words), words
                assert "in exact" not in words, words
                # A term of the profile stands in brackets, where the words say what it does.
                for term in re.findall(r"[A-Z]{2,}_?[A-Z]*", words):
                    assert f"({term}" in words or f", {term})" in words, words


def test_a_clause_names_where() -> None:
    assert clause("ort:cpu", "the sum wraps in 32 bits") == "on ort:cpu the sum wraps in 32 bits"
    assert clause("ort:cpu", "rounds a half up") == "ort:cpu rounds a half up"
    near = "nearest to ort:cpu comes a rule"
    assert (
        nearest("ort:cpu", "the sum wraps in 32 bits")
        == f"{near} by which the sum wraps in 32 bits"
    )
    assert nearest("ort:cpu", "rounds a half up") == f"{near} that rounds a half up"


@pytest.mark.parametrize(
    ("part", "words"),
    [(0.0, "0 %"), (0.001, "under 1 %"), (0.17, "17 %"), (0.9999, "over 99 %"), (1.0, "100 %")],
)
def test_no_part_is_called_nothing_or_all(part: float, words: str) -> None:
    assert share(part) == words


def _mechanism(name: str, rule: str, a: str, b: str) -> Mechanism:
    return Mechanism(
        mechanism=name, words=WORDS[name], rule=rule, a=a, b=b, before=0, after=1, closes=1
    )


def test_titles_say_what_differs() -> None:
    drops = {}
    profile = Profile(name="plain")
    tables = Tables.of(profile, profile.rules_for("Conv"))
    for variation in catalogue(tables):
        if variation.mechanism == "dropped_bits" and variation.part == "requantize":
            none, drops[tuple(v for _, v in variation.changes), variation.rule] = said(
                variation, tables
            )
    rule = "requantize.drop, requantize.drop_rounding"
    two, other, three = (drops[key, rule] for key in ((2, "FLOOR"), (2, "HALF_UP"), (3, "FLOOR")))
    titles = [titled(_mechanism("dropped_bits", rule, two, b)) for b in (other, three, none)]
    assert titles[0] == "low accumulator bits rounded otherwise"
    assert titles[1] == "other low accumulator bits dropped before scaling"
    assert titles[2] == WORDS["dropped_bits"]
