"""Whether two things that were read hold the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def same_values(one: Any, other: Any) -> bool:
    """Whether arrays, and mappings, sequences and dataclasses of them, are equal in every part. A
    NaN is equal to nothing, and so is what is of any other kind, unless it is the same object.
    """
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, bool | int | float | str):
        return one == other
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same_values(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(same_values(a, b) for a, b in pairs)
    if is_dataclass(one):
        names = [field.name for field in fields(one)]
        return all(same_values(getattr(one, n), getattr(other, n)) for n in names)
    return False
