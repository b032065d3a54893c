"""Where many elements of a view come from at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.records import Locator
from layertui.compare.measuring.blocks import Source
from layertui.compare.recipes.element_source import origin, ravel, unravel
from layertui.compare.recipes.errors import RecipeError
from layertui.compare.recipes.parse import parse_recipe
from layertui.compare.recipes.recipe import Recipe, views
from layertui.compare.recipes.steps import Step
from support.drawn.recipes import SHAPES, STEPS, numbered


@given(st.lists(STEPS, max_size=4), st.lists(STEPS, max_size=2), SHAPES)
@settings(max_examples=400, deadline=None)
def test_every_element_is_traced_back(
    steps: list[Step], others: list[Step], shape: tuple[int, ...]
) -> None:
    array = numbered(shape)
    recipe, other = Recipe(tuple(steps)), Recipe(tuple(others))
    try:
        view, _ = views(recipe, other, array, array)
    except RecipeError:
        return
    if view.size == 0:
        return
    index = tuple(axis.reshape(-1) for axis in np.indices(view.shape))
    found = origin(recipe, shape, index, other)
    flat = np.broadcast_to(ravel(found, shape), (view.size,))
    np.testing.assert_array_equal(flat, view.reshape(-1))
    last = tuple(int(axis[-1]) for axis in index)
    assert ravel(origin(recipe, shape, last, other), shape) == view.reshape(-1)[-1]
    np.testing.assert_array_equal(ravel(unravel(flat, shape), shape), flat)


def test_elements_of_another_record_are_not_traced() -> None:
    recipe = parse_recipe('concat(0, "b")')
    for index in ((3, 0), (np.array([0, 3]), np.array([0, 0]))):
        with pytest.raises(RecipeError, match="another record"):
            origin(recipe, (3, 2), index)
    assert origin(recipe, (3, 2), (2, 1)) == (2, 1)


@pytest.mark.parametrize("spread", [1, 300, 5000])
def test_places_of_a_file_are_picked(tmp_path: Path, spread: int) -> None:
    rng = np.random.default_rng(spread)
    values = rng.standard_normal(100_000).astype("<f4")
    path = tmp_path / "raw.bin"
    path.write_bytes(b"head" + values.tobytes())
    places = rng.integers(0, 100_000 // spread, (7, 50)) * spread
    with Source(Locator(str(path), "float32", (100, 1000), 4)) as source:
        assert source.opened().in_parts
        np.testing.assert_array_equal(source.pick(places), values[places])
        assert source.pick(np.empty(0, np.int64)).size == 0
