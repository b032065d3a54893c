"""Both sides of a pair in its common view, opened and read block by block.

Tasks are small and picklable: they say where records lie, never what they hold. A reader opens one
or two of them; the records of a gap are read by the same code with one side absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import prod
from types import TracebackType
from typing import Literal, TypeVar

import numpy as np

from ...capture.dtypes import DTYPES
from ...capture.errors import RecordError
from ...capture.formats.registry import may_be_partial
from ...capture.load import load_any
from ...capture.records import Locator
from ...capture.values import Array, PartialValues, upcast
from ..recipes.adding import Add
from ..recipes.cast import cast
from ..recipes.errors import RecipeError, Shape
from ..recipes.parse import parse_recipe
from ..recipes.ranges import Ranges
from ..recipes.recipe import Recipe, views
from ..recipes.steps import Concat, IndexSelect, Roll
from .blocks import BLOCK, PANEL, Key, Source, pieces
from .fused import known_float

SideName = Literal["reference", "candidate"]
_MOST_PARTIAL = 1 << 24  # elements that a partial record may be spread out to


@dataclass(frozen=True, slots=True)
class SideTask:
    """One side of a pair: where it lies, its recipe, and the records that its recipe takes in.
    `total` is the sum of all elements, where a dump that may hold only some of them records it.
    """

    locator: Locator
    dtype: str  # as recorded; a log's print may be stored wider
    recipe: str = ""
    others: tuple[tuple[str, Locator], ...] = ()
    total: float | None = None

    @property
    def casts(self) -> tuple[str, ...]:
        """The dtypes that the recipe rounds to, in order. Raises `RecipeError`."""
        return parse_recipe(self.recipe).casts

    @property
    def effective_dtype(self) -> str:
        """The dtype in the pair's view: that of the last cast, else the record's."""
        return (self.dtype, *self.casts)[-1]

    @property
    def partial(self) -> bool:
        """True for dumps that may hold only some elements."""
        return not self.locator.in_place and may_be_partial(self.locator.reader)


@dataclass(frozen=True, slots=True)
class PairTask:
    """Everything needed to measure a pair. None as rtol or atol means: by dtype. `mask` says that
    the record is an additive mask by its name.
    """

    reference: SideTask
    candidate: SideTask
    rtol: float | None = None
    atol: float | None = None
    ulp: bool = False
    mask: bool = False


class SideError(RecordError):
    """A record of one side that cannot be read; the message begins with its file."""

    def __init__(self, side: SideName, locator: Locator, reason: str) -> None:
        super().__init__(f"{locator.path}: {reason}")
        self.side: SideName = side


class CancelledError(Exception):
    """The work was told to stop between two blocks."""


@contextmanager
def blaming(side: SideName, task: SideTask) -> Iterator[None]:
    """Whatever cannot be read in here is this side's record. Raises `SideError`."""
    try:
        yield
    except SideError:
        raise
    except RecordError as error:
        raise SideError(side, task.locator, str(error)) from error
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        raise SideError(side, task.locator, reason) from error
    except MemoryError as error:
        reason = "not enough memory to load this record"
        raise SideError(side, task.locator, reason) from error


def coarser(first: str, second: str) -> str:
    """The dtype with fewer mantissa bits of two; exact types never are the coarser one."""
    return max(first, second, key=lambda name: DTYPES[name].epsilon)


def numbers(raw: Array, dtype: str, casts: tuple[str, ...]) -> Array:
    """Raw elements of `dtype` as numbers, after `casts`; the shape stays. Raises `RecipeError`."""
    if dtype == "bool":
        raw = raw.view(np.uint8) != 0  # a file may hold any byte
    values = upcast(raw, dtype)
    for name in casts:
        values = cast(values, name)
    return values


_COPYING = (Roll, IndexSelect, Ranges, Concat, Add)  # a reshape may do without


