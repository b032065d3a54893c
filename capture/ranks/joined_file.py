"""The whole of a tensor of which ranks have parts, read as if it were a file of its own.

Bytes are taken from the parts as they are asked for, so that memory does not grow with the tensor:
what lies side by side in the whole is read in batches of rows.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..dtypes import DTYPES
from ..errors import RecordError
from ..formats.extents import reach
from ..formats.registry import UnknownFormatError, format_reading
from ..records import Locator
from ..storage import OpenFile, open_file
from ..values import Array, upcast
from .join_tree import Cut, Leaf, Node, Total, node_of

_MOST_OPEN = 16  # files of a tensor: each of a dozen threads may read one
_BATCH = 1 << 20  # bytes of one part that are read at once


class JoinedFile:
    """An `OpenFile` over the elements of a joined tensor, in C order. Raises `RecordError` for
    parts that cannot be read.
    """

    def __init__(self, locator: Locator) -> None:
        try:
            self._node = node_of(locator)
        except ValueError as error:
            raise RecordError(str(error)) from error
        self._item = DTYPES[locator.dtype].itemsize
        self.size = prod(locator.shape) * self._item
        self._files: dict[str, OpenFile] = {}
        self._loaded: dict[int, Array] = {}

    def read_at(self, offset: int, length: int) -> bytes:
        found = bytearray(max(0, min(length, self.size - offset)))
        self.read_into(memoryview(found), offset)
        return bytes(found)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill the buffer as far as the tensor goes. `offset` is that of any byte."""
        wanted = min(len(buffer), self.size - offset)
        if wanted <= 0:
            return 0
        before = offset % self._item
        after = -(before + wanted) % self._item
        if before or after:
            whole = np.empty(before + wanted + after, np.uint8)
            self._fill(self._node, offset - before, whole)
            np.frombuffer(buffer, np.uint8)[:wanted] = whole[before : before + wanted]
        else:
            self._fill(self._node, offset, np.frombuffer(buffer, np.uint8)[:wanted])
        return wanted

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files, self._loaded = {}, {}

    def __enter__(self) -> JoinedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fill(self, node: Node, offset: int, out: Array) -> None:
        """The bytes of a node from `offset` on, as many as `out` takes; whole elements."""
        if isinstance(node, Leaf):
            self._fill_leaf(node, offset, out)
        elif isinstance(node, Total):
            self._fill_total(node, offset, out)
        else:
            _Rows(node, self._item).fill(self, offset, out)

    def _fill_leaf(self, leaf: Leaf, offset: int, out: Array) -> None:
        place = leaf.locator
        if not place.in_place or place.strides is not None:
            out[:] = self._elements(leaf)[offset : offset + out.size]
            return
        file = self._opened(place.path)
        if place.offset < 0 or place.offset + prod(place.shape) * self._item > file.size:
            need = reach(place.shape, None) * self._item
            raise RecordError(
                f"{place.path}: truncated: {need} bytes at {place.offset} needed, the file has "
                f"{file.size}"
            )
        view, at = out.data, place.offset + offset
        while view:
            got = file.read_into(view, at)
            if got == 0:
                raise RecordError(f"{place.path}: the file became shorter while it was read")
            view, at = view[got:], at + got

    def _opened(self, path: str) -> OpenFile:
        """The file of a part; of many the one that was opened first is closed again."""
        file = self._files.get(path)
        if file is None:
            if len(self._files) >= _MOST_OPEN:
                self._files.pop(next(iter(self._files))).close()
            file = self._files[path] = open_file(path)
        return file

    def _elements(self, leaf: Leaf) -> Array:
        """All bytes of a part that does not lie in its file in order; kept until the end."""
        found = self._loaded.get(id(leaf))
        if found is None:
            array = _strided(leaf.locator) if leaf.locator.in_place else _loaded(leaf.locator)
            found = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            self._loaded[id(leaf)] = found
        return found

    def _fill_total(self, node: Total, offset: int, out: Array) -> None:
        storage = np.dtype(DTYPES[node.dtype].storage)
        wide = np.float64 if DTYPES[node.dtype].itemsize > 2 else np.float32
        for begin in range(0, out.size, _BATCH):
            part = out[begin : begin + _BATCH]
            found = np.empty(part.size, np.uint8)
            added: Array = np.zeros(part.size // self._item, wide)
            for inner in node.nodes:
                self._fill(inner, offset + begin, found)
                with np.errstate(all="ignore"):
                    added = added + upcast(found.view(storage), node.dtype)
            part[:] = _rounded(added, node.dtype, storage).view(np.uint8)


class _Rows:
    """A cut whose rows (what is behind its axis and the axis itself) lie one behind the other."""

    def __init__(self, node: Cut, item: int) -> None:
        self.node = node
        unit = prod(node.shape[node.axis + 1 :]) * item  # bytes of one step along the axis
        self.row = node.shape[node.axis] * unit
        self.rows_of = [inner.shape[node.axis] * unit for inner in node.nodes]
        self.runs: list[tuple[int, int, int, int]] = []  # place in the row, node, place in it, size
        at = 0
        for number, first, length in node.pieces:
            self.runs.append((at, number, first * unit, length * unit))
            at += length * unit

    def fill(self, file: JoinedFile, offset: int, out: Array) -> None:
        """The bytes from `offset` on: rest of a row, whole rows in batches, beginning of a row."""
        at = 0
        while at < out.size:
            number, inside = divmod(offset + at, self.row)
            whole = (out.size - at) // self.row if inside == 0 else 0
            whole = min(whole, max(1, _BATCH // self.row))
            if whole > 1:
                self._whole_rows(file, number, out[at : at + whole * self.row])
                at += whole * self.row
            else:
                here = min(out.size - at, self.row - inside)
                self._part_of_row(file, number, inside, out[at : at + here])
                at += here

    def _part_of_row(self, file: JoinedFile, row: int, inside: int, out: Array) -> None:
        for at, number, first, size in self.runs:
            low, high = max(at, inside), min(at + size, inside + out.size)
            if low < high:
                place = row * self.rows_of[number] + first + low - at
                file._fill(self.node.nodes[number], place, out[low - inside : high - inside])

    def _whole_rows(self, file: JoinedFile, row: int, out: Array) -> None:
        target = out.reshape(-1, self.row)
        for number, inner in enumerate(self.node.nodes):
            size = self.rows_of[number]
            runs = [run for run in self.runs if run[1] == number and run[3]]
            if not runs:
                continue
            lines = np.empty((len(target), size), np.uint8)
            file._fill(inner, row * size, lines.reshape(-1))
            for at, _, first, length in runs:
                target[:, at : at + length] = lines[:, first : first + length]


def _strided(place: Locator) -> Array:
    """Elements that lie in a file with gaps, or in another order. Raises `RecordError`."""
    dtype = np.dtype(DTYPES[place.dtype].storage)
    need = reach(place.shape, place.strides) * dtype.itemsize
    with open_file(place.path) as file:
        raw = file.read_at(place.offset, need)
    if len(raw) != need or place.strides is None:
        raise RecordError(f"{place.path}: truncated: {need} bytes at {place.offset} needed")
    steps = tuple(step * dtype.itemsize for step in place.strides)
    flat = np.frombuffer(raw, dtype)
    return np.lib.stride_tricks.as_strided(flat, place.shape, steps, writeable=False)


def _loaded(place: Locator) -> Array:
    """Elements that a format reads. Raises `RecordError`, `OSError`."""
    try:
        found = format_reading(place.reader).load(place)
    except UnknownFormatError:
        raise RecordError(f"no installed format reads {place.reader[:40]!r}") from None
    if not isinstance(found, np.ndarray) or found.shape != place.shape:
        raise RecordError(f"{place.path}: a partial record has no whole array")
    return found


def load_joined(locator: Locator) -> Array:
    """The whole tensor in memory. Raises `RecordError`, `OSError`."""
    whole = np.empty(locator.shape, np.dtype(DTYPES[locator.dtype].storage))
    if whole.size:
        with JoinedFile(locator) as file:
            file.read_into(whole.reshape(-1).view(np.uint8).data, 0)
    return whole


def _rounded(values: Array, dtype: str, storage: np.dtype[Any]) -> Array:
    """Sums as raw elements of `dtype`, rounded to the nearest, halfway to even."""
    with np.errstate(all="ignore"):
        if storage.kind == "f":
            return values.astype(storage)
        if dtype != "bfloat16":
            raise RecordError(f"parts of {dtype} are not added up")
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        up = ((bits >> 16) & 1) + 0x7FFF
        rounded = np.where(np.isnan(values), bits | 0x400000, bits + up)
    return (rounded >> 16).astype(np.uint16)
