"""Both captures with the parts of their ranks put together by the rules and by each other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...capture.records import Capture
from ..rules.rules import Rules

if TYPE_CHECKING:
    from .advice import Advised


def joined_sides(reference: Capture, candidate: Capture, rules: Rules) -> tuple[Capture, Capture]:
    """Captures of several ranks as the rules and the other capture put them together; others, and
    those that were so before, as they are.
    """
    several = reference.of_ranks is not None or candidate.of_ranks is not None
    alone = (reference.lone_rank is None) != (candidate.lone_rank is None)
    if not several and not alone:
        return reference, candidate
    from ...capture.order.settling import joined_anew
    from .advice import Advised

    by = ("both sides", rules.shards)
    advice = Advised(reference, rules.reference, rules, candidate, rules.candidate)
    reference = joined_anew(reference, advice, by)
    reference = _alone(reference, advice) if alone else reference
    advice = Advised(candidate, rules.candidate, rules, reference, rules.reference)
    candidate = joined_anew(candidate, advice, by)
    return reference, _alone(candidate, advice) if alone else candidate


def _alone(capture: Capture, advice: Advised) -> Capture:
    """With what is said of the ranks that it should have besides the one that is there."""
    if capture.lone_rank is None:
        return capture
    from ...capture.ranks.missing import missing_beside

    said = missing_beside(capture, advice)
    return capture if said == capture.rank_faults else replace(capture, rank_faults=said)


def joined_by_rules(capture: Capture, rules: Rules) -> Capture:
    """One capture, put together by the rules alone."""
    if capture.of_ranks is None:
        return capture
    from ...capture.order.settling import joined_anew
    from .advice import Advised

    advice = Advised(capture, rules.reference, rules, None, rules.candidate)
    return joined_anew(capture, advice, ("one side", rules.shards))
