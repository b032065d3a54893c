"""What rows of logits come to: how far apart the likelihoods of two sides are, row by row.

With p and q the softmax of reference and candidate, u = x - max x and v = y - max y,

    KL(p || q) = sum e^u (u - v) / sum e^u + log sum e^v - log sum e^u

in nats, in float64. Compiled where it can be; numpy's arithmetic is the reference.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...capture.values import Array, upcast
from .fused import kind_of, readable
from .kernel import compiled_module


class Divergence(NamedTuple):
    """Float64 by row: KL; whether the greatest logit is the same (bool); and where it is not, the
    reference's greatest logit less its second, else 0.

    A row with NaN or Inf agrees with nothing, and its KL is NaN; -Inf is a logit like others.
    """

    kl: Array
    agree: Array
    margin: Array


def divergence_of(
    x: Array, y: Array, dtypes: tuple[str, str], width: int, instructions: str | None = None
) -> Divergence:
    """Of raw elements of both sides, rows of `width` logits one after the other. `instructions` is
    one of `kernel.instruction_sets`, the best if not given.
    """
    module = compiled_module()
    if module is None or not (x.size and readable(x, dtypes[0]) and readable(y, dtypes[1])):
        with np.errstate(all="ignore"):  # of NaN that signals
            left, right = (
                upcast(side, dtype).reshape(-1, width).astype(np.float64)
                for side, dtype in ((x, dtypes[0]), (y, dtypes[1]))
            )
        return divergence_by_numpy(left, right)
    rows = x.size // width
    out = np.empty((3, rows))
    module.divergence(x, *kind_of(dtypes[0]), y, *kind_of(dtypes[1]), rows, out, instructions)
    return Divergence(out[0], out[1] != 0, out[2])


def divergence_by_numpy(x: Array, y: Array) -> Divergence:
    """The same in numpy's arithmetic, which is the reference; of float64 `[rows, width]`."""
    best_x, best_y = x.argmax(1, keepdims=True), y.argmax(1, keepdims=True)
    agree = (best_x == best_y)[:, 0]
    with np.errstate(all="ignore"):
        u, v = (
            side - np.take_along_axis(side, best, 1) for side, best in ((x, best_x), (y, best_y))
        )
        weight = np.exp(u)
        total = weight.sum(1)
        u -= v
        apart = np.log(np.exp(v, out=v).sum(1)) - np.log(total)
        # Where p is 0 (a logit of -Inf) the limit of p log p is 0; NaN stays NaN.
        u[weight == 0] = 0.0
        terms = np.einsum("ij,ij->i", weight, u)
        kl = np.maximum(terms / total + apart, 0.0)  # rounding may go below 0
    agree &= ~(np.isnan(total) | np.isnan(apart))
    margin = np.zeros(len(x))
    for row in np.flatnonzero(~agree):
        margin[row] = _margin(x[row])
    return Divergence(kl, agree, margin)


def _margin(logits: Array) -> float:
    """The greatest logit less the second; NaN where one of them is."""
    if len(logits) < 2 or np.isnan(logits).any():
        return float("nan")
    second, first = np.partition(logits, -2)[-2:]
    return float(first - second)
