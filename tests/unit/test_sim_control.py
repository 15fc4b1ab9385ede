"""If, Loop and Scan whose bodies read tensors around them, and model functions: as onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import parser
from single_op import profile

from chipdrift.errors import ModelError
from chipdrift.graph.program import program_of
from chipdrift.graph.scopes import inlined, outer_reads
from chipdrift.targets.sim.session import SimSession

Array = np.ndarray[Any, Any]

# x (2, 3) is quantized; what comes out of the control flow is quantized again, 2 is added to it.
_FRAME = """
<ir_version: 10, opset_import: ["" : 21{domain}]>
model (float[2,3] x, bool cond) => (float[2,3] y)
<float s = {{0.05}}, uint8 z = {{120}}, float t = {{0.1}}, uint8 u = {{100}},
 float[3] w = {{1.5, -2.0, 0.25}}, int64 trips = {{3}}, int64 first = {{0}},
 bool always = {{1}}>
{{
  xq = QuantizeLinear(x, s, z)
  xr = DequantizeLinear(xq, s, z)
  twin = Mul(xr, w)
  {body}
  mq = QuantizeLinear(m, t, u)
  mr = DequantizeLinear(mq, t, u)
  sum = Add(mr, xr)
  yq = QuantizeLinear(sum, t, u)
  y = DequantizeLinear(yq, t, u)
}}
"""
BODIES = {
    "If": """
  m = If (cond) <
    then_branch = yes () => (float[2,3] a) { a = Mul(xr, w) },
    else_branch = no () => (float[2,3] b) { c = Neg(xr) b = Add(c, twin) }
  >""",
    "If in an If": """
  m = If (cond) <
    then_branch = yes () => (float[2,3] a) {
      inner = Neg(twin)
      a = If (always) <
        then_branch = deep () => (float[2,3] d) { d = Sub(inner, xr) },
        else_branch = none () => (float[2,3] e) { e = Identity(inner) }
      >
    },
    else_branch = no () => (float[2,3] b) { b = Identity(twin) }
  >""",
    "Loop": """
  m = Loop (trips, always, xr) <
    body = turn (int64 i, bool on, float[2,3] held) => (bool more, float[2,3] next) {
      more = Identity(on)
      next = Add(held, twin)
    }
  >""",
    "Scan": """
  m = Scan <num_scan_inputs = 1, body = row (float[3] one) => (float[3] made) {
    part = Mul(one, w)
    row = Gather <axis = 0> (twin, first)
    made = Add(part, row)
  }> (xr)""",
}


def _model(body: str, functions: str = "") -> onnx.ModelProto:
    text = _FRAME.format(body=body, domain=', "local" : 1' if functions else "")
    model = parser.parse_model(text + functions)
    onnx.checker.check_model(model)
    return model


def _by_onnxruntime(model: onnx.ModelProto, feed: dict[str, Array]) -> Array:
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.intra_op_num_threads = 1
    settings.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, feed)[0])


def _compare(model: onnx.ModelProto) -> list[SimSession]:
    rng = np.random.default_rng(3)
    sessions = [SimSession(program_of(model), profile(), fast=fast) for fast in (False, True)]
    for cond in (True, False):
        feed = {"x": rng.uniform(-5, 6, (2, 3)).astype(np.float32), "cond": np.array(cond)}
        expected = _by_onnxruntime(model, feed)
        for session in sessions:
            np.testing.assert_array_equal(session.run(feed)[0], expected)
    return sessions


@pytest.mark.parametrize("name", BODIES)
def test_a_body_reads_the_tensors_around_it(name: str) -> None:
    for session in _compare(_model(BODIES[name])):
        op = name.split()[0]
        places = {(place, kind) for place, _, kind in session.opened().nodes}
        assert ("cpu", op) in places
        assert ("npu", "Add") in places, "what stands beside it still runs in integers"
        (reason,) = {r for n, r in session.opened().reasons.items() if n.startswith(op)}
        assert reason == f"{op} has no integer form"


_FUNCTIONS = """
<opset_import: ["" : 21, "local" : 1], domain: "local">
bend <slope> (a, b) => (made)
{
  raw = Add(a, b)
  made = local.lean <slope: float = @slope> (raw)
}
<opset_import: ["" : 21], domain: "local">
lean <slope> (a) => (made)
{
  made = LeakyRelu <alpha: float = @slope> (a)
}
"""


def test_a_models_own_functions_run_in_integers_like_any_node() -> None:
    model = _model("m = local.bend <slope = 0.25> (xr, xr)", _FUNCTIONS)
    # The same without functions: integers where these have them.
    plain = _model("raw = Add(xr, xr) m = LeakyRelu <alpha = 0.25> (raw)")
    for session, other in zip(_compare(model), _compare(plain), strict=True):
        ops = sorted((place, op) for place, _, op in session.opened().nodes)
        assert ops == sorted((place, op) for place, _, op in other.opened().nodes)
        names = [name for _, name, _ in session.opened().nodes]
        assert all(names) and len(set(names)) == len(names)
    assert program_of(model).outputs == ("y",)
    assert len(model.functions) == 2, "the caller's model stays as it is"


def test_a_function_in_a_body_and_one_of_an_older_opset() -> None:
    older = _FUNCTIONS.replace('"" : 21', '"" : 18')
    body = """
  m = If (cond) <
    then_branch = yes () => (float[2,3] a) { a = local.bend <slope = 0.5> (xr, twin) },
    else_branch = no () => (float[2,3] b) { b = local.lean <slope = 0.5> (twin) }
  >"""
    _compare(_model(body, older))


def test_a_function_of_an_opset_in_which_an_op_was_another_is_refused() -> None:
    model = _model("m = local.lean <slope = 0.5> (xr)", _FUNCTIONS)
    for function in model.functions:
        function.opset_import[0].version = 15
    with pytest.raises(ModelError, match=r"opset 15 and its model for opset 21.* LeakyRelu chang"):
        program_of(model)


def test_what_a_body_makes_or_holds_itself_is_not_read_from_outside() -> None:
    program = program_of(_model(BODIES["If in an If"]))
    (step,) = (step for step in program.steps if step.op == "If")
    assert outer_reads(step.attributes) == ("twin", "always", "xr")
    assert outer_reads({"axis": 1, "pads": [0, 1], "mode": "x"}) == ()
    model = _model(BODIES["Loop"])
    assert inlined(model) is model


def test_what_only_a_body_reads_is_kept_until_it_has_run() -> None:
    """``xr`` is read once more by a body after the last node beside it."""
    body = BODIES["If"].replace("m = If", "late = Neg(twin)\n  m = If")
    _compare(_model(body))
