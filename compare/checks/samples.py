"""Looking at records in samples, and in full only where the samples give reason to.

A sample is a few hundred elements; sixteen of them, spread evenly over the record, stand for it.
What looks equal or constant in its samples is confirmed on all elements, in blocks, as long as the
budget of bytes lasts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from math import prod

import numpy as np

from ...capture.dtypes import DTYPES
from ...capture.errors import RecordError
from ...capture.records import Locator, Record
from ...capture.values import Array, upcast
from ..measuring.blocks import Source, flat_where_possible, pieces
from ..measuring.fused import known_float, same_bytes
from ..measuring.mantissa import distinct, mantissa_bits
from ..measuring.pair_reader import CancelledError
from ..tasks.on_executor import answers

_SAMPLES, _SAMPLE = 16, 256
_BLOCK = 1 << 16
_COARSE = 10  # stored bits of mantissa: what has no more is on no narrower grid worth telling
_NARROW = 4  # bytes of real numbers that float32 holds


@dataclass(frozen=True, slots=True)
class Look:
    """What the samples of a record show: a digest of their bits, whether all elements are the same
    number (`value`), and whether any or all are NaN; of real numbers wider than float16 the bits of
    mantissa that (nearly) all of them keep to, and how many `different` ones there are.
    """

    digest: bytes
    value: float | None
    any_nan: bool
    all_nan: bool
    bits: int = 52
    different: int = 0


@dataclass(slots=True)
class Budget:
    """Bytes that may still be read to confirm what samples suggest."""

    left: int = 2 << 30
    spent: bool = False  # something was left unconfirmed

    def take(self, locator: Locator, times: int = 1) -> bool:
        """Reserve the reading of a record; False when there is not enough left."""
        size = times * prod(locator.shape) * DTYPES[locator.dtype].itemsize
        if size > self.left:
            self.spent = True
            return False
        self.left -= size
        return True


def look(locator: Locator) -> Look | None:
    """The samples of a record; None for one that cannot be read or holds only some elements."""
    seen = sampled(locator)
    if seen is None:
        return None
    kind = DTYPES[locator.dtype]
    digest = blake2b(repr((locator.dtype, locator.shape)).encode(), digest_size=16)
    narrow = kind.kind == "float" and kind.itemsize <= _NARROW
    digest.update((seen.astype(np.float32, copy=False) if narrow else seen).data)
    nan = np.isnan(seen)
    constant = bool((seen == seen[0]).all())
    value = float(seen[0].real) if constant else None
    bits, different = 52, 0
    if seen.dtype.kind == "f" and kind.mantissa_bits > _COARSE:
        bits, negative = mantissa_bits(seen), seen < 0
        different = distinct(seen[negative]) + distinct(seen[~negative])
    return Look(digest.digest(), value, bool(nan.any()), bool(nan.all()), bits, different)


def sampled(locator: Locator) -> Array | None:
    """The elements of a record that `look` looks at, as numbers; None where it cannot be read, and
    for one without elements.
    """
    try:
        with Source(locator) as source:
            found = _sampled(source.opened())
    except (RecordError, OSError, MemoryError):
        return None
    return found if found.size else None


def _sampled(source: Source) -> Array:
    view, dtype = flat_where_possible(source.array), source.locator.dtype
    if view.ndim != 1:
        keys = [key for _, key in pieces(view.shape, _SAMPLE)]
        return _joined(source, dtype, (view[keys[at]] for at in _evenly(len(keys) - 1)))
    runs = _runs_evenly(view.size)
    found = source.real_runs(view, runs) if known_float(dtype) else None
    if found is None:
        found = _joined(source, dtype, (view[at : at + count] for at, count in runs.tolist()))
    return found


def _joined(source: Source, dtype: str, parts: Iterable[Array]) -> Array:
    """The numbers of parts of a record, one after the other. What a source has read is good until
    it reads again, so that each part is copied at once.
    """
    return np.concatenate([np.array(_numbers(source.read(part), dtype)) for part in parts])


@lru_cache(maxsize=256)  # the layers of a model have records of a few sizes
def _runs_evenly(size: int) -> Array:
    """The first of the elements of every run, and how many there are: int64 `[runs, 2]`."""
    starts = np.array(_evenly(size - _SAMPLE))
    return np.stack([starts, np.minimum(size - starts, _SAMPLE)], axis=1)


def _evenly(last: int) -> list[int]:
    """At most so many places as there are samples, from 0 to `last`, both among them."""
    return sorted({max(0, last) * index // (_SAMPLES - 1) for index in range(_SAMPLES)})


def _numbers(block: Array, dtype: str) -> Array:
    flat = block.reshape(-1)
    return flat.view(np.uint8) != 0 if dtype == "bool" else upcast(flat, dtype)


def same_bits(one: Locator, other: Locator) -> bool:
    """True when two records of one dtype and shape are equal bit by bit. Raises `RecordError`."""
    if one == other:
        return True
    with Source(one) as left, Source(other) as right:
        x = flat_where_possible(left.opened().array)
        y = flat_where_possible(right.opened().array)
        if x.ndim != y.ndim:
            x, y = left.array, right.array
        places = left.place(x), right.place(y)
        if places[0] is not None and places[1] is not None:
            try:
                same = same_bytes(places[0], places[1], x.nbytes)
            except (OSError, EOFError) as error:
                raise RecordError(f"cannot be read: {error}") from error
            if same is not None:
                return same
        return all(
            left.read(x[key]).tobytes() == right.read(y[key]).tobytes()
            for _, key in pieces(x.shape, _BLOCK)
        )


def _same_or_unreadable(one: Locator, other: Locator) -> bool:
    try:
        return same_bits(one, other)
    except (RecordError, OSError, MemoryError):
        return False


def is_constant(locator: Locator, value: float) -> bool:
    """True when every element is `value`. Raises `RecordError`."""
    with Source(locator) as source:
        view = flat_where_possible(source.opened().array)
        return all(
            bool((_numbers(source.read(view[key]), locator.dtype) == value).all())
            for _, key in pieces(view.shape, _BLOCK)
        )


@dataclass(slots=True)
class Looks:
    """Samples of the records of one capture, examined once."""

    budget: Budget
    known: dict[int, Look | None] = field(default_factory=dict)
    _same: dict[tuple[Locator, Locator], bool] = field(default_factory=dict)

    def of(self, record: Record) -> Look | None:
        key = id(record)
        if key not in self.known:
            locator = record.locator
            self.known[key] = None if locator is None else look(locator)
        return self.known[key]

    def see(self, records: Sequence[Record], cancelled: Callable[[], bool] | None = None) -> bool:
        """Look at all of them, on whatever workers there are (see `tasks`); False when `cancelled`
        said stop.
        """
        new = {id(r): r.locator for r in records if r.locator and id(r) not in self.known}
        try:
            for key, seen in zip(new, answers(look, [*new.values()], cancelled), strict=True):
                self.known[key] = seen
        except CancelledError:
            return False
        return True

    def same(self, one: Record, other: Record) -> bool:
        """True when both are equal in full, or in their samples where the budget is spent."""
        left, right = one.locator, other.locator
        if left is None or right is None:
            return False
        if left == right:
            return True
        found = self._same.get((left, right))
        if found is None:
            if not self.budget.take(left, 2):
                return True
            found = self._same[left, right] = _same_or_unreadable(left, right)
        return found

    def constant(self, record: Record) -> float | None:
        """The number that every element of a record is; None for any other record."""
        seen, locator = self.of(record), record.locator
        if seen is None or seen.value is None or locator is None:
            return None
        if not self.budget.take(locator):
            return seen.value
        try:
            return seen.value if is_constant(locator, seen.value) else None
        except (RecordError, OSError, MemoryError):
            return None
