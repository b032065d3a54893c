"""Where the values of a pickled numpy array lie: in the pickle as they are, or written as text."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

from ...dtypes import DTYPES
from ...errors import RecordError
from ...records import Locator
from ...storage import open_file, storage_of
from ..extents import checked_shape, checked_strides, contiguous_strides, reach, refuse_bomb
from ..npy_header import element_type, header_length
from .pickle_machine import Bytes
from .pickled_objects import Array
from .tensor_pickle import Embedded, Tensor, embedded_storage, read_tensors
from .torch_archive import pickle_in

if TYPE_CHECKING:
    from ...values import Array as Values

READER = "pickle"
_WHOLE = 64 << 20  # bytes of a pickle that is read at once; a larger one is mapped


def locate_array(path: str, array: Array, start: int | None, index: int) -> Locator:
    """The array as a plain part of the file, where its pickle lies from byte `start` on; else by
    its number among the tensors of the file. Raises `RecordError`.
    """
    if array.dtype is None or array.of_objects:
        raise RecordError("refused: an array of Python objects is a pickle")
    code = array.dtype.code
    dtype = code if code in DTYPES else element_type(code)[0]
    itemsize = DTYPES[dtype].itemsize
    shape = checked_shape(array.shape, itemsize)
    values, need = array.values, prod(shape) * itemsize
    if isinstance(values, Bytes):
        if values.length != need:
            raise RecordError(f"damaged: {need} bytes of values needed, {values.length} are there")
        if start is not None and not array.dtype.big_endian:
            strides = None
            if array.fortran and sum(size > 1 for size in shape) > 1:
                strides = tuple(reversed(contiguous_strides(shape[::-1])))
            return Locator(path, dtype, shape, start + values.start, strides)
    elif type(values) is str:
        if len(values) != need:
            raise RecordError(f"damaged: {need} bytes of values needed, {len(values)} are there")
    else:
        raise RecordError("damaged: an array without values")
    return Locator(path, dtype, shape, reader=READER, key=json.dumps(index))


def locate_embedded(path: str, data: Any, tensor: Tensor) -> Locator:
    """A torch tensor of a plain pickle, whose storage lies inside of it. Raises `RecordError`."""
    if not isinstance(tensor.storage, Embedded):
        raise RecordError("a tensor whose values are nowhere in the file")
    dtype, start, count = embedded_storage(data, tensor.storage)
    itemsize = DTYPES[dtype].itemsize
    shape = checked_shape(tensor.shape, itemsize)
    strides = checked_strides(tensor.strides, shape)
    if tensor.offset < 0 or (0 not in shape and tensor.offset + reach(shape, strides) > count):
        raise RecordError("damaged: a tensor reaches beyond its storage")
    refuse_bomb(prod(shape) * itemsize, len(data))
    return Locator(path, dtype, shape, start + tensor.offset * itemsize, strides)


def load_array(locator: Locator) -> Values:
    """The values of an array that does not lie in the file as it is. Raises `RecordError`."""
    import numpy as np

    index = json.loads(locator.key)
    try:
        data, found = _pickled(locator.path, _identity(locator.path))
    except OSError as error:
        raise RecordError(f"cannot be read: {error.strerror or error}") from error
    array = found[index][1] if index < len(found) else None
    if type(array) is not Array or array.dtype is None:
        raise RecordError("the file has changed since it was listed")
    again = locate_array(locator.path, array, None, index)
    if (again.dtype, again.shape) != (locator.dtype, locator.shape):
        raise RecordError("the file has changed since it was listed")
    values = array.values
    if isinstance(values, Bytes):
        raw = bytes(data[values.start : values.start + values.length])
    else:
        try:
            raw = values.encode("latin-1")
        except UnicodeEncodeError as error:
            raise RecordError("damaged: the values are text, not bytes") from error
    plain = np.dtype(DTYPES[locator.dtype].storage)
    stored = plain.newbyteorder(">") if array.dtype.big_endian else plain
    order = "F" if array.fortran else "C"
    flat = np.frombuffer(raw, stored).astype(plain, copy=False)
    return np.ascontiguousarray(flat.reshape(locator.shape, order=order)).reshape(locator.shape)


def pickle_of(path: str) -> tuple[Any, int]:
    """The bytes of a file with a pickle, and where in them it begins: `.pkl`, `.npy`, or the
    `data.pkl` of a torch file. Raises `RecordError`, `OSError`.
    """
    with open_file(path) as file:
        start = file.read_at(0, 16)
        if start.startswith(b"PK"):
            return pickle_in(file)[0], 0
        data: Any = file.read_at(0, file.size) if file.size <= _WHOLE else None
        size = file.size
    if data is None:
        data = storage_of(path).map(path, 0, size)
    at = header_length(start) if start.startswith(b"\x93NUMPY") else 0
    return data, at


@lru_cache(maxsize=2)
def _pickled(path: str, identity: object) -> tuple[Any, Any]:
    """Bytes and tensors of the pickle in a file, which is not the same for another `identity`."""
    data, at = pickle_of(path)
    return data, read_tensors(data, at, lenient=True)


def _identity(path: str) -> object:
    status = storage_of(path).status(path)
    if status is None:
        raise FileNotFoundError(2, os.strerror(2), path)
    return (status.size, *status.identity)
