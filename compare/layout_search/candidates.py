"""Likely recipes, by shapes alone: what usually stands between two layouts of one quantity.

A ground is a pair of recipes that makes both shapes equal. On every ground stand rearrangements
that keep the shape: axes swapped, RoPE's two orders, heads and groups, halves, shifts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, permutations
from math import log2, prod

from ..measuring.pair_reader import SideName, coarser
from ..recipes.common_view import common_view
from ..recipes.errors import RecipeError, Shape
from ..recipes.parse import parse_recipe
from ..recipes.rearrange import Rearrange
from ..recipes.recipe import Recipe, view_shapes
from ..recipes.steps import (
    Cast,
    Concat,
    Flip,
    Permute,
    Reshape,
    Roll,
    Select,
    Shift,
    Slice,
    Squeeze,
    Step,
    Transpose,
)

AS_IT_IS = "as it is"
MOST = 120  # proposals for one pair
_MOST_BRIDGES = 40  # of them those that make unequal shapes equal
_MOST_HEADS = 8  # head counts tried for one width
_STEP = 8  # characters that a step is as hard to understand as
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


Change = tuple[str, tuple[Step, ...]]  # what a change does, in words, and its steps
Both = tuple[str, tuple[Step, ...], tuple[Step, ...]]  # the same with steps for either side


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
        for words, left, right in _bridges(start.left, start.right, self.hints):
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
        for make in _REARRANGED:
            for words, steps in make(shape, heads):
                if len(self.found) >= most:
                    return
                self.add(ground, (words, (), steps))


def _unshifted(recipe: Recipe) -> Recipe:
    return Recipe(tuple(step for step in recipe.steps if not isinstance(step, Shift)))


def _joins(recipes: Sequence[Recipe]) -> bool:
    return any(isinstance(step, Concat) for recipe in recipes for step in recipe.steps)


def head_counts(width: int, hints: Hints, *shapes: Shape) -> list[int]:
    """How many heads an axis of `width` may have: known ones, sizes of other axes, then those that
    make heads of a usual size.
    """
    divisors = _divisors(width)
    known = [*hints.heads, *([width // hints.head_dim] if hints.head_dim else [])]
    beside = [size for shape in shapes for size in shape[-3:-1]]
    usual = sorted(divisors, key=lambda n: (abs(log2(width / n / _USUAL_HEAD)), n))
    likely = [n for n in (*known, *beside, *usual) if n in divisors and 1 < n < width]
    return list(dict.fromkeys(likely))[:_MOST_HEADS]


def _divisors(number: int) -> list[int]:
    """Divisors up to 4096, in order."""
    return [n for n in range(1, min(number, 4096) + 1) if number % n == 0]


def named_axes(count: int) -> list[str]:
    """Names for axes in a pattern."""
    usual = ["b", "t", "s"] if count > 2 else ["b", "t"] if count == 2 else ["t"]
    return usual[:count] if count <= 3 else [f"a{n}" for n in range(count)]


def _split(shape: Shape, axis: int, before: str, after: str, **sizes: int) -> Rearrange:
    """A `rearrange` of the parts of one axis: `(h d r)` to `(h r d)`."""
    names = named_axes(len(shape) - 1)
    axis %= len(shape)
    sides = [" ".join([*names[:axis], f"({group})", *names[axis:]]) for group in (before, after)]
    return Rearrange(" -> ".join(sides), tuple(sizes.items()))


# Changes that keep the shape


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
            step = _split(shape, -1, group + before, group + after, **sizes, r=2)
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
                yield f"candidate stands {words}", (Shift(amount, axis),)


def _grouped(shape: Shape, heads: list[int]) -> Iterator[Change]:
    """Heads in groups against heads taken from every group in turn."""
    rank = len(shape)
    for axis in range(max(0, rank - 3), rank - 1):  # an axis that has the heads alone
        for groups in _groups(shape[axis])[:3] if shape[axis] <= 128 else ():
            words = f"axis {axis} in {groups} groups, taken in turn"
            yield words, (_split(shape, axis, "g h", "h g", g=groups),)
    for count in heads:
        for groups in _groups(count)[:4]:
            step = _split(shape, -1, "g h d", "h g d", g=groups, h=count // groups)
            yield f"{count} heads in {groups} groups, taken in turn", (step,)


def _groups(heads: int) -> list[int]:
    return [n for n in _divisors(heads) if 1 < n < heads]


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
            ("h n d", "n h d", "head by head to one behind the other"),
            ("n h d", "h n d", "one behind the other to head by head"),
        ):
            step = _split(shape, -1, before, after, h=count, n=parts)
            yield f"{words}: {how}, {count} heads", (step,)


def _heads_not_swapped(shape: Shape, heads: list[int]) -> Iterator[Change]:
    """Heads that were joined before they were moved behind the tokens, and the other way round."""
    if len(shape) < 2 or shape[-2] < 2:
        return
    *rest, tokens, width = shape
    at = len(rest)
    for count in heads[:4]:
        parts = Reshape((*rest, count, tokens, width // count))
        words = f"{count} heads joined without being moved behind the tokens"
        yield words, (parts, Transpose(at, at + 1), Reshape(shape))
        parts = Reshape((*rest, tokens, count, width // count))
        words = f"{count} heads moved before the tokens once too often"
        yield words, (parts, Transpose(at, at + 1), Reshape(shape))


def _flipped(shape: Shape, heads: list[int]) -> Iterator[Change]:
    axes = [axis for axis in range(len(shape) - 1, -1, -1) if shape[axis] > 1]
    for axis in axes[:4]:
        yield f"axis {axis} reversed", (Flip(axis),)


_REARRANGED: tuple[Callable[[Shape, list[int]], Iterator[Change]], ...] = (
    _transposed, _rope, _halves, _shifted, _fused_of_three, _grouped, _heads_not_swapped,
    _read_the_other_way, _fused_of_two, _flipped,
)  # fmt: skip


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


# Changes that make unequal shapes equal


def _bridges(left: Shape, right: Shape, hints: Hints) -> Iterator[Both]:
    """Likely ones first. What does not fit is sorted out by who takes them."""
    view = common_view(left, right, last_rows=True)
    if view is not None and left != right:
        yield view.how, view.reference.steps, view.candidate.steps
    bare_left, bare_right = _bare(left), _bare(right)
    drop_left, drop_right = _squeezes(left), _squeezes(right)
    for make in (_moved, _one_of, _parts, _split_axis, _repeated, _reread):
        for words, steps in make(bare_right, bare_left, hints):
            yield words, drop_left, (*drop_right, *steps)
        for words, steps in make(bare_left, bare_right, hints):
            yield f"reference: {words}", (*drop_left, *steps), drop_right
    yield from _joins_of_records(left, right, hints)
    yield from _cut_to_common(bare_left, bare_right, drop_left, drop_right)


def _bare(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)


def _squeezes(shape: Shape) -> tuple[Step, ...]:
    ones = [axis for axis, size in enumerate(shape) if size == 1]
    return tuple(Squeeze(axis - done) for done, axis in enumerate(ones))


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
        words = f"each of {count} heads stands there {times} times"
        yield words, (parts, Select(len(shape), 0), Reshape(wanted))


def _reread(shape: Shape, wanted: Shape, hints: Hints) -> Iterator[Change]:
    if prod(shape) == prod(wanted) and shape != wanted:
        yield f"read as {list(wanted)}", (Reshape(wanted),)


def _joins_of_records(left: Shape, right: Shape, hints: Hints) -> Iterator[Both]:
    """Records that are parts of the other side's record, one behind the other."""
    if not left or not right:
        return
    sides = (right, left, hints.candidate_siblings), (left, right, hints.reference_siblings)
    for number, (own, wanted, siblings) in enumerate(sides):
        fitting = [(n, s) for n, s in siblings if len(s) == len(own) and s[:-1] == own[:-1]]
        if _bare((*own[:-1], wanted[-1])) != _bare(wanted):
            continue
        for names in _filling(wanted[-1] - own[-1], fitting):
            steps = (Concat(-1, names), *_squeezes((*own[:-1], wanted[-1])))
            words = f"joined with {', '.join(names)}"
            if number == 0:
                yield words, _squeezes(wanted), steps
            else:
                yield f"reference: {words}", steps, _squeezes(wanted)


def _filling(width: int, siblings: list[tuple[str, Shape]]) -> list[tuple[str, ...]]:
    """Records whose widths add up, of those that stand next to one another."""
    found: list[tuple[str, ...]] = []
    for first in range(len(siblings)):
        for count in (1, 2):
            run = siblings[first : first + count]
            if len(run) == count and sum(shape[-1] for _, shape in run) == width:
                found.append(tuple(name for name, _ in run))
    return found[:2]


def _cut_to_common(
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
