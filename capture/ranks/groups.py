"""Records of one name on several ranks, and how far they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from ..dtypes import DTYPES
from ..errors import RecordError
from ..records import Locator, Record
from .join_tree import Node, as_node

if TYPE_CHECKING:
    from ..values import Array

WHOLE = 1 << 17  # bytes of a record that are all looked at
LARGE = 1 << 23  # the same, where there is not much to look at
_SAMPLES, _SAMPLE = 16, 1 << 13  # of a larger one: so many places, and bytes at each
_MOST_LOADED = 1 << 20  # elements of a record that is loaded for that, where it has to be


class Seen(NamedTuple):
    """What was seen of records of several ranks: see the properties of `Group`."""

    same: bool
    error: float
    constant: bool


@dataclass(eq=False)
class Group:
    """What the ranks have under one name, in the order of the ranks. `compared` keeps what was seen
    of groups, by where their records lie; records of more than `most` bytes are looked at in
    pieces. `module` and `slot` are those of the records, where their names have not more in them
    than is known of them. `kind` is the kind of parallelism, where ranks differ in several.
    """

    records: tuple[Record, ...]
    compared: dict[object, Seen] = field(default_factory=dict)
    most: int = WHOLE
    module: str = ""
    slot: str = ""
    kind: str = ""

    def __post_init__(self) -> None:
        self.module = self.module or self.first.module
        self.slot = self.slot or self.first.slot

    @property
    def first(self) -> Record:
        return self.records[0]

    @property
    def count(self) -> int:
        return len(self.records)

    @property
    def call(self) -> tuple[int, str, int]:
        return self.first.step, self.module, self.first.call

    @property
    def last(self) -> str:
        """The last component of the module's path that is no number."""
        return next((p for p in reversed(self.module.split(".")) if not p.isdecimal()), "")

    @property
    def parent(self) -> str:
        return self.module.rpartition(".")[0]

    @property
    def is_output(self) -> bool:
        return self.slot in ("output", "output_0", "value")

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...] | None:
        """The shape on every rank; None where one is not known, or no values are there."""
        found = [record.shape for record in self.records if record.locator is not None]
        known = tuple(shape for shape in found if shape is not None)
        return known if len(known) == self.count else None

    @property
    def alike(self) -> tuple[int, ...] | None:
        """The shape that is the same on all ranks; None where it is not."""
        shapes = self.shapes
        return shapes[0] if shapes and len(set(shapes)) == 1 else None

    @property
    def is_float(self) -> bool:
        known = DTYPES.get(self.first.dtype or "")
        return known is not None and known.kind == "float"

    @property
    def samples(self) -> tuple[Array, ...] | None:
        """The same elements of every rank's record; None where shapes or dtypes differ or one
        cannot be read. They are read whenever they are asked for, and not kept.
        """
        if self.alike is None or len({record.dtype for record in self.records}) > 1:
            return None
        try:
            return tuple(sample(r.locator, self.most) for r in self.records if r.locator)
        except (RecordError, OSError, TypeError):
            return None

    @property
    def same(self) -> bool:
        """The same shape and the same bits on all ranks, as far as is looked."""
        return self._seen.same

    @property
    def error(self) -> float:
        """The greatest relative L2 between the first rank and another; infinite where they are not
        comparable, NaN counts as that.
        """
        return self._seen.error

    @property
    def is_constant(self) -> bool:
        """One value on all ranks, as far as is looked: equal parts say nothing then."""
        return self._seen.constant

    @cached_property
    def _seen(self) -> Seen:
        key = (self.shapes, places(self.records))
        known = self.compared.get(key)
        if known is None:
            known = self.compared[key] = self._look()
        return known

    def _look(self) -> Seen:
        found = self.samples
        if found is None:
            return Seen(False, float("inf"), False)
        if all(_equal(found[0], other) for other in found[1:]):
            constant = found[0].size > 1 and bool((found[0] == found[0][0]).all())
            return Seen(True, 0.0, constant)
        if not self.is_float:
            return Seen(False, float("inf"), False)
        dtype = self.first.dtype or ""
        return Seen(False, max(distance(one, found[0], dtype) for one in found[1:]), False)

    @property
    def agree(self) -> bool:
        """The same on all ranks but for a unit in the last place of each element."""
        dtype = DTYPES.get(self.first.dtype or "")
        return self.same or (dtype is not None and self.error <= dtype.epsilon)

    @property
    def leaves(self) -> list[Node]:
        return [as_node(record.locator) for record in self.records if record.locator is not None]

    def odd_ones(self) -> tuple[int, ...]:
        """The places of the ranks that have other values than most, or than the first."""
        found = self.samples or ()
        classes: list[list[int]] = []
        for place, one in enumerate(found):
            same = next((c for c in classes if _equal(found[c[0]], one)), None)
            if same is None:
                classes.append([place])
            else:
                same.append(place)
        most = max(classes, key=len, default=[])
        return tuple(n for n in range(len(found)) if n not in most)


