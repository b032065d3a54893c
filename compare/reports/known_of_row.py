"""What is known of a row beyond its own numbers: where its error comes from, what it does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..model import Effect, Row, Verdict

if TYPE_CHECKING:
    from ..comparison import Comparison


def with_origin(comparison: Comparison, index: int) -> Verdict:
    """The verdict; under a policy that does not ask where errors come from with that, too, once
    everything is measured.
    """
    verdict = comparison.verdicts[index]
    if not verdict.fails or verdict.origin is not None or not comparison.analysed:
        return verdict
    sure = comparison.analysis().confidence(index)
    return replace(verdict, origin=comparison.origin(index), confidence=sure)


def effect_of(comparison: Comparison, row: Row) -> Effect | None:
    """What the differences come to in the logits, of a row of logits."""
    from ..matching.names.canonical import ROOT
    from ..matching.names.roles import role_of

    effect = comparison.known_effect
    if effect is None or row.role != "output":
        return None
    record = row.reference or row.candidate
    role = role_of(row.canonical, record.module_class if record is not None else None)
    is_root = row.canonical == ROOT and "hidden" not in row.slot
    return effect if role == "head" or is_root else None
