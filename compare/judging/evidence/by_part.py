"""Evidence of single rows and channels: factors of their own, and errors that sit in a few."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...limits import (
    CHANNEL_UNITS,
    FEW_WEIGHTS,
    PART_INHERITED,
    PART_OF_ERROR,
    PART_OF_OK,
    PART_TIMES_TYPICAL,
    PEAK_EXCESS,
    PEAK_INHERITED,
    PEAK_RATIO,
    PEAK_UNITS,
    ROW_UNITS,
    SEEN_RATIO,
    SEEN_TIMES_TYPICAL,
    SEEN_WORST,
)
from ..noise.peers import LayerPeers
from ..row_facts import Facts
from .form import Evidence, inputs_words, least_factor

if TYPE_CHECKING:
    from ...measuring.error_structure import Part


def scaled_by_row(facts: Facts, peers: LayerPeers) -> Evidence | None:
    """Every row has a factor of its own: an epsilon, a norm of something else."""
    return _by_part(facts, peers, "row_scale", ROW_UNITS, "each row has a factor of its own")


def scaled_by_channel(facts: Facts, peers: LayerPeers) -> Evidence | None:
    """Every channel has a factor of its own: weights of a norm."""
    return _by_part(
        facts, peers, "channel_scale", CHANNEL_UNITS, "each channel has a factor of its own"
    )


def _by_part(
    facts: Facts, peers: LayerPeers, name: str, units: float, words: str
) -> Evidence | None:  # fmt: skip
    part = _part(facts, name)
    if part is None or part.mean < 3 or part.size <= units * facts.unit:
        return None  # what costs more is not asked of the many rows that are in order
    if part.size < PART_OF_ERROR * facts.error or facts.shares:
        return None
    typical = peers.median_of_others(name, lambda f: _size(f, name), facts) or 0.0
    allowed = max(units * facts.unit, PART_TIMES_TYPICAL * typical, least_factor(facts))
    allowed += PART_INHERITED * max(
        (_size(source.whole, name) or 0.0 for source in facts.sources), default=0.0
    )
    along = row_weights if name == "row_scale" else _crossed
    allowed += 2 * max((s.passed_on for s in facts.sources if along(facts, s)), default=0.0)
    if part.size <= allowed:
        return None
    size = f"{part.size:.2g} of the difference of {facts.error:.2g}"
    return Evidence(part.size / allowed, f"{words}: {size}, not seen in the inputs")


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
    if ratio <= PEAK_RATIO and (name != "row_error" or ratio <= SEEN_RATIO):
        return None  # what costs more is not asked of the many rows that are in order
    middle, worst, at = getattr(facts.structure, name)
    least = max(PEAK_UNITS * facts.unit, PEAK_INHERITED * facts.inherited, PART_OF_OK * facts.ok)
    if worst < least:
        return None
    if name == "channel_error" and facts.structure.channel_excess < PEAK_EXCESS:
        return None
    typical = peers.median_of_others(name, lambda f: _ratio(f, name, across), facts) or 0.0
    before = max((_ratio(s.whole, name, across) or 0.0 for s in facts.sources), default=0.0)
    if name == "channel_error":
        crossed = [s.whole for s in facts.sources if _crossed(facts, s)]
        rows = (_ratio(source, "row_error", "channels") or 0.0 for source in crossed)
        before = max(before, *rows, 0.0)
    allowed = max(PEAK_RATIO, PART_TIMES_TYPICAL * typical, PART_TIMES_TYPICAL * before)
    sticks_out = ratio > allowed or (
        name == "row_error"
        and ratio > max(SEEN_RATIO, SEEN_TIMES_TYPICAL * typical)
        and worst > SEEN_WORST * _worst_row_before(facts)
    )
    if not sticks_out:
        return None
    return Evidence(
        max(ratio / allowed, 1.0),
        f"{word} {at} is off by {worst:.2g}, the others by {middle:.2g}; {inputs_words(facts)}",
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
    least = 0.3 * facts.unit
    return worst / (least if least > middle else middle)


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
