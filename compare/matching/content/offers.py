"""Pairs that values offer against the names, for the user to take over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...rules.rules import HandPair

if TYPE_CHECKING:
    from ...aligned import Aligned
    from ...model import Row


@dataclass(frozen=True, slots=True)
class Offer:
    """A pair for the rules, the pairs that go for it, and the sentence that offers it."""

    pair: HandPair
    apart: tuple[HandPair, ...]
    words: str


def offer_for(aligned: Aligned, row: Row) -> Offer | None:
    """What values offer for the records of a row; None where they do not."""
    for offer in aligned.content.offers:
        ours = aligned.reference.records[offer.reference]
        theirs = aligned.candidate.records[offer.candidate]
        if row.candidate is theirs:
            words = f"{theirs.name} equals {ours.name} of the reference"
        elif row.reference is ours:
            words = f"{ours.name} equals {theirs.name} of the candidate"
        else:
            continue
        apart = tuple(
            HandPair(each.reference.name, each.candidate.name)
            for each in aligned.rows
            if each.reference is not None and each.candidate is not None
            and (each.reference is ours) != (each.candidate is theirs)
        )  # fmt: skip
        return Offer(HandPair(ours.name, theirs.name), apart, words)
    return None
