"""One mechanism planted at one node, strong or weak: the diagnosis must name both, first.

Nothing of the planted profile is known to the diagnosis: B is a target of which it sees answers
alone. Cases that change less than 1 % of the node's integers do not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from chipdrift import run_matrix
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.run import look
from chipdrift.graph import Anatomy, dissect
from chipdrift.matrix.reopen import Reopened, reopen
from chipdrift.numerics.profile import Profile
from chipdrift.numerics.profiles import get_profile
from support import transformer
from support.plants import Plant, diagnosed, digits_run, nodes_of, planted, plants

_COUNTS = 0.01
# What says that two targets differ; the other checks speak of the model and its quantization.
_DIFFERENCES = {"mechanism", "unexplained", "wrong-answers", "computed-together", "layout"}


@dataclass(frozen=True, eq=False)
class Bed:
    """A model in which to plant, under a profile that is known."""

    run: Reopened
    scheme: str
    anatomy: Anatomy
    base: Profile

    @classmethod
    def of(cls, run: Path, scheme: str) -> Bed:
        held = reopen(run)
        anatomy = dissect(held.files[scheme].read_bytes())
        return cls(held, scheme, anatomy, get_profile("ort-mlas"))

    def cases(self, seed: int) -> Iterator[tuple[tuple[str, Plant], Profile]]:
        """Nodes with mechanisms, in a seeded order, and the profile of each."""
        nodes = nodes_of(self.run.files[self.scheme].read_bytes(), self.base)
        drawn = [
            (node, plant)
            for node, (op, _) in nodes.items()
            for plant in plants()
            if not plant.ops or op in plant.ops
        ]
        np.random.default_rng(seed).shuffle(drawn)  # type: ignore[arg-type]
        for node, plant in drawn:
            profile = planted(self.base, nodes[node][1], node, plant)
            if profile is not None:
                yield (node, plant), profile

    def diagnose(self, profile: Profile) -> Exam:
        return diagnosed(self.run, self.scheme, self.anatomy, 8, self.base, profile)


def counts(exam: Exam, node: str) -> bool:
    own = exam.own(node)
    assert own is not None
    return own.distance is not None and own.distance.differing >= _COUNTS


def named_first(exam: Exam) -> tuple[str, str] | None:
    """The node and the mechanism of the first finding, where that names one."""
    findings = look(exam)
    if not findings or findings[0].check != "mechanism":
        return None
    node = findings[0].nodes[0]
    explanation = exam.explanation(node)
    assert explanation is not None
    return node, explanation.mechanisms[0].mechanism


def share(hits: list[bool], wanted: float, what: str) -> None:
    """The share must be reached; it is printed with its 95 % interval."""
    interval = binomtest(sum(hits), len(hits)).proportion_ci(method="wilson")
    print(
        f"{what}: {sum(hits)} of {len(hits)}, {100 * sum(hits) / len(hits):.1f} % "
        f"({100 * interval.low:.1f} to {100 * interval.high:.1f})"
    )
    assert sum(hits) / len(hits) >= wanted


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits_run(tmp_path_factory.mktemp("plants") / "digits")


@pytest.fixture(scope="module")
def attention(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plants")
    model, data, calibration = transformer.write(folder)
    run_matrix(
        model,
        data,
        schemes=["w8a8", "w8a8_pc", "w8a16_pc"],
        targets=["sim:ort-mlas"],
        out=folder / "run",
        calibration=calibration,
    )
    return folder / "run"


def single(bed: Bed, seed: int, wanted: int) -> list[bool]:
    hits: list[bool] = []
    for (node, plant), profile in bed.cases(seed):
        exam = bed.diagnose(profile)
        if not counts(exam, node):
            continue
        found = named_first(exam)
        hits.append(found == (node, plant.mechanism))
        if not hits[-1]:
            print(f"planted {plant} at {node}, found {found}")
        if len(hits) == wanted:
            break
    return hits


def double(bed: Bed, seed: int, wanted: int) -> list[bool]:
    """Two at once, at different nodes or (one in four) at the same."""
    hits: list[bool] = []
    rng = np.random.default_rng(seed)
    drawn = list(bed.cases(seed))
    model = bed.run.files[bed.scheme].read_bytes()
    while len(hits) < wanted:
        (node_a, plant_a), first = drawn[int(rng.integers(len(drawn)))]
        (node_b, plant_b), _ = drawn[int(rng.integers(len(drawn)))]
        together = len(hits) % 4 == 3
        if together:
            node_b = node_a
        if (node_a == node_b) != together or plant_a.mechanism == plant_b.mechanism:
            continue
        rules = nodes_of(model, first).get(node_b)
        both = None if rules is None else planted(first, rules[1], node_b, plant_b)
        if both is None or (together and not _each_counts(bed, node_a, (plant_a, plant_b))):
            continue
        exam = bed.diagnose(both)
        if not (counts(exam, node_a) and counts(exam, node_b)):
            continue
        found = {(e.node, m.mechanism) for e in exam.diagnosis.explanations for m in e.mechanisms}
        hits.append({(node_a, plant_a.mechanism), (node_b, plant_b.mechanism)} <= found)
        if not hits[-1]:
            print(f"planted {plant_a} at {node_a} and {plant_b} at {node_b}, found {found}")
    return hits


def _each_counts(bed: Bed, node: str, both: tuple[Plant, Plant]) -> bool:
    """Whether each changes the node's integers by itself."""
    nodes = nodes_of(bed.run.files[bed.scheme].read_bytes(), bed.base)
    for plant in both:
        profile = planted(bed.base, nodes[node][1], node, plant)
        if profile is None or not counts(bed.diagnose(profile), node):
            return False
    return True


