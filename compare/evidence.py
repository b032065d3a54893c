"""What tells an error that was made at a record from one that came with its sources.

Each test looks at one record, the records that it was made from and its sisters (the same slot of
the same module in the other layers), and answers with how far beyond its limit the record is. The
limits were set on clean pairs (`benchmarks/faults.py`): models of 4 to 32 layers, in which only the
order of summation differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from statistics import median
from typing import TYPE_CHECKING

from .model import Measurement, Verdict
from .structure import FEW_VALUES

if TYPE_CHECKING:
    from .structure import Part, Structure

FEW = 6  # sisters from which on their spread is trusted
_NO_SISTERS = 8.0  # amplification that rounding alone may reach
_WIDEST, _NARROWEST = 4.0, 2.5  # times the sisters' median
_LEAST = 3.0
_NEVER = 32.0  # amplification that is no noise, whatever the sisters do; clean runs stay below 2
_NOTHING = 0.05  # amplification of what is (nearly) identical
_STANDARD_ERRORS = 8.0
_ONE_INPUT, _PRODUCTS = 0.9, 1.1  # of the likeliest greatest scale that noise has by chance
_OTHER_DTYPE = 3.0  # units: the same rounded weights for all tokens make a scale too
_FEW_VALUES = 160  # magnitudes that 8-bit types have, and some
_UNRELATED = 0.5  # relative L2 of inputs that says nothing of what should come out
_BEFORE, _AFTER = 4, 3  # sisters on either side of a change
_GAP = 1.2  # times the greatest amplification before it that the least after it is
_ADDS = 0.95  # amplification below which nothing is added that the sources do not have
_MANY = 16  # sisters from which on it makes no difference whether one is among them


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


@dataclass(frozen=True, slots=True)
class Evidence:
    """`strength` is the ratio to the limit, above 1; `words` are the reason. `symptom` is what the
    test looked for, where the size of the error alone would not have told.
    """

    strength: float
    words: str
    symptom: str | None = None


@dataclass(frozen=True, slots=True)
class Usual:
    """A number's median and robust spread among sisters, in logarithms; None without sisters."""

    middle: float
    spread: float
    count: int


@dataclass(frozen=True, slots=True)
class Change:
    """From row `index` on every sister amplifies by at least `after`; the `count` before it do by
    at most `before`.
    """

    index: int
    before: float
    after: float
    count: int


Number = Callable[[Facts], float | None]


def usual(values: Sequence[float | None]) -> Usual | None:
    """Median and 1.4826 x median absolute deviation of the logarithms (Hampel, 1974). Zeros count:
    of sisters without an error the one that has some is not like them.
    """
    logs = [math.log(max(value, _NOTHING)) for value in values if value is not None]
    if len(logs) < 2:
        return None
    middle = median(logs)
    spread = 1.4826 * median(abs(value - middle) for value in logs)
    return Usual(math.exp(middle), spread, len(logs))


