"""Loading the raw elements of a record, whatever holds them."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from .dtypes import DTYPES
from .errors import RecordError
from .formats.extents import reach
from .formats.format import Format
from .formats.registry import UnknownFormatError, format_reading
from .records import Locator
from .storage import size_of, storage_of
from .values import Array, PartialValues


def load(locator: Locator) -> Array:
    """The raw elements of a complete record, shape `locator.shape`; a read-only map of the file
    where the layout allows it. Raises `RecordError`; `TypeError` for a partial record.
    """
    loaded = load_any(locator)
    if isinstance(loaded, PartialValues):
        raise TypeError("partial record: use load_any")
    return loaded


def load_any(locator: Locator) -> Array | PartialValues:
    """As `load`, but a record of which the dump holds only some elements gives those."""
    if locator.in_place:
        return map_raw(locator)
    if locator.of_ranks:
        from .ranks.joined_file import load_joined

        return load_joined(locator)
    try:
        format_ = format_reading(locator.reader)
    except UnknownFormatError:
        raise RecordError(f"no installed format reads {locator.reader[:40]!r}") from None
    loaded = format_.load(locator)
    return _checked(loaded, locator, format_) if format_.foreign else loaded


def _checked(loaded: Any, locator: Locator, format_: Format) -> Array | PartialValues:
    """What another package's reader gave, when it is what its header promised."""
    partial = isinstance(loaded, PartialValues)
    values = loaded.values if partial else loaded
    wanted = np.dtype(DTYPES[locator.dtype].storage)
    if not isinstance(values, np.ndarray) or values.dtype != wanted:
        reason = f"no array of {wanted}"
    elif tuple(loaded.shape) != locator.shape:
        reason = f"the shape {list(loaded.shape)}, not {list(locator.shape)}"
    elif partial and not format_.partial:
        reason = "only some elements"
    elif partial and not _fits(loaded):
        reason = "positions that do not fit the shape"
    else:
        return loaded
    raise RecordError(f"the reader of {format_.name} returned {reason}")


def _fits(partial: PartialValues) -> bool:
    places = np.asarray(partial.positions)
    if places.dtype.kind != "i" or places.ndim != 1 or places.shape != partial.values.shape:
        return False
    return places.size == 0 or bool(places.min() >= 0 and places.max() < prod(partial.shape))


def map_raw(locator: Locator) -> Array:
    """Map plain elements of a file read-only, honouring offset and strides.

    The file's size is checked first: a header may promise more than there is.
    """
    dtype = np.dtype(DTYPES[locator.dtype].storage)
    if locator.count == 0:
        return np.empty(locator.shape, dtype)
    reach = element_reach(locator) * dtype.itemsize
    try:
        size = size_of(locator.path)
        if locator.offset < 0 or locator.offset + reach > size:
            raise RecordError(
                f"truncated: {reach} bytes at {locator.offset} needed, the file has {size}"
            )
        raw = storage_of(locator.path).map(locator.path, locator.offset, reach)
    except OSError as error:
        raise RecordError(f"cannot be read: {error.strerror or error}") from error
    flat = np.frombuffer(raw, np.uint8).view(dtype)
    if locator.strides is None:
        return flat.reshape(locator.shape)
    strides = tuple(step * dtype.itemsize for step in locator.strides)
    return np.lib.stride_tricks.as_strided(flat, locator.shape, strides, writeable=False)


def element_reach(locator: Locator) -> int:
    """How many elements from `offset` on the record spans. Strides must not be negative."""
    shape, strides = locator.shape, locator.strides
    misfit = strides is not None and (len(strides) != len(shape) or min(strides, default=0) < 0)
    if misfit and locator.count:
        raise RecordError("strides that do not fit the shape")
    return reach(shape, strides)
