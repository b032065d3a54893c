"""The step that adds another record of the same side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import RecipeError
from .steps import Resolver, Step, quoted

if TYPE_CHECKING:
    from ...capture.values import Array
    from .errors import Shape


@dataclass(frozen=True, slots=True)
class Add(Step):
    """Add another record of the same side, by the name the dump has: an output whose residual
    travels beside it. The sum is rounded to the records' dtype, as the model would.
    """

    name: str

    def __str__(self) -> str:
        return f"add({quoted(self.name)})"

    def shape(self, shape: Shape) -> Shape:
        return shape

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        if resolve is None:
            raise RecipeError(f"{self}: the other record is not available here")
        other = resolve(self.name)
        if other.shape != array.shape:
            shapes = f"{list(array.shape)} and {list(other.shape)}"
            raise RecipeError(f"{self}: shapes {shapes} are not added")
        return _sum(array, other, str(self))

    def inverse(self, shape: Shape) -> Step:
        raise RecipeError(f"{self} has no inverse: it joins two records")


def _sum(first: Array, second: Array, step: str) -> Array:
    """The sum of raw elements; those of 16 bits that are no float16 are bfloat16."""
    import numpy as np

    if first.dtype.kind in "fc":
        with np.errstate(all="ignore"):
            return (first + second).astype(first.dtype)
    if first.dtype != np.uint16:
        raise RecipeError(f"{step}: only floating-point records are added")
    from ...capture.values import upcast
    from .cast import cast

    with np.errstate(all="ignore"):
        wide = upcast(first, "bfloat16") + upcast(second, "bfloat16")
    rounded = cast(wide, "bfloat16")
    return (np.ascontiguousarray(rounded, np.float32).view(np.uint32) >> 16).astype(np.uint16)
