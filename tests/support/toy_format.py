"""A format that layertui does not know: `TOY1 2x3` and then float32 numbers, one a line. Where a
line is `...`, the rest is not shown.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from layertui.capture.errors import RecordError
from layertui.capture.formats.format import Format
from layertui.capture.records import Locator, Record
from layertui.capture.storage import open_text

FORMAT = Format("toy", __name__, suffixes=(".toy",), reader="toy", partial=True, framework="toys")


def _lines(path: str) -> tuple[tuple[int, ...], list[str]]:
    with open_text(path) as file:
        head, *lines = file.read().splitlines()
    if not head.startswith("TOY1 "):
        raise RecordError("not a toy file")
    return tuple(int(size) for size in head[5:].split("x")), lines


def read_header(record: Record) -> list[Record]:
    shape, lines = _lines(record.path)
    shown = len([line for line in lines if line != "..."])
    locator = Locator(record.path, "float32", shape, reader="toy")
    partial = None if shown == prod(shape) else (shown, prod(shape))
    return [replace(record, shape=shape, dtype="float32", locator=locator, partial=partial)]


def load_values(locator: Locator):  # type: ignore[no-untyped-def]
    import numpy as np

    from layertui.capture.values import PartialValues

    shape, lines = _lines(locator.path)
    values = np.array([float(line) for line in lines if line != "..."], np.float32)
    if "..." not in lines:
        return values.reshape(shape)
    return PartialValues(values, np.arange(values.size, dtype=np.int64), shape)