class Sisters:
    """All records of one kind in execution order, and what is usual among them.

    Of few sisters the one that is asked about is left out; among many it makes no difference, and
    each number is worked out once. `cousins` are the records of like modules (norms, projections),
    which stand in for the amplification where there are no sisters.
    """

    def __init__(self, members: Sequence[Facts], cousins: Sisters | None = None) -> None:
        self.members = members
        self.cousins = cousins
        self._place = {facts.index: at for at, facts in enumerate(members)}
        self._values: dict[str, list[float | None]] = {}
        self._medians: dict[str, float | None] = {}
        self._usual: dict[tuple[str, int], Usual | None] = {}

    def typical(self, name: str, of: Number, facts: Facts) -> float | None:
        """The median of a number among the others; None where fewer than two have it."""
        if len(self.members) > _MANY:
            if name not in self._medians:
                self._medians[name] = _median(self._all(name, of))
            return self._medians[name]
        return _median(self._others(name, of, facts))

    def usual(self, name: str, of: Number, facts: Facts) -> Usual | None:
        """What is usual among the others, or among those before where that is less: a fault in
        every layer from some layer on must not count as usual.
        """
        at = self._place[facts.index]
        values = self._all(name, of)
        if len(values) > _MANY:
            others = self._upto(name, values, len(values))
            earlier = self._upto(name, values, 1 << (at.bit_length() - 1)) if at >= 4 else None
        else:
            others = usual(self._others(name, of, facts))
            earlier = usual(values[:at]) if at >= 3 else None
        if others is None and self.cousins is not None and facts.index in self.cousins._place:
            return self.cousins.usual(name, of, facts)
        if others is None or earlier is None:
            return others
        return min(others, earlier, key=lambda found: found.middle)

    @cached_property
    def change(self) -> Change | None:
        """Where the amplification steps up for good: in every layer from there on it is greater, by
        a gap, than in any before. None where it does not.
        """
        known = [
            f for f in self.members
            if f.error > 0 and not (f.exact or f.is_same or f.alone is not None)
        ]  # fmt: skip
        if len(known) < _BEFORE + _AFTER:
            return None
        steps = [f.amplification for f in known]
        least = list(accumulate(reversed(steps), min))[::-1]  # from each one on
        best, greatest = None, max(steps[: _BEFORE - 1])
        for at in range(_BEFORE, len(known) - _AFTER + 1):
            greatest = max(greatest, steps[at - 1])
            gap = least[at] / greatest if greatest > 0 else 0.0
            if gap >= _GAP and least[at] >= _ADDS and (best is None or gap > best[0]):
                best = gap, Change(known[at].index, greatest, least[at], at)
        return None if best is None else best[1]

    def _upto(self, name: str, values: list[float | None], count: int) -> Usual | None:
        if (name, count) not in self._usual:
            self._usual[name, count] = usual(values[:count])
        return self._usual[name, count]

    def _all(self, name: str, of: Number) -> list[float | None]:
        if name not in self._values:
            self._values[name] = [of(member) for member in self.members]
        return self._values[name]

    def _others(self, name: str, of: Number, facts: Facts) -> list[float | None]:
        at, values = self._place[facts.index], self._all(name, of)
        return values[:at] + values[at + 1 :]


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if len(known) >= 2 else None


def limit_of(found: Usual | None) -> float:
    """The amplification that is still noise."""
    if found is None:
        return _NO_SISTERS
    factor = _WIDEST
    if found.count >= FEW:
        factor = min(_WIDEST, max(_NARROWEST, math.exp(8 * found.spread)))
    return min(max(_LEAST, factor * found.middle), _NEVER)


Test = Callable[[Facts, Sisters], Evidence | None]


def amplified(facts: Facts, sisters: Sisters) -> Evidence | None:
    """The error is larger than its sources' errors and rounding explain."""
    if facts.inherited > _UNRELATED:
        return None
    found = sisters.usual("amplification", lambda f: f.amplification, facts)
    limit = limit_of(found)
    strength = facts.amplification / limit
    if strength <= 1:
        return None
    if facts.result.relative_l2 is None and facts.result.max_abs and not facts.blocked:
        greatest = f"the reference is all zeros, the candidate up to {facts.result.max_abs:.2e}"
        return Evidence(strength, f"{_inputs(facts)}; {greatest}")
    if found is None:
        compared = f"{facts.amplification:.3g}x; no layer of its kind to compare with"
    else:
        times = facts.amplification / max(found.middle, 1e-3)
        who = f"its {found.count} sisters do"
        if len(sisters.members) < 3:
            who = f"{found.count} modules like it do"
        compared = f"{times:.3g}x what {who}"
    return Evidence(
        strength, f"{_inputs(facts)}, {_this(facts)} differs by {facts.error:.2g}: {compared}"
    )


def _inputs(facts: Facts) -> str:
    if not facts.sources:
        return "nothing that was recorded comes before it"
    if facts.stand_in:
        agree = f"agrees to {facts.inherited:.2g}" if facts.inherited else "is identical"
        return f"its inputs are not recorded, what comes before them {agree}"
    if facts.inherited == 0:
        return "inputs are identical"
    return f"inputs agree to {facts.inherited:.2g}"


def _this(facts: Facts) -> str:
    return "what is passed on" if facts.is_same else "output"


