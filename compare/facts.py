"""What is known of a record, for telling whether its error was made there."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .model import Measurement, Verdict

if TYPE_CHECKING:
    from .structure import Structure


@dataclass(slots=True)
class Facts:
    """What the tests know of a record.

    `error` is relative L2, or the share of elements that differ where numbers are exact; `unit`
    half the spacing of 1.0 in the coarsest dtype among it and its sources; `floor` the error that
    rounding alone makes. `bits` are the mantissa bits of the candidate's own dtype; `linear` says
    that it is a projection, `mixed` that the sides' dtypes differ. `passed` is the error that what
    comes after gets, where that is more: tokens that a router sent elsewhere are left out of
    `error`, and of `kept`, the structure of the rest. `alone` is what the limits of the dtype say,
    where nothing is recorded that it can have been made from; `stand_in`: the sources are not its
    inputs but what came before these (see `dataflow.Node`).
    """

    index: int
    error: float
    unit: float
    floor: float
    exact: bool
    result: Measurement
    sources: list[Facts] = field(default_factory=list, repr=False)
    is_same: bool = False
    bits: int = 23
    linear: bool = False
    mixed: bool = False
    passed: float | None = None
    kept: Structure | None = None
    alone: Verdict | None = None
    stand_in: bool = False

    @property
    def structure(self) -> Structure | None:
        return self.kept if self.passed is not None else self.result.structure

    @property
    def blocked(self) -> bool:
        """True for masks: what they block says nothing but that it is blocked."""
        whole = self.result.structure
        return whole is not None and whole.blocked[0] > 0

    @property
    def whole(self) -> Facts:
        """The record with everything that it passes on."""
        return self if self.passed is None else replace(self, error=self.passed, passed=None)

    @property
    def scale(self) -> tuple[float, float] | None:
        """The fitted scale and its standard error."""
        if self.passed is not None:
            return None if self.kept is None else (self.kept.scale, self.kept.scale_se)
        scale, error = self.result.scale, self.result.scale_se
        return None if scale is None or error is None else (scale, error)

    @property
    def passed_on(self) -> float:
        return self.error if self.passed is None else self.passed

    @property
    def inherited(self) -> float:
        """The greatest error among the sources."""
        return max((source.passed_on for source in self.sources), default=0.0)

    @property
    def amplification(self) -> float:
        """The error as a multiple of what came in or rounding makes; Inf where neither does."""
        least = max(self.inherited, self.floor)
        if least > 0:
            return self.error / least
        return math.inf if self.error > 0 else 0.0
