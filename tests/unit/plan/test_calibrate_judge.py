"""What is kept: chance alone must not pass, and what helps must."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from calibrate_models import Chain, feeds

from chipdrift.errors import ChipdriftError, DataError
from chipdrift.numerics.profiles import get_profile
from chipdrift.plan.calibrate import TECHNIQUES, Asked, Engine, SilentError, calibrate_on
from chipdrift.plan.calibrate import run as running
from chipdrift.plan.calibrate.bench import Bench, State
from chipdrift.plan.calibrate.judge import Judge
from chipdrift.probe.ask import Asker
from chipdrift.quantize import apply_scheme
from chipdrift.schemes import get_scheme
from chipdrift.targets import get_target

Array = np.ndarray[Any, Any]


def outputs(rng: np.random.Generator, count: int, noise: float) -> list[list[Array]]:
    return [[np.float32(np.arange(8) + noise * rng.standard_normal(8))] for _ in range(count)]


WANTED = [[np.arange(8, dtype=np.float32)]] * 30


def test_chance_does_not_pass_more_often_than_it_says() -> None:
    """Two noises of one size, 400 times: what passes at 5 % is 5 %, within what counting allows."""
    rng, judge, passed = np.random.default_rng(3), Judge(WANTED), 0
    for _ in range(400):
        before, after = (judge.score(outputs(rng, 30, 0.1)) for _ in range(2))
        passed += judge.chance(before, after) <= 0.05
    assert passed <= scipy.stats.binom.ppf(0.999, 400, 0.05)
    assert passed >= 4


def test_a_gain_of_a_decibel_passes_and_a_loss_does_not() -> None:
    rng, judge = np.random.default_rng(4), Judge(WANTED)
    before, after = judge.score(outputs(rng, 30, 0.1)), judge.score(outputs(rng, 30, 0.07))
    assert judge.chance(before, after) < 0.01
    assert judge.chance(after, before) == 1.0
    assert judge.chance(before, before) == 1.0


def test_one_great_loss_is_not_hidden_by_many_small_gains() -> None:
    """29 of 30 samples gain a little, one loses more than all that: the figure is worse."""
    rng, judge = np.random.default_rng(7), Judge(WANTED)
    answers = outputs(rng, 30, 0.1)
    better = [[w[0] + 0.8 * (a[0] - w[0])] for a, w in zip(answers, WANTED, strict=True)]
    before = judge.score(answers)
    assert judge.chance(before, judge.score(better)) < 0.001
    better[0] = [WANTED[0][0] + 20 * (answers[0][0] - WANTED[0][0])]
    assert judge.chance(before, judge.score(better)) == 1.0


def test_the_chance_is_scipys() -> None:
    rng, judge = np.random.default_rng(5), Judge(WANTED)
    for scale in (0.1, 0.09, 0.085):
        before, after = judge.score(outputs(rng, 30, 0.1)), judge.score(outputs(rng, 30, scale))
        gains = before.losses - after.losses
        if after.worth <= before.worth:
            continue
        wanted = scipy.stats.permutation_test(
            (gains,), np.sum, permutation_type="samples", alternative="greater",
            n_resamples=9999, rng=np.random.default_rng(1),
        ).pvalue  # fmt: skip
        assert judge.chance(before, after) == pytest.approx(wanted, abs=0.02)


def test_the_figure_is_the_sqnr_over_all_samples() -> None:
    rng, judge = np.random.default_rng(6), Judge(WANTED)
    answers = outputs(rng, 30, 0.3)
    noise = sum(float(((a[0] - w[0]).astype(float) ** 2).sum()) for a, w in zip(answers, WANTED))  # noqa: B905
    signal = 30 * float((np.arange(8.0) ** 2).sum())
    assert judge.score(answers).figure == pytest.approx(10 * np.log10(signal / noise), rel=1e-6)
    broken = [[np.full(8, np.nan, np.float32)], *answers[1:]]
    assert judge.score(broken).figure < 0
    assert np.isfinite(judge.score(WANTED).figure)


def test_a_loss_of_the_users_decides() -> None:
    judge = Judge(WANTED, lambda rows: np.array([row[0][0] for row in rows]), "wrong")
    low, high = ([[np.full(8, v, np.float32)]] * 30 for v in (0.0, 1.0))
    assert judge.unit == "wrong"
    assert judge.score(high).figure == 1.0
    assert judge.chance(judge.score(high), judge.score(low)) < 0.001
    assert judge.chance(judge.score(low), judge.score(high)) == 1.0


@pytest.fixture(scope="module")
def small() -> Any:
    return Chain(21).conv(3, 8).add("Relu").conv(8, 4).load([1, 3, 4, 4])


def calibrate(small: Any, folder: Path, oracle: Any = None, **fields: Any) -> Any:
    given = {
        "calibration": feeds(small, 20, 1),
        "tune": feeds(small, 12, 2),
        "hold": feeds(small, 12, 3),
        "scheme": get_scheme("w8a8"),
        **fields,
    }
    return calibrate_on(
        oracle or Engine(get_profile("ort-mlas")),
        small,
        given.pop("scheme"),
        given.pop("calibration"),
        given.pop("tune"),
        given.pop("hold"),
        folder,
        **given,
    )


def test_a_technique_that_harms_is_told_and_left(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def coarse(bench: Bench, state: State) -> State:
        return state.with_weight_ranges({"n0": 50.0})

    monkeypatch.setattr(running, "_TECHNIQUES", {"weight ranges": coarse})
    found = calibrate(small, tmp_path, techniques=["weight ranges"])
    (told,) = found.tried
    assert not told.kept
    assert told.after < told.before - 10
    assert told.words == "no better on 12 held samples"
    assert (found.scheme, found.path, found.adjusted) == (None, None, None)
    assert not list(tmp_path.iterdir())


def test_each_technique_is_announced(small: Any, tmp_path: Path) -> None:
    told: list[str] = []
    names = ["weight ranges", "bias correction"]
    calibrate(small, tmp_path, techniques=names, tell=told.append)
    assert [words.partition(",")[0] for words in told] == [
        n for n in running.TECHNIQUES if n in names
    ]
    assert [words.partition(", ")[2] for words in told] == ["1 of 2", "2 of 2"]


def test_an_oracle_that_falls_silent_costs_the_technique_alone(small: Any, tmp_path: Path) -> None:
    engine = Engine(get_profile("ort-mlas"))

    class Shy:
        """Refuses all that has more than the model's own output."""

        name = "shy"

        def answers(self, model: bytes, samples: Any) -> list[list[Array]]:
            found = engine.answers(model, samples)
            if len(found[0]) > 1:
                raise SilentError("too many outputs")
            return found

    found = calibrate(small, tmp_path, Shy())
    told = {entry.technique: entry for entry in found.tried}
    assert told["weight ranges"].words == "the target did not answer: too many outputs"
    assert told["weight ranges"].after is None
    assert told["cross-layer equalization"].after is not None