def alarms(bed: Bed, profile: Profile) -> list[str]:
    """Findings of a difference between two targets that are the same."""
    same = Bed(bed.run, bed.scheme, bed.anatomy, profile)
    return [f.title for f in look(same.diagnose(profile)) if f.check in _DIFFERENCES]


@pytest.mark.parametrize("kind", ["digits", "attention"])
def test_a_planted_mechanism_comes_first(kind: str, request: pytest.FixtureRequest) -> None:
    bed = Bed.of(request.getfixturevalue(kind), "w8a8")
    assert all(single(bed, 11, 2))


def test_two_at_once_are_both_found(digits: Path) -> None:
    assert all(double(Bed.of(digits, "w8a8"), 2, 2))


@pytest.mark.parametrize("name", ["ort-mlas", "hexagon-v73"])
def test_identical_targets_raise_no_alarm(name: str, digits: Path) -> None:
    assert alarms(Bed.of(digits, "w8a8"), get_profile(name)) == []


@pytest.mark.parametrize(
    ("scheme", "mechanism"), [("w8a8", "fused_attention"), ("w8a16_pc", "narrowed_operand")]
)
def test_what_only_an_attention_has_comes_first(
    attention: Path, scheme: str, mechanism: str
) -> None:
    bed = Bed.of(attention, scheme)
    chosen = [(c, p) for c, p in bed.cases(9) if c[1].mechanism == mechanism]
    hits = []
    for (node, plant), profile in chosen[:3]:
        exam = bed.diagnose(profile)
        if counts(exam, node):
            hits.append(named_first(exam) == (node, plant.mechanism))
    assert hits and all(hits)


@pytest.mark.slow
def test_two_hundred_planted_mechanisms(digits: Path, attention: Path) -> None:
    hits = [
        hit
        for run, scheme, seed, wanted in (
            (digits, "w8a8", 1, 51),
            (digits, "w8a8_pc", 2, 51),
            (attention, "w8a8", 3, 51),
            (attention, "w8a8_pc", 4, 51),
            (attention, "w8a16_pc", 8, 24),
        )
        for hit in single(Bed.of(run, scheme), seed, wanted)
    ]
    assert len(hits) >= 200
    share(hits, 0.95, "one planted mechanism named first")


@pytest.mark.slow
def test_sixty_pairs_of_mechanisms(digits: Path, attention: Path) -> None:
    hits = [
        hit
        for run, seed in ((digits, 5), (attention, 6))
        for hit in double(Bed.of(run, "w8a8"), seed, 30)
    ]
    share(hits, 0.8, "two planted mechanisms both found")


@pytest.mark.slow
def test_fifty_pairs_of_identical_targets(digits: Path, attention: Path) -> None:
    from support.random_profiles import random_profile

    hits = []
    for index in range(50):
        bed = Bed.of(digits if index % 2 else attention, "w8a8" if index % 4 else "w8a8_pc")
        profile = random_profile(np.random.default_rng([77, index]))
        found = alarms(bed, profile.model_copy(update={"name": "ort-mlas"}))
        hits.append(not found)
        if found:
            print(f"profile {index}: {found}")
    share(hits, 0.98, "identical targets without a finding of a difference")
