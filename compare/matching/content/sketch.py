"""A small description of a record's values, by which its partner is found.

Some elements at places that depend on the number of elements alone, so that records whose elements
stand in the same order are compared element by element, whatever their shapes. Where another layout
is looked for, the sorted values, which no layout changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b

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
    and other values that many records may have. `values` are all elements, flat, of a small record
    that is kept in memory.
    """

    count: int
    kind: str
    coarse: bool
    sample: Array
    bits: bytes
    telling: bool
    values: Array | None = None


def may_have_sketch(record: Record) -> bool:
    """Whether a record has enough elements, all of them, and not of a kind that says nothing."""
    locator = record.locator
    if locator is None or record.dtype is None or record.partial is not None:
        return False
    if may_be_partial(locator.reader) or locator.dtype == "bool":
        return False
    return locator.count >= FEWEST and bool(kind_of(locator.dtype))


def sketch_of(record: Record) -> Sketch | None:
    """The sketch of a record; None where it has too few elements, is held in part or holds hardly
    a finite number. Raises `RecordError`, `OSError`.
    """
    if not may_have_sketch(record):
        return None
    assert record.locator is not None
    return sketches_of(record, read_some(record.locator)[None])[0]


def sketches_of(like: Record, raw: Array, keep: bool = False) -> list[Sketch | None]:
    """The sketches of records that are of the dtypes and of as many elements as `like`, which may
    have a sketch. `raw` are the elements of each that `read_some` gives, `[records, elements]`;
    with `keep` they stay with their sketches.
    """
    assert like.locator is not None and like.dtype is not None
    count = like.locator.count
    values = real(upcast(raw, like.locator.dtype))
    sampled = places(values.shape[1], SAMPLE)
    if kind_of(like.locator.dtype) == "exact":
        return _exact(values, sampled, count)
    coarse = DTYPES[like.dtype].epsilon > 1e-5
    found = _floating(values, sampled, count, kind_of(like.locator.dtype), coarse)
    if not keep:
        return found
    return [
        sketch and replace(sketch, values=own) for sketch, own in zip(found, values, strict=True)
    ]


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


def read_some(locator: Locator) -> Array:
    """Raw elements, flat: all of a small record, some of a larger one. Raises `RecordError`,
    `OSError`.
    """
    count = locator.count
    with Source(locator) as source:
        source.opened()
        if count <= WHOLE or not source.in_parts or locator.strides is not None:
            whole = np.array(source.load()).reshape(-1)
            return whole if count <= WHOLE else whole[places(count, _READ)]
        return source.pick(places(count, _READ))


def real(values: Array) -> Array:
    """Real values; of complex ones a sum in which both parts count."""
    if values.dtype.kind == "c":
        return np.real(values) + 0.618 * np.imag(values)
    return values


def _exact(values: Array, sampled: Array, count: int) -> list[Sketch | None]:
    """Whole numbers agree in every element or not at all."""
    distinct = _distinct(np.sort(values, axis=1))
    steps = _distinct(np.sort(np.diff(values.astype(np.float64), axis=1), axis=1))
    telling = (distinct >= _FEWEST_VALUES) & (steps > 2)
    samples = values[:, sampled].astype(np.float32)
    plain = np.ascontiguousarray(values.astype(np.int64, copy=False))
    return [
        Sketch(count, "exact", False, sample, _digest(count, own), tells)
        for sample, own, tells in zip(samples, plain, telling.tolist(), strict=True)
    ]


def _floating(
    values: Array, sampled: Array, count: int, kind: str, coarse: bool
) -> list[Sketch | None]:  # fmt: skip
    finite, enough = _finite(values)
    plain = finite.astype(np.float32) + np.float32(0)  # no zero is negative
    samples = _tamed(finite, finite[:, sampled])
    telling = samples.any(axis=1) & _tells(samples)
    rows = zip(enough.tolist(), samples, plain, telling.tolist(), strict=True)
    return [
        Sketch(count, kind, coarse, sample, _digest(count, own), tells) if known else None
        for known, sample, own, tells in rows
    ]


def _finite(values: Array) -> tuple[Array, Array]:
    """Floating-point rows, zeros for what is not finite; and which rows have enough that is."""
    values = values.astype(np.float32 if values.dtype.itemsize < 8 else np.float64, copy=False)
    finite = np.isfinite(values)
    if finite.all():
        return values, np.ones(len(values), bool)
    enough = np.count_nonzero(finite, axis=1) >= max(FEWEST, values.shape[1] // 2)
    return np.where(finite, values, 0), enough


def _tamed(values: Array, some: Array) -> Array:
    """Some of the values of each row, none larger than a few times the median size of what is not
    zero.
    """
    size = np.sort(np.abs(values), axis=1)
    width = size.shape[1]
    zeros = width - np.count_nonzero(size, axis=1)
    middle = np.minimum((zeros + width) // 2, width - 1)
    most = (_WIDEST * np.take_along_axis(size, middle[:, None], axis=1)).astype(some.dtype)
    return np.clip(some, -most, most).astype(np.float32)


def _tells(samples: Array) -> Array:
    """Of which rows the values are of many sizes, and not repeated nearly everywhere."""
    ordered = np.sort(samples, axis=1)
    many = _distinct(ordered) >= _FEWEST_VALUES
    run = int(_MOST_EQUAL * samples.shape[1])  # so many may be equal
    return many & ~(ordered[:, run:] == ordered[:, : samples.shape[1] - run]).any(axis=1)


def _distinct(ordered: Array) -> Array:
    """How many different values each sorted row has."""
    return np.count_nonzero(ordered[:, 1:] != ordered[:, :-1], axis=1) + 1


def levels_of(values: Array) -> tuple[Array, Array]:
    """`LEVELS` of the sorted values of each row of `[records, elements]`, float32; and which rows
    have more than hardly a finite one.
    """
    finite, enough = _finite(values)
    at = np.linspace(0, finite.shape[1] - 1, LEVELS).astype(np.int64)
    return _tamed(finite, np.sort(finite, axis=1)[:, at]), enough


def _digest(count: int, values: Array) -> bytes:
    return blake2b(values.tobytes(), digest_size=12, key=str(count).encode()).digest()
