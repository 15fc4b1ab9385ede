"""Plans made by hand, for the tests of a plan's report here and under tests/system."""

from __future__ import annotations

from typing import Any, get_args

from report_matrices import EVIL, metric

from chipdrift.plan.records import (
    Budget,
    Candidate,
    Choice,
    Cost,
    How,
    Plan,
    PlanChip,
    Score,
    Sensitivity,
    Tried,
    Variant,
)
from chipdrift.records import DataInfo, Interval, MetricResult, ModelInfo, TensorSpec

CHOOSING, CONFIRMING = 299, 298
LONG = "block/" + "a_very_long_name_of_a_node/" * 8


def modelled(
    value: float, spread: float = 0.25, words: str = "model: w8a16 1.85x (a phone)"
) -> Cost:
    """A cost by the cost model, with its typical error."""
    return Cost(
        value=value,
        unit="x w8a8",
        basis="model",
        low=value * (1 - spread),
        high=value * (1 + spread),
        words=words,
    )


def timed(value: float) -> Cost:
    """A time that a phone measured, in ms."""
    return Cost(value=value, unit="ms", basis="measured", words="median of 20 samples on adb:P")


def sized(value: float) -> Cost:
    """A model file's bytes."""
    return Cost(value=value, unit="bytes", basis="exact", words="the model file")


def top1(value: float, half: float | None = 0.02) -> MetricResult:
    """An accuracy with an interval of ``half`` to both sides."""
    low, high = (None, None) if half is None else (value - half, value + half)
    return MetricResult(name="top1", value=value, low=low, high=high)


def loss(value: float, half: float | None = 0.012) -> Interval:
    """How much worse than float."""
    low, high = (None, None) if half is None else (value - half, value + half)
    return Interval(value=value, low=low, high=high)


def chip(name: str, group: str = "v69", **more: Any) -> PlanChip:
    """A chip of the simulator, searched by the engine."""
    fields: dict[str, Any] = {
        "words": f"Phone chip {name}",
        "target": f"htp:{name}",
        "evidence": "vendor-simulator",
        "searcher": f"sim:{group}",
        "why": "the engine, under the profile probed from this target",
        "group": group,
        "ro_soc_models": (name.upper(),),
    }
    return PlanChip(name=name, **(fields | more))


def score(chip: str, scheme: str, cost: Cost | None, worse: float, **more: Any) -> Score:
    """A candidate on the choosing samples, of which float has 90 % right."""
    fields: dict[str, Any] = {
        "target": "sim:v69",
        "evidence": "prediction",
        "samples": CHOOSING,
        "metric": top1(0.9 - worse),
        "loss": loss(worse),
        "sqnr_db": 40 - 200 * worse,
        "within": worse <= 0.01,
    }
    return Score(chip=chip, scheme=scheme, cost=cost, **(fields | more))


def candidate(scheme: str, how: How = "scheme", **more: Any) -> Candidate:
    """A candidate of some size."""
    fields: dict[str, Any] = {"words": f"words of {scheme}", "sha256": "a" * 64, "size": 28092}
    return Candidate(scheme=scheme, how=how, model_sha256="b" * 64, **(fields | more))


def choice(chip: str, variant: str | None, standing: str, **more: Any) -> Choice:
    """What a chip gets, on the confirming samples."""
    fields: dict[str, Any] = {
        "why": f"why {chip} gets it",
        "cost": modelled(1.85),
        "metric": top1(0.895),
        "loss": loss(0.005, 0.004),
        "agreement": Interval(value=0.99, low=0.97, high=0.995),
        "samples": CONFIRMING,
        "looks": 1,
        "evidence": "vendor-simulator",
        "alone": variant,
    }
    return Choice.model_validate(
        {"chip": chip, "variant": variant, "standing": standing} | fields | more
    )


def variant(name: str, *chips: str, size: int = 28092) -> Variant:
    """A file that is shipped."""
    return Variant(
        name=name,
        scheme=name,
        file=f"models/{name}.onnx",
        sha256="c" * 64,
        size=size,
        words=f"words of {name}",
        chips=chips,
    )


