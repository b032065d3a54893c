"""What distinguishes an error that was made at a record from one that came with its sources.

Each test looks at one record, the records that it was made from and its peers (the same slot of
the same module in the other layers), and answers with how far beyond its limit the record is. The
limits were set on clean pairs (`benchmarks/faults.py`): models of 4 to 32 layers, in which only the
order of summation differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..limits import (
    CHANNEL_UNITS,
    CLAMPED,
    COARSER,
    FACTOR_OF_OK,
    FACTOR_UNITS,
    FEW_MAGNITUDES,
    FEW_WEIGHTS,
    FEWEST_FITTED,
    FEWEST_MAGNITUDES,
    OFFSET_OF_OK,
    ONE_INPUT,
    OTHER_DTYPE,
    PART_INHERITED,
    PART_OF_ERROR,
    PART_OF_OK,
    PART_TIMES_TYPICAL,
    PEAK_INHERITED,
    PEAK_RATIO,
    PEAK_UNITS,
    PRODUCTS,
    ROW_UNITS,
    SAME_DTYPE,
    SEEN_RATIO,
    SEEN_TIMES_TYPICAL,
    SEEN_WORST,
    STANDARD_ERRORS,
    TIMES_TYPICAL,
    UNRELATED,
)
from ..measuring.error_structure import FEW_VALUES
from .peers import LayerPeers, limit_of
from .row_facts import Facts

if TYPE_CHECKING:
    from ..measuring.error_structure import Part


@dataclass(frozen=True, slots=True)
class Evidence:
    """`strength` is the ratio to the limit, above 1; `words` are the reason. `symptom` is what the
    test looked for, where the size of the error alone did not show it.
    """

    strength: float
    words: str
    symptom: str | None = None


Test = Callable[[Facts, LayerPeers], Evidence | None]


def amplified(facts: Facts, peers: LayerPeers) -> Evidence | None:
    """The error is larger than its sources' errors and rounding explain, and than what the dtype
    allows: below that, a bad pair in front of it is the likelier explanation.
    """
    if facts.inherited > UNRELATED:
        return None
    found = _more_than_typical(facts, peers, "amplification", facts.error)
    return found or _more_than_typical(facts, peers, "plain_amplification", facts.plain)


def _more_than_typical(facts: Facts, peers: LayerPeers, name: str, error: float) -> Evidence | None:
    if error <= facts.ok:
        return None
    amplification: float = getattr(facts, name)
    found = peers.typical(name, lambda f: getattr(f, name), facts)
    strength = amplification / limit_of(found)
    if strength <= 1:
        return None
    if facts.result.relative_l2 is None and facts.result.max_abs and not facts.blocked:
        greatest = f"the reference is all zeros, the candidate up to {facts.result.max_abs:.2e}"
        return Evidence(strength, f"{_inputs(facts)}; {greatest}")
    if found is None:
        compared = f"{amplification:.3g}x; no other layer to compare with"
    else:
        times = amplification / max(found.middle, 1e-3)
        others = f"the same output in {found.count} other layers"
        if len(peers.members) < 3:
            others = f"{found.count} similar modules"
        compared = f"{times:.3g}x the median of {others}"
    words = f"{_inputs(facts)}, {_this(facts)} differs by {error:.2g}: {compared}"
    return Evidence(strength, words)


def _inputs(facts: Facts) -> str:
    if not facts.sources:
        return "nothing recorded precedes it"
    if facts.stand_in:
        agree = f"agrees to {facts.inherited:.2g}" if facts.inherited else "is identical"
        return f"its inputs are not recorded, what precedes them {agree}"
    if facts.inherited == 0:
        return "inputs are identical"
    return f"inputs agree to {facts.inherited:.2g}"


def _this(facts: Facts) -> str:
    return "the value passed on" if facts.is_same else "output"


def scaled(facts: Facts, peers: LayerPeers) -> Evidence | None:
    """A common factor, which noise of any size does not have: it is independent of the values."""
    if (
        facts.scale is None
        or facts.result.compared < FEWEST_FITTED
        or facts.blocked
        or facts.shares
    ):
        return None
    factor, standard_error = facts.scale
    typical = peers.median_of_others("scale", gain, facts) or 0.0
    found = gain(facts) or 0.0
    allowed = max(
        STANDARD_ERRORS * standard_error, _by_chance(facts, peers), TIMES_TYPICAL * typical,
        _least_factor(facts),
    )  # fmt: skip
    if found <= allowed:
        return None
    words = (
        f"the output is {factor:.5f} +- {standard_error:.1g} times the reference, its "
        f"inputs are not: noise has no common factor ({facts.error:.2g} of difference, "
        f"{facts.inherited:.2g} inherited)"
    )
    return Evidence(found / allowed, words, "scale")


def displaced(facts: Facts, peers: LayerPeers) -> Evidence | None:
    """A common offset: all values are shifted the same way, as noise never does."""
    if (
        facts.offset is None
        or facts.result.compared < FEWEST_FITTED
        or facts.blocked
        or facts.shares
    ):
        return None
    offset, standard_error = facts.offset
    typical = peers.median_of_others("offset", _displacement, facts) or 0.0
    before = max((_displacement(source) or 0.0 for source in facts.sources), default=0.0)
    allowed = max(
        STANDARD_ERRORS * standard_error, _by_chance(facts, peers), TIMES_TYPICAL * typical,
        2 * before, OFFSET_OF_OK * facts.ok,
    )  # fmt: skip
    if abs(offset) <= allowed:
        return None
    words = (
        f"all of it is shifted by {offset:+.2g} +- {standard_error:.1g} of its RMS, its "
        f"inputs are not: noise has no mean ({facts.error:.2g} of difference, "
        f"{facts.inherited:.2g} inherited)"
    )
    return Evidence(abs(offset) / allowed, words, "offset")


def _least_factor(facts: Facts) -> float:
    """The least factor, of all elements or of those of a row or channel, that is a finding."""
    return min(FACTOR_OF_OK * facts.ok, FACTOR_UNITS * facts.unit)


def _displacement(facts: Facts) -> float | None:
    return None if facts.offset is None else abs(facts.offset[0])


def _by_chance(facts: Facts, peers: LayerPeers) -> float:
    """The greatest common factor or offset that noise has by chance, or arithmetic without fault.

    Elements of one token share their errors: tokens, not elements, are independent.
    """
    result = facts.result
    tokens = max(1, result.compared // max(1, result.shape[-1] if result.shape else 1))
    # The greatest of so many, with some ten kinds of records in a layer.
    chance = (2 * math.log(9 * max(2, len(peers.members)))) ** 0.5 * facts.error / tokens**0.5
    likely = (PRODUCTS if len(facts.sources) != 1 else ONE_INPUT) * chance
    least = (OTHER_DTYPE if facts.mixed else SAME_DTYPE) * facts.unit
    return max(likely, least)


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


def scaled_by_row(facts: Facts, peers: LayerPeers) -> Evidence | None:
    """Every row has a factor of its own: an epsilon, a norm of something else."""
    return _by_part(facts, peers, "row_scale", ROW_UNITS, "every row by a factor of its own")


def scaled_by_channel(facts: Facts, peers: LayerPeers) -> Evidence | None:
    """Every channel has a factor of its own: weights of a norm."""
    return _by_part(
        facts, peers, "channel_scale", CHANNEL_UNITS, "every channel by a factor of its own"
    )


def _by_part(
    facts: Facts, peers: LayerPeers, name: str, units: float, words: str
) -> Evidence | None:  # fmt: skip
    part = _part(facts, name)
    if part is None or part.mean < 3 or facts.shares:
        return None
    typical = peers.median_of_others(name, lambda f: _size(f, name), facts) or 0.0
    allowed = max(units * facts.unit, PART_TIMES_TYPICAL * typical, _least_factor(facts))
    allowed += PART_INHERITED * max(
        (_size(source.whole, name) or 0.0 for source in facts.sources), default=0.0
    )
    along = row_weights if name == "row_scale" else _crossed
    allowed += 2 * max((s.passed_on for s in facts.sources if along(facts, s)), default=0.0)
    if part.size <= allowed or part.size < PART_OF_ERROR * facts.error:
        return None
    size = f"{part.size:.2g} of the {facts.error:.2g} that differ"
    return Evidence(part.size / allowed, f"{size} scale {words}, which the inputs do not show")


def _part(facts: Facts, name: str) -> Part | None:
    return None if facts.structure is None else getattr(facts.structure, name)


def _size(facts: Facts, name: str) -> float | None:
    part = _part(facts, name)
    return None if part is None else part.size


def few_channels(facts: Facts, peers: LayerPeers) -> Evidence | None:
    """One channel is off far more than the others."""
    return _peak(facts, peers, "channel_error", "channel", "rows")


def few_rows(facts: Facts, peers: LayerPeers) -> Evidence | None:
    """One row (token, head) is off far more than the others."""
    return _peak(facts, peers, "row_error", "row", "channels")


def _peak(
    facts: Facts, peers: LayerPeers, name: str, word: str, across: str
) -> Evidence | None:  # fmt: skip
    ratio = _ratio(facts, name, across)
    if ratio is None or facts.structure is None:
        return None
    typical = peers.median_of_others(name, lambda f: _ratio(f, name, across), facts) or 0.0
    before = max((_ratio(s.whole, name, across) or 0.0 for s in facts.sources), default=0.0)
    if name == "channel_error":
        crossed = [s.whole for s in facts.sources if _crossed(facts, s)]
        rows = (_ratio(source, "row_error", "channels") or 0.0 for source in crossed)
        before = max(before, *rows, 0.0)
    allowed = max(PEAK_RATIO, PART_TIMES_TYPICAL * typical, PART_TIMES_TYPICAL * before)
    middle, worst, at = getattr(facts.structure, name)
    least = max(PEAK_UNITS * facts.unit, PEAK_INHERITED * facts.inherited, PART_OF_OK * facts.ok)
    sticks_out = ratio > allowed or (
        name == "row_error"
        and ratio > max(SEEN_RATIO, SEEN_TIMES_TYPICAL * typical)
        and worst > SEEN_WORST * _worst_row_before(facts)
    )
    if not sticks_out or worst < least:
        return None
    return Evidence(
        max(ratio / allowed, 1.0),
        f"{word} {at} is off by {worst:.2g}, the others by {middle:.2g}; {_inputs(facts)}",
        "region",
    )


def _worst_row_before(facts: Facts) -> float:
    """The error of the worst row of any source; Inf where that is not known."""
    if not facts.sources or facts.stand_in:
        return math.inf
    worst = 0.0
    for source in facts.sources:
        structure = source.result.structure
        if structure is None and source.passed_on > 0:
            return math.inf
        if structure is not None:
            worst = max(worst, structure.row_error[1])
    return worst


def _ratio(facts: Facts, name: str, across: str) -> float | None:
    structure = facts.structure
    if structure is None or getattr(structure, across) < 5 or facts.error == 0:
        return None
    middle, worst, _ = getattr(structure, name)
    return worst / max(middle, 0.3 * facts.unit)


def row_weights(facts: Facts, source: Facts) -> bool:
    """A few numbers for each of the rows: what a router weighs its experts with."""
    rows, shape = facts.result.shape[:-1], source.result.shape
    few = len(shape) > 0 and shape[-1] <= FEW_WEIGHTS
    return few and not source.exact and math.prod(shape[:-1]) == math.prod(rows)


def _crossed(facts: Facts, source: Facts) -> bool:
    """The channels are the source's rows: attention weights stand by token along both axes, so that
    one token that is off makes a channel that is.
    """
    own, other = facts.structure, source.result.structure
    if own is None or other is None:
        return False
    return own.channels == math.prod(source.result.shape[:-1]) != other.channels


def clamped(facts: Facts, peers: LayerPeers) -> Evidence | None:
    """Many elements stand at one greatest value where the reference goes on."""
    structure = facts.structure
    if structure is None:
        return None
    count = structure.saturated
    typical = peers.median_of_others("saturated", _saturated, facts) or 0.0
    before = max((_saturated(source.whole) or 0.0 for source in facts.sources), default=0.0)
    allowed = max(CLAMPED, 2 * typical, 2 * before)
    if count <= allowed:
        return None
    words = f"{count} elements stand at the greatest value where the reference goes beyond it"
    return Evidence(count / allowed, words, "clamp")


def _saturated(facts: Facts) -> float | None:
    return None if facts.structure is None else float(facts.structure.saturated)


def rounded(facts: Facts, peers: LayerPeers) -> Evidence | None:
    """The candidate's values lie on a coarser grid than the reference's and the peers' do."""
    structure = facts.structure
    if (
        structure is None
        or structure.distinct_of < FEW_VALUES
        or structure.distinct[0] < FEWEST_MAGNITUDES
    ):
        return None
    coarse = _coarseness(facts) or 1.0
    typical = peers.median_of_others("coarseness", _coarseness, facts)
    known = [found for source in facts.sources if (found := _coarseness(source.whole)) is not None]
    before = max(known, default=None)
    if typical is None and before is None:
        return None
    allowed = max(COARSER, COARSER * (typical or 1.0), 2 * (before or 1.0))
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
    return left / max(1, right) if right <= FEW_MAGNITUDES else 1.0


