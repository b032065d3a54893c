"""Arithmetic, or weights, that are coarser than the numbers they are kept in.

Records of float32 may come from products in TF32 or bfloat16, or of weights that were quantised:
every projection then differs by what these round, and none of them is at fault. This is seen
from the projections whose inputs agree: where these differ by the same noise, of the size that such
arithmetic makes, and enough of those behind small errors add one of that size, one side computes
with fewer bits than it stores.

A product of rounded factors has a relative L2 error of about 0.6 units (half the spacing at 1.0) of
the coarse dtype, for any length: both factors add u / sqrt(3) x 0.75, the mean over a binade.
Weights of 4 bits in groups of 16 to 128 add 6 to 12 %, of 8 bits 0.4 to 3 % (a step of the greatest
weight over 7 or 127, uniform within it; three bits of mantissa for 8-bit floats).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from ...limits import AGREE, ALIKE, COARSE_KINDS, MOST_ALIKE, NEAR, OWN, OWN_SHARE, CoarseKind
from ..row_facts import Facts


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What a side computes in: `kind` is one of `limits.COARSE_KINDS`, `error` the relative L2 that
    projections with equal inputs differ by; `count` have an error of that size of their own.
    """

    kind: CoarseKind
    error: float
    count: int

    @property
    def words(self) -> str:
        """The note for it."""
        if self.kind.weights:
            return (
                f"all projections differ by about {100 * self.error:.2g} %, as {self.kind.name} "
                f"do ({self.count} of them with inputs that agree): differences of this size are "
                "not faults"
            )
        return (
            f"{self.count} projections each add a difference of {self.error:.2g}, as products in "
            f"{self.kind.name} do: judged by that precision"
        )

    def apply(self, facts: Facts) -> None:
        """Expect of a record what this arithmetic makes of it."""
        facts.unit = max(facts.unit, self.kind.unit)
        facts.ok = max(facts.ok, self.kind.ok)
        if facts.linear:
            facts.floor = max(facts.floor, self.error)


def coarse_arithmetic(projections: Sequence[Facts]) -> Arithmetic | None:
    """What the products were computed in, when that is coarser than the records of it."""
    fine = [f for f in projections if f.sources and not f.exact and f.passed is None]
    equal = [f for f in fine if f.error > f.floor and f.inherited <= AGREE * f.error]
    equal = _without_those_that_stick_out(equal)
    if not equal or not all(_noise_like(f) for f in equal):
        return None
    errors = [f.error for f in equal]
    if max(errors) > ALIKE * min(errors):
        return None
    typical = median(errors)
    kind = next((k for k in COARSE_KINDS if k.least <= typical <= k.greatest), None)
    if kind is None or typical < 4 * max(f.unit for f in equal):
        return None
    near = [f for f in fine if AGREE * f.error < f.inherited <= NEAR * typical]
    own = [math.sqrt(max(f.error**2 - f.inherited**2, 0.0)) for f in near]
    made = sum(error >= OWN * typical for error in own)
    count = len(equal) + made
    if count < kind.fewest or made < OWN_SHARE * len(near):
        return None
    return Arithmetic(kind, typical, count)


def _without_those_that_stick_out(equal: list[Facts]) -> list[Facts]:
    """Most projections show the typical error; a few that differ by more are faults."""
    most = ALIKE * min((f.error for f in equal), default=0.0)
    kept = [f for f in equal if f.error <= most]
    return kept if len(kept) >= MOST_ALIKE * len(equal) else equal


def _noise_like(facts: Facts) -> bool:
    """No scale of its own, and no row or channel that stands out."""
    structure = facts.structure
    if structure is None:
        return False
    factor, standard_error = structure.factor
    if abs(factor - 1.0) > max(0.3 * facts.error, 8 * standard_error):
        return False
    parts = structure.row_scale, structure.channel_scale, structure.channel_offset
    if any(part is not None and part.size > 0.5 * facts.error for part in parts):
        return False
    peaks = structure.row_error, structure.channel_error
    return all(worst <= 6 * max(middle, 1e-300) for middle, worst, _ in peaks)
