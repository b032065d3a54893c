"""Records of some tokens only, seen beside those of all, or of others."""

from __future__ import annotations

from collections.abc import Callable

from ...capture.token_places import TokenPlaces
from ..recipes.common_view import CommonView
from ..recipes.errors import Shape
from ..recipes.recipe import Recipe
from ..recipes.steps import Slice

Known = tuple[Shape, TokenPlaces | None]
ShapesView = Callable[[Shape, Shape], CommonView | None]


def tokens_view(reference: Known, candidate: Known, view: ShapesView) -> CommonView | None:
    """The tokens that both have, brought to a common view by `view`; None where they have none in
    common, or nothing tells where the other side's stand.
    """
    cuts = _cuts(reference, candidate)
    if cuts is None:
        return None
    shapes = zip(cuts, (reference[0], candidate[0]), strict=True)
    left, right = (shape if cut is None else cut.shape(shape) for cut, shape in shapes)
    found = view(left, right)
    if found is None or cuts == (None, None):
        return found
    steps = [(cut,) if cut is not None else () for cut in cuts]
    words = "the tokens that both sides recorded"
    return CommonView(
        Recipe((*steps[0], *found.reference.steps)), Recipe((*steps[1], *found.candidate.steps)),
        f"{words}; {found.how}" if found.how else words,
    )  # fmt: skip


def _cuts(reference: Known, candidate: Known) -> tuple[Slice | None, Slice | None] | None:
    """What is taken of either side, None for all of it; None alone where nothing fits."""
    (left_shape, left), (right_shape, right) = reference, candidate
    if left is not None and right is not None:
        if left.count != right.count or left.stride != right.stride:
            return None if left.places != right.places else (None, None)
        common = range(max(left.first, right.first), min(left.end, right.end), left.stride)
        if not common or (left.first - right.first) % left.stride:
            return None
        return _within(left_shape, left, common), _within(right_shape, right, common)
    if left is not None:
        return None, _whole(right_shape, left)
    assert right is not None
    return _whole(left_shape, right), None


def _within(shape: Shape, known: TokenPlaces, wanted: range) -> Slice | None:
    """The places `wanted` among those that a side has."""
    if wanted == known.places:
        return None
    first = known.places.index(wanted[0])
    return _slice(shape, known.axis, first, first + len(wanted), 1)


def _whole(shape: Shape, wanted: TokenPlaces) -> Slice | None:
    """The places `wanted` of a side that has all tokens; None where no axis counts so many: then it
    has as few for another reason, or what is compared has no tokens.
    """
    axes = [axis for axis, size in enumerate(shape) if size == wanted.count]
    if not axes:
        return None
    axis = wanted.axis if wanted.axis in axes else axes[0]
    return _slice(shape, axis, wanted.first, wanted.end, wanted.stride)


def _slice(shape: Shape, axis: int, first: int, end: int, stride: int) -> Slice:
    everything, step = (None, None, None), None if stride == 1 else stride
    return Slice((*(everything for _ in shape[:axis]), (first, end, step)))
