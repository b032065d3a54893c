"""Batch and tokens of one length: `[batch, tokens, wide]` and `[tokens, batch, wide]` then have one
shape, and only values tell which a side has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from .....capture.dtypes import DTYPES
from .....capture.records import Record
from ....aligned import Aligned
from ....model import Row
from ....recipes.parse import parse_recipe
from ....recipes.recipe import Recipe
from ....recipes.steps import Transpose
from ...call_match import Match
from ...named_records import kind_of

_TRIED = 12  # pairs that are read
_FEWEST = 2  # pairs that must be equal once the axes are exchanged
_EXCHANGE = Transpose(0, 1)
WORDS = "batch and tokens are of one length, and values show that this side has them exchanged"


def may_be_exchanged(aligned: Aligned) -> bool:
    """Whether pairs have two equal first axes; nothing is read."""
    return next(_alike(aligned), None) is not None


def are_exchanged(aligned: Aligned, cancelled: Callable[[], bool]) -> bool:
    """Whether the candidate has both axes the other way round: its records are equal to the
    reference's then, and none is as it stands. Reads some records.
    """
    from ..equal import distance_through, limit_of

    turned = 0
    for tried, row in enumerate(_alike(aligned)):
        if tried >= _TRIED or cancelled():
            break
        first, second = row.reference, row.candidate
        assert first is not None and second is not None
        own = parse_recipe(row.recipe_reference), parse_recipe(row.recipe_candidate)
        limit = limit_of(_coarse(first), _coarse(second))
        if distance_through(first, second, own) <= limit:
            return False
        other = own[0], Recipe((*own[1].steps, _EXCHANGE))
        turned += distance_through(first, second, other) <= limit
    return turned >= _FEWEST


def exchanged(match: Match) -> Match:
    """The match with the candidate's first two axes exchanged, where they are equally long."""
    item = match.candidate
    steps = (*match.view.candidate.steps, _EXCHANGE)
    if match.problem is not None or not _square(item.record, match.view.candidate):
        return match
    match.view = replace(match.view, candidate=Recipe(steps))
    match.how = f"{match.how}; {WORDS}"
    return match


def _alike(aligned: Aligned) -> Iterator[Row]:
    """Pairs of activations of which both sides' first two axes are equally long."""
    for row in aligned.rows:
        if row.kind != "pair" or row.problem is not None or row.reference is None:
            continue
        recipes = parse_recipe(row.recipe_reference), parse_recipe(row.recipe_candidate)
        records = row.reference, row.candidate
        if all(
            record is not None and record.locator is not None and record.partial is None
            and kind_of(record.dtype or "") == "float" and _square(record, recipe)
            for record, recipe in zip(records, recipes, strict=True)
        ):  # fmt: skip
            yield row


def _square(record: Record, recipe: Recipe) -> bool:
    """Whether a record, and its view, begin with two axes of one length, and have more if they are
    activations: token ids and masks have just these two.
    """
    floats = kind_of(record.dtype or "") == "float"
    fewest = 3 if floats else 2
    shape = record.shape
    if shape is None or len(shape) < fewest or not shape[0] == shape[1] > 1:
        return False
    seen = recipe.shape(shape)
    return len(seen) >= fewest and seen[0] == seen[1] > 1


def _coarse(record: Record) -> bool:
    return DTYPES[record.dtype or "float32"].epsilon > 1e-5
