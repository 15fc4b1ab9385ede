"""Diagnoses made by hand, for the tests of the report here and under tests/system."""

from typing import Any

from report_matrices import CPU, EVIL, A, B, placed

from chipdrift.findings import (
    Activation,
    Attribution,
    Diagnosis,
    Distance,
    Explanation,
    Finding,
    Mechanism,
    Own,
    Side,
    Verdict,
)

FIX = (
    "chipdrift matrix MODEL --data DATA --calibration CAL --scheme w8a8,w8a16_pc "
    "--target htp:sm8350,htp:sm8450 -o 'runs/a folder of words'"
)


def distance(differing: float, decibels: float | None = None, lsb: float | None = 1.0) -> Distance:
    """How far; ``decibels`` None where nothing differs."""
    return Distance(
        values=1000,
        differing=differing,
        mean_lsb=None if lsb is None else differing * lsb,
        max_lsb=lsb,
        bias_lsb=None if lsb is None else 0.0,
        max_abs=0.1 if differing else 0.0,
        sqnr_db=decibels,
    )


SAME = distance(0.0, lsb=0.0)


def activation(name: str, depth: int, far: Distance, op: str = "Conv") -> Activation:
    return Activation(tensor=f"{name}/out", node=name, op=op, depth=depth, distance=far)


def own(name: str, depth: int, far: Distance | None, *inputs: str, **more: Any) -> Own:
    fields: dict[str, Any] = {
        "op": "Conv",
        "nodes": (name,),
        "tensor": f"{name}/out",
        "inputs": tuple(f"{source}/out" for source in inputs),
    }
    return Own(node=name, depth=depth, distance=far, **(fields | more))


def side(target: str, name: str | None = None, **more: Any) -> Side:
    evidence = "host-runtime" if target in (CPU, "float") else "vendor-simulator"
    return Side.model_validate(
        {"target": target, "name": name or target, "evidence": evidence} | more
    )


def diagnosis(**changes: Any) -> Diagnosis:
    """Two identical targets; ``changes`` are fields."""
    fields: dict[str, Any] = {
        "chipdrift": "0.1.0",
        "created": "2026-01-02T03:04:05+00:00",
        "run": "run",
        "model": "model",
        "model_sha256": "a" * 64,
        "scheme": "w8a8",
        "a": side(A, "Snapdragon 888, v68"),
        "b": side(B),
        "samples": 16,
        "own_samples": 4,
        "outputs": (activation("y", 3, SAME, "output"),),
        "activations": tuple(activation(n, d, SAME) for d, n in enumerate(("c1", "c2", "c3"))),
        "first_layer": None,
        "first_op": None,
        "own": (own("c1", 0, SAME), own("c2", 1, SAME, "c1"), own("c3", 2, SAME, "c2")),
        "explanations": (),
        "attributions": (),
        "unexplained": None,
        "verdict": Verdict(cause="neither", words="no loss that 200 samples carry.", samples=200),
        "findings": (),
    }
    return Diagnosis(**(fields | changes))


def parted() -> Diagnosis:
    """A residual network: c1 feeds c2 and, over two nodes, the sum; c2 parts, c4 is wrong.

    One name is HTML; one node was not run alone, one is computed otherwise inside the model.
    """
    rounding = Mechanism(
        mechanism="rounding",
        words="another rounding",
        rule="requantize.rounding",
        a="rounds half up",
        b="rounds half to even",
        before=0.9,
        after=1.0,
        closes=0.75,
    )
    return diagnosis(
        activations=(
            activation("c1", 0, SAME),
            activation("c2", 1, distance(0.25, 45.0)),
            activation(EVIL, 2, distance(0.3, 38.0, 3.0), "Relu"),
            activation("sum", 3, distance(0.2, 41.0), "Add"),
            activation("c4", 4, distance(0.99, 2.0, 200.0)),
        ),
        outputs=(activation("y", 5, distance(0.99, 2.0, 200.0), "output"),),
        own=(
            own("c1", 0, SAME),
            own("c2", 1, distance(0.25, 45.0), "c1", in_place_b=False),
            own(EVIL, 2, None, "c2", op="Relu", words="the session does not start"),
            own("sum", 3, SAME, EVIL, "c1", op="Add", nodes=("sum", "sum/relu")),
            own("c4", 4, distance(0.9, 5.0, 200.0), "sum"),
        ),
        first_layer="c2",
        first_op="c2",
        explanations=(
            Explanation(
                node="c2",
                op="Conv",
                basis="hexagon-v68",
                basis_share=1.0,
                mechanisms=(rounding,),
                unexplained=0.25,
            ),
        ),
        attributions=(
            Attribution(mechanism="rounding", nodes=("c2",), drift=0.7),
            Attribution(mechanism="scale_precision", nodes=("c2", "c4"), drift=-0.002),
        ),
        unexplained=0.302,
        a=side(A, "Snapdragon 888, v68", placement=placed(4, ("Softmax", "sm"))),
        findings=(
            Finding(
                check="wrong-answers",
                severity="error",
                title=f"c4 (Conv) is wrong on {A} or on {B}",
                words="alone, on the same integers, the two part in 90 % of the values",
                nodes=("c4",),
                targets=(A, B),
                experiment="c4 cut out with its quantizers, fed with the same integers on both",
                fix="keep this node on the CPU",
                weight=2.0,
            ),
            Finding(
                check="mechanism",
                severity="warning",
                title="Another rounding in c2 and 1 other node",
                words=f"{A} rounds half up, {B} half to even: {EVIL}",
                nodes=("c2", EVIL),
                experiment="replayed c2 in the engine",
                fix="calibrate on this chip",
                command=FIX,
                weight=0.7,
            ),
        ),
        notes=("the extra outputs changed the final answer",),
    )


def against_float() -> Diagnosis:
    """The same model against the float one: real values, no steps of a quantizer."""
    far = distance(1.0, 35.0, None)
    return diagnosis(
        b=side("float", "the float model on ort:cpu"),
        activations=(activation("c1", 0, far), activation("c2", 1, far)),
        outputs=(activation("y", 2, far, "output"),),
        own=(own("c1", 0, distance(0.2, 44.0)), own("c2", 1, distance(0.3, 41.0), "c1")),
        first_layer="c1",
        first_op="c1",
    )
