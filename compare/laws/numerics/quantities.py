"""The records of one side of a comparison by canonical name, read as tables in float64.

A record is seen through the recipe of its pair, so that a slice of a fused projection or a ragged
batch looks alike on both sides. The last axis of a table are the channels, all others the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from threading import Lock

import numpy as np

from ....capture.dtypes import DTYPES
from ....capture.records import Record
from ....capture.values import Array
from ...aligned import side_task
from ...matching.names.roles import Role, role_of
from ...measuring.pair_reader import PairReader, SideName, SideTask
from ...model import Row
from ...recipes.errors import RecipeError, Shape

_MOST_WHOLE = 1 << 25  # elements that a table may have to be read whole
RUN = 1 << 22  # elements read at a time
_APART = 4  # a table of so many times the rows that are wanted takes longer than these
_SMALL = 1 << 16  # elements that are as soon read as a few rows of them


@dataclass(frozen=True, slots=True)
class Key:
    """A quantity: canonical module, slot, call and step."""

    module: str
    slot: str
    step: int = 0
    call: int = 1

    @property
    def label(self) -> str:
        """`layers.0.mlp-output`, as rows are called."""
        call = f"({self.call})" if self.call > 1 else ""
        return f"{self.module}{call}-{self.slot}"


@dataclass(frozen=True, slots=True)
class Quantity:
    """One record of a side. `row` is the row of the comparison that shows it; `paired` says that
    the other side has it, too, in the same shape; `cut` that only some of the tokens are there.
    """

    key: Key
    side: SideName
    task: SideTask
    row: int
    paired: bool
    module_class: str | None = None
    cut: bool = False

    @property
    def dtype(self) -> str:
        """The dtype that the values were recorded in, casts of the recipe included."""
        return self.task.effective_dtype

    @property
    def is_float(self) -> bool:
        known = DTYPES.get(self.task.dtype)
        return known is not None and known.epsilon > 0


@dataclass
class Tables:
    """Reads quantities; keeps the shapes, and the values of the few records read last, no wider
    than they need be: mostly some rows of them are wanted. Several threads may read at a time.
    """

    _shapes: dict[SideTask, Shape] = field(default_factory=dict)
    _kept: dict[SideTask, Array] = field(default_factory=dict)
    _size: int = 0  # elements that are kept
    _most_kept: int = 1 << 24  # elements
    _lock: Lock = field(default_factory=Lock)  # for what is kept, not while a record is read

    def __reduce__(self) -> tuple[type[Tables], tuple[()]]:
        """Whoever it is sent to reads for itself."""
        return Tables, ()

    def shape(self, quantity: Quantity) -> Shape:
        """The shape of the view. Raises what `sample.UNREADABLE` has."""
        task = quantity.task
        if task not in self._shapes:
            with self._open(quantity) as reader:
                self._shapes[task] = reader.shape
        return self._shapes[task]

    def rows(self, quantity: Quantity) -> int:
        """How many rows the table has."""
        return prod(self.shape(quantity)[:-1])

    def read(self, quantity: Quantity, rows: Array | None = None) -> Array:
        """The table `[rows, channels]` in float64, all of it or the given rows (flat numbers).

        Raises what `sample.UNREADABLE` has; `RecipeError` also where a whole table is too large.
        """
        shape = self.shape(quantity)
        width = shape[-1] if shape else 1
        if rows is None:
            return self.whole(quantity).reshape(-1, width)
        if prod(shape) <= RUN and not self._apart(quantity, len(rows), prod(shape)):
            return self._kept_of(quantity).reshape(-1, width)[rows].astype(np.float64)
        with self._open(quantity) as reader:
            runs = np.stack([rows * width, np.full_like(rows, width)], axis=1)
            found = None
            if reader.shown is None:
                found = reader.sides[quantity.side].runs(runs)
            if found is not None:
                return found.reshape(-1, width).astype(np.float64, copy=False)
            # A reader hands out the same memory for every window: each is copied at once.
            parts = [
                _window(reader, key).reshape(-1, width).astype(np.float64)
                for key in _row_keys(shape, rows)
            ]
        return np.concatenate(parts)

    def _apart(self, quantity: Quantity, rows: int, size: int) -> bool:
        """Whether so many rows of a table of `size` elements had better be read one by one."""
        few = rows * _APART < self.rows(quantity) and size > _SMALL
        return few and quantity.task not in self._kept

    def _kept_of(self, quantity: Quantity) -> Array:
        """All values in the shape of the view, in the dtype that they were widened to."""
        task = quantity.task
        with self._lock:
            known = self._kept.get(task)
        if known is not None:
            return known
        shape = self.shape(quantity)
        if prod(shape) > _MOST_WHOLE:
            raise RecipeError(f"{quantity.key.label}: {prod(shape)} elements are too many at once")
        with self._open(quantity) as reader:
            values = np.array(_window(reader, (Ellipsis,)))  # the reader's memory is its own
        with self._lock:
            if task not in self._kept:  # another thread may have been as fast
                self._kept[task] = values
                self._size += values.size
            while len(self._kept) > 1 and self._size > self._most_kept:
                self._size -= self._kept.pop(next(iter(self._kept))).size
        return values

    def whole(self, quantity: Quantity) -> Array:
        """All values in float64, in the shape of the view. Raises as `read` does."""
        return self._kept_of(quantity).astype(np.float64)

    def _open(self, quantity: Quantity) -> PairReader:
        if quantity.side == "reference":
            return PairReader(quantity.task, None)
        return PairReader(None, quantity.task)


def _window(reader: PairReader, key: tuple[object, ...]) -> Array:
    x, y, shown = reader.window(key)  # pyright: ignore[reportArgumentType]
    values = x if x is not None else y
    assert values is not None
    if shown is not None and not shown.all():
        raise RecipeError("the dump shows only some of the elements")
    return values


def _row_keys(shape: Shape, rows: Array) -> Iterator[tuple[object, ...]]:
    """Keys of runs of neighbouring rows, in the order of `rows`."""
    start = 0
    for end in range(1, len(rows) + 1):
        inside = end < len(rows) and rows[end] == rows[end - 1] + 1
        if inside and (len(shape) < 3 or int(rows[end]) % shape[-2]):
            continue
        first, size = int(rows[start]), end - start
        start = end
        if len(shape) < 2:
            yield ()
            continue
        outer, at = divmod(first, shape[-2])
        index = np.unravel_index(outer, shape[:-2]) if len(shape) > 2 else ()
        yield (*(slice(int(i), int(i) + 1) for i in index), slice(at, at + size))


@dataclass(frozen=True)
class SideQuantities:
    """All readable records of one side. Of several records with one key the first counts."""

    side: SideName
    known: dict[Key, Quantity]

    @cached_property
    def calls(self) -> dict[tuple[str, int, int], list[Quantity]]:
        """(module, step, call) -> its quantities in execution order."""
        found: dict[tuple[str, int, int], list[Quantity]] = {}
        for key, quantity in self.known.items():
            found.setdefault((key.module, key.step, key.call), []).append(quantity)
        return found

    @cached_property
    def classes(self) -> dict[str, str]:
        """module -> class, where it is recorded."""
        return {q.key.module: q.module_class for q in self.known.values() if q.module_class}

    @cached_property
    def children(self) -> dict[str, list[str]]:
        """module -> the modules directly below it that have records, in execution order."""
        from ...matching.names.canonical import parent_of

        found: dict[str, dict[str, None]] = {}
        for module, _, _ in self.calls:
            found.setdefault(parent_of(module), {})[module] = None
        return {module: list(below) for module, below in found.items()}

    @cached_property
    def streams(self) -> dict[int, list[Quantity]]:
        """step -> outputs of layers and embeddings, in execution order."""
        found: dict[int, list[Quantity]] = {}
        for key, quantity in self.known.items():
            if key.slot == "output" and self.role(key.module) in ("layer", "embedding"):
                found.setdefault(key.step, []).append(quantity)
        return {step: sorted(rows, key=lambda q: q.row) for step, rows in found.items()}

    def role(self, module: str) -> Role:
        return role_of(module, self.classes.get(module))

    def find(self, module: str, slot: str, step: int = 0, call: int = 1) -> Quantity | None:
        return self.known.get(Key(module, slot, step, call))

    def output(self, module: str, step: int = 0, call: int = 1) -> Quantity | None:
        """What the module returned, of several things the first."""
        return self.find(module, "output", step, call)

    def inputs(self, module: str, step: int = 0, call: int = 1) -> list[Quantity]:
        """The floating-point inputs of a call, in order."""
        found = self.calls.get((module, step, call), ())
        return [q for q in found if q.is_float and q.key.slot.startswith("input")]

    def main_input(self, module: str, step: int = 0, call: int = 1) -> Quantity | None:
        """The tensor that the module works on: `input_0`, `input_hidden_states`, else the first
        floating-point input that is no mask and no table of positions.
        """
        found = {q.key.slot: q for q in self.inputs(module, step, call)}
        for slot in ("input_0", "input_hidden_states", "input_x", "input_input"):
            if slot in found:
                return found[slot]
        plain = (q for slot, q in found.items() if not _is_side_input(slot))
        return next(plain, None)


def _is_side_input(slot: str) -> bool:
    """True for what is given beside the tensor that a module works on."""
    return any(part in slot for part in ("mask", "position", "cos", "sin", "bias", "cache"))


def side_quantities(
    side: SideName, rows: Iterable[Row], records: Sequence[Record]
) -> SideQuantities:
    """The quantities of one side, from the rows of a comparison; `records` are the capture's."""
    known: dict[Key, Quantity] = {}
    listed = list(records)
    for row in rows:
        record = getattr(row, side)
        if record is None or record.locator is None or record.dtype is None or record.partial:
            continue
        recipe = row.recipe_reference if side == "reference" else row.recipe_candidate
        paired = row.kind == "pair" and row.problem_level is None
        key = Key(row.canonical, row.slot, row.step, row.call)
        try:
            task = side_task(record, recipe if paired else "", listed)
        except RecipeError:  # said on the row when it is measured
            continue
        cut = any(r is not None and r.tokens is not None for r in (row.reference, row.candidate))
        quantity = Quantity(key, side, task, row.index, paired, record.module_class, cut)
        known.setdefault(key, quantity)
    return SideQuantities(side, known)
