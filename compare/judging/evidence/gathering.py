"""What distinguishes an error that was made at a record from one that came with its sources.

Each test looks at one record, the records that it was made from and its peers (the same slot of
the same module in the other layers), and answers with how far beyond its limit the record is. The
limits were set on clean pairs (`benchmarks/faults.py`): models of 4 to 32 layers, in which only the
order of summation differs.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from ...limits import (
    CLAMPED,
    COARSER,
    FEW_MAGNITUDES,
    FEWEST_FITTED,
    FEWEST_MAGNITUDES,
    OFFSET_OF_OK,
    ONE_INPUT,
    OTHER_DTYPE,
    PRODUCTS,
    SAME_DTYPE,
    STANDARD_ERRORS,
    TIMES_TYPICAL,
    UNRELATED,
)
from ...measuring.error_structure import FEW_VALUES
from ..dtype_verdicts import without_relative
from ..noise.peers import LayerPeers, limit_of
from ..row_facts import Facts
from .by_part import few_channels, few_rows, scaled_by_channel, scaled_by_row
from .form import Evidence, inputs_words, least_factor, this_words

if TYPE_CHECKING:
    from .form import Test


def amplified(facts: Facts, peers: LayerPeers) -> Evidence | None:
    """The error is larger than its sources' errors and rounding explain, and than what the dtype
    allows: below that, a bad pair in front of it is the likelier explanation.
    """
    if facts.error <= facts.ok and facts.plain <= facts.ok:
        return None  # what costs more is not asked of the many rows that are in order
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
        return Evidence(strength, f"{inputs_words(facts)}; {without_relative(facts.result)}")
    if found is None:
        compared = f"{amplification:.3g}x; no other layer to compare with"
    else:
        times = amplification / max(found.middle, 1e-3)
        others = f"the same output in {found.count} other layers"
        if len(peers.members) < 3:
            others = f"{found.count} similar modules"
        compared = f"{times:.3g}x the median of {others}"
    words = f"{inputs_words(facts)}, {this_words(facts)} differs by {error:.2g}: {compared}"
    return Evidence(strength, words)


def scaled(facts: Facts, peers: LayerPeers) -> Evidence | None:
    """A common factor, which noise of any size does not have: it is independent of the values."""
    if facts.scale is None or not _may_be_fitted(facts):
        return None
    factor, standard_error = facts.scale
    found = gain(facts) or 0.0
    allowed = max(STANDARD_ERRORS * standard_error, _by_chance(facts, peers), least_factor(facts))
    if found <= allowed or facts.shares:
        return None  # what costs more is not asked of the many rows that are in order
    typical = peers.median_of_others("scale", gain, facts) or 0.0
    allowed = max(allowed, TIMES_TYPICAL * typical)
    if found <= allowed:
        return None
    found_words = f"{factor:.5f} +- {standard_error:.1g} times the reference"
    words = (
        f"the output is {found_words}, its inputs are not: noise has no common factor "
        f"({facts.error:.2g} of difference, {facts.inherited:.2g} inherited)"
    )
    if facts.parameter:
        words = f"the parameter is {found_words}: rounding has no common factor"
    return Evidence(found / allowed, words, "scale")


def _may_be_fitted(facts: Facts) -> bool:
    """Whether a common factor or offset of this record says something, unless it `shares`."""
    return facts.result.compared >= FEWEST_FITTED and not facts.blocked


def displaced(facts: Facts, peers: LayerPeers) -> Evidence | None:
    """A common offset: all values are shifted the same way, as noise never does."""
    if facts.offset is None or not _may_be_fitted(facts):
        return None
    offset, standard_error = facts.offset
    allowed = max(
        STANDARD_ERRORS * standard_error, _by_chance(facts, peers), OFFSET_OF_OK * facts.ok
    )
    if abs(offset) <= allowed or facts.shares:
        return None  # what costs more is not asked of the many rows that are in order
    typical = peers.median_of_others("offset", _displacement, facts) or 0.0
    before = max((_displacement(source) or 0.0 for source in facts.sources), default=0.0)
    allowed = max(allowed, TIMES_TYPICAL * typical, 2 * before)
    if abs(offset) <= allowed:
        return None
    found_words = f"all of it is shifted by {offset:+.2g} +- {standard_error:.1g} of its RMS"
    words = (
        f"{found_words}, its inputs are not: noise has no mean ({facts.error:.2g} of difference, "
        f"{facts.inherited:.2g} inherited)"
    )
    if facts.parameter:
        words = f"{found_words}: rounding has no mean"
    return Evidence(abs(offset) / allowed, words, "offset")


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
    before = [_possible(s, s.scale[0]) for s in facts.sources if s.scale and not s.exact]
    if facts.linear and len(before) == 1:
        return abs(scale - before[0])
    return min(abs(scale - 1.0), *(abs(scale - other) for other in before), math.inf)


def _possible(facts: Facts, scale: float) -> float:
    """A fitted scale, no further from 1 than the whole error allows: of few rows the fit scatters
    more than that.
    """
    return min(max(scale, 1.0 - facts.error), 1.0 + facts.error)


def clamped(facts: Facts, peers: LayerPeers) -> Evidence | None:
    """Many elements are stuck at one greatest value that the reference exceeds."""
    structure = facts.structure
    if structure is None:
        return None
    count = structure.saturated
    if count <= CLAMPED:
        return None  # what costs more is not asked of the many rows that are in order
    typical = peers.median_of_others("saturated", _saturated, facts) or 0.0
    before = max((_saturated(source.whole) or 0.0 for source in facts.sources), default=0.0)
    allowed = max(CLAMPED, 2 * typical, 2 * before)
    if count <= allowed:
        return None
    words = f"{count} elements are stuck at one greatest value that the reference exceeds"
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
    if coarse <= COARSER:
        return None
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
    words = f"{result.mismatched} of {result.count} whole numbers differ; {inputs_words(facts)}"
    return Evidence(10.0, words)


def beyond_limits(facts: Facts, peers: LayerPeers) -> Evidence | None:
    """More than the dtype allows: the only test where no inputs are recorded."""
    verdict = facts.alone
    if verdict is None or not verdict.fails:
        return None
    if facts.parameter:
        return Evidence(1.0, f"the parameter differs: {verdict.reason}")
    return Evidence(1.0, f"{inputs_words(facts)}; {verdict.reason}")


NUMERIC: tuple[Test, ...] = (
    amplified, scaled, displaced, scaled_by_row, scaled_by_channel, few_channels, few_rows,
    clamped, rounded,
)  # fmt: skip
EXACT: tuple[Test, ...] = (differs,)
ALONE: tuple[Test, ...] = (beyond_limits, scaled, displaced)


def evidence_for(facts: Facts, peers: LayerPeers) -> Evidence | None:
    """The strongest evidence that the error was made at this record; None where there is none."""
    for source in facts.sources:
        if source.exact and source.error > 0:
            return None  # other token ids: no expectation for what follows from them
    tests = EXACT if facts.exact else NUMERIC
    if facts.alone is not None:
        tests = ALONE
    found = [evidence for test in tests if (evidence := test(facts, peers)) is not None]
    if not found:
        return None
    strongest = max(evidence.strength for evidence in found)
    return replace(found[0], strength=strongest)  # the tests stand in order, plain words first