def differs(facts: Facts, peers: LayerPeers) -> Evidence | None:
    """Whole numbers or bools are not the same, though all that they were made from is."""
    if facts.error == 0 or facts.inherited > 0:
        return None
    result = facts.result
    words = f"{result.mismatched} of {result.count} whole numbers differ; {_inputs(facts)}"
    return Evidence(10.0, words)


def beyond_limits(facts: Facts, peers: LayerPeers) -> Evidence | None:
    """More than the dtype allows: the only test where no inputs are recorded."""
    verdict = facts.alone
    if verdict is None or not verdict.fails:
        return None
    return Evidence(1.0, f"nothing recorded precedes it; {verdict.reason}")


NUMERIC: tuple[Test, ...] = (
    amplified, scaled, displaced, scaled_by_row, scaled_by_channel, few_channels, few_rows,
    clamped, rounded,
)  # fmt: skip
EXACT: tuple[Test, ...] = (differs,)
ALONE: tuple[Test, ...] = (beyond_limits, scaled, displaced)


def evidence_for(facts: Facts, peers: LayerPeers) -> Evidence | None:
    """The strongest evidence that the error was made at this record; None where there is none."""
    if any(source.exact and source.error > 0 for source in facts.sources):
        return None  # other token ids: no expectation for what follows from them
    tests = EXACT if facts.exact else NUMERIC
    if facts.alone is not None:
        tests = ALONE
    found = [evidence for test in tests if (evidence := test(facts, peers)) is not None]
    if not found:
        return None
    strongest = max(evidence.strength for evidence in found)
    return replace(found[0], strength=strongest)  # the tests stand in order, plain words first
