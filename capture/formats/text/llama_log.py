"""Logs of llama.cpp's `llama-eval-callback`: every value of the graph, abbreviated, with its sum.

    common_debug_cb_eval:     Qcur-0 = (f32)  MUL_MAT(wq{32, 32, 1, 1}, x{...}}) = {32, 8, 1, 1}
        [
            [      0.1,       0.2,    ...,       0.3  ],
        ]
        sum = 3.6

(older builds: `ggml_debug:`). Sizes stand from the innermost axis outwards, the reverse of torch's.
More than 6 of an axis are shown as the first and last 3. The sum is over all elements, so the mean
is known though most values are not. When the first value of the graph comes again, the next step
begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite, prod
from typing import TYPE_CHECKING, BinaryIO

from ...dtypes import DTYPES, dtype_named
from ...errors import RecordError
from ...files import FoundFile
from ...records import Locator, Record
from ...storage import first_bytes, open_file, open_stream
from ..context import Context
from ..extents import checked_shape
from ..members import named_record
from .console_log import CallNumbers, numbered
from .tensor_print import number

if TYPE_CHECKING:
    from ...values import Array, PartialValues

_PEEK = 1 << 16
_LONGEST_LINE = 1 << 16
_NOTHING = bytes(_LONGEST_LINE)
_LONGEST_PRINT = 1 << 24  # bytes; an abbreviated print of four axes has some thousand values
_SHOWN = 3  # at each end of an axis
_HEADER = re.compile(
    rb"(?:common_debug_cb_eval|ggml_debug)(?:<\w+>)?:\s*(?P<name>\S[^=]{0,200}?)\s*=\s*"
    rb"\((?P<type>\w+)\)\s*(?P<op>\w+)\(.*=\s*\{(?P<sizes>[\d\s,]+)\}\s*$"
)
_SUM = re.compile(rb"^\s*sum\s*=\s*(\S+)\s*$")
_TOKEN = re.compile(rb"\[|\]|\.\.\.|[^\s\[\],]+")
_QUANTISED = re.compile(r"(?:i?q\d|tq\d|mxfp)", re.IGNORECASE)


def recognise(found: FoundFile, context: Context) -> bool:
    """A text with such a header within its first 64 KiB."""
    if found.problem is not None:
        return False
    try:
        head = first_bytes(found.path, _PEEK)
    except OSError:
        return False
    return any(_HEADER.search(line) for line in head.splitlines())


def set_aside(found: FoundFile) -> str | None:
    """Such a log among tensor files."""
    return f"{found.name}: its values are skipped, since there are tensor files"


def list_records(found: FoundFile, context: Context) -> list[Record]:
    """A record a value, in the order of the log. Raises `OSError`."""
    records: list[Record] = []
    calls = CallNumbers()
    first, step = "", 0
    with open_stream(found.path) as file:
        for span in _scan(file):
            if not first:
                first = span.name
            elif span.name == first and span.op == _first_op(records):
                step += 1
            record = named_record(found, span.name)
            record.module, record.slot, record.call, record.step = span.name, "value", 1, step
            record = numbered(record, calls)
            record.module_class = span.op
            try:
                _describe(record, span)
            except RecordError as error:
                record.error = str(error)
            records.append(record)
    if not records:
        raise RecordError("holds no values")
    context.ordered.add(found.path)
    context.metadata["order_source"] = "order of the log"
    context.metadata.setdefault("framework", "llama.cpp")
    return records


def _first_op(records: list[Record]) -> str | None:
    """The operation that made the first value."""
    return records[0].module_class if records else None


def read_header(record: Record) -> list[Record]:
    """Nothing is left to read: the scan of the log told everything."""
    return [record]


def load_values(locator: Locator) -> Array | PartialValues:
    """The values that are shown, and where they stand. Raises `RecordError`, `OSError`."""
    import numpy as np

    from ...values import PartialValues

    with open_file(locator.path) as file:
        text = file.read_at(locator.offset, int(locator.key))
    texts = _values(text)
    positions = list(_positions(locator.shape))
    if len(texts) != len(positions):
        raise RecordError(f"{len(texts)} values shown, {len(positions)} belong to the shape")
    numbers = [number(t.decode("utf-8", "replace")) for t in texts]
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.array(numbers, np.float64).astype(DTYPES[locator.dtype].storage)
    if len(positions) == locator.count:
        return values.reshape(locator.shape)
    return PartialValues(values, np.array(positions, np.int64), locator.shape)


@dataclass(slots=True)
class _Span:
    """One value: its header, and where its numbers stand."""

    name: str
    kind: str
    op: str
    sizes: str
    path: str = ""
    offset: int = 0
    length: int = 0
    sum: float | None = None


def _scan(file: BinaryIO) -> Iterator[_Span]:
    span: _Span | None = None
    offset = 0
    while line := file.readline(_LONGEST_LINE):
        if line == _NOTHING:
            break  # a hole in the file
        match = _HEADER.search(line)
        if match is not None:
            if span is not None:
                yield span
            name, kind, op, sizes = (
                match[part].decode("utf-8", "replace") for part in ("name", "type", "op", "sizes")
            )
            span = _Span(name.strip(), kind, op, sizes, offset=offset + len(line))
        elif span is not None and (total := _SUM.match(line)):
            span.length = offset - span.offset
            try:
                span.sum = number(total[1].decode("utf-8", "replace"))
            except RecordError:
                span.sum = None
            yield span
            span = None
        offset += len(line)
    if span is not None:
        yield span


def _describe(record: Record, span: _Span) -> None:
    """Shape, dtype, statistics and place. Raises `RecordError`."""
    if _QUANTISED.match(span.kind):
        raise RecordError(f"quantised to {span.kind}: its values are not printed")
    dtype = dtype_named(span.kind)
    sizes = [int(size[:19]) for size in re.findall(r"\d+", span.sizes)]
    while len(sizes) > 2 and sizes[-1] == 1:
        sizes.pop()
    shape = checked_shape(sizes[::-1], dtype.itemsize)
    record.shape, record.dtype = shape, dtype.name
    count = prod(shape)
    if not span.length:
        raise RecordError("the print is cut off")
    if span.length > _LONGEST_PRINT:
        raise RecordError("the print is longer than an abbreviated one can be")
    storage = "float32" if dtype.kind == "float" and dtype.name != "float64" else dtype.name
    shown = prod(min(size, 2 * _SHOWN) for size in shape[-3:]) * prod(shape[:-3])
    record.locator = Locator(
        record.path, storage, shape, span.offset, reader="llama log", key=str(span.length)
    )
    record.partial = None if shown == count else (shown, count)
    stats: dict[str, float] = {"count": count}
    if dtype.kind == "float":
        stats["printed_decimals"] = 4
        if span.sum is not None and count:
            stats["sum"] = span.sum
            if isfinite(span.sum):
                stats["mean"] = span.sum / count
    record.stats = stats


def _values(text: bytes) -> list[bytes]:
    """The numbers of a print, in order; `...` stands where more are left out."""
    return [m[0] for m in _TOKEN.finditer(text) if m[0] not in (b"[", b"]", b"...")]


def _positions(shape: tuple[int, ...]) -> Iterator[int]:
    """Flat positions of the values that are shown: the ends of the last three axes, all else."""
    ends: list[range | list[int]] = []
    for axis, size in enumerate(shape):
        if size > 2 * _SHOWN and axis >= len(shape) - 3:
            ends.append([*range(_SHOWN), *range(size - _SHOWN, size)])
        else:
            ends.append(range(size))
    if prod(map(len, ends)) > _LONGEST_PRINT:
        raise RecordError("the print is longer than an abbreviated one can be")
    flat = [0]
    for size, shown in zip(shape, ends, strict=True):
        flat = [base * size + index for base in flat for index in shown]
    yield from flat
