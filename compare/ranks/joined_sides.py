"""Both captures with the parts of their ranks put together by the rules and by each other."""

from __future__ import annotations

from ...capture.records import Capture
from ..rules.rules import Rules


def joined_sides(reference: Capture, candidate: Capture, rules: Rules) -> tuple[Capture, Capture]:
    """Captures of several ranks as the rules and the other capture put them together; others, and
    those that were so before, as they are.
    """
    if reference.of_ranks is None and candidate.of_ranks is None:
        return reference, candidate
    from ...capture.order.settling import joined_anew
    from .advice import Advised

    by = ("both sides", rules.shards)
    advice = Advised(reference, rules.reference, rules, candidate, rules.candidate)
    reference = joined_anew(reference, advice, by)
    advice = Advised(candidate, rules.candidate, rules, reference, rules.reference)
    return reference, joined_anew(candidate, advice, by)


def joined_by_rules(capture: Capture, rules: Rules) -> Capture:
    """One capture, put together by the rules alone."""
    if capture.of_ranks is None:
        return capture
    from ...capture.order.settling import joined_anew
    from .advice import Advised

    advice = Advised(capture, rules.reference, rules, None, rules.candidate)
    return joined_anew(capture, advice, ("one side", rules.shards))
