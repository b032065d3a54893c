"""Zarr stores, directories of chunks, by the package zarr, which the extra `zarr` brings.

Every array of the store is a record, by its path.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from importlib import import_module
from math import prod
from typing import TYPE_CHECKING, Any

from ...dtypes import DTYPES
from ...errors import RecordError
from ...extras import has_package, needs
from ...files import FoundFile
from ...records import Locator, Record
from ...sizes import size_of as size_below
from ...storage import exists, storage_of
from ..context import Context
from ..extents import checked_shape, refuse_bomb
from ..members import named_record
from ..npy_header import element_type
from ..text.json_text import plain_text
from .other_packages import guarded

if TYPE_CHECKING:
    from ...values import Array

_WHAT = "Zarr store"
_META = "zarr.json"  # of version 3
_OLD_META = (".zgroup", ".zarray")  # of version 2; hidden files are not listed
_CHUNK = re.compile(r"\d+(?:\.\d+)*$")
_DEEPEST = 32
_MOST = 100_000  # arrays of a store


def recognise(found: FoundFile, context: Context) -> bool:
    """Descriptions and chunks of a store."""
    base = os.path.basename(found.path)
    if base == _META:
        return True
    return _CHUNK.match(base) is not None and _root_above(found.folder) is not None


def _root_above(folder: str) -> str | None:
    """The outermost directory around `folder` that describes itself as part of a store; the chunks
    of an array lie a few directories below its description.
    """
    found, apart = None, 0
    for _ in range(_DEEPEST):
        if any(exists(os.path.join(folder, name)) for name in (_META, *_OLD_META)):
            found, apart = folder, 0
        else:
            apart += 1
            if found is not None or apart > 8:
                break
        outer = os.path.dirname(folder)
        if outer == folder or not outer:
            break
        folder = outer
    return found


def list_records(found: FoundFile, context: Context) -> list[Record]:
    """All arrays, at the first file of the store. Raises `RecordError`."""
    root = _root_above(found.folder)
    if root is None or f"zarr {root}" in context.trees:
        return []
    context.trees[f"zarr {root}"] = root
    plain = named_record(found, os.path.basename(root))
    records: list[Record] = []
    for name, node in _arrays(_opened(root), "", 0):
        if len(records) >= _MOST:
            raise RecordError(f"refused: more than {_MOST} arrays")
        key = plain_text(name) or plain.name
        record = replace(plain, name=key, module=key, slot="value", call=1, key=name, path=root)
        try:
            locator = _located(root, name, node)
            record.locator, record.shape, record.dtype = locator, locator.shape, locator.dtype
        except RecordError as error:
            record.error = str(error)
        records.append(record)
    if not records:
        raise RecordError("holds no array")
    return records


def read_header(record: Record) -> list[Record]:
    """Nothing is left to do: `list_records` gives complete records."""
    return [record]


def load_values(locator: Locator) -> Array:
    """An array of the store. Raises `RecordError`, `OSError`."""
    import numpy as np

    node = _opened(locator.path)
    if locator.key:
        node = guarded(_WHAT, lambda: node[locator.key])
    again = _located(locator.path, locator.key, node)
    if (again.dtype, again.shape) != (locator.dtype, locator.shape):
        raise RecordError("the store has changed since it was listed")
    values = np.asarray(guarded(_WHAT, lambda: node[...]))
    return values.astype(DTYPES[locator.dtype].storage, copy=False).reshape(locator.shape)


def _opened(root: str) -> Any:
    if not has_package("zarr"):
        raise RecordError(needs("zarr", "Zarr"))
    if not storage_of(root).local:
        raise RecordError("Zarr is read on the machine where the store is")
    zarr = import_module("zarr")

    return guarded(_WHAT, lambda: zarr.open(root, mode="r"))


def _arrays(node: Any, name: str, depth: int) -> Any:
    if hasattr(node, "dtype"):
        yield name, node
        return
    if depth > _DEEPEST:
        raise RecordError("nested too deep")
    for key, inner in guarded(_WHAT, lambda: sorted(node.members(), key=lambda pair: pair[0])):
        yield from _arrays(inner, f"{name}/{key}" if name else key, depth + 1)


def _located(root: str, name: str, node: Any) -> Locator:
    try:
        dtype, _ = element_type(node.dtype.str)
    except (AttributeError, TypeError) as error:
        raise RecordError("of no type that can be compared") from error
    shape = checked_shape([int(size) for size in node.shape], DTYPES[dtype].itemsize)
    stored = size_below(os.path.join(root, name) if name else root)
    refuse_bomb(prod(shape) * DTYPES[dtype].itemsize, stored)
    return Locator(root, dtype, shape, reader="zarr", key=name)
