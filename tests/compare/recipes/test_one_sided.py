"""A recipe for one side of a pair: what the other side's becomes."""

from __future__ import annotations

import pytest

from layertui.compare.recipes.common_view import CommonView
from layertui.compare.recipes.one_sided import completed
from layertui.compare.recipes.parse import parse_recipe


@pytest.mark.parametrize(
    ("built_in", "given", "other"),
    [
        # Known to have their elements in one order: no axes are moved for the shape alone.
        (("", "reshape(2, 10, 64)"), "reshape(10, 2, 64)", "reshape(10, 2, 64)"),
        (("", "reshape(2, 10, 64)"), "reshape(2, 10, 64)", ""),
        (("transpose(0, 1)", ""), "reshape(10, 2, 64)", "transpose(0, 1)"),
        (("", ""), "reshape(20, 64)", "reshape(20, 64)"),
    ],
)
def test_the_reference_of_a_recipe_for_the_candidate(
    built_in: tuple[str, str], given: str, other: str
) -> None:
    view = CommonView(*map(parse_recipe, built_in))
    found = completed(None, parse_recipe(given), view, ((2, 10, 64), (10, 2, 64)))
    assert (str(found.reference), str(found.candidate)) == (other, given)
