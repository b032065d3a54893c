"""One pass of compiled code over a block of both sides, where that module is there.

It takes raw elements, widens them in registers, gathers what `sums` gathers with numpy, and lets go
of the interpreter's lock meanwhile. numpy's arithmetic is the reference and stands in where the
package was installed without a compiler, where `LAYERTUI_NO_KERNEL` is set, and for all that the
compiled pass does not know: whole and complex numbers, units in the last place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import NamedTuple, Protocol

import numpy as np

from ...capture.dtypes import DTYPES
from ...capture.values import Array, small_float_table
from .kernel import compiled_module
from .rooms import room

_NO_TABLE = np.empty(0, np.float32)
_AS_THEY_ARE = ("float32", "float64", "float16", "bfloat16")
_ROOM = 1 << 21  # bytes for a piece of both files: smaller ones cost more calls, more leave L3
_ROOM_OF_RUNS = 1 << 17  # bytes: a run's, which stay in the core's own cache

Moment = tuple[int, float, float, float, float, float, float, float, float]
Side = tuple[int, float, float, float, float, int, int, int]
Greatest = tuple[float, int, float, float]


class OnePass(NamedTuple):
    """What one pass over a block gathers, in the order of `moments.Moments` and `SideSums`.

    The extremes are value, place in the block and both sides' values there; the place is -1 where
    nothing is greater than what was known before.
    """

    moments: Moment
    reference: Side
    candidate: Side
    max_abs: Greatest
    max_rel: Greatest
    sum_abs: float
    mismatched: int
    nonfinite_mismatch: int
    equal: bool

    @property
    def taken(self) -> int:
        """Pairs that were taken in."""
        n, _, _, _, _, nan, inf, _ = self.reference
        return n + nan + inf


def one_pass(
    x: Array, y: Array, dtypes: tuple[str, str], tolerances: tuple[float, float],
    known: tuple[float, float] = (-1.0, -1.0), instructions: str | None = None,
) -> OnePass | None:  # fmt: skip
    """The sums of two blocks of raw elements; None where they are a job for numpy.

    `tolerances` are rtol and atol, `known` the greatest absolute and relative difference of earlier
    blocks. `instructions` is one of `instruction_sets`, the best if not given.
    """
    module = compiled_module()
    if module is None or not (readable(x, dtypes[0]) and readable(y, dtypes[1])):
        return None
    left, right = (kind_of(dtype) for dtype in dtypes)
    found = module.sums(x, *left, y, *right, *tolerances, *known, instructions)
    return None if found is None else OnePass(*found)


@dataclass(frozen=True, slots=True)
class Place:
    """Elements one after the other in an open file of this machine: its descriptor, the offset of
    the first in bytes, their dtype.
    """

    descriptor: int
    offset: int
    dtype: str

    def after(self, count: int) -> Place:
        """The place `count` elements further on."""
        step = count * DTYPES[self.dtype].itemsize
        return Place(self.descriptor, self.offset + step, self.dtype)


class PassDevice(Protocol):
    """What takes passes over long pairs off the hands of this process: a GPU."""

    def pass_over_files(
        self, x: Place, y: Place, count: int, tolerances: tuple[float, float],
        take: Callable[[OnePass, int], None], cancelled: Callable[[], bool] | None,
    ) -> int:  # fmt: skip
        """Passes over the first of `count` pairs, in blocks, each of which `take` hears of with its
        place; how many pairs these were, 0 where it does not want them, or cannot have them. May be
        asked by several threads. Raises `CancelledError`, and nothing else.
        """
        ...


def pass_over_files(
    x: Place, y: Place, count: int, tolerances: tuple[float, float],
    before: OnePass | None = None, seconds: float = math.inf, instructions: str | None = None,
) -> OnePass | None:  # fmt: skip
    """The same of `count` pairs in two files, which are read a piece at a time, without the
    interpreter's lock; of fewer, its `taken`, where `seconds` are over before. Given back as
    `before` it is gone on with, and the numbers in the end are those of one go. Raises `OSError`,
    and `EOFError` where a file is shorter than it was.
    """
    module = compiled_module()
    if module is None:
        return None
    sides = ((side.descriptor, side.offset, *kind_of(side.dtype)) for side in (x, y))
    found = module.sums_of_files(
        *chain(*sides), count, room("pieces", _ROOM), seconds, *tolerances, before, instructions
    )
    return None if found is None else OnePass(*found)


def runs_of_file(
    place: Place, runs: Array, size: int, instructions: str | None = None
) -> Array | None:
    """Runs of elements, int64 `[n, 2]`: the first, counted from `place`, and how many; all of them,
    `size`, one after the other as float64. None where there is no compiled module. Raises `OSError`
    and `EOFError` as above.
    """
    module = compiled_module()
    if module is None:
        return None
    found = np.empty(size)
    module.read_runs(
        place.descriptor, place.offset, *kind_of(place.dtype), np.ascontiguousarray(runs),
        room("runs", _ROOM_OF_RUNS), found, instructions,
    )  # fmt: skip
    return found


class SampleNumbers(NamedTuple):
    """What is seen of a sample: `plain` as in `even_sample.EvenSums`; the evened error, squared;
    the numbers of the fits (see `fits`); how many stand at an end; different numbers of x, of y;
    bits of mantissa of both.
    """

    plain: tuple[float, ...]
    even_error: float
    fits: tuple[float, ...]
    saturated: int
    distinct: tuple[int, int]
    bits: tuple[int, int]


@dataclass(frozen=True, slots=True)
class SampleLimits:
    """What `error_structure` and the modules it calls say of a sample of so many rows, channels:
    how it is evened, what is fitted, and how grids are looked for, as the compiled pass wants them.
    """

    rows: int
    channels: int
    even: tuple[int, int, int]
    limits: tuple[float, float, float, float]
    fits: tuple[bool, bool, int]
    of_fits: tuple[float, float, float]
    rest: tuple[int, bool, int, float, float]


def sample_of_files(
    x: Place, y: Place, runs: Array, limits: SampleLimits, instructions: str | None = None
) -> SampleNumbers | None:
    """What a sample tells that lies in two files: `runs` of elements, as `runs_of_file` has them,
    of each. None where there is no compiled module, or the sample may be a mask's, or has numbers
    that are not finite or nothing but zeros. Raises `OSError` and `EOFError` as above.
    """
    module = compiled_module()
    if module is None:
        return None
    size = _room_of_sample(limits.rows, limits.channels, limits.even[2], limits.rest[0])
    sides = ((side.descriptor, side.offset, *kind_of(side.dtype)) for side in (x, y))
    plain, rest = module.structure_of_files(
        *chain(*sides), runs, room("runs", _ROOM_OF_RUNS), limits.rows, limits.channels,
        limits.even, limits.limits, limits.fits, limits.of_fits, limits.rest,
        room("sample", size), instructions,
    )  # fmt: skip
    return None if rest is None else SampleNumbers(plain, *rest)


@cache
def _room_of_sample(rows: int, channels: int, pieces: int, step: int) -> int:
    """In bytes."""
    module = compiled_module()
    return 0 if module is None else 8 * module.room_of_structure(rows, channels, pieces, step)


def same_bytes(x: Place, y: Place, size: int) -> bool | None:
    """Whether `size` bytes are the same in both places; None where there is no compiled module.
    Raises `OSError` and `EOFError` as above.
    """
    module = compiled_module()
    if module is None:
        return None
    places = x.descriptor, x.offset, y.descriptor, y.offset
    return module.same_bytes(*places, size, room("runs", _ROOM_OF_RUNS))


def known_float(dtype: str) -> bool:
    """Whether the compiled pass knows this dtype."""
    kind = DTYPES.get(dtype)
    return kind is not None and kind.kind == "float"


def readable(block: Array, dtype: str) -> bool:
    """Whether these are raw elements of a type that the compiled pass knows, one by one."""
    flags = block.flags
    return (
        known_float(dtype)
        and block.dtype.itemsize == DTYPES[dtype].itemsize
        and block.dtype.isnative
        and flags.c_contiguous
        and flags.aligned
    )


@cache
def kind_of(dtype: str) -> tuple[str, Array]:
    """What the compiled pass calls a dtype, and the numbers of those that are read by a table."""
    if dtype in _AS_THEY_ARE:
        return dtype, _NO_TABLE
    return "table", small_float_table(dtype)
