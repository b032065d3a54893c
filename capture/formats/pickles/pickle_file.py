"""Pickles of arrays (`.pkl`, `.pickle`), followed but never unpickled: see `tensor_pickle`.

numpy's and JAX's arrays and torch's tensors are read, in dictionaries, lists, tuples and objects of
any class.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import RecordError
from ...files import FoundFile
from ...records import Locator, Record
from ...storage import first_bytes
from ..context import Context
from ..members import named_member, named_record, place_members
from .pickled_arrays import load_array, locate_array, locate_embedded, pickle_of
from .pickled_objects import Array, Refused
from .tensor_pickle import Tensor, read_tensors

if TYPE_CHECKING:
    from ...values import Array as Values

_ALONE = "*"  # in `Record.key` until the file is read: its arrays are the whole capture
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"x\x9c": "zlib"}


def list_records(found: FoundFile, context: Context) -> list[Record]:
    """One record a file, named by the file, which is not opened."""
    record = named_record(found, found.stem)
    if context.alone:
        record.key = _ALONE
    return [record]


def read_header(record: Record) -> list[Record]:
    """A record for each array. Raises `RecordError`, `OSError`."""
    data, at = pickle_of(record.path)
    if not at:
        packed = next((w for m, w in _COMPRESSED.items() if bytes(data[:2]) == m), None)
        if packed is not None:
            raise RecordError(f"compressed by {packed}: unpack it first")
    found = read_tensors(data, at, lenient=True)
    if not found:
        raise RecordError("holds no array")
    return named_arrays(record, data, found, alone=record.key == _ALONE)


def named_arrays(
    record: Record, data: Any, found: list[tuple[tuple[str, ...], object]], *, alone: bool
) -> list[Record]:
    """The records of the arrays in one pickle; one that is refused keeps its place."""
    placed = place_members([keys for keys, _ in found])
    records: list[Record] = []
    for index, ((keys, leaf), (key, step)) in enumerate(zip(found, placed, strict=True)):
        locator: Locator | None = None
        error = None
        try:
            locator = locate(record.path, data, leaf, index)
        except RecordError as problem:
            error = str(problem)
        if keys:
            single = len(found) == 1
            named = named_member(record, key, locator, alone=alone, single=single, step=step)
        else:
            named = replace(record, key="", locator=locator)
            if locator is not None:
                named.shape, named.dtype = locator.shape, locator.dtype
        named.error = error
        records.append(named)
    return records


def locate(path: str, data: Any, leaf: object, index: int) -> Locator:
    """Where the values of what was found in the pickle `data` lie. Raises `RecordError`."""
    if isinstance(leaf, Array):
        return locate_array(path, leaf, 0, index)
    if isinstance(leaf, Tensor):
        return locate_embedded(path, data, leaf)
    raise RecordError(leaf.why if isinstance(leaf, Refused) else "holds no values")


def load_values(locator: Locator) -> Values:
    """Raw elements of an array; see `pickled_arrays`."""
    return load_array(locator)


def is_pickle(path: str) -> bool:
    """True for a file that begins as pickles do since protocol 2."""
    try:
        head = first_bytes(path, 2)
    except OSError:
        return False
    return len(head) == 2 and head[0] == 0x80 and 2 <= head[1] <= 5