def sample(locator: Locator, most: int = WHOLE) -> Array:
    """The raw elements of a record, or of pieces spread evenly over it. Raises `RecordError`,
    `OSError`, `TypeError`.
    """
    import numpy as np

    from ..storage import open_file
    from .joined_file import JoinedFile

    dtype = np.dtype(DTYPES[locator.dtype].storage)
    size = locator.count * dtype.itemsize
    if not locator.of_ranks and (not locator.in_place or locator.strides is not None):
        if locator.count > _MOST_LOADED:
            raise RecordError("too large to be examined")
        from ..load import load

        return np.ascontiguousarray(load(locator)).reshape(-1)
    parts = [(0, size)] if size <= most else [
        (int(n * (size - _SAMPLE) / (_SAMPLES - 1)) // dtype.itemsize * dtype.itemsize, _SAMPLE)
        for n in range(_SAMPLES)
    ]  # fmt: skip
    with JoinedFile(locator) if locator.of_ranks else open_file(locator.path) as file:
        raw = b"".join(file.read_at(locator.offset + at, length) for at, length in parts)
    if len(raw) != sum(length for _, length in parts):
        raise RecordError("truncated")
    return np.frombuffer(raw, dtype)


def distance(one: Array, other: Array, dtype: str) -> float:
    """The relative L2 of raw elements; infinite where it is none."""
    import numpy as np

    from ..values import upcast

    with np.errstate(all="ignore"):
        a, b = (upcast(raw, dtype).astype(np.float64) for raw in (one, other))
        norm = float(np.linalg.norm(b))
        found = float(np.linalg.norm(a - b)) / norm if norm else float("inf")
    return found if found == found else float("inf")


def _equal(one: Array, other: Array) -> bool:
    return one.tobytes() == other.tobytes()


def rows_that_differ(group: Group, place: int, against: int) -> tuple[int, int] | None:
    """The first row (elements along the last axis) of one rank's record that differs from another
    rank's, and how many do; None where that cannot be told.
    """
    import numpy as np

    from ..load import load

    one, other = group.records[place].locator, group.records[against].locator
    if one is None or other is None or one.shape != other.shape or one.count > _MOST_LOADED:
        return None
    try:
        a, b = (np.ascontiguousarray(load(where)) for where in (one, other))
    except (RecordError, OSError, TypeError):
        return None
    width = one.shape[-1] if one.shape else 1
    lines = [raw.view(np.uint8).reshape(-1, width * raw.itemsize) for raw in (a, b)]
    wrong = np.flatnonzero((lines[0] != lines[1]).any(-1))
    return (int(wrong[0]), len(wrong)) if wrong.size else None


def places(group: Sequence[Record]) -> tuple[tuple[object, ...], ...]:
    """Where the parts lie, to know them again."""
    located = [record.locator for record in group]
    return tuple(
        (part.path, part.offset, part.strides, part.reader, part.key)
        for part in located if part is not None
    )  # fmt: skip
