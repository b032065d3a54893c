"""Raw dumps of `PrintStyle.BINARY`: a file with nothing but elements, named by its label.

Dtype and shape come from MAX's log lines `Writing debug binary tensor 10x64xf32 ...`, from the user
(`--raw 10x64xf32`) or from the file's name (`raw_names`). A label contains dots, so the whole file
name is the record's name, unless it says more than that.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from ..dtypes import DTYPES, dtype_named, split_type
from ..errors import CaptureError, RecordError
from ..files import FoundFile
from ..names import NOT_TENSORS
from ..records import Locator, Record
from ..storage import size_of
from .context import Context
from .members import named_record

if TYPE_CHECKING:
    from .raw_names import Described


def recognise(found: FoundFile, context: Context) -> bool:
    """A file that a log says was written, or whose name says dtype and shape; with `--raw` any that
    is not obviously another kind.
    """
    if (found.step, os.path.basename(found.path)) in context.written:
        return True
    if context.raw is not None:
        return found.suffix not in NOT_TENSORS
    return _described(found, context) is not None


def _described(found: FoundFile, context: Context) -> Described | None:
    from .raw_names import described_by_name  # many patterns, for files that nothing else reads

    return described_by_name(found, context)


def unread(found: FoundFile) -> Record:
    """The record of a file by its whole name: a label has dots of its own."""
    return named_record(found, found.name)


def list_records(found: FoundFile, context: Context) -> list[Record]:
    """One record with dtype and shape as `--raw`, the log or the file's name says, in this order.

    Raises `RecordError` for a dtype that nobody here knows.
    """
    written = context.written.get((found.step, os.path.basename(found.path)))
    if context.raw is not None:
        dtype, shape = parse_raw(context.raw)
    elif written is not None:
        dtype, shape = dtype_named(written[0]).name, written[1]
    else:
        named = _described(found, context)
        if named is None:
            raise RecordError("no log line and no --raw says its dtype and shape")
        record = named_record(found, named.name)
        return [replace(record, dtype=named.dtype, shape=named.shape)]
    return [replace(unread(found), dtype=dtype, shape=shape)]


def read_header(record: Record) -> list[Record]:
    """Complete `record` when the file holds exactly as many bytes as its shape needs."""
    if record.dtype is None or record.shape is None:
        raise RecordError("dtype and shape are not known")
    size = size_of(record.path)
    need = prod(record.shape) * DTYPES[record.dtype].itemsize
    text = "x".join([*map(str, record.shape), record.dtype])
    if size < need:
        raise RecordError(f"truncated: {text} needs {need} bytes, the file has {size}")
    if size > need:
        raise RecordError(f"holds {size} bytes, {text} needs {need}")
    locator = Locator(record.path, record.dtype, record.shape)
    return [replace(record, locator=locator)]


def parse_raw(text: str) -> tuple[str, tuple[int, ...]]:
    """`10x64xf32` of `--raw` as dtype and shape, float32 where it says none; `(10, 64)` and
    `10,64,f32` are the same. Raises `CaptureError` when it makes no sense.
    """
    plain = "x".join(re.split(r"[\s,*×()\[\]]+", text.strip(" ()[],")))
    if all(size.isdecimal() for size in plain.split("x")):
        plain += "xf32"
    try:
        dtype, shape = split_type(plain)
        return dtype_named(dtype).name, shape
    except (ValueError, RecordError) as error:
        raise CaptureError(
            f"--raw {text!r}: {error}; expected a value such as 10x64xf32"
        ) from error
