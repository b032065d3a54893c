"""Activation functions, element by element, in double precision.

A function gets a `Rounding`, which it calls on every intermediate that a framework may round: with
it the error of an evaluation in low precision can be predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....capture.values import Array
from ...weights.fused_weights import text_config
from ..config_names import FUNCTION_NAMES

Rounding = Callable[[Array], Array]
_QUICK = 1.702  # of quick GELU: Hendrycks and Gimpel, 2016, section 2
_LEAKY = 0.01  # slope below 0: torch's default

# Cody, Rational Chebyshev approximations for the error function, Math. Comp. 23 (1969), 631-637;
# the coefficients as in CALERF of SPECFUN (netlib), highest power last.
_SMALL = (
    (3.20937758913846947e3, 3.77485237685302021e2, 1.13864154151050156e2, 3.16112374387056560e0,
     1.85777706184603153e-1),
    (2.84423683343917062e3, 1.28261652607737228e3, 2.44024637934444173e2, 2.36012909523441209e1,
     1.0),
)  # fmt: skip
_MIDDLE = (
    (1.23033935479799725e3, 2.05107837782607147e3, 1.71204761263407058e3, 8.81952221241769090e2,
     2.98635138197400131e2, 6.61191906371416295e1, 8.88314979438837594e0, 5.64188496988670089e-1,
     2.15311535474403846e-8),
    (1.23033935480374942e3, 3.43936767414372164e3, 4.36261909014324716e3, 3.29079923573345963e3,
     1.62138957456669019e3, 5.37181101862009858e2, 1.17693950891312499e2, 1.57449261107098347e1,
     1.0),
)  # fmt: skip
_FIRST, _LAST = 0.46875, 6.0  # where the approximations meet; beyond the last erf is 1


def erf(x: Array) -> Array:
    """The error function, to a few units in the last place of a double."""
    size = np.abs(x)
    small = np.where(size <= _FIRST, x, 0.0)
    square = np.square(small)
    near = small * _polynomial(_SMALL[0], square) / _polynomial(_SMALL[1], square)
    # Cody has a third approximation from 4 on, for the relative precision of 1 - erf.
    middle = np.clip(size, _FIRST, _LAST)
    rest = np.exp(-np.square(middle)) * _polynomial(_MIDDLE[0], middle)
    far = 1.0 - rest / _polynomial(_MIDDLE[1], middle)
    found = np.where(size <= _FIRST, near, np.copysign(far, x))
    return np.where(np.isnan(x), x, found)


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    total = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total


_FINE_NOISE = 2.0**-20  # largest relative error that rounding to float32 makes, with some reserve


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow: exp(min(x, 0)) / (1 + exp(-|x|)), in place."""
    small = np.abs(x)
    np.negative(small, out=small)
    np.exp(small, out=small)
    small += 1.0
    top = np.minimum(x, 0.0)
    np.exp(top, out=top)
    top /= small
    return top


def _silu(x: Array, rounded: Rounding) -> Array:
    return x * rounded(sigmoid(x))


def _gelu(x: Array, rounded: Rounding) -> Array:
    inner = rounded(erf(x / 2**0.5))
    return 0.5 * x * rounded(1.0 + inner + _of_kernel(inner.shape, rounded))


def _of_kernel(shape: tuple[int, ...], rounded: Rounding) -> Array:
    """Vectorised float32 kernels of erf are off by up to 4e-7 (seen in torch on AVX2), some seven
    units roundoff, where they are polynomials; those of coarser records work in float32.
    """
    ones = np.ones(shape)
    noise = rounded(ones) - ones
    return 4.0 * noise if np.abs(noise).max(initial=0.0) < _FINE_NOISE else np.zeros(shape)


def _gelu_tanh(x: Array, rounded: Rounding) -> Array:
    inner = rounded((2 / np.pi) ** 0.5 * (x + rounded(0.044715 * (np.square(x) * x))))
    return 0.5 * x * rounded(1.0 + rounded(np.tanh(inner)))