def test_a_target_that_does_not_run_the_scheme_is_one_sentence(small: Any, tmp_path: Path) -> None:
    class Mute:
        name = "mute"

        def answers(self, model: bytes, samples: Any) -> list[list[Array]]:
            raise SilentError("no session")

    with pytest.raises(ChipdriftError, match=r"w8a8 cannot be calibrated on mute.*no session"):
        calibrate(small, tmp_path, Mute())


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"scheme": get_scheme("fp16")}, ChipdriftError, 'kind "float16" and has no integers'),
        ({"techniques": ["magic"]}, ChipdriftError, "no technique 'magic'.*weight ranges"),
        ({"techniques": []}, ChipdriftError, "is given no technique"),
        ({"tune": []}, DataError, "0 samples to tune on and 12"),
        ({"hold": []}, DataError, "and 0 held back"),
    ],
)
def test_what_cannot_be_done_is_told(
    small: Any, tmp_path: Path, fields: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        calibrate(small, tmp_path, **fields)


def test_samples_in_both_parts_are_refused(small: Any, tmp_path: Path) -> None:
    both = feeds(small, 12, 2)
    with pytest.raises(DataError, match="3 samples are both tuned on and held back"):
        calibrate(small, tmp_path, tune=both, hold=[*both[:3], *feeds(small, 9, 5)])


def test_the_scheme_read_back_makes_the_model_that_was_judged(tmp_path: Path) -> None:
    model = Chain(22, 2).conv(3, 8).add("Relu").conv(8, 8, 3).add("Relu").conv(8, 4)
    loaded = model.load([1, 3, 6, 6])
    engine = Engine(get_profile("hypothesis-floor"))
    seen: list[bytes] = []

    class Noting:
        name = "noting"

        def answers(self, data: bytes, samples: Any) -> list[list[Array]]:
            seen.append(data)
            return engine.answers(data, samples)

    found = calibrate(loaded, tmp_path, Noting(), hold=feeds(loaded, 40, 3), name="better")
    assert found.scheme is not None
    assert len(found.adjusted.techniques) >= 2
    assert found.path == tmp_path / "better.toml"
    made = apply_scheme(loaded, found.scheme, feeds(loaded, 20, 1))
    assert made.data in seen
    assert found.adjusted.toml == found.path.read_text()


def test_a_scheme_that_was_calibrated_can_be_again(tmp_path: Path) -> None:
    loaded = Chain(23, 2).conv(3, 8).add("Relu").conv(8, 4).load([1, 3, 6, 6])
    engine = Engine(get_profile("hypothesis-floor"))
    hold = feeds(loaded, 40, 3)
    one = calibrate(loaded, tmp_path, engine, hold=hold, name="one")
    two = calibrate(loaded, tmp_path, engine, hold=hold, scheme=one.scheme, name="two")
    assert two.tried[0].words == "left out: the scheme brings weights of its own"
    assert two.tried[1].before == pytest.approx(one.adjusted.after, rel=1e-6)


def test_any_target_can_be_asked(small: Any) -> None:
    data = apply_scheme(small, get_scheme("w8a8"), feeds(small, 20, 1)).data
    samples = feeds(small, 3, 9)
    with Asker(get_target("sim:ort-mlas")) as asker:
        asked = Asked(asker)
        assert asked.name == "sim:ort-mlas"
        found = asked.answers(data, samples)
        with pytest.raises(SilentError):
            asked.answers(b"no model", samples)
    wanted = Engine(get_profile("ort-mlas")).answers(data, samples)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(found, wanted, strict=True))


