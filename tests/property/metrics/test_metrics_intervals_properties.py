from hypothesis import given
from hypothesis import strategies as st

from chipdrift.metrics.intervals import holm, mcnemar_exact, tango, wilson

counts = st.integers(0, 400)


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, int, int]:
    """(gained, lost, n)"""
    gained, lost, rest = draw(counts), draw(counts), draw(counts)
    return gained, lost, max(1, gained + lost + rest)


@given(tables())
def test_swapping_the_sides_mirrors_tangos_interval(table: tuple[int, int, int]) -> None:
    gained, lost, n = table
    low, high = tango(gained, lost, n)
    mirrored = tango(lost, gained, n)
    assert abs(low + mirrored[1]) < 1e-9
    assert abs(high + mirrored[0]) < 1e-9


@given(tables())
def test_tangos_interval_holds_the_difference(table: tuple[int, int, int]) -> None:
    gained, lost, n = table
    low, high = tango(gained, lost, n)
    assert -1 <= low <= (gained - lost) / n <= high <= 1
    assert low < high


@given(tables(), st.integers(2, 5))
def test_more_of_the_same_narrows_tango(table: tuple[int, int, int], times: int) -> None:
    low, high = tango(*table)
    more = tango(*(k * times for k in table))
    assert more[1] - more[0] < high - low


@given(counts, counts)
def test_mcnemar_is_a_symmetric_p_value(gained: int, lost: int) -> None:
    p = mcnemar_exact(gained, lost)
    assert 0.0 <= p <= 1.0
    assert p == mcnemar_exact(lost, gained)


@given(counts, counts)
def test_wilson_mirrors(successes: int, failures: int) -> None:
    n = max(1, successes + failures)
    low, high = wilson(successes, n)
    other = wilson(n - successes, n)
    assert abs(low + other[1] - 1) < 1e-12
    assert abs(high + other[0] - 1) < 1e-12
    assert 0 <= low <= successes / n <= high <= 1
    assert low < high


@given(st.lists(st.floats(0, 1), max_size=30), st.randoms())
def test_holm_does_not_depend_on_the_order(p_values: list[float], random: object) -> None:
    order = list(range(len(p_values)))
    random.shuffle(order)  # type: ignore[attr-defined]
    corrected = holm(p_values)
    shuffled = holm([p_values[i] for i in order])
    assert list(shuffled) == [corrected[i] for i in order]
    assert all(p <= c <= 1 for p, c in zip(p_values, corrected, strict=True))
