"""A small description of a record's values, by which its partner is found.

Some elements at places that depend on the number of elements alone, so that records whose elements
stand in the same order are compared element by element, whatever their shapes. Where another layout
is looked for, the sorted values, which no layout changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from math import prod

import numpy as np

from ....capture.dtypes import DTYPES
from ....capture.formats.registry import may_be_partial
from ....capture.records import Locator, Record
from ....capture.values import Array, upcast
from ...measuring.blocks import Source
from ..named_records import kind_of

FEWEST = 8  # elements from which on values tell records apart
SAMPLE = 128  # elements that are compared one by one
WHOLE = 1 << 16  # elements up to which a record is read as a whole
_READ, _RUN = 4096, 64  # elements that are read of a larger one, and of them one after another
LEVELS = 32  # of the sorted values
_WIDEST = 6.0  # times the usual size: larger values count as this, so that one does not rule all
# Different values in a sample from which on they tell records apart, and the share of it that may
# be one of them.
_FEWEST_VALUES, _MOST_EQUAL = 6, 0.75


@dataclass(frozen=True, slots=True)
class Sketch:
    """`sample` are up to `SAMPLE` elements, float32, none larger than a few times the usual size.
    `bits` is equal for records of equal values. `telling` is False for constants, masks, counters
    and other values that many records may have.
    """

    count: int
    kind: str
    coarse: bool
    sample: Array
    bits: bytes
    telling: bool


def sketch_of(record: Record) -> Sketch | None:
    """The sketch of a record; None where it has too few elements, is held in part or holds hardly
    a finite number. Raises `RecordError`, `OSError`.
    """
    locator = record.locator
    if locator is None or record.dtype is None or record.partial is not None:
        return None
    kind, count = kind_of(locator.dtype), prod(locator.shape)
    if count < FEWEST or not kind or may_be_partial(locator.reader) or locator.dtype == "bool":
        return None
    raw, sampled = _read(locator)
    values = _real(upcast(raw, locator.dtype))
    if kind == "exact":
        return _exact(values, sampled, count)
    return _floating(values, sampled, count, kind, _is_coarse(record.dtype))


def _is_coarse(dtype: str) -> bool:
    return DTYPES[dtype].epsilon > 1e-5


@lru_cache(maxsize=512)
def places(count: int, wanted: int) -> Array:
    """`wanted` flat places of a record of `count` elements, sorted; all where there are no more.

    They are drawn, since even distances would meet the same few channels of every row.
    """
    if count <= wanted:
        return np.arange(count)
    draw = np.random.default_rng(count)
    if count <= WHOLE:
        return np.sort(draw.choice(count, wanted, replace=False))
    # Of a large one some runs, which a disk reads at once.
    edges = np.linspace(0, count, wanted // _RUN + 1).astype(np.int64)
    starts = edges[:-1] + (draw.random(len(edges) - 1) * (np.diff(edges) - _RUN)).astype(np.int64)
    return (starts[:, None] + np.arange(_RUN)).reshape(-1)


def _read(locator: Locator) -> tuple[Array, Array]:
    """Raw elements, flat, and which of them are the sample: all of a small record."""
    count = locator.count
    with Source(locator) as source:
        source.opened()
        if count <= WHOLE or not source.in_parts or locator.strides is not None:
            whole = np.array(source.load()).reshape(-1)
            if count > WHOLE:
                whole = whole[places(count, _READ)]
        else:
            whole = source.pick(places(count, _READ))
    if count <= WHOLE:
        return whole, places(count, SAMPLE)
    return whole, places(_READ, SAMPLE)


def _real(values: Array) -> Array:
    if values.dtype.kind == "c":
        return np.real(values) + 0.618 * np.imag(values)
    return values


def _exact(values: Array, sampled: Array, count: int) -> Sketch:
    """Whole numbers agree in every element or not at all."""
    distinct = np.unique(values)
    steps = np.unique(np.diff(values.astype(np.float64)))
    telling = len(distinct) >= _FEWEST_VALUES and len(steps) > 2
    sample = values[sampled].astype(np.float32)
    plain = np.ascontiguousarray(values.astype(np.int64, copy=False))
    return Sketch(count, "exact", False, sample, _digest(count, plain), telling)


def _floating(
    values: Array, sampled: Array, count: int, kind: str, coarse: bool
) -> Sketch | None:  # fmt: skip
    finite = _finite(values)
    if finite is None:
        return None
    bits = _digest(count, finite.astype(np.float32) + np.float32(0))  # no zero is negative
    sample = _tamed(finite, finite[sampled])
    return Sketch(count, kind, coarse, sample, bits, bool(sample.any()) and _tells(sample))


def _finite(values: Array) -> Array | None:
    """Floating-point values, zeros for what is not finite; None where that is most of them."""
    values = values.astype(np.float32 if values.dtype.itemsize < 8 else np.float64, copy=False)
    finite = np.isfinite(values)
    if finite.all():
        return values
    if np.count_nonzero(finite) < max(FEWEST, len(values) // 2):
        return None
    return np.where(finite, values, 0)


def _tamed(values: Array, some: Array) -> Array:
    """Some of the values, none larger than a few times the median size of what is not zero."""
    size = np.sort(np.abs(values))
    zeros = int(np.searchsorted(size, 0, side="right"))
    usual = float(size[(zeros + len(size)) // 2]) if zeros < len(size) else 0.0
    return np.clip(some, -_WIDEST * usual, _WIDEST * usual).astype(np.float32)


def _tells(sample: Array) -> bool:
    """Whether values are of many sizes, and do not repeat themselves nearly everywhere."""
    starts = np.flatnonzero(np.diff(np.sort(sample), prepend=np.nan))
    most = int(np.diff(starts, append=len(sample)).max())
    return len(starts) >= _FEWEST_VALUES and most <= _MOST_EQUAL * len(sample)


def levels_of(record: Record) -> Array | None:
    """`LEVELS` of a record's sorted values, float32; None where it has hardly a finite one. Raises
    `RecordError`, `OSError`.
    """
    assert record.locator is not None
    raw, _ = _read(record.locator)
    values = _finite(_real(upcast(raw, record.locator.dtype)))
    if values is None:
        return None
    at = np.linspace(0, len(values) - 1, LEVELS).astype(np.int64)
    return _tamed(values, np.sort(values)[at])


def _digest(count: int, values: Array) -> bytes:
    return blake2b(values.tobytes(), digest_size=12, key=str(count).encode()).digest()
