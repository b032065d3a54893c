"""Arithmetic that is coarser than the numbers it is kept in.

Records of float32 may come from products in TF32 or bfloat16: every projection then differs by what
these round, and not one of them is at fault. This is told from the projections whose inputs agree:
where these differ by the same noise, of the size that such arithmetic makes, and enough of those
behind small errors add one of that size, one side computes with fewer bits than it stores.

A product of rounded factors has a relative L2 error of about 0.6 units (half the spacing at 1.0) of
the coarse dtype, whatever its length: both factors add u / sqrt(3) x 0.75, the mean over a binade.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from .facts import Facts

_KINDS = (("TF32 or float16", 2.0**-11), ("bfloat16", 2.0**-8))
_LEAST, _GREATEST = 0.35, 0.9  # units that such an error has
_FEWEST = 3  # projections that must show it
_ALIKE = 2.0  # times that the greatest of those with equal inputs is the least
_AGREE = 0.1  # of the error: inputs that count as equal
_NEAR = 1.5  # times the error: inputs behind which it is still seen
_OWN = 0.8  # times the error that a projection behind such inputs adds
_SHARE = 0.33  # of these projections that must add it


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What products were computed in: `unit` is half its spacing at 1.0, `error` the relative L2
    that projections with equal inputs differ by; `count` have an error of that size of their own.
    """

    name: str
    unit: float
    error: float
    count: int

    @property
    def words(self) -> str:
        return (
            f"{self.count} projections each add a difference of {self.error:.2g}, as products in "
            f"{self.name} do: judged by that precision"
        )


def coarse_arithmetic(projections: Sequence[Facts]) -> Arithmetic | None:
    """What the products were computed in, when that is coarser than the records of it."""
    fine = [f for f in projections if f.sources and not f.exact and f.passed is None]
    equal = [f for f in fine if f.error > f.floor and f.inherited <= _AGREE * f.error]
    if not equal or not all(_noise_like(f) for f in equal):
        return None
    errors = [f.error for f in equal]
    if max(errors) > _ALIKE * min(errors):
        return None
    usual = median(errors)
    near = [f for f in fine if _AGREE * f.error < f.inherited <= _NEAR * usual]
    own = [math.sqrt(max(f.error**2 - f.inherited**2, 0.0)) for f in near]
    made = sum(error >= _OWN * usual for error in own)
    count = len(equal) + made
    if count < _FEWEST or made < _SHARE * len(near):
        return None
    for name, unit in _KINDS:
        if unit > 4 * max(f.unit for f in equal) and _LEAST <= usual / unit <= _GREATEST:
            return Arithmetic(name, unit, usual, count)
    return None


def _noise_like(facts: Facts) -> bool:
    """No scale of its own, and no row or channel that stands out."""
    structure = facts.structure
    if structure is None:
        return False
    if abs(structure.scale - 1.0) > max(0.3 * facts.error, 8 * structure.scale_se):
        return False
    parts = structure.row_scale, structure.channel_scale, structure.channel_offset
    if any(part is not None and part.size > 0.5 * facts.error for part in parts):
        return False
    peaks = structure.row_error, structure.channel_error
    return all(worst <= 6 * max(middle, 1e-300) for middle, worst, _ in peaks)
