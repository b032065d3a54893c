"""Common views of two shapes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.compare.recipes.common_view import common_view
from layertui.compare.recipes.parse import parse_recipe


@pytest.mark.parametrize(
    ("reference", "candidate", "recipes"),
    [
        ((10, 64), (10, 64), ("", "")),
        ((1, 10, 64), (10, 64), ("squeeze(0)", "")),
        ((10, 64), (1, 10, 64), ("", "squeeze(0)")),
        ((10, 1, 64), (10, 64), ("squeeze(1)", "")),
        ((1, 10, 64), (10, 1, 64), ("squeeze(0)", "squeeze(1)")),
        ((1, 1), (), ("squeeze(0) | squeeze(0)", "")),
        ((2, 5, 64), (10, 64), ("reshape(10, 64)", "")),
        ((10, 64), (2, 5, 64), ("", "reshape(10, 64)")),
        ((2, 5, 64), (1, 10, 64), ("reshape(1, 10, 64)", "")),
        ((1, 10, 4, 16), (10, 64), ("reshape(10, 64)", "")),
        ((1, 4, 10, 16), (10, 4, 16), ("transpose(1, 2) | squeeze(0)", "")),
        ((10, 4, 16), (1, 4, 10, 16), ("", "transpose(1, 2) | squeeze(0)")),
        ((1, 4, 10, 16), (10, 64), ("transpose(1, 2) | reshape(10, 64)", "")),
        ((0, 64), (1, 0, 64), ("", "squeeze(0)")),
    ],
)
def test_views(reference: tuple[int, ...], candidate: tuple[int, ...], recipes: object) -> None:
    view = common_view(reference, candidate)
    assert view is not None
    assert (str(view.reference), str(view.candidate)) == recipes
    assert bool(view.how) == (recipes != ("", ""))


@pytest.mark.parametrize(
    ("reference", "candidate"),
    [
        ((10, 64), (10, 65)),
        ((10, 64), (64, 10)),
        ((2, 320), (2, 5, 320)),
        ((4, 4, 16), (4, 17)),
        ((6, 4), (4, 6)),
        ((), (2,)),
        ((10,), (2, 4)),
    ],
)
def test_no_safe_view(reference: tuple[int, ...], candidate: tuple[int, ...]) -> None:
    assert common_view(reference, candidate) is None
    assert common_view(candidate, reference) is None


@pytest.mark.parametrize(
    ("full", "few", "recipes"),
    [
        ((2, 5, 320), (2, 320), ("[:, -1]", "")),
        ((1, 10, 320), (1, 320), ("[:, -1]", "")),
        ((10, 320), (1, 320), ("[-1:]", "")),
        ((10, 320), (320,), ("[-1]", "")),
        ((2, 5, 320), (2, 1, 320), ("[:, -1:]", "")),
        ((1, 10, 320), (1, 3, 320), ("[:, -3:]", "")),
    ],
)
def test_last_tokens(full: tuple[int, ...], few: tuple[int, ...], recipes: object) -> None:
    view = common_view(full, few, last_rows=True)
    assert view is not None and "the last" in view.how
    assert (str(view.reference), str(view.candidate)) == recipes
    mirrored = common_view(few, full, last_rows=True)
    assert mirrored is not None and mirrored.candidate == view.reference
    assert common_view(full, few) is None


def test_last_token_of_each_sequence_is_the_one() -> None:
    values = np.arange(2 * 5 * 3).reshape(2, 5, 3)
    view = common_view((2, 5, 3), (2, 3), last_rows=True)
    assert view is not None
    assert np.array_equal(view.reference.apply(values), values[:, 4])


def test_heads_are_moved_not_mixed() -> None:
    tokens_first = np.arange(10 * 4 * 16).reshape(10, 4, 16)
    heads_first = tokens_first.transpose(1, 0, 2)[None]
    view = common_view(heads_first.shape, (10, 64))
    assert view is not None
    assert np.array_equal(view.reference.apply(heads_first), tokens_first.reshape(10, 64))


SHAPE = st.lists(st.sampled_from([0, 1, 2, 3, 4, 6]), max_size=4).map(tuple)


@settings(max_examples=300, deadline=None)
@given(SHAPE, SHAPE, st.booleans())
def test_a_view_is_one_shape_for_both(
    left: tuple[int, ...], right: tuple[int, ...], last: bool
) -> None:
    view = common_view(left, right, last_rows=last)
    mirrored = common_view(right, left, last_rows=last)
    assert (view is None) == (mirrored is None)
    if view is not None:
        assert view.reference.shape(left) == view.candidate.shape(right)
        assert parse_recipe(str(view.reference)) == view.reference
        assert parse_recipe(str(view.candidate)) == view.candidate


@settings(max_examples=100, deadline=None)
@given(SHAPE, st.lists(st.integers(0, 4), max_size=3))
def test_axes_of_size_one_never_matter(shape: tuple[int, ...], places: list[int]) -> None:
    padded = list(shape)
    for place in places:
        padded.insert(min(place, len(padded)), 1)
    view = common_view(tuple(padded), shape)
    assert view is not None
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    left = view.reference.apply(values.reshape(padded))
    assert np.array_equal(left, view.candidate.apply(values))


def test_rows_of_other_prompts_are_no_last_tokens() -> None:
    """`[2, 64]` may be the last token of two prompts; taking it for the last two is a guess."""
    assert common_view((1, 10, 64), (2, 64), last_rows=True) is None
    assert common_view((20, 64), (2, 64), last_rows=True) is None
