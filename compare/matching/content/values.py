"""Records of one side, those of equal values together, and which are nearest on the other side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ....capture.values import Array
from ...measuring.pair_reader import CancelledError
from ..named_records import Item
from .sketch import Sketch

_ROWS = 256  # of a table of distances at a time

Group = tuple[str, int]  # kind and number of elements


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A record and its sketch; `loose` where its name has found it no partner. `index` is its place
    in its capture.
    """

    item: Item
    sketch: Sketch
    loose: bool

    @property
    def index(self) -> int:
        return self.item.position


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """Records of one side with equal values, in the order of their capture."""

    entries: tuple[Entry, ...]

    @property
    def sketch(self) -> Sketch:
        return self.entries[0].sketch

    @property
    def loose(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.loose]


@dataclass(frozen=True, slots=True)
class Near:
    """Values of both sides that are nearest to each other: their relative distance, and that of the
    next best of either.
    """

    reference: Values
    candidate: Values
    distance: float
    second: float

    @property
    def lone(self) -> bool:
        """Whether there is one record a side with these values."""
        return len(self.reference.entries) == len(self.candidate.entries) == 1


def together(entries: Iterable[Entry]) -> dict[Group, list[Values]]:
    """Entries whose values tell them apart, by what may be compared, equal values together."""
    by_bits: dict[tuple[Group, bytes], list[Entry]] = defaultdict(list)
    for entry in entries:
        sketch = entry.sketch
        if sketch.telling:
            by_bits[(sketch.kind, sketch.count), sketch.bits].append(entry)
    groups: dict[Group, list[Values]] = defaultdict(list)
    for (group, _), alike in by_bits.items():
        groups[group].append(Values(tuple(alike)))
    return groups


def nearest(
    reference: list[Values], candidate: list[Values], cancelled: Callable[[], bool],
    vector: Callable[[Sketch], Array] = lambda sketch: sketch.sample,
) -> Iterator[Near]:  # fmt: skip
    """Those that are nearest to each other in both directions. Distances are those of `vector`,
    relative to the longer one. Raises `CancelledError`.
    """
    if not reference or not candidate:
        return
    a, b = (np.stack([vector(v.sketch) for v in side]) for side in (reference, candidate))
    scale = float(np.abs(a).max()) or 1.0
    a, b = (a / scale).astype(np.float32), (b / scale).astype(np.float32)
    aa, bb = np.einsum("ij,ij->i", a, a), np.einsum("ij,ij->i", b, b)
    rows = [_Best.none(len(a)), _Best.none(len(b))]
    for start in range(0, len(a), _ROWS):
        if cancelled():
            raise CancelledError
        end = min(start + _ROWS, len(a))
        inner = a[start:end] @ b.T
        larger = np.maximum(aa[start:end, None], bb[None, :])
        inner *= -2
        inner += aa[start:end, None]
        inner += bb[None, :]
        inner /= np.maximum(larger, np.float32(1e-30))
        rows[0].put(np.arange(start, end), inner)
        rows[1].merge(inner.T, start)
    ours, theirs = rows
    for i, j in enumerate(ours.at.tolist()):
        if theirs.at[j] == i:
            second = min(ours.second[i], theirs.second[j])
            yield Near(reference[i], candidate[j], _root(ours.first[i]), _root(second))


def _root(square: float) -> float:
    return float(max(square, 0.0)) ** 0.5


@dataclass(slots=True)
class _Best:
    """The least and the second least of every row so far, and where the least is."""

    first: Array
    second: Array
    at: Array

    @staticmethod
    def none(count: int) -> _Best:
        far = np.full(count, np.inf, np.float32)
        return _Best(far, far.copy(), np.zeros(count, np.int64))

    def put(self, rows: Array, table: Array) -> None:
        """Rows whose table is whole."""
        first, second, at = _two_least(table)
        self.first[rows], self.second[rows], self.at[rows] = first, second, at

    def merge(self, table: Array, start: int) -> None:
        """More columns of all rows, of which the first is column `start`."""
        first, second, at = _two_least(table)
        better = first < self.first
        self.second = np.where(
            better, np.minimum(self.first, second), np.minimum(self.second, first)
        )
        self.first = np.where(better, first, self.first)
        self.at = np.where(better, at + start, self.at)


def _two_least(table: Array) -> tuple[Array, Array, Array]:
    at = table.argmin(1)
    every = np.arange(len(table))
    first = table[every, at].copy()
    if table.shape[1] < 2:
        return first, np.full(len(table), np.inf, np.float32), at
    table[every, at] = np.inf
    second = table.min(1)
    table[every, at] = first
    return first, second, at