def test_the_names_are_told() -> None:
    assert TECHNIQUES == (
        "cross-layer equalization",
        "weight ranges",
        "activation ranges",
        "rounding",
        "bias correction",
    )


def test_schemes_that_differ_in_their_arrays_alone_are_two_variants(
    small: Any, tmp_path: Path
) -> None:
    """In memory they have no hash of a file's; with and without a preparation."""
    from chipdrift.data import load_data
    from chipdrift.matrix.variants import make_variant
    from chipdrift.quantize import Preparation
    from chipdrift.store import Store

    np.savez(tmp_path / "cal.npz", x=np.concatenate([f["x"] for f in feeds(small, 12, 1)]))
    calibration = load_data(tmp_path / "cal.npz", small.info.inputs)
    base, preparation = get_scheme("w8a8"), Preparation()
    made = []
    with Store.open(tmp_path / "run") as store:
        for shift in (0.0, 1.0, 1.0):
            state = State(arrays={"n0#2": np.full(8, shift, np.float32)})
            scheme = state.scheme(base, "mine", "mine.npz")
            made.append(make_variant(store, small, scheme, calibration, None, preparation))
        plain = make_variant(store, small, base, calibration, None)
    assert len({variant.sha256 for variant in made} | {plain.sha256}) == 3
    assert made[1].file == made[2].file != made[0].file
