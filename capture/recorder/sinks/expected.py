"""What a reference's capture has in the places of another run: `dump_on_mismatch`.

A run that agrees with its reference needs no values: each record is compared by its sketch
(`projections`) as it is written, and its values are kept only where that differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...dtypes import DTYPES
from ...errors import CaptureError, RecordError
from ...load import load
from ...open import open_capture
from ...projections import distance, read_summary, summary_of
from ...records import Record
from ...values import Array, upcast

LEAST = 1e-4  # relative L2 of float32 runs of one model that differ in kernels, with a margin
UNITS = 8.0  # unit roundoffs of the coarser dtype: what deep models add up to
Place = tuple[str, str, int, int]  # module, slot, step, call


class Expected:
    """The records of a reference by place. Raises `CaptureError` where it cannot be opened."""

    def __init__(self, path: str, tolerance: float | None) -> None:
        self.path, self._tolerance = path, tolerance
        capture = open_capture(path)
        self._records: dict[Place, Record] = {
            (r.module, r.slot, r.step, r.call): r for r in capture.records if r.error is None
        }
        if not self._records:
            raise CaptureError(f"{path}: nothing in it can be read: it is no reference")

    def agrees(self, fields: Mapping[str, Any], described: Mapping[str, Any]) -> bool:
        """Whether a tensor is that of the reference in its place, up to rounding. `described` has
        its shape and dtype, its statistics and its `sketch`. False where the reference has none.
        """
        if fields.get("op") is not None:
            return False
        place = fields["module"], fields["slot"], fields["step"], fields["call"]
        record = self._records.get(place)
        if record is None or record.shape is None or record.dtype is None:
            return False
        if tuple(described["shape"]) != record.shape:
            return False
        try:
            known = _summary(record)
        except (OSError, RecordError, ValueError):
            return False
        own = read_summary(described.get("sketch"))
        if known is None or own is None or described.get("nan") or described.get("inf"):
            return False
        projections, size = known
        allowed = self._tolerance or _allowed(record.dtype, described["dtype"])
        return distance(projections, own[0]) <= allowed * size


def _allowed(*dtypes: str) -> float:
    known = [DTYPES[name].epsilon / 2 for name in dtypes if name in DTYPES]
    return max(LEAST, UNITS * max(known, default=0.0))


def _summary(record: Record) -> tuple[Array, float] | None:
    """Projections and Euclidean norm of a record of the reference; None where it has none, or
    holds what is not finite.
    """
    stats = record.stats
    if stats is None:
        assert record.locator is not None and record.dtype is not None
        values = upcast(load(record.locator), record.dtype)
        size = float(np.linalg.norm(values.astype(np.float64).reshape(-1)))
        found = read_summary(summary_of(values))
        return None if found is None or not np.isfinite(size) else (found[0], size)
    found, size = read_summary(stats.get("sketch")), stats.get("l2")
    odd = stats.get("nan") or stats.get("inf")
    if found is None or odd or not isinstance(size, int | float):
        return None
    return found[0], float(size)