def scaled(facts: Facts, sisters: Sisters) -> Evidence | None:
    """A common factor, which noise of any size does not have: it knows nothing of the numbers."""
    result = facts.result
    if facts.scale is None or result.compared < 64 or facts.blocked:
        return None
    scale, standard_error = facts.scale
    typical = sisters.typical("scale", gain, facts) or 0.0
    found = gain(facts) or 0.0
    # Elements of one token share their errors: tokens, not elements, are independent.
    tokens = max(1, result.compared // max(1, result.shape[-1] if result.shape else 1))
    # The greatest of so many, with some ten kinds of records in a layer.
    chance = (2 * math.log(9 * max(2, len(sisters.members)))) ** 0.5 * facts.error / tokens**0.5
    likely = (_PRODUCTS if len(facts.sources) != 1 else _ONE_INPUT) * chance
    least = (_OTHER_DTYPE if facts.mixed else 0.5) * facts.unit
    allowed = max(_STANDARD_ERRORS * standard_error, likely, least, 6 * typical)
    if found <= allowed:
        return None
    words = (
        f"the output is {scale:.5f} +- {standard_error:.1g} times the reference, its "
        f"inputs are not: noise has no common factor ({facts.error:.2g} of difference, "
        f"{facts.inherited:.2g} inherited)"
    )
    return Evidence(found / allowed, words, "scale")


def gain(facts: Facts) -> float | None:
    """How far the fitted scale is from what may be expected: the source's, for a projection of one;
    else 1 or any source's, whichever is nearest (a norm takes scales away, a product joins them).
    """
    if facts.scale is None:
        return None
    scale = facts.scale[0]
    before = [s.scale[0] for s in facts.sources if s.scale is not None and not s.exact]
    if facts.linear and len(before) == 1:
        return abs(scale - before[0])
    return min(abs(scale - 1.0), *(abs(scale - other) for other in before), math.inf)


def scaled_by_row(facts: Facts, sisters: Sisters) -> Evidence | None:
    """Every row has a factor of its own: an epsilon, a norm of something else."""
    return _by_part(facts, sisters, "row_scale", 1.5, "every row by a factor of its own")


def scaled_by_channel(facts: Facts, sisters: Sisters) -> Evidence | None:
    """Every channel has a factor of its own: weights of a norm."""
    return _by_part(facts, sisters, "channel_scale", 4.0, "every channel by a factor of its own")


def _by_part(
    facts: Facts, sisters: Sisters, name: str, units: float, words: str
) -> Evidence | None:  # fmt: skip
    part = _part(facts, name)
    if part is None or part.mean < 3:
        return None
    typical = sisters.typical(name, lambda f: _size(f, name), facts) or 0.0
    allowed = max(units * facts.unit, 4 * typical)
    allowed += 3 * max((_size(source.whole, name) or 0.0 for source in facts.sources), default=0.0)
    if name == "channel_scale":
        allowed += 2 * max((s.passed_on for s in facts.sources if _crossed(facts, s)), default=0.0)
    if part.size <= allowed or part.size < 0.6 * facts.error:
        return None
    size = f"{part.size:.2g} of the {facts.error:.2g} that differ"
    return Evidence(part.size / allowed, f"{size} scale {words}, which the inputs do not show")


def _part(facts: Facts, name: str) -> Part | None:
    return None if facts.structure is None else getattr(facts.structure, name)


def _size(facts: Facts, name: str) -> float | None:
    part = _part(facts, name)
    return None if part is None else part.size


def few_channels(facts: Facts, sisters: Sisters) -> Evidence | None:
    """One channel is off far more than the others."""
    return _peak(facts, sisters, "channel_error", "channel", "rows")


def few_rows(facts: Facts, sisters: Sisters) -> Evidence | None:
    """One row (token, head) is off far more than the others."""
    return _peak(facts, sisters, "row_error", "row", "channels")


def _peak(
    facts: Facts, sisters: Sisters, name: str, word: str, across: str
) -> Evidence | None:  # fmt: skip
    ratio = _ratio(facts, name, across)
    if ratio is None or facts.structure is None:
        return None
    typical = sisters.typical(name, lambda f: _ratio(f, name, across), facts) or 0.0
    before = max((_ratio(s.whole, name, across) or 0.0 for s in facts.sources), default=0.0)
    if name == "channel_error":
        crossed = [s.whole for s in facts.sources if _crossed(facts, s)]
        rows = (_ratio(source, "row_error", "channels") or 0.0 for source in crossed)
        before = max(before, *rows, 0.0)
    allowed = max(12.0, 4 * typical, 4 * before)
    middle, worst, at = getattr(facts.structure, name)
    if ratio <= allowed or worst < 8 * facts.unit or worst < 3 * facts.inherited:
        return None
    return Evidence(
        ratio / allowed,
        f"{word} {at} is off by {worst:.2g}, the others by {middle:.2g}; {_inputs(facts)}",
        "region",
    )


def _ratio(facts: Facts, name: str, across: str) -> float | None:
    structure = facts.structure
    if structure is None or getattr(structure, across) < 5 or facts.error == 0:
        return None
    middle, worst, _ = getattr(structure, name)
    return worst / max(middle, 0.3 * facts.unit)


def _crossed(facts: Facts, source: Facts) -> bool:
    """The channels are the source's rows: attention weights stand by token along both axes, so that
    one token that is off makes a channel that is.
    """
    own, other = facts.structure, source.result.structure
    if own is None or other is None:
        return False
    return own.channels == math.prod(source.result.shape[:-1]) != other.channels


def clamped(facts: Facts, sisters: Sisters) -> Evidence | None:
    """Many elements stand at one greatest value where the reference goes on."""
    structure = facts.structure
    if structure is None:
        return None
    count = structure.saturated
    typical = sisters.typical("saturated", _saturated, facts) or 0.0
    before = max((_saturated(source.whole) or 0.0 for source in facts.sources), default=0.0)
    allowed = max(4.0, 2 * typical, 2 * before)
    if count <= allowed:
        return None
    words = f"{count} elements stand at the greatest value where the reference goes beyond it"
    return Evidence(count / allowed, words, "clamp")


def _saturated(facts: Facts) -> float | None:
    return None if facts.structure is None else float(facts.structure.saturated)


def rounded(facts: Facts, sisters: Sisters) -> Evidence | None:
    """The candidate's values lie on a coarser grid than the reference's and the sisters' do."""
    structure = facts.structure
    if structure is None or structure.distinct_of < FEW_VALUES or structure.distinct[0] < 128:
        return None
    coarse = _coarseness(facts) or 1.0
    typical = sisters.typical("coarseness", _coarseness, facts)
    before = max((_coarseness(source.whole) or 1.0 for source in facts.sources), default=None)
    if typical is None and before is None:
        return None
    allowed = max(3.0, 3 * (typical or 1.0), 2 * (before or 1.0))
    if coarse <= allowed:
        return None
    words = (
        f"the candidate has {structure.distinct[1]} different magnitudes where the reference has "
        f"{structure.distinct[0]}: its values were rounded to a coarser grid here"
    )
    return Evidence(coarse / allowed, words, "cast")


def _coarseness(facts: Facts) -> float | None:
    """How many times more magnitudes the reference has than the candidate."""
    structure = facts.structure
    if structure is None or structure.distinct_of < FEW_VALUES:
        return None
    left, right = structure.distinct
    bits = structure.bits[0] - structure.bits[1]
    if structure.bits[1] < facts.bits and bits > 0:
        return 2.0 ** min(bits, 6)
    return left / max(1, right) if right <= _FEW_VALUES else 1.0


def differs(facts: Facts, sisters: Sisters) -> Evidence | None:
    """Whole numbers or bools are not the same, though all that they were made from is."""
    if facts.error == 0 or facts.inherited > 0:
        return None
    result = facts.result
    words = f"{result.mismatched} of {result.count} whole numbers differ; {_inputs(facts)}"
    return Evidence(10.0, words)


def beyond_limits(facts: Facts, sisters: Sisters) -> Evidence | None:
    """More than the dtype allows: all that can be said where no inputs are recorded."""
    verdict = facts.alone
    if verdict is None or not verdict.fails:
        return None
    return Evidence(1.0, f"nothing that was recorded comes before it; {verdict.reason}")


NUMERIC: tuple[Test, ...] = (
    amplified, scaled, scaled_by_row, scaled_by_channel, few_channels, few_rows, clamped, rounded,
)  # fmt: skip
EXACT: tuple[Test, ...] = (differs,)
ALONE: tuple[Test, ...] = (beyond_limits, scaled)


def evidence_for(facts: Facts, sisters: Sisters) -> Evidence | None:
    """The strongest evidence that the error was made at this record; None where there is none."""
    tests = EXACT if facts.exact else NUMERIC
    if facts.alone is not None:
        tests = ALONE
    found = [evidence for test in tests if (evidence := test(facts, sisters)) is not None]
    if not found:
        return None
    strongest = max(evidence.strength for evidence in found)
    return replace(found[0], strength=strongest)  # the tests stand in order, plain words first
