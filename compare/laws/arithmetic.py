"""The precision that a side computed a kind of layer in, told from its local errors.

A record of float32 may come from products in TF32 or bfloat16, or from weights of four bits. Such
layers all have local errors far above the record's own rounding. Which arithmetic it is, a few of
them tell (`Law.arithmetic`, where a law has it); a fault of all layers alike is not told so, and
sticks out. Where a law cannot tell, the size of the errors does: it is the ratio of two units of
rounding, within a factor that depends on little.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

# Unit roundoffs of what products may be computed in.
_COARSE = (("bfloat16", 2.0**-8), ("TF32 or float16", 2.0**-11))
_FINE = 2.0**-20  # units below which sums, not factors, make most of the error
# Units of rounding that layers stay below which compute as precisely as they record: float32 sums
# of thousands of products reach 10, bfloat16 sums that are rounded in between 1.6.
_OWN_FINE, _OWN_COARSE = 16.0, 3.0
_LEAST, _GREATEST = 0.35, 3.0  # times a coarse unit that such errors have
FEWEST = 3  # layers that must show it
_AGREED = 0.5  # of the layers that were asked which must say the same


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`name` is empty where a side computes as precisely as it records. `factor` times the record's
    own rounding is what one step makes; local errors are divided by it. `count` layers show it.
    """

    name: str = ""
    factor: float = 1.0
    count: int = 0


OWN = Arithmetic()


def own_limit(unit: float) -> float:
    """Units of rounding up to which nothing but the record's own arithmetic shows."""
    return _OWN_FINE if unit <= _FINE else _OWN_COARSE


def arithmetic_of(ratios: Iterable[float], unit: float) -> Arithmetic:
    """The arithmetic of one kind of layer on one side by the size of its errors alone; `ratios` are
    its local errors in units of the record's rounding, `unit` the record's unit roundoff.
    """
    known = sorted(ratios)
    if len(known) < FEWEST:
        return OWN
    middle = median(known)
    if middle <= _OWN_FINE or not _alike(known, 2.0):
        return OWN
    for name, coarse in _COARSE:
        factor = coarse / unit
        if factor > 2 and _LEAST <= middle / factor <= _GREATEST:
            return Arithmetic(name, factor, len(known))
    return OWN


def arithmetic_said(said: Sequence[str | None], ratios: Iterable[float]) -> Arithmetic:
    """The arithmetic that most of the layers that were asked say, and no fewer than `FEWEST`: one
    that alone was asked says nothing of the others. `ratios` are those of all.
    """
    names = [name for name in said if name]
    known = sorted(ratios)
    if not names or len(known) < FEWEST or not _alike(known, 3.0):
        return OWN
    name = max(dict.fromkeys(names), key=names.count)
    if names.count(name) < max(FEWEST, _AGREED * len(said)):
        return OWN
    return Arithmetic(name, median(known), len(known))


def _alike(known: Sequence[float], factor: float) -> bool:
    """Whether sorted ratios are near the middle, but for a quarter at either end."""
    end = len(known) // 4
    low, middle, high = known[end], median(known), known[len(known) - 1 - end]
    return low >= middle / factor and high <= middle * factor