@dataclass(slots=True)
class SideReader:
    """One side, opened: `view` stands for its raw elements in the pair's view (see `Source`)."""

    name: SideName
    task: SideTask
    source: Source
    recipe: Recipe
    view: Array = field(init=False)
    shown: Array | None = None  # a partial record: which elements of the view the dump has

    def __post_init__(self) -> None:
        self.view = np.empty(0)

    @property
    def dtype(self) -> str:
        return self.task.locator.dtype

    def load(self) -> None:
        with blaming(self.name, self.task):
            self.source.load()

    def panel(self, piece: Array) -> Array:
        with blaming(self.name, self.task):
            return self.source.panel(piece)

    def read(self, piece: Array) -> Array:
        """The raw elements of a piece of `view` (or of a panel of it), contiguous."""
        try:  # once a block: a context manager would cost as much as the rest
            return self.source.read(piece)
        except RecordError as error:
            raise SideError(self.name, self.task.locator, str(error)) from error

    def numbers(self, piece: Array) -> Array:
        """The elements of a piece as numbers, bf16 and narrower widened to float32."""
        found = numbers(self.read(piece), self.dtype, self.recipe.casts)
        return found.reshape(piece.shape)  # reading gives an array without axes one

    def runs(self, wanted: Array) -> Array | None:
        """Runs of elements of the view as numbers (see `Source.runs`)."""
        with blaming(self.name, self.task):
            if known_float(self.dtype) and not self.recipe.casts:
                found = self.source.real_runs(self.view, wanted)
                if found is not None:
                    return found
            found = self.source.runs(self.view, wanted)
        return None if found is None else numbers(found, self.dtype, self.recipe.casts)

    def resolve(self, wanted: str) -> Array:
        """The raw elements of another record of this side, for `concat` and `add`."""
        locator = dict(self.task.others).get(wanted)
        if locator is None:
            raise RecipeError(f"recipe: this side has no record {wanted!r}")
        if locator.dtype != self.dtype:
            raise RecipeError(f"recipe: {wanted!r} has another dtype")
        other = replace(self.task, locator=locator)
        if other.partial:
            raise RecipeError(f"recipe: {wanted!r} is a partial record")
        with blaming(self.name, other), Source(locator) as source:
            return source.opened().load()


@dataclass(frozen=True, slots=True)
class Block:
    """A block of the view: its first flat position, its range along every axis, and the numbers
    of both sides, shaped like the block (None for a side that is absent). `shown`: where a partial
    dump has the elements.
    """

    start: int
    ranges: tuple[tuple[int, int], ...]
    x: Array | None
    y: Array | None
    shown: Array | None = None


class Opened:
    """A context manager that gives back what it holds, also where opening fails half-way."""

    def __enter__(self: _Opened) -> _Opened:
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._close()

    def _open(self) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        raise NotImplementedError


_Opened = TypeVar("_Opened", bound=Opened)


