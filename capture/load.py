"""Loading the raw elements of a record, whatever holds them."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from .dtypes import DTYPES
from .errors import RecordError
from .formats import console_log, numpy_file, text_dump, torch_file
from .formats.extents import reach
from .records import Locator
from .values import Array, PartialValues

# Loaders of records that are not plain elements in a file, by `Locator.reader`.
LOADERS: dict[str, Callable[[Locator], Array | PartialValues]] = {
    "npz": numpy_file.load_member,
    "torch": torch_file.load_member,
    "text": text_dump.load_values,
    "console": console_log.load_values,
}


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
    if locator.reader == "raw":
        return map_raw(locator)
    return LOADERS[locator.reader](locator)


def map_raw(locator: Locator) -> Array:
    """Map plain elements of a file read-only, honouring offset and strides.

    The file's size is checked first: a header may promise more than there is.
    """
    dtype = np.dtype(DTYPES[locator.dtype].storage)
    if locator.count == 0:
        return np.empty(locator.shape, dtype)
    reach = element_reach(locator) * dtype.itemsize
    try:
        size = os.path.getsize(locator.path)
        if locator.offset < 0 or locator.offset + reach > size:
            raise RecordError(
                f"truncated: {reach} bytes at {locator.offset} wanted, the file has {size}"
            )
        raw = np.memmap(locator.path, np.uint8, "r", locator.offset, (reach,))
    except OSError as error:
        raise RecordError(f"cannot be read: {error.strerror or error}") from error
    flat = np.asarray(raw).view(dtype)
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