def _quick_gelu(x: Array, rounded: Rounding) -> Array:
    return x * rounded(sigmoid(rounded(_QUICK * x)))


def _relu(x: Array, rounded: Rounding) -> Array:
    return np.maximum(x, 0.0)


def _relu_squared(x: Array, rounded: Rounding) -> Array:
    return np.square(np.maximum(x, 0.0))


def _relu6(x: Array, rounded: Rounding) -> Array:
    return np.clip(x, 0.0, 6.0)


def _mish(x: Array, rounded: Rounding) -> Array:
    return x * rounded(np.tanh(rounded(np.logaddexp(0.0, x))))


def _elu(x: Array, rounded: Rounding) -> Array:
    return np.where(x > 0, x, rounded(np.expm1(np.minimum(x, 0.0))))


def _leaky(x: Array, rounded: Rounding) -> Array:
    return np.where(x > 0, x, _LEAKY * x)


def _sigmoid(x: Array, rounded: Rounding) -> Array:
    return sigmoid(x)


def _tanh(x: Array, rounded: Rounding) -> Array:
    return np.tanh(x)


def _nothing(x: Array, rounded: Rounding) -> Array:
    return x


@dataclass(frozen=True)
class Function:
    """`words` is what a person calls it; `classes` are parts of class names in lower case, `names`
    what configs call it.
    """

    words: str
    of: Callable[[Array, Rounding], Array]
    classes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


# The common ones first: of several that fit alike, that is the order they are said in.
FUNCTIONS: tuple[Function, ...] = (
    Function("silu", _silu, ("silu", "swish"), ("silu", "swish")),
    Function("gelu", _gelu, ("gelu",), ("gelu", "gelu_python", "gelu_10")),
    Function(
        "gelu (tanh form)", _gelu_tanh,
        ("newgelu", "gelutanh", "fastgelu", "accurategelu", "gelu_tanh"),
        ("gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_accurate", "gelu_tanh",
         "gelu_approximate"),
    ),
    Function("quick gelu", _quick_gelu, ("quickgelu",), ("quick_gelu",)),
    Function("relu", _relu, ("relu",), ("relu",)),
    Function(
        "relu squared", _relu_squared, ("relusquared", "squaredrelu"), ("relu2", "relu_squared")
    ),
    Function("relu6", _relu6, ("relu6",), ("relu6",)),
    Function("leaky relu", _leaky, ("leakyrelu",), ("leaky_relu",)),
    Function("elu", _elu, ("elu",), ("elu",)),
    Function("mish", _mish, ("mish",), ("mish",)),
    Function("sigmoid", _sigmoid, ("sigmoid",), ("sigmoid",)),
    Function("tanh", _tanh, ("tanh",), ("tanh",)),
    Function("no function", _nothing, ("linear",), ("linear", "identity")),
)  # fmt: skip


def function_named(words: str) -> Function:
    """Raises `KeyError`."""
    return {function.words: function for function in FUNCTIONS}[words]


def plain(function: Function, x: Array) -> Array:
    """The function without any rounding in between."""
    return function.of(x, lambda values: values)


def likely_function(module_class: str | None, config: Mapping[str, Any]) -> Function | None:
    """What a class name, else the config, says that the function is; None where neither does. A
    class `GELU` may be either form: the config is asked for it.
    """
    kind = (module_class or "").lower().replace("activation", "")
    by_class = max(FUNCTIONS, key=lambda f: _match(f, kind)) if kind else None
    if by_class is not None and not _match(by_class, kind):
        by_class = None
    text = text_config(config)
    said = next((text[name] for name in FUNCTION_NAMES if isinstance(text.get(name), str)), None)
    by_config = next((f for f in FUNCTIONS if said in f.names), None)
    if by_class is None or (kind == "gelu" and by_config is not None):
        return by_config
    return by_class


def _match(function: Function, kind: str) -> int:
    """How much of a class name a function accounts for: GELUTanh is more than GELU."""
    return max((len(part) for part in function.classes if part in kind), default=0)