def plan(**changes: Any) -> Plan:
    """One chip, two candidates, the dearer of which is chosen and confirmed."""
    fields: dict[str, Any] = {
        "chipdrift": "0.1.0",
        "created": "2026-01-02T03:04:05+00:00",
        "model": ModelInfo(
            name="model",
            sha256="a" * 64,
            opset=17,
            nodes=10,
            inputs=(TensorSpec(name="x", dtype="float32", shape=(1, None)),),
            outputs=(TensorSpec(name="y", dtype="float32", shape=(1, 10)),),
        ),
        "data": DataInfo(name="confirm", sha256="b" * 64, samples=CONFIRMING, labels=True),
        "calibration": None,
        "metric": metric(),
        "baseline": top1(0.9),
        "budget": Budget(text="top1 drop <= 1%", metric="top1", kind="drop", limit=0.01),
        "objective": "latency",
        "choosing": CHOOSING,
        "confirming": CONFIRMING,
        "chips": (chip("sm8450"),),
        "candidates": (candidate("w8a8"), candidate("w8a16")),
        "scores": (
            score("sm8450", "w8a8", modelled(1.0, 0.0), 0.05, frontier=True),
            score("sm8450", "w8a16", modelled(1.85), 0.004, frontier=True),
        ),
        "choices": (choice("sm8450", "w8a16", "confirmed"),),
        "variants": (variant("w8a16", "sm8450"), variant("fp32", size=24451)),
        "safe": "fp32",
        "words": ("1 of 1 chip holds it.", "1 variant for 1 chip, and the safe one."),
        "seconds": 44.1,
    }
    return Plan(**(fields | changes))


def missed() -> Plan:
    """One chip misses the budget, one runs nothing, one is within, one is confirmed by a time."""
    names = ("good", "near", "bad", "none")
    return plan(
        chips=tuple(chip(name, group=name) for name in names),
        choices=(
            choice("good", "w8a16", "confirmed", cost=timed(12.3), evidence="device"),
            choice("near", "w8a16", "within", loss=loss(0.005, 0.013), looks=2),
            choice("bad", "w8a8", "missed", loss=loss(0.024), metric=top1(0.876), fallback=3),
            Choice(
                chip="none",
                variant=None,
                standing="none",
                why="Nothing that was tried runs on it: no session.",
                evidence="vendor-simulator",
            ),
        ),
        scores=(
            score("good", "w8a16", timed(12.3), 0.004, frontier=True),
            score("good", "w8a8", modelled(1.0), 0.05),
            score("near", "w8a8", modelled(1.0), 0.05, frontier=True),
            score("near", "w8a16", None, 0.004, metric=None, loss=None, error="died of signal 11"),
            score("none", "w8a8", None, 0.05, metric=None, loss=None, error="no session"),
        ),
        variants=(variant("w8a16", "good", "near"), variant("w8a8", "bad"), variant("fp32")),
        words=("1 of 4 chips hold it, 1 with the figure alone, 2 do not: bad, none.",),
        warnings=("298 samples confirm; more are needed",),
    )


