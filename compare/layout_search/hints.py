"""What is known of a pair before its layout is searched, and the changes that are proposed."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

from ..recipes.errors import Shape
from ..recipes.rearrange import Rearrange
from ..recipes.steps import Step

_MOST_HEADS = 8  # head counts tried for one width
_USUAL_HEAD = 64  # elements of a head; head sizes near it are tried first


@dataclass(frozen=True, slots=True)
class Hints:
    """What is known besides shapes: head counts and sizes, dtypes as recorded, and the records
    `(name, shape)` that a side's could be joined with, in the order of the run.
    """

    heads: tuple[int, ...] = ()
    head_dim: int | None = None
    reference_dtype: str | None = None
    candidate_dtype: str | None = None
    reference_siblings: tuple[tuple[str, Shape], ...] = ()
    candidate_siblings: tuple[tuple[str, Shape], ...] = ()


Change = tuple[str, tuple[Step, ...]]  # what a change does, in words, and its steps
Both = tuple[str, tuple[Step, ...], tuple[Step, ...]]  # the same with steps for either side


def head_counts(width: int, hints: Hints, *shapes: Shape) -> list[int]:
    """How many heads an axis of `width` may have: known ones, sizes of other axes, then those that
    make heads of a usual size.
    """
    possible = divisors(width)
    known = [*hints.heads, *([width // hints.head_dim] if hints.head_dim else [])]
    beside = [size for shape in shapes for size in shape[-3:-1]]
    usual = sorted(possible, key=lambda n: (abs(log2(width / n / _USUAL_HEAD)), n))
    likely = [n for n in (*known, *beside, *usual) if n in possible and 1 < n < width]
    return list(dict.fromkeys(likely))[:_MOST_HEADS]


def divisors(number: int) -> list[int]:
    """Divisors up to 4096, in order."""
    return [n for n in range(1, min(number, 4096) + 1) if number % n == 0]


def named_axes(count: int) -> list[str]:
    """Names for axes in a pattern."""
    usual = ["b", "t", "s"] if count > 2 else ["b", "t"] if count == 2 else ["t"]
    return usual[:count] if count <= 3 else [f"a{n}" for n in range(count)]


def split_axis(shape: Shape, axis: int, before: str, after: str, **sizes: int) -> Rearrange:
    """A `rearrange` of the parts of one axis: `(h d r)` to `(h r d)`."""
    names = named_axes(len(shape) - 1)
    axis %= len(shape)
    sides = [" ".join([*names[:axis], f"({group})", *names[axis:]]) for group in (before, after)]
    return Rearrange(" -> ".join(sides), tuple(sizes.items()))
