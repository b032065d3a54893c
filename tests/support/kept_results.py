"""A cache of measurements, and whether one works."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from layertui.compare.model import Measurement
from layertui.compare.running.cache import MeasurementCache
from support.plain_numbers import measured


def result_of(seed: int = 0) -> Measurement:
    rng = np.random.default_rng(seed)
    return measured(rng.standard_normal(50).astype(np.float32), np.full(50, np.nan, np.float32))


def works(path: Path) -> bool:
    """True when a cache at `path` remembers; it must not raise either way."""
    cache, result = MeasurementCache(path), result_of()
    cache.put([("k", result)])
    found = cache.get(["k"])
    cache.close()
    assert found in ({}, {"k": result})
    return bool(found)
