"""What cannot be measured, in words."""

from __future__ import annotations

from ..model import Failure
from ..recipes.errors import RecipeError
from .pair_reader import SideError


def failure_of(error: Exception) -> Failure:
    """What one of `bounded_sample.UNREADABLE` says of a pair."""
    if isinstance(error, SideError):
        return Failure(str(error), error.side)
    if isinstance(error, RecipeError):
        return Failure(str(error), level="shape")
    if isinstance(error, MemoryError):
        return Failure("not enough memory to load this record")
    return Failure(str(error))