class PairReader(Opened):
    """Opens one or two sides and reads them in step. Use it as a context manager.

    Entering raises `SideError` (a record that cannot be read) and `RecipeError` (a recipe that
    does not fit); shapes that differ are for the caller to see: `shapes` has both.
    """

    def __init__(self, reference: SideTask | None, candidate: SideTask | None) -> None:
        self._tasks: dict[SideName, SideTask] = {}
        if reference is not None:
            self._tasks["reference"] = reference
        if candidate is not None:
            self._tasks["candidate"] = candidate
        self.sides: dict[SideName, SideReader] = {}

    def _close(self) -> None:
        for side in self.sides.values():
            side.view = np.empty(0)
            side.source.__exit__()

    @property
    def reference(self) -> SideReader | None:
        return self.sides.get("reference")

    @property
    def candidate(self) -> SideReader | None:
        return self.sides.get("candidate")

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes of the views, of the sides that there are."""
        return tuple(tuple(side.view.shape) for side in self.sides.values())

    @property
    def shape(self) -> Shape:
        """The shape of the common view. Raises `RecipeError` where the two differ."""
        shapes = self.shapes
        if len(set(shapes)) != 1:
            raise RecipeError(shapes_differ(*shapes))
        return shapes[0]

    @property
    def shown(self) -> Array | None:
        """Elements that every side's dump has; None when nothing is left out."""
        masks = [side.shown for side in self.sides.values() if side.shown is not None]
        return None if not masks else np.logical_and.reduce(masks)

    def _open(self) -> None:
        partial = any(task.partial for task in self._tasks.values())
        for name, task in self._tasks.items():
            source = Source(task.locator)
            side = self.sides[name] = SideReader(name, task, source, parse_recipe(task.recipe))
            side.shown = open_source(name, task, source, partial)
            if any(isinstance(step, _COPYING) for step in side.recipe.steps):
                side.load()
        self._look()
        copied = [s for s in self.sides.values() if not s.source.shows(s.view)]
        if copied:  # a step made a copy of the empty map: it needs the values
            for side in copied:
                side.view = np.empty(0)
                side.load()
            self._look()

    def _look(self) -> None:
        """Lay the recipes over both sides; masks of partial dumps move along."""
        left, right = self.reference, self.candidate
        if left is None or right is None:
            for side in self.sides.values():
                side.view = side.recipe.layout.apply(side.source.array, side.resolve)
                if side.shown is not None:
                    side.shown = side.recipe.layout.apply(side.shown)
            return
        recipes = left.recipe.layout, right.recipe.layout
        left.view, right.view = views(
            *recipes, left.source.array, right.source.array, left.resolve, right.resolve
        )
        if left.shown is not None and right.shown is not None:
            left.shown, right.shown = views(*recipes, left.shown, right.shown)

    def blocks(
        self, region: Key = (), most: int = BLOCK,
        cancelled: Callable[[], bool] | None = None,
    ) -> Iterator[Block]:  # fmt: skip
        """The view, or the part of it that `region` (slices with step 1) cuts out, in blocks of at
        most `most` elements, in C order. `start` and `ranges` count within that part.

        Raises `CancelledError` between two blocks, `SideError`, and `RecipeError` where shapes
        differ.
        """
        shape = self.shape
        parts = [(side, side.view[region] if region else side.view) for side in self.sides.values()]
        shown = self.shown
        if shown is not None and region:
            shown = shown[region]
        shape = parts[0][1].shape if parts else shape
        for start, key in pieces(shape, max(PANEL, most)):
            panels = [(side, side.panel(view[key])) for side, view in parts]
            outer = _ranges(key, shape)
            inner_shape = tuple(high - low for low, high in outer)
            for at, inner in pieces(inner_shape, most):
                if cancelled is not None and cancelled():
                    raise CancelledError
                found = {side.name: side.numbers(panel[inner]) for side, panel in panels}
                ranges = tuple(
                    (low + a, low + b)
                    for (low, _), (a, b) in zip(outer, _ranges(inner, inner_shape), strict=True)
                )
                mask = None if shown is None else shown[key][inner]
                x, y = found.get("reference"), found.get("candidate")
                yield Block(start + at, ranges, x, y, mask)

    def window(self, region: Key) -> tuple[Array | None, Array | None, Array | None]:
        """The numbers of a small part of the view: reference, candidate, and which are shown."""
        found = {name: side.numbers(side.view[region]) for name, side in self.sides.items()}
        shown = self.shown
        mask = None if shown is None else shown[region]
        return found.get("reference"), found.get("candidate"), mask


def shapes_differ(*shapes: Shape) -> str:
    """Two shapes that do not go together, in words."""
    return f"shapes differ: {' against '.join(str(list(shape)) for shape in shapes)}"


def _ranges(key: Key, shape: Shape) -> tuple[tuple[int, int], ...]:
    """What a key of `pieces` covers along every axis."""
    ranges = [(0, size) for size in shape]
    for axis, part in enumerate(key):
        if isinstance(part, slice):
            low, high, _ = part.indices(shape[axis])
            ranges[axis] = (low, high)
    return tuple(ranges)


def open_source(name: SideName, task: SideTask, source: Source, partial: bool) -> Array | None:
    """Open `source`. Where a dump of either side may be `partial`, `source.array` is the record at
    full shape, and the result says which of its elements the dump shows; None otherwise.

    Raises `SideError`.
    """
    with blaming(name, task):
        if not partial:
            source.opened()
            return None
        source.array, shown = spread(task)
        return shown


def spread(task: SideTask) -> tuple[Array, Array]:
    """A record at full shape, and which of its elements the dump shows."""
    locator = task.locator
    if locator.count > _MOST_PARTIAL:
        raise RecordError(f"{locator.count} elements are too many to compare with a partial record")
    if not task.partial:
        with Source(locator) as source:
            whole = source.opened().load()
        return whole, np.ones(whole.shape, np.bool_)
    loaded = load_any(locator)
    if not isinstance(loaded, PartialValues):
        return loaded, np.ones(loaded.shape, np.bool_)
    count = prod(loaded.shape)
    if count > _MOST_PARTIAL:
        raise RecordError(f"a partial record of {count} elements is too large to lay out")
    values = np.zeros(count, loaded.values.dtype)
    shown = np.zeros(count, np.bool_)
    values[loaded.positions] = loaded.values
    shown[loaded.positions] = True
    return values.reshape(loaded.shape), shown.reshape(loaded.shape)
