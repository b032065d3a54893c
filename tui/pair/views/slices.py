"""Slices as they are typed: `0,:,128:160`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...commands import CommandError

if TYPE_CHECKING:
    from ....compare.inspection.heat import Region
    from ....compare.recipes.errors import Shape


def region_of(text: str, shape: Shape) -> tuple[Region, tuple[bool, ...]]:
    """A range of every axis, and which axes are fixed to one index. Raises `CommandError`."""
    from ....compare.inspection.window import parse_region
    from ....compare.recipes.errors import RecipeError

    try:
        return parse_region(text, shape)
    except RecipeError as error:
        raise CommandError(str(error)) from error
