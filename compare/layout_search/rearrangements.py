"""Layouts of as many elements in another order: heads, halves, groups, fused parts, shifts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..recipes.errors import Shape
from ..recipes.steps import Flip, Reshape, Roll, Shift, Transpose
from .hints import divisors, split_axis

if TYPE_CHECKING:
    from .hints import Change


def _transposed(shape: Shape, heads: list[int]) -> Iterator[Change]:
    rank = len(shape)
    pairs = [(a, b) for b in range(rank - 1, 0, -1) for a in range(b - 1, -1, -1)]
    square = [(a, b) for a, b in pairs if shape[a] == shape[b] > 1]
    for a, b in square[:21]:
        yield f"axes {a} and {b} swapped", (Transpose(a, b),)


def _read_the_other_way(shape: Shape, heads: list[int]) -> Iterator[Change]:
    """Elements that lie in the order of swapped axes, under a shape that was not swapped."""
    rank = len(shape)
    for axis in range(rank - 2, max(-1, rank - 4), -1):
        if min(shape[axis], shape[axis + 1]) < 2:
            continue
        swapped = (*shape[:axis], shape[axis + 1], shape[axis], *shape[axis + 2 :])
        words = f"axes {axis} and {axis + 1} read the wrong way round"
        yield words, (Reshape(swapped), Transpose(axis, axis + 1))


def _rope(shape: Shape, heads: list[int]) -> Iterator[Change]:
    if not shape or shape[-1] < 4:
        return
    for count in (*heads, 1):
        if shape[-1] % (2 * count) or shape[-1] // count < 4:
            continue
        of = f", {count} heads" if count > 1 else ""
        group = "h " if count > 1 else ""
        sizes = {"h": count} if count > 1 else {}
        orders = [("interleaved to halves", "d r", "r d"), ("halves to interleaved", "r d", "d r")]
        for words, before, after in orders:
            step = split_axis(shape, -1, group + before, group + after, **sizes, r=2)
            yield f"RoPE: {words}{of}", (step,)


def _halves(shape: Shape, heads: list[int]) -> Iterator[Change]:
    if shape and shape[-1] > 1 and shape[-1] % 2 == 0:
        yield "halves of the last axis swapped", (Roll(shape[-1] // 2, len(shape) - 1),)


def _shifted(shape: Shape, heads: list[int]) -> Iterator[Change]:
    rank = len(shape)
    axes = [axis for axis in range(rank - 2, -1, -1) if shape[axis] > 2]
    if rank and shape[-1] > 2 and (rank == 1 or not axes):
        axes.append(rank - 1)
    for amount in (1, -1, 2, -2):
        for axis in axes[:3]:
            if shape[axis] > abs(amount):
                words = f"{abs(amount)} {'later' if amount > 0 else 'earlier'} along axis {axis}"
                yield f"candidate is shifted {words}", (Shift(amount, axis),)


def _grouped(shape: Shape, heads: list[int]) -> Iterator[Change]:
    """Heads in groups against heads taken from every group in turn."""
    rank = len(shape)
    for axis in range(max(0, rank - 3), rank - 1):  # an axis that has the heads alone
        for groups in groups_of(shape[axis])[:3] if shape[axis] <= 128 else ():
            words = f"axis {axis} in {groups} groups, taken in turn"
            yield words, (split_axis(shape, axis, "g h", "h g", g=groups),)
    for count in heads:
        for groups in groups_of(count)[:4]:
            step = split_axis(shape, -1, "g h d", "h g d", g=groups, h=count // groups)
            yield f"{count} heads in {groups} groups, taken in turn", (step,)


def groups_of(heads: int) -> list[int]:
    return [n for n in divisors(heads) if 1 < n < heads]


def _fused_of_three(shape: Shape, heads: list[int]) -> Iterator[Change]:
    yield from _fused(shape, heads, 3, "q, k, v")


def _fused_of_two(shape: Shape, heads: list[int]) -> Iterator[Change]:
    yield from _fused(shape, heads, 2, "two parts")


def _fused(shape: Shape, heads: list[int], parts: int, words: str) -> Iterator[Change]:
    """Parts one behind the other (q of all heads, then k, then v) against head by head."""
    if not shape or shape[-1] % parts or shape[-1] == parts:
        return
    for count in [n for n in heads if shape[-1] % (parts * n) == 0][:4]:
        for before, after, how in (
            ("h n d", "n h d", "head by head to concatenated"),
            ("n h d", "h n d", "concatenated to head by head"),
        ):
            step = split_axis(shape, -1, before, after, h=count, n=parts)
            yield f"{words}: {how}, {count} heads", (step,)


def _heads_not_swapped(shape: Shape, heads: list[int]) -> Iterator[Change]:
    """Heads that were joined before they were moved behind the tokens, and the other way round."""
    if len(shape) < 2 or shape[-2] < 2:
        return
    *rest, tokens, width = shape
    at = len(rest)
    for count in heads[:4]:
        parts = Reshape((*rest, count, tokens, width // count))
        words = f"{count} heads joined without being moved after the tokens"
        yield words, (parts, Transpose(at, at + 1), Reshape(shape))
        parts = Reshape((*rest, tokens, count, width // count))
        words = f"{count} heads moved before the tokens one time too many"
        yield words, (parts, Transpose(at, at + 1), Reshape(shape))


def _flipped(shape: Shape, heads: list[int]) -> Iterator[Change]:
    axes = [axis for axis in range(len(shape) - 1, -1, -1) if shape[axis] > 1]
    for axis in axes[:4]:
        yield f"axis {axis} reversed", (Flip(axis),)


REARRANGEMENTS: tuple[Callable[[Shape, list[int]], Iterator[Change]], ...] = (
    _transposed, _rope, _halves, _shifted, _fused_of_three, _grouped, _heads_not_swapped,
    _read_the_other_way, _fused_of_two, _flipped,
)  # fmt: skip
