"""Reading two views of files in step, block by block, without holding either in memory.

A view is a numpy array over empty addresses, as many as the record has bytes: they stand for places
in the file, and taking slices of it moves no data. A block of it is read with `pread` into a buffer
that is used again. The file itself is not mapped: its pages would count into the resident size,
and a file cut short by its writer would kill the process. What several ranks have parts of is
read in the same way, as if it were one file.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from types import EllipsisType
from typing import Any

import numpy as np

from ...capture.dtypes import DTYPES
from ...capture.errors import RecordError
from ...capture.load import element_reach, load_any
from ...capture.records import Locator
from ...capture.storage import LocalFile, OpenFile, open_file
from ...capture.values import Array, PartialValues
from .fused import Place, runs_of_file

Key = tuple[slice | EllipsisType, ...]
BLOCK = 1 << 16  # elements: a dozen float32 buffers of this size stay in a core's L2 cache
LARGE_BLOCK = 1 << 18  # where one call takes a block in: what leads to it costs as much as 2^15
PANEL = 1 << 21  # elements of a view with scattered bytes that are gathered at once
_LEAST_EMPTY = 1 << 26  # bytes of empty addresses that are asked for at once
_GAP = 256  # elements that are read with their neighbours rather than skipped
_SPREAD = 8  # a block may span this many times its own bytes before it is gathered line by line


@dataclass(frozen=True, slots=True)
class _Empty:
    """Addresses behind which nothing is and nothing can be written."""

    whole: Array
    base: int

    @classmethod
    def of(cls, size: int) -> _Empty:
        there = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ)
        whole = np.frombuffer(there, np.uint8)
        return cls(whole, whole.__array_interface__["data"][0])


class _EmptyAddresses:
    """The same ones for all records: to the system, new ones cost as much as opening the file."""

    def __init__(self) -> None:
        self._last: _Empty | None = None

    def of(self, size: int) -> _Empty:
        found = self._last
        if found is None or found.whole.size < size:
            found = self._last = _Empty.of(max(size, _LEAST_EMPTY))
        return found


_EMPTY = _EmptyAddresses()


@dataclass(slots=True)
class Source:
    """One record's raw elements, as a view that layout steps may rearrange.

    Use it as a context manager. Once opened, `array` has the record's shape and storage dtype, but
    not its values: views of it are given to `read`. `load` puts the values there.
    """

    locator: Locator
    array: Array = field(init=False)
    _file: OpenFile | None = None
    _reach: int | None = None  # bytes from the record's first on; None where `array` has values
    _base: int = 0
    _buffer: Array = field(init=False)

    def __post_init__(self) -> None:
        self.array = self._buffer = np.empty(0, np.uint8)

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.array = np.empty(0)
        self._reach = None
        if self._file is not None:
            self._file.close()
            self._file = None

    def opened(self) -> Source:
        """Open the file and check its size. Raises `RecordError`."""
        in_parts = self.locator.in_place or self.locator.of_ranks
        if not in_parts or self.locator.count == 0:
            loaded = load_any(self.locator)
            if isinstance(loaded, PartialValues):
                raise RecordError("a partial record has no whole array")
            self.array = loaded
            return self
        try:
            self._open()
        except OSError as error:
            raise RecordError(f"cannot be read: {error.strerror or error}") from error
        return self

    def _open(self) -> None:
        reach = element_reach(self.locator) * self._dtype.itemsize
        self._file = self._of_ranks() if self.locator.of_ranks else open_file(self.locator.path)
        size = self._file.size
        if self.locator.offset < 0 or self.locator.offset + reach > size:
            raise RecordError(
                f"truncated: {reach} bytes at {self.locator.offset} needed, the file has {size}"
            )
        empty = _EMPTY.of(reach)
        self._reach, self._base = reach, empty.base
        self.array = self._laid_out(empty.whole[:reach])

    def _of_ranks(self) -> OpenFile:
        from ...capture.ranks.joined_file import JoinedFile  # seldom needed

        return JoinedFile(self.locator)

    @property
    def _dtype(self) -> np.dtype[Any]:
        return np.dtype(DTYPES[self.locator.dtype].storage)

    def _laid_out(self, raw: Array) -> Array:
        """The record's bytes with its shape and strides."""
        flat = raw.view(self._dtype)
        if self.locator.strides is None:
            return flat.reshape(self.locator.shape)
        steps = tuple(step * self._dtype.itemsize for step in self.locator.strides)
        return np.lib.stride_tricks.as_strided(flat, self.locator.shape, steps, writeable=False)

    def shows(self, view: Array) -> bool:
        """False when `view` is a copy of empty addresses, made by a step that cannot do without."""
        return self._reach is None or view.size == 0 or self._span(view) is not None

    def load(self) -> Array:
        """Put the values into `array`, for steps that copy. Raises `RecordError`."""
        if self._reach is not None:
            raw = np.empty(self._reach, np.uint8)
            self._fill(raw.data, 0)
            self.array, self._reach = self._laid_out(raw), None
        return self.array

    def panel(self, piece: Array) -> Array:
        """`piece` itself, or its elements when the blocks of it lie scattered over the file."""
        if self._reach is None or piece.size <= BLOCK:
            return piece
        _, key = next(pieces(piece.shape))
        first = piece[key]
        span = self._span(first)
        scattered = span is not None and self._scattered(first, span)
        return self.gathered(piece) if scattered else piece

    def read(self, piece: Array) -> Array:
        """The elements of `piece` (a view of `array`, or of a panel of it), contiguous. Good until
        the next call.
        """
        span = self._span(piece)
        if span is None:
            return np.ascontiguousarray(piece)
        if self._scattered(piece, span):
            return self.gathered(piece)
        low, high = span
        if self._buffer.nbytes < high - low:
            self._buffer = np.empty(high - low, np.uint8)
        target = self._buffer[: high - low]
        self._fill(target.data, low - self._base)
        start = piece.__array_interface__["data"][0] - low
        view = np.ndarray(piece.shape, piece.dtype, target.data, start, piece.strides)
        return np.ascontiguousarray(view)

    def pick(self, places: Array) -> Array:
        """The raw elements at `places`, int64, counted in elements from the record's first as they
        lie in the file. Only for a source whose file is read in parts (see `in_parts`).
        """
        wanted, back = np.unique(places.reshape(-1), return_inverse=True)
        if not wanted.size:
            return np.empty(places.shape, self._dtype)
        first = np.append(0, np.flatnonzero(np.diff(wanted) > _GAP) + 1)  # of every run
        counts = np.diff(np.append(first, wanted.size))
        sizes = wanted[first + counts - 1] + 1 - wanted[first]
        starts = np.cumsum(sizes) - sizes
        stage = np.empty(int(sizes.sum()), self._dtype)
        target, item = stage.view(np.uint8).data, stage.itemsize
        for place, start, size in zip(
            (wanted[first] * item).tolist(), (starts * item).tolist(), (sizes * item).tolist(),
            strict=True,
        ):  # fmt: skip
            self._fill(target[start : start + size], place)
        found = stage[wanted + np.repeat(starts - wanted[first], counts)]
        return found[back].reshape(places.shape)

    @property
    def in_parts(self) -> bool:
        """True when the values are in the file, not in `array`."""
        return self._reach is not None

    def place(self, view: Array) -> Place | None:
        """Where the elements of `view` lie one after the other in a file of this machine; None
        where they do not.
        """
        start = self._start(view)
        if start is None or not isinstance(self._file, LocalFile):
            return None
        return Place(self._file.descriptor, self.locator.offset + start, self.locator.dtype)

    def runs(self, view: Array, wanted: Array) -> Array | None:
        """Runs of elements of `view`, int64 `[n, 2]`: first flat position and length; one after the
        other. None where they do not lie so in the file.
        """
        start = self._start(view)
        if start is None:
            return None
        found = np.empty(int(wanted[:, 1].sum()), view.dtype)
        target, item, at = found.view(np.uint8).data, found.itemsize, 0
        for first, count in wanted.tolist():
            self._fill(target[at : at + count * item], start + first * item)
            at += count * item
        return found

    def real_runs(self, view: Array, wanted: Array) -> Array | None:
        """The same of floats, as float64, where the compiled module can read them."""
        place = self.place(view)
        try:
            return place and runs_of_file(place, wanted, int(wanted[:, 1].sum()))
        except (OSError, EOFError):  # the slower way says why
            return None

    def _start(self, view: Array) -> int | None:
        """Where `view` begins, in bytes from the record's first; None where its elements are not in
        the file, one after the other.
        """
        span = self._span(view) if view.flags.c_contiguous else None
        return None if span is None else span[0] - self._base

    def _scattered(self, piece: Array, span: tuple[int, int]) -> bool:
        return span[1] - span[0] > max(_SPREAD * piece.nbytes, 1 << 16)

    def _span(self, piece: Array) -> tuple[int, int] | None:
        """First and last + 1 address of `piece` inside the record; None when it lies elsewhere."""
        if self._reach is None or piece.size == 0:
            return None
        if piece.flags.c_contiguous:
            low = piece.__array_interface__["data"][0]
            high = low + piece.nbytes
        else:
            low, high = np.lib.array_utils.byte_bounds(piece)
        if low < self._base or high > self._base + self._reach:
            return None
        return low, high

    def gathered(self, piece: Array) -> Array:
        """The elements of `piece`, read in lines: along its widest axes index by index, until what
        an index spans is mostly wanted.
        """
        span = self._span(piece)
        assert span is not None
        steps = [abs(step) for step in piece.strides]
        distinct = prod(n for n, step in zip(piece.shape, steps, strict=True) if step)
        line, lines = span[1] - span[0], 1
        places = np.array([span[0] - self._base])
        strides = list(piece.strides)
        apart: list[int] = []
        for axis in sorted(range(piece.ndim), key=lambda axis: -steps[axis]):
            if line * lines <= 2 * distinct * piece.itemsize:
                break
            size = piece.shape[axis]
            line, lines = line - steps[axis] * (size - 1), lines * size
            places = (places[:, None] + np.arange(size) * steps[axis]).reshape(-1)
            apart.append(axis)
        stage = np.empty(lines * line, np.uint8)
        for at, place in enumerate(places.tolist()):
            self._fill(stage[at * line : (at + 1) * line].data, place)
        step = line
        for axis in reversed(apart):
            strides[axis] = step if strides[axis] >= 0 else -step
            step *= piece.shape[axis]
        ends = zip(piece.shape, strides, strict=True)
        first = sum(-stride * (size - 1) for size, stride in ends if stride < 0)
        view = np.ndarray(piece.shape, piece.dtype, stage.data, first, strides)
        return np.ascontiguousarray(view)

    def _fill(self, view: memoryview, place: int) -> None:
        """Read the record's bytes from `place` on."""
        offset = self.locator.offset + place
        assert self._file is not None
        read_into = self._file.read_into
        while view:
            try:
                got = read_into(view, offset)
            except OSError as error:
                raise RecordError(f"cannot be read: {error.strerror or error}") from error
            if got == 0:
                raise RecordError("the file became shorter while it was read")
            view = view[got:]
            offset += got


def pieces(shape: tuple[int, ...], most: int = BLOCK) -> Iterator[tuple[int, Key]]:
    """Cut a tensor of `shape` into blocks of at most `most` elements, in C order.

    Yields the flat position of a block's first element and the key that selects it.
    """
    count = prod(shape)
    if count == 0:
        return
    axis, inner = len(shape), 1
    while axis > 0 and inner * shape[axis - 1] <= most:
        axis -= 1
        inner *= shape[axis]
    if axis == 0:
        yield 0, (Ellipsis,)  # an empty key would make a scalar of an array without axes
        return
    rows = max(1, most // inner)
    cut = axis - 1
    start = 0
    for outer in np.ndindex(*shape[:cut]):
        fixed = tuple(slice(i, i + 1) for i in outer)
        for first in range(0, shape[cut], rows):
            last = min(first + rows, shape[cut])
            yield start, (*fixed, slice(first, last))
            start += (last - first) * inner
    assert start == count


def flat_where_possible(array: Array) -> Array:
    """A 1-D view of a contiguous array, so that it is cut into blocks of equal size."""
    return array.reshape(-1) if array.flags.c_contiguous else array
