"""Real functions between integers, under the ``Function`` rules. Rules N40 to N47.

A formula is written once, over an arithmetic: binary floating point of a type, every step rounded
to it (N42), or decimals of 60 digits, which stand for real numbers (N40).
"""

from __future__ import annotations

import decimal
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from chipdrift.numerics.elementwise import from_real, zero_points
from chipdrift.numerics.products import clamp_limits
from chipdrift.numerics.quantize import dequantize
from chipdrift.numerics.rounding import Rounding, divide, noise_of, round_float
from chipdrift.numerics.tensors import Array, OpSpec, Quant

_DIGITS = 60
_TIE = Decimal(10) ** -40
_MARGIN = 2.0**-40
_FAR = 2.0**33  # beyond every integer that can be asked for


@dataclass(frozen=True)
class Floats:
    """Arithmetic of one NumPy type. A function's value is made in float64 and rounded to it."""

    dtype: Any

    def of(self, value: str | float) -> Any:
        """A constant, rounded."""
        return self.dtype(float(value))

    def exp(self, x: Array) -> Array:
        """e to the power x."""
        return self._once(np.exp, x)

    def log(self, x: Array) -> Array:
        """The natural logarithm."""
        return self._once(np.log, x)

    def log1p(self, x: Array) -> Array:
        """The natural logarithm of 1 + x."""
        return self._once(np.log1p, x)

    def sqrt(self, x: Array) -> Array:
        """The square root."""
        return self._once(np.sqrt, x)

    def tanh(self, x: Array) -> Array:
        """The hyperbolic tangent."""
        return self._once(np.tanh, x)

    def erf(self, x: Array) -> Array:
        """The error function."""
        from scipy import special  # nine megabytes that few models need

        return self._once(special.erf, x)

    def power(self, x: Array, exponent: float) -> Array:
        """X to a constant power."""
        return self._once(lambda v: np.power(v, exponent), x)

    def total(self, x: Array, axes: tuple[int, ...]) -> Array:
        """The sum along ``axes``, kept, rounded once: no order of summation matters (N45)."""
        return self._once(lambda v: v.sum(axis=axes, keepdims=True), x)

    def _once(self, function: Callable[[Array], Array], x: Array) -> Array:
        return np.asarray(function(np.asarray(x, np.float64))).astype(self.dtype)


class Digits:
    """Arithmetic of 60 decimal digits, on object arrays; for finite values of one variable."""

    def of(self, value: str | float) -> Decimal:
        """A constant, exactly."""
        return Decimal(value)

    def exp(self, x: Array) -> Array:
        """e to the power x."""
        return _each(Decimal.exp, x)

    def log(self, x: Array) -> Array:
        """The natural logarithm."""
        return _each(Decimal.ln, x)

    def log1p(self, x: Array) -> Array:
        """The natural logarithm of 1 + x."""
        return _each(lambda v: (1 + v).ln(), x)

    def sqrt(self, x: Array) -> Array:
        """The square root."""
        return _each(Decimal.sqrt, x)

    def tanh(self, x: Array) -> Array:
        """The hyperbolic tangent."""
        return _each(_tanh, x)

    def erf(self, x: Array) -> Array:
        """The error function."""
        return _each(_erf, x)

    def power(self, x: Array, exponent: float) -> Array:
        """X to a constant power."""
        return _each(lambda v: v ** Decimal(exponent), x)


Arithmetic = Floats | Digits
FLOAT64, FLOAT32, FLOAT16 = Floats(np.float64), Floats(np.float32), Floats(np.float16)
DIGITS = Digits()
# (x, arithmetic) -> f(x), elementwise.
Formula = Callable[[Any, Any], Any]


def apply(spec: OpSpec, values: Array, quant: Quant, formula: Formula) -> Array:
    """``formula`` of the real numbers that ``values`` stand for, as integers of ``spec.output``."""
    rules = spec.rules.function
    if rules.arithmetic == "table":
        return _looked_up(spec, values, quant, formula)
    if rules.arithmetic == "exact":
        steps = values.astype(np.int64).reshape(-1) - int(quant.zero_point)
        drawn = _noise(spec, values.shape)
        if drawn is not None:
            out = _exact(spec, steps, 1, quant, formula, drawn.reshape(-1))
        else:
            unique, where = np.unique(steps, return_inverse=True)
            out = _exact(spec, unique, 1, quant, formula, None)[where]
        return out.reshape(values.shape).astype(spec.output.storage)
    arithmetic = FLOAT16 if rules.arithmetic == "float16" else FLOAT32
    with np.errstate(all="ignore"):
        return to_output(
            spec, formula(dequantize(values, quant).astype(arithmetic.dtype), arithmetic)
        )


def arithmetic_of(spec: OpSpec) -> Floats:
    """What functions of many values compute in: ``exact`` and ``table`` are float64 (N44, N47)."""
    return {"float32": FLOAT32, "float16": FLOAT16}.get(spec.rules.function.arithmetic, FLOAT64)


def real(values: Array, quant: Quant | None, arithmetic: Floats) -> Array:
    """An operand as real numbers of ``arithmetic``: exactly in float64, else as N51 rounds them."""
    if quant is None:
        return values.astype(arithmetic.dtype)
    if arithmetic is not FLOAT64:
        return dequantize(values, quant).astype(arithmetic.dtype)
    shape = [1] * values.ndim
    if quant.axis is not None:
        shape[quant.axis % values.ndim] = -1
    scale, zero = quant.scale.astype(np.float64), quant.zero_point
    steps = values.astype(np.int64) - zero.reshape(shape)
    return np.asarray(steps * scale.reshape(shape))


