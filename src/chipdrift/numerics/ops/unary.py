"""Functions of one value. Formulas over any arithmetic; rules N40 to N43 make integers of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from chipdrift.numerics.functions import apply
from chipdrift.numerics.limits import Limit, both, narrow
from chipdrift.numerics.tensors import Array, OpSpec, Reference

# (x, arithmetic, attributes) -> f(x), in the order in which onnxruntime computes.
Body = Callable[[Any, Any, Mapping[str, Any]], Any]


def sigmoid(x: Any, m: Any, a: Mapping[str, Any]) -> Any:
    """``1 / (1 + exp(-x))``."""
    return m.of(1) / (m.of(1) + m.exp(-x))


def _hard_sigmoid(x: Any, m: Any, a: Mapping[str, Any]) -> Any:
    line = m.of(a.get("alpha", float(np.float32(0.2)))) * x + m.of(a.get("beta", 0.5))
    return np.maximum(np.minimum(line, m.of(1)), m.of(0))


def _hard_swish(x: Any, m: Any, a: Mapping[str, Any]) -> Any:
    return x * np.maximum(np.minimum(m.of(1) / m.of(6) * x + m.of(0.5), m.of(1)), m.of(0))


def _leaky_relu(x: Any, m: Any, a: Mapping[str, Any]) -> Any:
    return np.where(x >= 0, x, m.of(a.get("alpha", float(np.float32(0.01)))) * x)


def _thresholded_relu(x: Any, m: Any, a: Mapping[str, Any]) -> Any:
    return np.where(x > m.of(a.get("alpha", 1.0)), x, m.of(0))


def _elu(x: Any, m: Any, a: Mapping[str, Any]) -> Any:
    low = np.minimum(x, m.of(0))  # exp must not overflow where it is not used
    return np.where(x >= 0, x, m.of(a.get("alpha", 1.0)) * (m.exp(low) - m.of(1)))


def _celu(x: Any, m: Any, a: Mapping[str, Any]) -> Any:
    alpha, low = m.of(a.get("alpha", 1.0)), np.minimum(x, m.of(0))
    return np.where(x >= 0, x, alpha * (m.exp(low / alpha) - m.of(1)))


def _selu(x: Any, m: Any, a: Mapping[str, Any]) -> Any:
    alpha = m.of(a.get("alpha", float(np.float32(1.6732632423543772))))
    gamma = m.of(a.get("gamma", float(np.float32(1.0507009873554805))))
    low = np.minimum(x, m.of(0))
    return gamma * np.where(x > 0, x, alpha * m.exp(low) - alpha)


def _erf_gelu(x: Any, m: Any) -> Any:
    return m.of("0.5") * x * (m.of(1) + m.erf(x / m.sqrt(_ones(x, m) * m.of(2))))


def _tanh_gelu(x: Any, m: Any) -> Any:
    inner = m.of("0.79788456080286535587989211986876373") * (x + m.of("0.044715") * x * x * x)
    return m.of("0.5") * x * (m.of(1) + m.tanh(inner))


def _gelu(x: Any, m: Any, a: Mapping[str, Any]) -> Any:
    return _tanh_gelu(x, m) if a.get("approximate", "none") == "tanh" else _erf_gelu(x, m)


def _quick_gelu(x: Any, m: Any, a: Mapping[str, Any]) -> Any:
    return x * sigmoid(m.of(a.get("alpha", float(np.float32(1.702)))) * x, m, a)


def _swish(x: Any, m: Any, a: Mapping[str, Any]) -> Any:
    return x * sigmoid(m.of(a.get("alpha", 1.0)) * x, m, a)


def _softplus(x: Any, m: Any, a: Mapping[str, Any]) -> Any:
    return np.maximum(x, m.of(0)) + m.log1p(m.exp(-np.abs(x)))


def _mish(x: Any, m: Any, a: Mapping[str, Any]) -> Any:
    return x * m.tanh(_softplus(x, m, a))


def _softsign(x: Any, m: Any, a: Mapping[str, Any]) -> Any:
    return x / (m.of(1) + np.abs(x))


def _ones(x: Any, m: Any) -> Any:
    return np.full(x.shape, m.of(1))


def _reference(body: Body) -> Reference:
    def run(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
        x = arrays[0]
        assert x is not None
        return apply(spec, x, spec.quant(0), lambda v, m: body(v, m, spec.attributes))

    return run


def _alone(spec: OpSpec) -> str | None:
    more = len(spec.operands) > 1
    return "it adds a bias before the function" if more else None


_BODIES: dict[str, Body] = {
    "Sigmoid": sigmoid,
    "Tanh": lambda x, m, a: m.tanh(x),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "LeakyRelu": _leaky_relu,
    "ThresholdedRelu": _thresholded_relu,
    "Elu": _elu,
    "Celu": _celu,
    "Selu": _selu,
    "Gelu": _gelu,
    "FastGelu": lambda x, m, a: _tanh_gelu(x, m),
    "QuickGelu": _quick_gelu,
    "Swish": _swish,
    "Erf": lambda x, m, a: m.erf(x),
    "Softplus": _softplus,
    "Softsign": _softsign,
    "Mish": _mish,
    "Sqrt": lambda x, m, a: m.sqrt(x),
    "Exp": lambda x, m, a: m.exp(x),
    "Log": lambda x, m, a: m.log(x),
    "Reciprocal": lambda x, m, a: m.of(1) / x,
}
OPS: dict[str, Reference] = {op: _reference(body) for op, body in _BODIES.items()}
LIMITS: dict[str, Limit] = {
    **{op: narrow(0) for op in OPS},
    "FastGelu": both(narrow(0), _alone),
}
TABLES = ("elementwise", "function")
