"""Activation functions in float64, by the names that configurations have.

Sources: GELU and its tanh form, Hendrycks and Gimpel, 2016; SiLU (swish), Elfwing et al., 2017;
squared ReLU, So et al., 2021; quick GELU, x sigmoid(1.702 x), of CLIP.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...capture.arrays import Array

Function = Callable[[Array], Array]
_ERF = np.frompyfunc(math.erf, 1, 1)


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x), without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def gelu(x: Array) -> Array:
    """x times the normal distribution function of x."""
    erf = np.asarray(_ERF(x / math.sqrt(2.0)), np.float64)
    return 0.5 * x * (1.0 + erf)


def gelu_tanh(x: Array) -> Array:
    """The tanh form of `gelu`."""
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def softplus(x: Array) -> Array:
    """log(1 + e^x), without overflow."""
    return np.logaddexp(0.0, x)


# Name -> function; the likeliest first.
FUNCTIONS: dict[str, Function] = {
    "silu": lambda x: x * sigmoid(x),
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "quick_gelu": lambda x: x * sigmoid(1.702 * x),
    "relu": lambda x: np.maximum(x, 0.0),
    "relu2": lambda x: np.square(np.maximum(x, 0.0)),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0.0))),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "softplus": softplus,
    "identity": lambda x: x,
}
# What configurations and classes call them.
_SPELLINGS: dict[str, str] = {
    "swish": "silu", "gelu_new": "gelu_tanh", "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh", "gelu_python": "gelu", "gelu_10": "gelu", "relu_2": "relu2",
    "squared_relu": "relu2", "quickgelu": "quick_gelu", "linear": "identity",
    "siluactivation": "silu", "newgeluactivation": "gelu_tanh", "geluactivation": "gelu",
    "pytorchgelutanh": "gelu_tanh", "gelutanh": "gelu_tanh", "fastgeluactivation": "gelu_tanh",
    "quickgeluactivation": "quick_gelu", "relusquaredactivation": "relu2",
    "leakyrelu": "leaky_relu", "linearactivation": "identity",
}  # fmt: skip
SHOWN: dict[str, str] = {
    "silu": "SiLU", "gelu": "GELU", "gelu_tanh": "the tanh form of GELU",
    "quick_gelu": "quick GELU", "relu": "ReLU", "relu2": "squared ReLU", "sigmoid": "sigmoid",
    "tanh": "tanh", "leaky_relu": "leaky ReLU", "elu": "ELU", "mish": "Mish",
    "softplus": "softplus", "identity": "no function",
}  # fmt: skip


def named(name: str | None) -> str | None:
    """The name of a function as a configuration or a class calls it; None for others."""
    text = (name or "").lower().replace("-", "_")
    if text in FUNCTIONS:
        return text
    return _SPELLINGS.get(text)


def likely(*names: str | None) -> list[str]:
    """All functions, those that are named first."""
    first = [known for name in names if (known := named(name)) is not None]
    return list(dict.fromkeys([*first, *FUNCTIONS]))
