"""The precision that a side computed a kind of layer in, told from its local errors.

A record of float32 may come from products in TF32 or bfloat16. Such layers all have local errors of
the size that the coarse factors make, which the ratio to the record's own rounding shows at once:
it is the ratio of the two units, within a factor that depends on little.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

# Unit roundoffs of what products may be computed in.
_COARSE = (
    ("float8_e4m3", 2.0**-4), ("int8", 2.0**-7.5), ("bfloat16", 2.0**-8),
    ("TF32 or float16", 2.0**-11),
)  # fmt: skip
OWN_LIMIT = 16.0  # units: accumulation in the record's own precision stays below
_LEAST, _GREATEST = 0.35, 3.0  # times a coarse unit that such errors have
_FEWEST = 3  # layers that must show it


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`name` is empty where a side computes as precisely as it records. `factor` times the record's
    own rounding is what one step makes; local errors are divided by it.
    """

    name: str = ""
    factor: float = 1.0
    count: int = 0


OWN = Arithmetic()


def arithmetic_of(ratios: Iterable[float], unit: float) -> Arithmetic:
    """The arithmetic of one kind of layer on one side; `ratios` are its local errors in units of
    the record's rounding, `unit` the record's unit roundoff.
    """
    known = sorted(ratios)
    if len(known) < _FEWEST:
        return OWN
    middle = median(known)
    if middle <= OWN_LIMIT:
        return OWN
    # All layers must show it: quarter and three quarters within a factor of two of the middle.
    low, high = known[len(known) // 4], known[(3 * len(known)) // 4]
    if low < middle / 2 or high > middle * 2:
        return OWN
    for name, coarse in _COARSE:
        factor = coarse / unit
        if factor > 2 and _LEAST <= middle / factor <= _GREATEST:
            return Arithmetic(name, factor, len(known))
    return OWN
