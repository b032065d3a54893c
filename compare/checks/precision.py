"""Values that are coarser than the type they are kept in: bfloat16 saved as float32, simulated
fp8.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...capture.dtypes import DTYPES
from ..limits import MOST_COARSE
from ..matching.named_records import Item
from .finding import Finding
from .samples import Looks

_GRIDS = {2: "float8_e5m2", 3: "float8_e4m3fn", 7: "bfloat16", 10: "float16"}  # stored bits
_LEAST_RECORDS = 4  # a single wide one among narrow ones is a matter of course
_LEAST_VALUES = 32  # different ones: fewer are a mask, or counts


def check_precision(outputs: Sequence[Item], looks: Looks) -> list[Finding]:
    """Which outputs lie on the grid of a narrower type, by their samples."""
    found: dict[str, list[Item]] = {}
    wide = 0
    for item in outputs:
        seen, kind = looks.of(item.record), DTYPES[item.record.dtype or ""]
        if seen is None or kind.kind != "float" or kind.mantissa_bits <= max(_GRIDS):
            continue
        if seen.any_nan or seen.different < _LEAST_VALUES:
            continue
        wide += 1
        grid = next((name for bits, name in _GRIDS.items() if seen.bits <= bits), None)
        if grid is not None:
            found.setdefault(grid, []).append(item)
    if wide < _LEAST_RECORDS:
        return []
    return [_finding(grid, items, wide) for grid, items in found.items()]


def _finding(grid: str, items: list[Item], wide: int) -> Finding:
    kept = items[0].record.dtype
    if len(items) >= MOST_COARSE * wide:
        words = f"the values of {len(items)} of {wide} outputs are {grid}, stored as {kept}"
        return Finding("note", "dtype", words, "they are judged at that precision")
    words = f"{len(items)} of {wide} outputs hold values of {grid}, stored as {kept}"
    names = tuple(item.record.name for item in items)
    return Finding("note", "dtype", words, "check whether these layers are meant to have such low "
                                           "precision",
                   records=names)  # fmt: skip