def to_output(spec: OpSpec, values: Array) -> Array:
    """``round(value * (1 + e) / scale) + zero_point`` (N42, N43)."""
    error = spec.rules.function.relative_error
    wrong: Array = values * values.dtype.type(1 + error) if error else values
    return from_real(spec, wrong)


def _placed(spec: OpSpec, steps: Array) -> Array:
    out: Array = np.clip(steps, *clamp_limits(spec))
    return out.astype(spec.output.storage)


def _noise(spec: OpSpec, shape: tuple[int, ...]) -> Array | None:
    if spec.rules.elementwise.rounding is not Rounding.STOCHASTIC:
        return None
    return noise_of(spec.seed, spec.stream, np.arange(int(np.prod(shape))).reshape(shape))


def _exact(
    spec: OpSpec, steps: Array, parts: int, quant: Quant, formula: Formula, noise: Array | None
) -> Array:
    """The real function at ``steps / parts * scale``, rounded once (N40).

    float64 decides where its error cannot change the answer: every formula here is right to 2**-40
    of (1 + |f|) there, by far. Where it could, 60 digits decide (Ziv's strategy), and a number
    nearer than 1e-40 to a multiple of 1/2 is that multiple.
    """
    rounding, error = spec.rules.elementwise.rounding, spec.rules.function.relative_error
    scale = float(spec.output.scale)
    with np.errstate(all="ignore"):
        value = formula(steps * float(quant.scale) / parts, FLOAT64) * (1 + error)
        t = np.clip(np.nan_to_num(value / scale, nan=0, posinf=_FAR, neginf=-_FAR), -_FAR, _FAR)
    inside, outside = zero_points(spec)
    t = t + inside
    margin = _MARGIN * (np.abs(t) + abs(inside) + 1 / scale)
    ends = round_float(t - margin, rounding, noise), round_float(t + margin, rounding, noise)
    doubtful = (ends[0] != ends[1]) & np.isfinite(value) & (np.abs(t) < _FAR / 2)
    out = round_float(t, rounding, noise).astype(np.int64)
    if doubtful.any():
        drawn = None if noise is None else noise[doubtful]
        out[doubtful] = _careful(steps[doubtful], parts, quant, formula, spec, drawn)
    return _placed(spec, out + outside)


def _careful(
    steps: Array, parts: int, quant: Quant, formula: Formula, spec: OpSpec, noise: Array | None
) -> Array:
    with decimal.localcontext(prec=_DIGITS) as context:
        context.clear_traps()
        scale = Decimal(float(quant.scale)) / parts
        x = np.empty(steps.size, object)
        x[:] = [int(step) * scale for step in steps]
        gain = 1 + Decimal(spec.rules.function.relative_error)
        y = formula(x, DIGITS) * gain / Decimal(float(spec.output.scale)) + zero_points(spec)[0]
        exact = [_snapped(v).as_integer_ratio() for v in y]
    over = np.array([n for n, _ in exact] + [None], object)[:-1]
    under = np.array([d for _, d in exact] + [None], object)[:-1]
    return divide(over, under, spec.rules.elementwise.rounding, noise).astype(np.int64)


def _snapped(value: Decimal) -> Decimal:
    near = (2 * value).to_integral_value() / 2
    return near if abs(value - near) < _TIE else value


def _looked_up(spec: OpSpec, values: Array, quant: Quant, formula: Formula) -> Array:
    """A table of ``entries`` intervals over the input's range, linear in integers between (N41).

    ``T[i]`` is the output's integer at the input ``low + i * span / entries``; with the remainder r
    of ``(input - low) * entries / span``: ``T[i] + floor(((T[i+1] - T[i]) * r + span/2) / span)``.
    """
    span = quant.high - quant.low + 1
    entries = min(spec.rules.function.entries, span)
    knots = (quant.low - int(quant.zero_point)) * entries + np.arange(entries + 1) * span
    noise = _noise(spec, knots.shape)
    table = _exact(spec, knots, entries, quant, formula, noise).astype(np.int64)
    index, rest = np.divmod((values.astype(np.int64) - quant.low) * entries, span)
    slope = table[index + 1] - table[index]
    out: Array = table[index] + (slope * rest + span // 2) // span
    return out.astype(spec.output.storage)


def _each(function: Callable[[Decimal], Decimal], x: Array) -> Array:
    out = np.empty(x.shape, object)
    out[:] = [function(v) for v in x]
    return out


def _tanh(x: Decimal) -> Decimal:
    small = (-2 * abs(x)).exp()
    return ((1 - small) / (1 + small)).copy_sign(x)


def _erf(x: Decimal) -> Decimal:
    """``2/sqrt(pi) * exp(-x**2) * sum 2**n x**(2n+1) / (2n+1)!!``: all terms of one sign."""
    if abs(x) > 12:
        return Decimal(1).copy_sign(x)
    term = total = x
    n = 0
    while abs(term) > Decimal(10) ** -(_DIGITS + 5):
        n += 1
        term = term * 2 * x * x / (2 * n + 1)
        total += term
    return total * (-x * x).exp() * 2 / _PI.sqrt()


_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899")