def searched() -> Plan:
    """Two chips of one group with equal costs, a third with its own; all kinds of candidates."""
    kinds: tuple[How, ...] = get_args(How)
    schemes = {kind: f"{kind}-one" for kind in kinds}
    names = ("sm8450", "sm8475", "sm7450")
    scores = [
        score(name, schemes[kind], modelled(1 + number * (1.5 if name == "sm7450" else 1)), worse)
        for name in names
        for number, (kind, worse) in enumerate(zip(kinds, (0.3, 0.0, 0.0, 0.0, 0.0), strict=True))
    ]
    raised = (LONG, "head/linear", "a", "b", "c", "d")
    return plan(
        chips=tuple(chip(name) for name in names),
        candidates=tuple(
            candidate(schemes[kind], kind, base="w8a8", raised=raised, borders=3, cpu_borders=1)
            for kind in kinds
        ),
        scores=tuple(
            s.model_copy(update={"frontier": s.scheme != schemes["float"]}) for s in scores
        ),
        choices=tuple(choice(name, schemes["mixed"], "confirmed") for name in names),
        variants=(variant(schemes["mixed"], *names), variant("fp32")),
        sensitivity=tuple(
            Sensitivity(
                target="sim:v69",
                base="w8a8",
                nodes=raised if number == 0 else (f"layer{number}",),
                to=to,
                gain_db=1.5 - 0.2 * number,
                borders=2,
                samples=48,
            )
            for to in ("uint16", "float16", "float32")
            for number in range(12)
        ),
        tried=(
            Tried(
                technique="bias correction",
                target="sim:v69",
                base="w8a8",
                scheme="calibrated-one",
                before=31.25,
                after=33.5,
                samples=97,
                kept=True,
                words="the outputs' means are moved to the float model's",
            ),
            Tried(technique="rounding", target="sim:v69", base="w8a8", before=33.5, after=33.25),
            Tried(technique="fusion off", target="sim:v69", base="w8a8", words="not there"),
        ),
        max_variants=1,
        cap_words="At most 1 variant: the cap costs no chip anything.",
        single="scheme-one",
        saved=0.09,
    )


def bare() -> Plan:
    """No chip, no candidate, nothing."""
    return plan(
        chips=(), candidates=(), scores=(), choices=(), variants=(), words=(), baseline=None
    )


def dozen() -> Plan:
    """Twelve chips, each a group of its own, forty candidates on each."""
    names = [f"chip{number}" for number in range(12)]
    schemes = [f"scheme{number}" for number in range(40)]
    return plan(
        chips=tuple(chip(name, group=name) for name in names),
        candidates=tuple(candidate(scheme) for scheme in schemes),
        scores=tuple(
            score(
                name,
                scheme,
                modelled(1 + 0.1 * at + 0.01 * place),
                0.04 - 0.001 * at,
                frontier=True,
            )
            for place, name in enumerate(names)
            for at, scheme in enumerate(schemes)
        ),
        choices=tuple(choice(name, "scheme35", "confirmed") for name in names),
    )


def lower() -> Plan:
    """A metric of which less is better, with a limit of its own, and costs in bytes."""
    own = metric("bootstrap", name="cer", higher_is_better=False)

    def rate(value: float) -> MetricResult:
        return MetricResult(name="cer", value=value, low=value - 0.01, high=value + 0.01)

    return plan(
        metric=own,
        baseline=rate(0.1),
        budget=Budget(text="cer <= 0.12", metric="cer", kind="least", limit=0.12),
        objective="size",
        scores=(
            score("sm8450", "w8a8", sized(24340), 0.05, metric=rate(0.2), frontier=True),
            score("sm8450", "w8a16", sized(28092), 0.004, metric=rate(0.11), frontier=True),
        ),
        choices=(choice("sm8450", "w8a16", "within", metric=rate(0.115), cost=sized(28092)),),
    )


def hostile() -> Plan:
    """Every text that a name can be is HTML with quotes, an ampersand, and 200 characters."""
    made = searched()
    evil = f"{EVIL}\"'&amp;<b>{'x' * 200}</b>"

    def poison(value: Any, key: str = "") -> Any:
        fixed = {"how", "standing", "basis", "unit", "evidence", "kind", "objective", "group"}
        fixed |= {"interval", "high", "low", "sha256", "model_sha256", "chip", "scheme", "variant"}
        if isinstance(value, str) and key == "unit" and value == "dB":
            return evil
        if isinstance(value, str):
            named = key in ("chip", "scheme", "variant", "name")
            return f"{value}{evil}" if named else value if key in fixed else evil
        if isinstance(value, dict):
            return {k: poison(v, k) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [poison(v, key) for v in value]
        return value

    return Plan.model_validate(poison(made.model_dump()))


EVERY = (plan, missed, searched, bare, dozen, lower, hostile)
