"""The step that keeps several stretches of an axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import RecipeError, axis_of, possible_shape
from .steps import Resolver, Step

if TYPE_CHECKING:
    from ...capture.values import Array
    from .errors import Shape


@dataclass(frozen=True, slots=True)
class Ranges(Step):
    """Several stretches of an axis, `(start, stop)` each, one behind the other: the tokens of a
    padded batch without its padding.
    """

    dim: int
    parts: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        parts = ", ".join(f'"{start}:{stop}"' for start, stop in self.parts)
        return f"ranges({self.dim}, {parts})"

    def shape(self, shape: Shape) -> Shape:
        axis = axis_of(self.dim, len(shape), str(self))
        if any(not 0 <= start < stop <= shape[axis] for start, stop in self.parts):
            raise RecipeError(f"{self}: a range is empty or outside axis {self.dim} of {shape}")
        size = sum(stop - start for start, stop in self.parts)
        return possible_shape((*shape[:axis], size, *shape[axis + 1 :]), str(self))

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        import numpy as np

        self.shape(array.shape)
        axis = self.dim % array.ndim
        before = (slice(None),) * axis
        return np.concatenate([array[(*before, slice(*part))] for part in self.parts], axis)

    def place(self, at: int) -> int:
        """Where the element at `at` of the result stands on the axis."""
        for start, stop in self.parts:
            if at < stop - start:
                return start + at
            at -= stop - start
        raise IndexError(at)
