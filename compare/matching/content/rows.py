"""Some rows of a record."""

from __future__ import annotations

import numpy as np

from ....capture.records import Record
from ....capture.values import Array, upcast
from ...measuring.blocks import Source


def rows_of(record: Record, lines: Array) -> Array:
    """Rows `lines` (flat over all axes but the last) of a record, float64 `[rows, columns]`; what
    is not finite is 0. Raises `RecordError`, `OSError`.
    """
    locator = record.locator
    assert locator is not None
    width = locator.shape[-1]
    with Source(locator) as source:
        source.opened()
        if source.in_parts and locator.strides is None:
            raw = source.pick(lines[:, None] * width + np.arange(width))
        else:
            raw = np.array(source.load()).reshape(-1, width)[lines]
    values = upcast(raw, locator.dtype).astype(np.float64)
    return np.where(np.isfinite(values), values, 0.0)
