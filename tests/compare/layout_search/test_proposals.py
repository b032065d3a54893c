"""Likely recipes by shapes: that they fit, say what they do, and are not too many."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from layertui.compare.layout_search.candidates import MOST, propose
from layertui.compare.layout_search.hints import Hints, head_counts
from layertui.compare.recipes.errors import RecipeError
from layertui.compare.recipes.parse import parse_recipe
from layertui.compare.recipes.recipe import view_shapes, views
from support.drawn.recipes import numbered

SIZE = st.sampled_from([0, 1, 1, 2, 3, 4, 6, 8, 10, 12, 16, 64])
SHAPES = st.lists(SIZE, max_size=7).map(tuple).filter(lambda shape: np.prod(shape) < 1e6)
RECIPES = st.sampled_from(["", "", "squeeze(0)", "[:, 0:4]", "transpose(0, 1)", "shift(1, 0)",
                           "cast(bfloat16)", 'concat(0, "x")', "nope("])  # fmt: skip
HINTS = st.builds(
    Hints, st.lists(st.integers(-1, 9), max_size=2).map(tuple), st.sampled_from([None, 0, 4, 16]),
    st.sampled_from([None, "float32", "int32"]), st.sampled_from([None, "bfloat16", "float32"]),
)  # fmt: skip
SEVEN = (8,) * 7


@given(SHAPES, SHAPES, RECIPES, RECIPES, HINTS)
@example(SEVEN[:6], SEVEN[:6], "", "", Hints())
@example((4, 4, 4, 4, 4, 4, 4), (4, 4, 4, 4, 4, 4, 4), "", "", Hints())
@settings(max_examples=150, deadline=None)
def test_every_proposal_fits(
    ref: tuple[int, ...], cand: tuple[int, ...], left: str, right: str, hints: Hints
) -> None:
    found = propose(ref, cand, left, right, hints)
    assert len(found) <= MOST
    assert len({(each.reference, each.candidate) for each in found}) == len(found)
    for each in found:
        recipes = parse_recipe(each.reference), parse_recipe(each.candidate)
        assert each.title and "\n" not in each.title
        assert [str(recipe) for recipe in recipes] == [each.reference, each.candidate]
        shapes = view_shapes(*recipes, ref, cand)
        assert shapes[0] == shapes[1]


@given(SHAPES.filter(lambda shape: np.prod(shape) < 5000))
@settings(max_examples=40, deadline=None)
def test_a_rearrangement_keeps_all_elements_or_says_what_it_cuts(shape: tuple[int, ...]) -> None:
    array = numbered(shape)
    for each in propose(shape, shape):
        recipes = parse_recipe(each.reference), parse_recipe(each.candidate)
        x, y = views(*recipes, array, array)
        assert x.shape == y.shape
        if "shift" not in each.candidate:
            assert sorted(y.reshape(-1)) == sorted(array.reshape(-1)), each


def test_the_same_shapes_stay_as_they_are_first() -> None:
    for shape in ((), (0,), (1,), (5,), (10, 64), (1, 0, 3), SEVEN):
        first = propose(shape, shape)[0]
        assert (first.title, first.reference, first.candidate, first.ground) == (
            "as it is", "", "", True,
        )  # fmt: skip
    assert len(propose((), ())) == len(propose((0,), (0,))) == 1


@pytest.mark.parametrize(
    ("ref", "cand", "recipe"),
    [
        ((8, 8), (8, 8), "transpose(0, 1)"),
        (SEVEN, SEVEN, "transpose(0, 6)"),
        ((1, 4, 10, 16), (1, 4, 10, 16), 'rearrange("b t s (d r) -> b t s (r d)", r=2)'),
        ((10, 64), (10, 64), 'rearrange("t (h r d) -> t (h d r)", h=4, r=2)'),
        ((10, 4096), (10, 4096), 'rearrange("t (h d r) -> t (h r d)", h=32, r=2)'),
        ((10, 64), (10, 64), "shift(-2, 0)"),
        ((50,), (50,), "shift(1, 0)"),
        ((10, 128), (10, 128), "roll(64, 1)"),
        ((10, 64), (10, 64), 'rearrange("t (g h d) -> t (h g d)", g=2, h=4)'),
        ((10, 192), (10, 192), 'rearrange("t (h n d) -> t (n h d)", h=4, n=3)'),
        ((10, 64), (10, 128), "[:, 64:128]"),
        ((10, 64), (10, 192), "[:, 64:128]"),
        ((1, 7), (1, 10, 7), "[:, -1]"),
        ((10, 64), (2, 10, 64), "select(0, 0)"),
        ((10, 64), (64, 10), "transpose(0, 1)"),
        ((2, 3, 4, 5), (3, 5, 2, 4), "permute(2, 0, 3, 1)"),
        ((10, 4, 16), (64, 10), 'rearrange("(h d) t -> t h d", h=4)'),
        ((10, 32), (10, 64), "reshape(10, 2, 2, 16) | select(2, 0) | reshape(10, 32)"),
        ((10, 64), (10, 192), "reshape(10, 4, 48) | [:, :, 16:32] | reshape(10, 64)"),
        ((6, 35), (5, 42), "reshape(6, 35)"),
    ],
)
def test_what_is_among_them(ref: tuple[int, ...], cand: tuple[int, ...], recipe: str) -> None:
    assert recipe in [each.candidate for each in propose(ref, cand)]


@pytest.mark.parametrize(
    ("ref", "cand"),
    [((10, 2, 64), (2, 10, 64)), ((64, 10), (10, 64)), ((1, 4, 6), (6, 4)), ((2, 3, 5), (5, 6))],
)
def test_a_plain_reshape_is_tried_before_axes_are_moved(
    ref: tuple[int, ...], cand: tuple[int, ...]
) -> None:
    titles = [each.title for each in propose(ref, cand)]
    assert titles[0].startswith("read as ")
    if sorted(size for size in ref if size > 1) == sorted(cand):
        assert any(title.startswith("axes ") for title in titles[1:])


def test_either_side_may_be_the_one_that_changes() -> None:
    assert "[:, -1]" in [each.reference for each in propose((1, 10, 7), (1, 7))]
    assert "select(0, 0)" in [each.reference for each in propose((2, 10, 64), (10, 64))]
    found = propose((2, 16, 128, 64), (2, 4, 10, 64))
    cut = [each for each in found if each.title.startswith("both cut") and each.ground]
    assert [each.reference for each in cut] == ["[0:2, 0:4, 0:10, 0:64]",
                                                "[0:2, 12:16, 118:128, 0:64]"]  # fmt: skip


def test_proposals_build_on_the_recipes_of_the_pair_and_begin_anew() -> None:
    found = propose((10, 64), (10, 192), "", "[:, 0:64]")
    assert found[0].candidate == "[:, 0:64]"
    rope = 'rearrange("t (h d r) -> t (h r d)", h=4, r=2)'
    assert f"[:, 0:64] | {rope}" in [each.candidate for each in found]
    assert "[:, 128:192]" in [each.candidate for each in found]
    moved = propose((64, 64), (64, 64), "", "shift(1, 0)")
    assert moved[0].candidate == "shift(1, 0)" and "shift(2, 0)" in [m.candidate for m in moved]


def test_hints_name_heads_dtypes_and_neighbours() -> None:
    assert head_counts(96, Hints(heads=(3, 5), head_dim=8))[:2] == [3, 12]
    beside = (("k", (10, 32)), ("v", (10, 32)), ("x", (9, 64)))
    hints = Hints((), None, "float32", "bfloat16", candidate_siblings=beside)
    found = propose((1, 10, 128), (10, 64), hints=hints)
    assert 'concat(-1, "k", "v")' in [each.candidate for each in found]
    rounded = propose((10, 64), (10, 64), hints=hints)
    assert ("cast(bfloat16)", "") in [(each.reference, each.candidate) for each in rounded]
    whole = Hints(reference_dtype="float32", candidate_dtype="int32")
    assert "cast(float32)" in [each.candidate for each in propose((3,), (3,), hints=whole)]


def test_recipes_that_do_not_fit_are_left_behind() -> None:
    with pytest.raises(RecipeError):
        parse_recipe("squeeze(0)").shape((10, 64))
    found = propose((10, 64), (64, 10), "squeeze(0)", "")
    assert found and all("squeeze" not in each.reference for each in found)
