"""Additive masks: what a record blocks, and whether both sides block the same.

A mask's "not this one" may be -Inf on one side and the least number of a dtype on the other; which
of them says nothing. Only masks, and attention scores with one added, are looked at so: a record is
one by its name or slot, or because its reference holds two values only. In any other record a large
negative number is a number.
"""

from __future__ import annotations

import re

import numpy as np

from ...capture.values import Array
from ..limits import BLOCKED

_MASK = re.compile(r"(?:^|[._-])(?:\w*mask\w*|att(?:ention|n)?_?bias)(?:$|[._-])", re.IGNORECASE)


def is_mask_name(module: str, slot: str) -> bool:
    """Whether a module's or slot's name says that it is a mask (`attention_mask`, `attn_bias`)."""
    return bool(_MASK.search(slot) or _MASK.search(module.rpartition(".")[2]))


def looks_like_mask(x: Array) -> bool:
    """Whether a reference holds two values only, one of which blocks."""
    if x.size < 2 or not (x <= BLOCKED).any():
        return False
    low, high = x.min(), x.max()
    return bool(low < high and ((x == low) | (x == high)).all())


def blocked_places(x: Array, y: Array) -> tuple[Array, Array]:
    """Where either side blocks, and where the two do not agree: only one blocks, or is NaN or
    +Inf. Bool, of the sides' shape.
    """
    left, right = x <= BLOCKED, y <= BLOCKED
    apart = (left != right) | (np.isnan(x) != np.isnan(y)) | (np.isposinf(x) != np.isposinf(y))
    return left | right, apart
