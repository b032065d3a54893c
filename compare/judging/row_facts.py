"""What is known of a record, for telling whether its error was made there."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..model import Measurement, Verdict
from .rows_before import NOTHING_BEFORE, RowsBefore

if TYPE_CHECKING:
    from ..measuring.error_structure import Structure


@dataclass(slots=True)
class Facts:
    """What the tests know of a record.

    `error` is relative L2 with all values counting alike (see `even`), or the share of elements
    that differ where numbers are exact; `plain` relative L2 as it is, which reflects the largest
    values; `dtype` what it is judged by: the coarser one of the sides, by their values; `unit` half
    the spacing of 1.0 in it; `floor` the error that rounding alone makes; `ok` what the dtype
    allows for any inputs. `bits` are the mantissa bits of what the candidate's values are
    judged by; `linear`: it is a projection, `mixed` that the sides' dtypes differ.
    `greater` is the greater one of both errors, `passed_on` what comes after gets; `structure` that
    of what `error` is about.
    `passed` is the error that what comes after gets, where that is more: tokens that a router sent
    elsewhere are left out of `error`, and of `kept`, the structure of the rest. `alone` is what the
    limits of the dtype say, where nothing is recorded that it can have been made from; `stand_in`:
    the sources are not its inputs but what came before these (see `dataflow.Node`), and `unpaired`
    how many records stand between these and it without a partner; `inputs_are`: how the inputs
    were compared then, in words. `before` is what precedes a record without sources; `parameter`:
    it is none of a run's tensors but a checkpoint's.
    """

    index: int
    error: float
    plain: float
    dtype: str
    unit: float
    floor: float
    ok: float
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
    unpaired: int = 0
    inputs_are: str = "are not recorded"
    before: RowsBefore = NOTHING_BEFORE
    parameter: bool = False
    is_gradient: bool = False
    # Every test asks for these several times: of all that is compared, of what can be passed on.
    structure: Structure | None = field(init=False, repr=False, compare=False)
    greater: float = field(init=False, repr=False, compare=False)
    passed_on: float = field(init=False, repr=False, compare=False)
    _inherited: float | None = field(init=False, default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.structure = self.kept if self.passed is not None else self.result.structure
        # Without `max`, here and below: this is asked a million times where rows are many.
        self.greater = self.plain if self.plain > self.error else self.error
        self.passed_on = self.greater if self.passed is None else max(self.passed, self.plain)

    def made_of(self, sources: list[Facts]) -> None:
        """Set what this record was made from."""
        self.sources, self._inherited = sources, None

    @property
    def blocked(self) -> bool:
        """True for masks: the values of blocked places carry no meaning."""
        whole = self.result.structure
        return whole is not None and whole.blocked[0] > 0

    @property
    def shares(self) -> bool:
        """True for what sums to one along every row on both sides, as a softmax does: an error in
        one place moves all the others, so that its error has means and factors without a fault.
        """
        sides, shape = (self.result.reference, self.result.candidate), self.result.shape
        width = shape[-1] if shape else 1
        return width > 1 and all(
            side is not None and side.min is not None and side.mean is not None
            and side.min >= 0 and abs(side.mean * width - 1.0) <= max(self.unit, 1e-3)
            for side in sides
        )  # fmt: skip

    @property
    def whole(self) -> Facts:
        """The record with everything that it passes on."""
        return self if self.passed is None else replace(self, error=self.passed, passed=None)

    @property
    def scale(self) -> tuple[float, float] | None:
        """The factor that all of the record has in common, and its standard error."""
        return None if self.structure is None else self.structure.factor

    @property
    def offset(self) -> tuple[float, float] | None:
        """The offset that all of it has in common, in units of its RMS, and its standard
        error.
        """
        return None if self.structure is None else self.structure.offset

    @property
    def inherited(self) -> float:
        """The greatest error among the sources."""
        known = self._inherited
        if known is None:  # asked for many times by every test
            known = max([source.passed_on for source in self.sources], default=0.0)
            self._inherited = known
        return known

    @property
    def amplification(self) -> float:
        """The error as a multiple of what came in or rounding makes; Inf where neither does."""
        return self._times(self.error)

    @property
    def plain_amplification(self) -> float:
        """The same of relative L2 as it is."""
        return self._times(self.plain)

    @property
    def plain_step(self) -> float:
        """Relative L2 as it is against that of the sources, ordinary values not weighted."""
        least = max([source.plain for source in self.sources], default=0.0)
        least = max(least, self.floor)
        return self.plain / least if least > 0 else 0.0

    def _times(self, error: float) -> float:
        inherited, floor = self.inherited, self.floor
        least = floor if floor > inherited else inherited
        if least > 0:
            return error / least
        return math.inf if error > 0 else 0.0
