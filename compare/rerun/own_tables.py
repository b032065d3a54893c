"""Tables of the candidate (the cosines of a rotary embedding, say) that its layers are handed as
inputs: constants, for which the reference needs no counterpart.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import TYPE_CHECKING

from ...capture.dtypes import DTYPES
from ...capture.errors import RecordError
from ...capture.load import load
from ...capture.records import Record

if TYPE_CHECKING:
    from ...capture.values import Array

_MOST_BYTES = 1 << 24  # of a table that is read; one for 32,768 positions has 8 MiB
_MOST_LAYERS = 4  # whose copies of it are compared


def is_table(record: Record, records: Iterable[Record]) -> bool:
    """Whether another layer of the run, `records`, gets the very same values in the same place, and
    no module of it returned them: what a module returned (an encoder's states) is made from a
    prompt. Reads them.
    """
    same: list[Record] = []
    returned: list[Record] = []
    for other in records:
        if other.shape != record.shape or other.dtype != record.dtype or other.locator is None:
            continue
        if other.slot == record.slot and other.module != record.module:
            if _last_word(other) == _last_word(record):
                same.append(other)
        elif other.slot.startswith("output"):
            returned.append(other)
    if not same or _size(record) > _MOST_BYTES:
        return False
    values = _values(record)
    if values is None or not all(_equal(values, other) for other in same[:_MOST_LAYERS]):
        return False
    return not any(_equal(values, other) for other in returned)


def _size(record: Record) -> int:
    return prod(record.shape or ()) * DTYPES[record.dtype].itemsize if record.dtype else 0


def _last_word(record: Record) -> str:
    return record.module.rpartition(".")[2]


def _values(record: Record) -> Array | None:
    try:
        return None if record.locator is None else load(record.locator)
    except (RecordError, OSError, MemoryError):
        return None


def _equal(values: Array, other: Record) -> bool:
    found = _values(other)
    return found is not None and found.tobytes() == values.tobytes()
