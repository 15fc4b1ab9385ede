import functools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chipdrift.metrics import Outputs, compare, evaluate, get_metric, identical_share, to_integers
from chipdrift.metrics.sequences import edit_distances
from chipdrift.records import Quantizer

words = st.lists(st.integers(0, 3), max_size=6).map(tuple)


@functools.cache
def by_definition(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    """Levenshtein's distance as it is defined, by recursion."""
    if not a or not b:
        return len(a) + len(b)
    return min(
        by_definition(a[1:], b) + 1,
        by_definition(a, b[1:]) + 1,
        by_definition(a[1:], b[1:]) + (a[0] != b[0]),
    )


@given(st.lists(st.tuples(words, words), max_size=8))
def test_edit_distance_is_the_recursive_one(pairs: list[tuple[tuple[int, ...], ...]]) -> None:
    first, second = ([np.array(pair[i], np.int64) for pair in pairs] for i in (0, 1))
    assert edit_distances(first, second).tolist() == [by_definition(*pair) for pair in pairs]


# Few values, so that ties are common; NaN and infinities among them.
elements = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5, np.nan, np.inf, -np.inf])


@st.composite
def classified(draw: st.DrawFn) -> Outputs:
    n, classes = draw(st.integers(1, 12)), draw(st.integers(6, 9))
    array = draw(hnp.arrays(np.float32, (n, 1, classes), elements=elements))
    labels = draw(hnp.arrays(np.int64, n, elements=st.integers(0, classes - 1)))
    return Outputs(arrays={"y": array}, primary="y", labels=labels)


def taken(outputs: Outputs, order: np.ndarray) -> Outputs:
    labels = outputs.labels
    assert labels is not None
    return Outputs(arrays={"y": outputs.array[order]}, primary="y", labels=labels[order])


def by_sorting(row: np.ndarray, label: int, places: int) -> bool:
    if np.isnan(row).any():
        return False
    order = sorted(range(len(row)), key=lambda i: (-row[i], i))
    return label in order[:places]


@given(classified())
def test_top_k_is_the_label_among_the_first_k_in_order(outputs: Outputs) -> None:
    assert outputs.labels is not None
    for name, places in (("top1", 1), ("top5", 5)):
        scores = get_metric(name).measure(outputs).scores
        rows = zip(outputs.rows(), outputs.labels.tolist(), strict=True)
        assert scores.tolist() == [by_sorting(row, label, places) for row, label in rows]


@given(classified(), st.randoms(use_true_random=False))
def test_the_order_of_samples_does_not_matter(outputs: Outputs, random: object) -> None:
    order = list(range(outputs.samples))
    random.shuffle(order)  # type: ignore[attr-defined]
    for name in ("top1", "top5"):
        metric = get_metric(name)
        assert evaluate(metric, taken(outputs, np.array(order))) == evaluate(metric, outputs)


@given(
    st.integers(1, 10).flatmap(
        lambda n: st.tuples(st.just(n), st.permutations(range(7)), st.integers(0, 2**32 - 1))
    )
)
def test_renaming_the_classes_does_not_matter(case: tuple[int, list[int], int]) -> None:
    n, names, seed = case
    generator = np.random.default_rng(seed)
    array = generator.normal(size=(n, 7))
    labels = generator.integers(0, 7, size=n)
    renamed = np.empty_like(array)
    renamed[:, names] = array
    for name in ("top1", "top5"):
        metric = get_metric(name)
        before = Outputs(arrays={"y": array}, primary="y", labels=labels)
        after = Outputs(arrays={"y": renamed}, primary="y", labels=np.array(names)[labels])
        assert evaluate(metric, before) == evaluate(metric, after)


@given(classified(), st.randoms(use_true_random=False))
def test_swapping_cell_and_baseline_mirrors_the_difference(a: Outputs, random: object) -> None:
    order = list(range(a.samples))
    random.shuffle(order)  # type: ignore[attr-defined]
    b = Outputs(arrays={"y": a.array[order]}, primary="y", labels=a.labels)
    there, back = compare(get_metric("top1"), a, b), compare(get_metric("top1"), b, a)
    assert there.low is not None and back.high is not None
    assert there.value == -back.value
    assert abs(there.low + back.high) < 1e-9
    assert there.p_value == back.p_value


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 30), st.integers(0, 2**32 - 1))
def test_swapping_mirrors_the_bootstraps_difference(n: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    reference = Outputs(arrays={"y": generator.normal(size=(n, 4))}, primary="y")
    a, b = (
        Outputs(arrays={"y": generator.normal(size=(n, 4))}, primary="y", reference=reference)
        for _ in range(2)
    )
    there, back = compare(get_metric("cosine"), a, b), compare(get_metric("cosine"), b, a)
    assert abs(there.value + back.value) < 1e-12
    assert abs(there.p_value - back.p_value) < 1e-9
    assert (there.low is None) is (back.high is None)
    if there.low is not None and back.high is not None:
        assert abs(there.low + back.high) < 1e-9


@given(hnp.arrays(np.uint32, (5, 3), elements=st.integers(0, 2**32 - 1)), st.integers(0, 4))
def test_any_bits_are_identical_to_themselves_alone(bits: np.ndarray, row: int) -> None:
    a = Outputs(arrays={"y": bits.view(np.float32)}, primary="y")
    flipped = bits.copy()
    flipped[row, 0] ^= 1
    assert identical_share(a, a) == 1.0
    assert identical_share(a, Outputs(arrays={"y": flipped.view(np.float32)}, primary="y")) == 0.8


@given(
    st.floats(2.0**-40, 2.0**40, width=32),
    st.integers(0, 65535),
    hnp.arrays(np.int64, (4, 3), elements=st.integers(0, 65535)),
)
def test_integers_come_back_for_any_scale(scale: float, zero: int, q: np.ndarray) -> None:
    y = (q - zero).astype(np.float32) * np.float32(scale)
    found = to_integers(y, Quantizer(scale=(scale,), zero_point=(zero,), dtype="uint16"))
    assert found is not None
    assert np.array_equal(found, q)
