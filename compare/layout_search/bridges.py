"""Layouts that make unequal shapes equal: parts, repeats, joins, axes moved or split."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, permutations
from math import prod
from typing import TYPE_CHECKING

from ..recipes.common_view import CommonView, bare, common_view, squeezes
from ..recipes.errors import Shape
from ..recipes.rearrange import Rearrange
from ..recipes.steps import Concat, Permute, Reshape, Select, Slice, Step, Transpose
from .hints import head_counts, named_axes

if TYPE_CHECKING:
    from .hints import Both, Change, Hints


def bridges(left: Shape, right: Shape, hints: Hints) -> Iterator[Both]:
    """Likely ones first. What does not fit is sorted out by who takes them."""
    view = common_view(left, right, last_rows=True)
    bare_left, bare_right = bare(left), bare(right)
    drop_left, drop_right = squeezes(left), squeezes(right)
    reread = bare_left != bare_right and prod(bare_left) == prod(bare_right)
    if view is not None and left != right and not (reread and _moves_axes(view)):
        yield view.how, view.reference.steps, view.candidate.steps
    if reread:  # before axes are moved: elements that lie in the same order are the simpler case
        yield f"read as {list(bare_left)}", drop_left, (*drop_right, Reshape(bare_left))
    if view is not None and reread and _moves_axes(view):
        yield view.how, view.reference.steps, view.candidate.steps
    for make in (_moved, _one_of, _parts, _split_axis, _repeated):
        for words, steps in make(bare_right, bare_left, hints):
            yield words, drop_left, (*drop_right, *steps)
        for words, steps in make(bare_left, bare_right, hints):
            yield f"reference: {words}", (*drop_left, *steps), drop_right
    yield from joins_of_records(left, right, hints)
    yield from cut_to_common(bare_left, bare_right, drop_left, drop_right)


def _moves_axes(view: CommonView) -> bool:
    steps = (*view.reference.steps, *view.candidate.steps)
    return any(isinstance(step, Transpose | Permute | Rearrange) for step in steps)


def _moved(shape: Shape, wanted: Shape, hints: Hints) -> Iterator[Change]:
    """Axes in another order."""
    if sorted(shape) != sorted(wanted) or not 2 <= len(shape) <= 6:
        return
    orders = permutations(range(len(shape)))
    fitting = (order for order in orders if tuple(shape[axis] for axis in order) == wanted)
    for order in islice(fitting, 8):
        moved = [axis for axis, place in enumerate(order) if axis != place]
        if len(moved) == 2:
            yield f"axes {moved[0]} and {moved[1]} swapped", (Transpose(*moved),)
        elif moved:
            yield f"axes in the order {', '.join(map(str, order))}", (Permute(order),)


def _one_of(shape: Shape, wanted: Shape, hints: Hints) -> Iterator[Change]:
    """One index of an axis that the other side has not."""
    for axis, size in enumerate(shape):
        if size < 2 or (*shape[:axis], *shape[axis + 1 :]) != wanted:
            continue
        last = "last token" if axis == len(shape) - 2 else f"last of axis {axis}"
        first = f"first of axis {axis}"
        for words, index in ((last, -1), (first, 0)):
            yield words, (Select(axis, index),)


def _parts(shape: Shape, wanted: Shape, hints: Hints) -> Iterator[Change]:
    """A piece of one axis: its end, its beginning, every n-th, or a piece of each head's group."""
    differ = [a for a in range(len(shape)) if len(wanted) == len(shape) and shape[a] != wanted[a]]
    if len(differ) != 1 or not 0 < wanted[differ[0]] < shape[differ[0]]:
        return
    axis, size, part = differ[0], shape[differ[0]], wanted[differ[0]]
    tokens = "tokens" if axis == len(shape) - 2 else f"of axis {axis}"
    ends = [(f"last {part} {tokens}", size - part), (f"first {part} {tokens}", 0)]
    middle = [(f"{at}:{at + part} of axis {axis}", at) for at in range(part, size - part, part)]
    for words, at in (*ends, *middle[:4]):
        yield words, (_cut(axis, at, at + part),)
    if size % part == 0:
        yield f"one in {size // part} along axis {axis}", (_cut(axis, None, None, size // part),)
    if axis == len(shape) - 1:
        yield from _parts_of_groups(shape, part, hints)


def _parts_of_groups(shape: Shape, part: int, hints: Hints) -> Iterator[Change]:
    """q, k or v of a fused last axis that is laid out head by head (or group by group)."""
    size = shape[-1]
    for count in [n for n in head_counts(part, hints) if size % n == 0][:3]:
        group, piece = size // count, part // count
        whole = (*shape[:-1], count, group)
        for at in dict.fromkeys((0, piece, group - piece, group - 2 * piece)):
            if 0 <= at <= group - piece:
                cut = _cut(len(shape), at, at + piece)
                words = f"{at}:{at + piece} of each of {count} groups"
                yield words, (Reshape(whole), cut, Reshape((*shape[:-1], part)))


def _cut(axis: int, low: int | None, high: int | None, step: int | None = None) -> Slice:
    every = (None, None, None)
    return Slice((*(every for _ in range(axis)), (low, high, step)))


def _split_axis(shape: Shape, wanted: Shape, hints: Hints) -> Iterator[Change]:
    """One axis becomes two, which may stand anywhere: `t (h d)` to `h t d`."""
    if len(wanted) != len(shape) + 1 or len(shape) > 4 or prod(shape) != prod(wanted):
        return
    others = named_axes(len(shape) - 1)
    for axis in range(len(shape) - 1, -1, -1):
        sizes = dict(zip(others, (*shape[:axis], *shape[axis + 1 :]), strict=True))
        for order in permutations([*others, "h", "d"]):
            placed = dict(zip(order, wanted, strict=True))
            heads = placed["h"]
            if any(placed[name] != size for name, size in sizes.items()) or not heads:
                continue
            left = " ".join([*others[:axis], "(h d)", *others[axis:]])
            step = Rearrange(f"{left} -> {' '.join(order)}", (("h", heads),))
            yield f"{heads} heads: {step.pattern}", (step,)


def _repeated(shape: Shape, wanted: Shape, hints: Hints) -> Iterator[Change]:
    """Heads that were repeated for grouped queries: one of every repetition."""
    if len(shape) != len(wanted) or not shape or shape[:-1] != wanted[:-1]:
        return
    if wanted[-1] < 1 or shape[-1] % wanted[-1] or shape[-1] == wanted[-1]:
        return
    times = shape[-1] // wanted[-1]
    for count in head_counts(wanted[-1], hints)[:4]:
        parts = Reshape((*shape[:-1], count, times, wanted[-1] // count))
        words = f"each of {count} heads is repeated {times} times"
        yield words, (parts, Select(len(shape), 0), Reshape(wanted))


def joins_of_records(left: Shape, right: Shape, hints: Hints) -> Iterator[Both]:
    """Records that are parts of the other side's record, one behind the other."""
    if not left or not right:
        return
    sides = (right, left, hints.candidate_siblings), (left, right, hints.reference_siblings)
    for number, (own, wanted, siblings) in enumerate(sides):
        fitting = [(n, s) for n, s in siblings if len(s) == len(own) and s[:-1] == own[:-1]]
        if bare((*own[:-1], wanted[-1])) != bare(wanted):
            continue
        for names in _filling(wanted[-1] - own[-1], fitting):
            steps = (Concat(-1, names), *squeezes((*own[:-1], wanted[-1])))
            words = f"joined with {', '.join(names)}"
            if number == 0:
                yield words, squeezes(wanted), steps
            else:
                yield f"reference: {words}", steps, squeezes(wanted)


def _filling(width: int, siblings: list[tuple[str, Shape]]) -> list[tuple[str, ...]]:
    """Records whose widths add up, of those that stand next to one another."""
    found: list[tuple[str, ...]] = []
    for first in range(len(siblings)):
        for count in (1, 2):
            run = siblings[first : first + count]
            if len(run) == count and sum(shape[-1] for _, shape in run) == width:
                found.append(tuple(name for name, _ in run))
    return found[:2]


def cut_to_common(
    left: Shape, right: Shape, drop_left: tuple[Step, ...], drop_right: tuple[Step, ...]
) -> Iterator[Both]:
    """Both sides cut to what they have in common: a cache against what fills it."""
    if len(left) != len(right) or sum(a != b for a, b in zip(left, right, strict=True)) < 2:
        return
    common = tuple(map(min, left, right))
    if 0 in common:
        return
    for words, cut in (
        ("both cut to their common beginning", lambda size, kept: (0, kept, None)),
        ("both cut to their common end", lambda size, kept: (size - kept, size, None)),
    ):
        first, second = (
            Slice(tuple(cut(size, kept) for size, kept in zip(shape, common, strict=True)))
            for shape in (left, right)
        )
        yield words, (*drop_left, first), (*drop_right, second)
