"""HDF5 files (`.h5`, `.hdf5`), by the package h5py, which the extra `hdf5` brings.

Datasets that lie in one piece are read in place. Links to other files are not followed, and values
in other files are refused.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from math import prod
from typing import TYPE_CHECKING, Any

from ...dtypes import DTYPES
from ...errors import RecordError
from ...extras import has_package, needs
from ...files import FoundFile
from ...records import Locator, Record
from ...storage import open_stream, size_of, storage_of
from ..context import Context
from ..extents import checked_shape, refuse_bomb
from ..members import named_record
from ..npy_header import element_type
from ..text.json_text import plain_text
from .other_packages import guarded

if TYPE_CHECKING:
    from ...values import Array

_WHAT = "HDF5 file"
_MOST = 200_000  # datasets of a file


def list_records(found: FoundFile, context: Context) -> list[Record]:
    """A record for each dataset, by its path. Raises `RecordError`."""
    plain = named_record(found, found.stem)
    records: list[Record] = []
    with _opened(found.path) as file:

        def add(name: str, node: Any) -> None:
            if not hasattr(node, "shape") or node.shape is None:
                return
            if len(records) >= _MOST:
                raise RecordError(f"refused: more than {_MOST} datasets")
            key = plain_text(name)
            record = replace(plain, name=key, module=key, slot="value", call=1, key=name)
            try:
                locator = _located(found.path, name, node)
                record.locator, record.shape, record.dtype = locator, locator.shape, locator.dtype
            except RecordError as error:
                record.error = str(error)
            records.append(record)

        guarded(_WHAT, lambda: file.visititems(add))
    if not records:
        raise RecordError("holds no dataset")
    return records


def read_header(record: Record) -> list[Record]:
    """Nothing is left to do: `list_records` gives complete records."""
    return [record]


def load_values(locator: Locator) -> Array:
    """A dataset that is packed, or whose bytes are swapped. Raises `RecordError`, `OSError`."""
    import numpy as np

    with _opened(locator.path) as file:
        node = guarded(_WHAT, lambda: file[locator.key])
        again = _located(locator.path, locator.key, node)
        if (again.dtype, again.shape) != (locator.dtype, locator.shape):
            raise RecordError("the file has changed since it was listed")
        values = np.asarray(guarded(_WHAT, lambda: node[()]))
    return values.astype(DTYPES[locator.dtype].storage, copy=False).reshape(locator.shape)


def _opened(path: str) -> Any:
    if not has_package("h5py"):
        raise RecordError(needs("hdf5", "HDF5"))
    h5py = import_module("h5py")
    place = path if storage_of(path).local else open_stream(path)  # h5py reads ranges of it
    return guarded(_WHAT, lambda: h5py.File(place, "r"))


def _located(path: str, name: str, node: Any) -> Locator:
    if getattr(node, "is_virtual", False) or getattr(node, "external", None):
        raise RecordError("refused: its values are in another file")
    try:
        dtype, swapped = element_type(node.dtype.str)
    except (AttributeError, TypeError) as error:
        raise RecordError("of no type that can be compared") from error
    shape = checked_shape([int(size) for size in node.shape], DTYPES[dtype].itemsize)
    need = prod(shape) * DTYPES[dtype].itemsize
    offset = node.id.get_offset() if node.chunks is None and not swapped else None
    if offset is not None:
        if offset + need > size_of(path):
            raise RecordError(f"truncated: {need} bytes at {offset} promised")
        return Locator(path, dtype, shape, offset)
    refuse_bomb(need, size_of(path))
    return Locator(path, dtype, shape, reader="hdf5", key=name)
