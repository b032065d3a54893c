"""Numbers in text without a header of their own: CSV, and what `np.savetxt` writes.

A row a line, with commas, semicolons or spaces between; one number a line is a vector. Comments
(`#`, `%`, `//`) and a first line of column names are passed over, and so is the column of row
numbers that pandas writes. The shape is that of the table, or what `--raw 1x8x32xf32` says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, BinaryIO

from ...dtypes import DTYPES
from ...errors import RecordError
from ...files import FoundFile
from ...records import Locator, Record
from ...storage import first_bytes, open_stream
from ..context import Context
from ..extents import checked_shape
from ..members import named_record
from ..raw_binary import parse_raw
from .tensor_print import number, rounding

if TYPE_CHECKING:
    from ...values import Array

_PEEK = 4096
_LONGEST_LINE = 64 << 20
_CHECKED = 1000  # rows, and cells of a row, that are looked at when listing; all when loaded
_SAMPLE = 200  # rows whose digits tell the dtype and how far they were rounded
_NUMBER = re.compile(
    r"[+-]?(?:\d+\.?\d*(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?|nan|inf(?:inity)?)", re.IGNORECASE
)
_WHOLE = re.compile(r"[+-]?\d{1,18}")
_COMMENTS = ("#", "%", "//", "!")
_SEPARATOR = re.compile(r"\s*[,;\t]\s*|\s+")


def recognise(found: FoundFile, context: Context) -> bool:
    """Files whose first lines are numbers, but for comments and one line of column names."""
    if found.problem is not None:
        return False
    try:
        head = first_bytes(found.path, _PEEK)
    except OSError:
        return False
    if b"\0" in head:
        return False
    lines = head.decode("utf-8", "replace").splitlines()
    if len(head) == _PEEK and len(lines) > 1:
        lines.pop()  # cut short
    rows = [line for line in lines if line.strip() and not _is_comment(line)]
    if rows and found.suffix in (".csv", ".tsv") and _numbers(rows[0]) is None:
        rows.pop(0)
    if rows and len(head) == _PEEK and len(lines) == 1:
        rows = [rows[0].rpartition(" ")[0] if " " in rows[0] else rows[0].rpartition(",")[0]]
    return bool(rows) and all(_numbers(row) is not None for row in rows[:50])


def set_aside(found: FoundFile) -> str | None:
    """A table among tensor files is a loss curve or the like; that it is not read is said."""
    return f"{found.name}: its numbers are skipped, since there are tensor files"


def list_records(found: FoundFile, context: Context) -> list[Record]:
    """One record, named by the file; its shape where the user says it."""
    record = named_record(found, found.stem)
    if context.raw is not None:
        record.dtype, record.shape = parse_raw(context.raw)
    return [record]


def read_header(record: Record) -> list[Record]:
    """Complete `record`: the table is counted through. Raises `RecordError`, `OSError`."""
    with open_stream(record.path) as file:
        table = _counted(file)
    dtype, shape = record.dtype, record.shape
    if dtype is None:
        dtype = "int64" if table.whole else "float32"
    found = (table.rows,) if table.columns == 1 else (table.rows, table.columns)
    if shape is None:
        shape = found
    if prod(shape) != prod(found):
        raise RecordError(f"{prod(found)} numbers, the shape {list(shape)} has {prod(shape)}")
    shape = checked_shape(shape, DTYPES[dtype].itemsize)
    storage = "float32" if dtype in ("bfloat16", "float16") else dtype
    if DTYPES[storage].storage.startswith("|u1") or DTYPES[storage].kind == "complex":
        raise RecordError(f"numbers in text cannot be {dtype}")
    locator = Locator(record.path, storage, shape, reader="table")
    stats = rounding(table.sample, dtype) or None
    return [replace(record, dtype=dtype, shape=shape, locator=locator, stats=stats)]


def load_values(locator: Locator) -> Array:
    """All numbers, in the shape of the locator. Raises `RecordError`, `OSError`."""
    import numpy as np

    storage = np.dtype(DTYPES[locator.dtype].storage)
    parts: list[Array] = []
    with open_stream(locator.path) as file:
        for cells in _rows(file):
            parts.append(_parsed(cells, locator.dtype))
    values = np.concatenate(parts) if parts else np.zeros(0, storage)
    if values.size != locator.count:
        raise RecordError("the file has changed since it was listed")
    return values.reshape(locator.shape)


def _parsed(cells: list[str], dtype: str) -> Array:
    import numpy as np

    kind, storage = DTYPES[dtype].kind, DTYPES[dtype].storage
    if kind == "float":
        try:
            wide = np.array(cells, np.float64)
        except ValueError:
            wide = np.array([number(cell) for cell in cells], np.float64)  # raises for no numbers
        with np.errstate(over="ignore"):
            return wide.astype(storage)
    try:
        return np.array([int(cell) for cell in cells]).astype(storage)
    except (ValueError, OverflowError) as error:
        raise RecordError(f"a value is not a whole number of {dtype}") from error


class _Table:
    """What counting through a table tells."""

    def __init__(self) -> None:
        self.rows = 0
        self.columns = 0
        self.whole = True
        self.sample: list[str] = []


def _counted(file: BinaryIO) -> _Table:
    table = _Table()
    for cells in _rows(file, _CHECKED):
        if table.rows == 0:
            table.columns = len(cells)
        elif len(cells) != table.columns:
            raise RecordError(
                f"row {table.rows + 1} has {len(cells)} numbers, the first one {table.columns}"
            )
        table.rows += 1
        if table.rows <= _CHECKED:
            table.whole = table.whole and all(map(_WHOLE.fullmatch, cells[:_CHECKED]))
        if table.rows <= _SAMPLE:
            table.sample.extend(cells[:50])
    if not table.rows:
        raise RecordError("holds no numbers")
    return table


def _rows(file: BinaryIO, checked: int | None = None) -> Iterator[list[str]]:
    """The cells of each row; only those of the first `checked` rows are known to be numbers.

    Raises `RecordError` for what are no numbers.
    """
    first, indexed, at = True, False, 0
    while line := file.readline(_LONGEST_LINE):
        at += 1
        if len(line) == _LONGEST_LINE:
            raise RecordError(f"line {at} is longer than {_LONGEST_LINE >> 20} MiB")
        text = line.decode("utf-8", "replace")
        if not text.strip() or _is_comment(text):
            continue
        cells = _cells(text) if checked is not None and at > checked else _numbers(text)
        if cells is None and first:
            indexed = text.lstrip("\ufeff").startswith((",", ";", '"",', "index"))
            first = False
            continue
        if cells is None:
            raise RecordError(
                f"line {at} holds something other than numbers: {text.strip()[:40]!r}"
            )
        first = False
        yield cells[1:] if indexed else cells


def _cells(line: str) -> list[str]:
    return _SEPARATOR.split(line.strip().strip("[]").rstrip(",;").strip())


def _numbers(line: str) -> list[str] | None:
    cells = _cells(line)
    return cells if all(map(_NUMBER.fullmatch, cells[:_CHECKED])) else None


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith(_COMMENTS)
