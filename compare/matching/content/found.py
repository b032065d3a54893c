"""What matching by content found: pairs, and offers for pairs that names made."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ContentPair:
    """Two records that hold the same quantity, as their positions in their captures.

    The recipes bring them into one view. `by` is `content` where values tell, and `order` where
    only the place between such pairs does. `sure` is between 0 and 1. `part` says which side is a
    part of the other one's record, where it is.
    """

    reference: int
    candidate: int
    recipe_reference: str
    recipe_candidate: str
    by: Literal["content", "order"]
    how: str
    sure: float
    part: Literal["reference", "candidate"] | None = None


@dataclass(frozen=True, slots=True)
class ContentOffer:
    """Two records with equal values, of which at least one is paired otherwise by its name with a
    record that has other values. Nothing is changed by it.
    """

    reference: int
    candidate: int
    sure: float


@dataclass(frozen=True, slots=True)
class Content:
    """What the values of two captures say about pairs.

    `left` are the places, of each side, of records of which the other side has none with equal
    values where it should: no two of them are paired because of their place. `unlike` is how many
    records of either side have the sizes of the other's, but nobody's values, where values pair the
    rest: a difference may hide there. `exchanged`: the candidate has tokens and batch, which are
    of one length, the other way round (see `first_axes`). `turned` are the places of pairs, whoever
    made them, whose heads and tokens stand the other way round on one side, where the sizes do not
    tell.
    """

    pairs: tuple[ContentPair, ...] = ()
    offers: tuple[ContentOffer, ...] = ()
    left: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    unlike: int = 0
    exchanged: bool = False
    turned: tuple[tuple[int, int], ...] = ()

    def __bool__(self) -> bool:
        found = self.pairs or self.offers or all(self.left) or self.exchanged or self.turned
        return bool(found)


def encoded(content: Content) -> str:
    """What was found, as JSON text."""
    return json.dumps(
        {
            "pairs": [asdict(pair) for pair in content.pairs],
            "offers": [asdict(offer) for offer in content.offers],
            "left": content.left,
            "unlike": content.unlike,
            "exchanged": content.exchanged,
            "turned": content.turned,
        }
    )


def decoded(text: str) -> Content | None:
    """What was found, from its stored form; None when that is of another make."""
    try:
        data = json.loads(text)
        return Content(
            tuple(ContentPair(**entry) for entry in data["pairs"]),
            tuple(ContentOffer(**entry) for entry in data["offers"]),
            (tuple(data["left"][0]), tuple(data["left"][1])),
            int(data["unlike"]),
            bool(data["exchanged"]),
            tuple((int(first), int(second)) for first, second in data["turned"]),
        )
    except (ValueError, TypeError, KeyError, IndexError):
        return None
