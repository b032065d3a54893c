"""A law held against both sides at one place."""

from __future__ import annotations

from dataclasses import dataclass, field

from .law import Case, Fit, Site
from .numerics.local_error import LocalError


@dataclass(frozen=True)
class Evaluation:
    """A place and both sides' local errors there. `unit_reference`, `unit_candidate` are the unit
    roundoffs of the target's grid; `sampled` is how many of the target's `rows` were looked at.
    """

    site: Site
    fit: Fit
    reference: LocalError
    candidate: LocalError
    unit_reference: float
    unit_candidate: float
    row: int
    rows: int
    sampled: int
    derived: tuple[str, ...] = ()
    grid: float | None = None  # the unit that the candidate's output is held to, its peers'
    # What `Law.arithmetic` says of either side, where it was asked: a name, or nothing; and the
    # candidate's local error against what the layer gives in that arithmetic.
    asked: tuple[str | None, str | None] | None = None
    in_arithmetic: LocalError | None = None
    # What was read of both sides, where it is kept.
    cases: tuple[Case, Case] | None = field(default=None, compare=False, repr=False)
