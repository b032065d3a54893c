"""The precision that values really have, whatever type they are kept in.

numpy has no bfloat16, so that runs in it are saved as float32 by `t.float().numpy()`: every value
still has eight significant bits. Judged as float32, their rounding would be a fault. A side's
precision is what most of its records show; a single coarse record among fine ones is no reason to
expect less of it, and a single fine one among coarse ones is judged as what it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...capture.dtypes import DTYPES
from ..limits import MOST_COARSE, ONE_SIDE_COARSE
from ..model import Measurement, Result, Row
from .pair_dtypes import side_dtypes

_NAMES = {7: "bfloat16", 10: "float16"}  # stored bits of mantissa


@dataclass(frozen=True, slots=True)
class Grids:
    """The dtypes that the values of each side show, where these are coarser than what most of its
    records are kept in (None where they are not): `reference` and `candidate`. `said`: whether
    most records of a side are kept in a wider type.
    """

    reference: str | None = None
    candidate: str | None = None
    said: tuple[bool, bool] = (False, False)

    def dtypes(self, row: Row, result: Result) -> tuple[str, str] | None:
        """The dtypes that a pair is judged by, casts of recipes included; None without them."""
        kept = side_dtypes(row)
        if kept is None or (self.reference is None and self.candidate is None):
            return kept
        bits = _bits(result) or (0, 0)
        found = [
            _shown(dtype, grid, own)
            for dtype, grid, own in zip(kept, (self.reference, self.candidate), bits, strict=True)
        ]
        return found[0], found[1]

    def words(self, side: str) -> str | None:
        """The note for a side, `reference` or `candidate`; None where there is nothing to say."""
        grid, said = {
            "reference": (self.reference, self.said[0]),
            "candidate": (self.candidate, self.said[1]),
        }[side]
        if grid is None or not said:
            return None
        return f"the values are {grid}, whatever type they are stored in: judged by that precision"


def grids_of(rows: Sequence[Row], results: Sequence[Result]) -> Grids:
    """What the values of both sides show. Needs the structures of the pairs that differ."""
    found = Counter(_dtypes_and_bits(rows, results))
    left, right = (grid_of([bits[side] for _, bits in found.elements()]) for side in (0, 1))
    shown = sum(found.values())
    if (left is None) != (right is None) and shown < ONE_SIDE_COARSE:
        return Grids()
    said = [
        2 * sum(count for (dtypes, bits), count in found.items()
                if _is_wider(dtypes[side], bits[side])) > shown
        for side in (0, 1)
    ]  # fmt: skip
    return Grids(left, right, (said[0], said[1]))


def _dtypes_and_bits(
    rows: Sequence[Row], results: Sequence[Result]
) -> Iterator[tuple[tuple[str, str], tuple[int, int]]]:
    for row, result in zip(rows, results, strict=True):
        bits = _bits(result)
        dtypes = None if bits is None else side_dtypes(row)
        if bits is not None and dtypes is not None:
            yield dtypes, bits


def grid_of(bits: list[int]) -> str | None:
    """The dtype whose grid most records of a side lie on."""
    for limit, name in _NAMES.items():
        if bits and sum(each <= limit for each in bits) >= MOST_COARSE * len(bits):
            return name
    return None


def _is_wider(dtype: str, bits: int) -> bool:
    kind = DTYPES[dtype]
    return kind.kind == "float" and kind.mantissa_bits > max(_NAMES) >= bits


def _shown(dtype: str, grid: str | None, bits: int) -> str:
    if grid is None or DTYPES[dtype].kind != "float":
        return dtype
    coarse = DTYPES[grid]
    fits = DTYPES[dtype].mantissa_bits > coarse.mantissa_bits >= bits
    return grid if fits else dtype


def _bits(result: Result) -> tuple[int, int] | None:
    if not isinstance(result, Measurement) or result.structure is None:
        return None
    return result.structure.bits
