"""Likely recipes, by shapes alone: what usually stands between two layouts of one quantity.

A ground is a pair of recipes that makes both shapes equal. On every ground stand rearrangements
that keep the shape: axes swapped, RoPE's two orders, heads and groups, halves, shifts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..measuring.pair_reader import SideName, coarser
from ..recipes.errors import RecipeError, Shape
from ..recipes.parse import parse_recipe
from ..recipes.recipe import Recipe, view_shapes
from ..recipes.steps import Cast, Concat, Shift
from .bridges import bridges
from .hints import Hints, head_counts
from .rearrangements import REARRANGEMENTS

if TYPE_CHECKING:
    from .hints import Both


AS_IT_IS = "as it is"
MOST = 120  # proposals for one pair
_MOST_BRIDGES = 40  # of them those that make unequal shapes equal
_STEP = 8  # characters that a step is as hard to understand as


@dataclass(frozen=True, slots=True)
class Proposal:
    """Recipes for both sides, and in words what they do. A `ground` only makes shapes equal."""

    title: str
    reference: str
    candidate: str
    ground: bool = False

    @property
    def effort(self) -> int:
        """The simpler of two proposals has the smaller one: what there is to read, and steps. The
        recipes that a pair has are no effort.
        """
        if self.title == AS_IT_IS:
            return 0
        texts = [text for text in (self.reference, self.candidate) if text]
        return sum(len(text) + _STEP * (1 + text.count("|")) for text in texts)


@dataclass(frozen=True, slots=True)
class _Start:
    """Recipes to build on, without shifts at their ends, and the shapes they make."""

    reference: Recipe
    candidate: Recipe
    left: Shape
    right: Shape
    words: str = ""  # what they do, where they are not those of the pair

    def title(self, words: str) -> str:
        return f"{self.words}, {words}" if self.words and words else self.words or words


def propose(
    reference_shape: Shape, candidate_shape: Shape, reference_recipe: str = "",
    candidate_recipe: str = "", hints: Hints | None = None,
) -> list[Proposal]:  # fmt: skip
    """Named recipes that bring two records to equal shapes, likely ones first, at most `MOST`.

    The shapes are the records' own; the recipes are those that the pair has now: proposals build
    on them where they fit, and also begin anew. All fit the shapes, except those with `concat`,
    whose shape is only known once the other records are open.
    """
    maker = _Maker(reference_shape, candidate_shape, hints or Hints())
    now = maker.start(reference_recipe, candidate_recipe)
    raw = maker.start("", "")
    assert raw is not None
    grounds: list[_Start] = []
    if now is not None and now.left == now.right:
        maker.add_as_it_is(reference_recipe, candidate_recipe)
        grounds.append(now)
    bridges = _MOST_BRIDGES
    if not grounds:
        for start in (now, raw):
            found = maker.bridges(start, bridges) if start is not None else []
            grounds += found[: 2 - len(grounds)]
            bridges -= len(found)
    for ground in grounds:
        maker.rearranged(ground, MOST - max(0, bridges))
    if raw.left != raw.right:
        maker.bridges(raw, bridges)
    elif maker.add(raw, ("without its recipes", (), ()), ground=True):
        maker.rearranged(raw, MOST)
    return maker.found


@dataclass(slots=True)
class _Maker:
    """Collects proposals that fit, each once."""

    ref: Shape
    cand: Shape
    hints: Hints
    found: list[Proposal] = field(default_factory=list)
    known: set[tuple[str, str]] = field(default_factory=set)

    def start(self, reference: str, candidate: str) -> _Start | None:
        """Recipes to build on; None where they do not fit the shapes."""
        try:
            left, right = (_unshifted(parse_recipe(text)) for text in (reference, candidate))
            return _Start(left, right, left.shape(self.ref), right.shape(self.cand))
        except RecipeError:
            return None

    def add_as_it_is(self, reference: str, candidate: str) -> None:
        """The recipes of the pair, shifts included. They may cut more than there is."""
        recipes = parse_recipe(reference), parse_recipe(candidate)
        try:
            shapes = view_shapes(*recipes, self.ref, self.cand)
        except RecipeError:
            return
        if shapes[0] == shapes[1]:
            self.add_recipes(AS_IT_IS, str(recipes[0]), str(recipes[1]), ground=True)

    def add_recipes(self, title: str, reference: str, candidate: str, ground: bool) -> bool:
        if (reference, candidate) in self.known or len(self.found) >= MOST:
            return False
        self.known.add((reference, candidate))
        self.found.append(Proposal(title, reference, candidate, ground))
        return True

    def add(self, start: _Start, change: Both, ground: bool = False) -> bool:
        """Add a change of what a start makes; False where it does not fit or is there already."""
        words, left, right = change
        recipes = [
            Recipe((*start.reference.steps, *left)), Recipe((*start.candidate.steps, *right))
        ]  # fmt: skip
        if not _joins(recipes):
            try:
                shapes = view_shapes(recipes[0], recipes[1], self.ref, self.cand)
            except RecipeError:
                return False
            if shapes[0] != shapes[1]:
                return False
        return self.add_recipes(start.title(words), str(recipes[0]), str(recipes[1]), ground)

    def bridges(self, start: _Start, most: int) -> list[_Start]:
        """Make unequal shapes equal. Returns what was made, to build on."""
        made: list[_Start] = []
        for words, left, right in bridges(start.left, start.right, self.hints):
            if len(made) >= most:
                break
            reference = Recipe((*start.reference.steps, *left))
            candidate = Recipe((*start.candidate.steps, *right))
            ground = not _joins([reference, candidate])
            if self.add(start, (words, left, right), ground) and ground:
                shapes = reference.shape(self.ref), candidate.shape(self.cand)
                made.append(_Start(reference, candidate, *shapes, start.title(words)))
        return made

    def rearranged(self, ground: _Start, most: int) -> None:
        """Changes of the candidate that keep its shape, and casts of either side."""
        shape = ground.right
        heads = head_counts(shape[-1] if shape else 1, self.hints, self.ref, self.cand)
        for words, left, right in _casts(self.hints, ground):
            self.add(ground, (words, left, right))
        for make in REARRANGEMENTS:
            for words, steps in make(shape, heads):
                if len(self.found) >= most:
                    return
                self.add(ground, (words, (), steps))


def _unshifted(recipe: Recipe) -> Recipe:
    return Recipe(tuple(step for step in recipe.steps if not isinstance(step, Shift)))


def _joins(recipes: Sequence[Recipe]) -> bool:
    return any(isinstance(step, Concat) for recipe in recipes for step in recipe.steps)


def _casts(hints: Hints, ground: _Start) -> Iterator[Both]:
    """The side with the finer dtype is rounded to the other's."""
    if not hints.reference_dtype or not hints.candidate_dtype:
        return
    left = (hints.reference_dtype, *ground.reference.casts)[-1]
    right = (hints.candidate_dtype, *ground.candidate.casts)[-1]
    if left == right:
        return
    step = Cast(coarser(left, right))
    side: SideName = "candidate" if step.dtype == left else "reference"
    words = f"{side} rounded to {step.dtype}"
    yield (words, (), (step,)) if side == "candidate" else (words, (step,), ())
