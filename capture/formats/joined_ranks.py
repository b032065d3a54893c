"""A tensor of which several processes have a part each, joined along one axis when it is loaded.

Parts lie plainly in the shards of the ranks; no copy of the whole is kept on disk, and one part is
read at a time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..dtypes import DTYPES
from ..errors import RecordError
from ..records import Locator
from ..storage import open_file

if TYPE_CHECKING:
    from ..values import Array

READER = "ranks"


def joined(parts: Sequence[Locator], axis: int) -> Locator | None:
    """The whole of parts that fit together along `axis`; None where they do not."""
    first = parts[0]
    for part in parts:
        sizes = part.shape[:axis], part.shape[axis + 1 :], part.dtype, len(part.shape)
        if sizes != (first.shape[:axis], first.shape[axis + 1 :], first.dtype, len(first.shape)):
            return None
        if not part.in_place or part.strides is not None:
            return None
    if not 0 <= axis < len(first.shape):
        return None
    size = sum(part.shape[axis] for part in parts)
    key = json.dumps([axis, [[p.path, p.offset, list(p.shape)] for p in parts]])
    whole = (*first.shape[:axis], size, *first.shape[axis + 1 :])
    return replace(first, shape=whole, offset=0, reader=READER, key=key)


def load_parts(locator: Locator) -> Array:
    """The whole tensor. Raises `RecordError`, `OSError`."""
    import numpy as np

    axis, parts = json.loads(locator.key)
    dtype = np.dtype(DTYPES[locator.dtype].storage)
    whole = np.empty(locator.shape, dtype)
    begin = 0
    for path, offset, shape in parts:
        need = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        with open_file(path) as file:
            raw = file.read_at(offset, need)
        if len(raw) != need:
            raise RecordError(f"truncated: {need} bytes at {offset} promised, {len(raw)} are there")
        place = [slice(None)] * len(shape)
        place[axis] = slice(begin, begin + shape[axis])
        whole[tuple(place)] = np.frombuffer(raw, dtype).reshape(shape)
        begin += shape[axis]
    return whole
