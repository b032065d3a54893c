"""Bringing two shapes that hold the same quantity to a common view. No data, no numpy."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from .errors import Shape
from .recipe import Recipe
from .steps import Reshape, Slice, Squeeze, Step, Transpose


@dataclass(frozen=True, slots=True)
class CommonView:
    """Recipes for both sides, and in words what was done."""

    reference: Recipe
    candidate: Recipe
    how: str = ""


SAME = CommonView(Recipe(), Recipe())


def common_view(
    reference: Shape, candidate: Shape, *, last_rows: bool = False, reshaped: bool = False
) -> CommonView | None:
    """How to see `reference` and `candidate` alike, or None when no safe way is known.

    Tried in order: equal, axes of size 1 dropped, adjacent axes joined (padded against ragged
    batches, heads against a flat hidden axis), heads moved after tokens. With `last_rows` (for
    what stands behind the layers) one side may hold only the last tokens of the other. With
    `reshaped`, where none of that fits, equal numbers of elements are taken in C order.
    """
    if reference == candidate:
        return SAME
    for rule in (_squeezed, _joined, _heads_last):
        found = rule(reference, candidate)
        if found is not None:
            return found
        mirrored = rule(candidate, reference)
        if mirrored is not None:
            return _mirror(mirrored)
    if last_rows:
        found = _last_rows(reference, candidate)
        if found is not None:
            return found
        mirrored = _last_rows(candidate, reference)
        if mirrored is not None:
            return _mirror(mirrored)
    return _reshaped(reference, candidate) if reshaped else None


def _reshaped(left: Shape, right: Shape) -> CommonView | None:
    """As many elements on both sides, in C order."""
    if prod(left) != prod(right) or 0 in left:
        return None
    return CommonView(Recipe((Reshape(right),)), Recipe(), "reshaped, elements in C order")


def _mirror(view: CommonView) -> CommonView:
    return CommonView(view.candidate, view.reference, view.how)


def _squeezed(left: Shape, right: Shape) -> CommonView | None:
    """Axes of size 1: dropped from `left` alone where that is enough, else from both."""
    if bare(left) != bare(right):
        return None
    steps = _drop_ones(left, right)
    if steps is not None:
        return CommonView(Recipe(tuple(steps)), Recipe(), "axes of size 1 dropped")
    if len(left) < len(right) and _drop_ones(right, left) is not None:
        return None  # the mirrored call does it
    both = [_drop_ones(shape, bare(left)) or [] for shape in (left, right)]
    return CommonView(Recipe(tuple(both[0])), Recipe(tuple(both[1])), "axes of size 1 dropped")


def bare(shape: Shape) -> Shape:
    """The shape without axes of size 1."""
    return tuple(n for n in shape if n != 1)


def squeezes(shape: Shape) -> tuple[Step, ...]:
    """The steps that drop all axes of size 1."""
    ones = [axis for axis, size in enumerate(shape) if size == 1]
    return tuple(Squeeze(axis - done) for done, axis in enumerate(ones))


def _drop_ones(shape: Shape, target: Shape) -> list[Step] | None:
    """Squeezes that turn `shape` into `target`, leftmost axes first."""
    steps: list[Step] = []
    left = list(shape)
    axis = 0
    while len(left) > len(target):
        if axis < len(left) and left[axis] == 1 and (axis >= len(target) or target[axis] != 1):
            del left[axis]
            steps.append(Squeeze(axis))
        elif axis < len(left):
            axis += 1
        else:
            break
    if tuple(left) == target:
        return steps
    surplus = len(shape) - len(target)  # an equal number of ones, standing elsewhere
    if surplus > 0 and shape[:surplus] == (1,) * surplus and shape[surplus:] == target:
        return [Squeeze(0) for _ in range(surplus)]
    return None


def _joined(left: Shape, right: Shape) -> CommonView | None:
    """`left` becomes `right` by joining neighbouring axes: the elements keep their order."""
    if prod(left) != prod(right) or len(bare(left)) <= len(bare(right)) or 0 in left:
        return None
    axis = 0
    for size in right:
        part = 1
        while axis < len(left) and part < size:
            part *= left[axis]
            axis += 1
        if part != size:
            return None
    if any(n != 1 for n in left[axis:]):
        return None
    return CommonView(Recipe((Reshape(right),)), Recipe(), "neighbouring axes joined")


def _heads_last(left: Shape, right: Shape) -> CommonView | None:
    """`[batch, heads, tokens, size]` against `[.., tokens, heads, size]` or `[.., tokens, flat]`.

    Only where heads and tokens differ in number: equal ones could be either way round.
    """
    if len(left) < 3 or left[-3] == left[-2] or prod(left) != prod(right):
        return None
    swap = Transpose(len(left) - 3, len(left) - 2)
    moved = swap.shape(left)
    if moved == right:
        return CommonView(Recipe((swap,)), Recipe(), "heads moved after tokens")
    rest = _squeezed(moved, right) or _joined(moved, right)
    if rest is None or rest.candidate.steps:
        return None
    return CommonView(Recipe((swap, *rest.reference.steps)), Recipe(), "heads moved after tokens")


def _last_rows(full: Shape, few: Shape) -> CommonView | None:
    """`full` is `[batch, tokens, features]` (or without batch); `few` has its last tokens.

    Several tokens only where `few` has the batch as well: `[2, 64]` may be the last two tokens of
    one prompt as well as the last one of two.
    """
    if len(full) < 2 or not few or full[-1] != few[-1] or prod(few) >= prod(full):
        return None
    everything = (None, None, None)
    rows = prod(few[:-1])
    batch = prod(full[:-2])
    if rows == 0 or batch == 0 or rows % batch or rows // batch >= full[-2]:
        return None
    keep = rows // batch
    if keep > 1 and (len(full) < 3 or few[:-2] != full[:-2]):
        return None
    piece = Slice((*(everything for _ in full[:-2]), (-keep, None, None)))
    rest = common_view(piece.shape(full), few)
    if rest is None:
        return None
    words = "the last token" if keep == 1 else f"the last {keep} tokens"
    steps = rest.reference.steps
    if keep == 1 and steps and steps[0] == Squeeze(len(full) - 2):
        short = Slice((*(everything for _ in full[:-2]), -1))
        return CommonView(Recipe((short, *steps[1:])), rest.candidate, words)
    return CommonView(Recipe((piece, *steps)), rest.candidate, words)
