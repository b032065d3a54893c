"""The tests that look for symptoms, in the order in which they are tried: of equal explanations of
one name the first is kept. A new symptom is a module, a line here and, where it shall come before
others that explain as much, its name in `vocabulary.SYMPTOMS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ..model import Measurement, Symptom
from ..vocabulary import SYMPTOMS
from . import casts, fit, moves, others, parts, regions


@dataclass(frozen=True, slots=True)
class Difference:
    """What a test is given: the sample of a pair, its measurement, and how many mantissa bits the
    candidate's values are judged by. `similar` reads the same sample of records that the pair may
    have been mixed up with, `sources` of what it was made from.
    """

    pair: fit.Pair
    result: Measurement
    bits: int
    similar: Callable[[], list[others.Other]]
    sources: Callable[[], list[others.Other]]


Test = Callable[[Difference], Iterator[Symptom]]


def _of_pair(test: Callable[[fit.Pair], Iterable[Symptom]]) -> Test:
    return lambda difference: iter(test(difference.pair))


TESTS: tuple[Test, ...] = (
    _of_pair(fit.constant), _of_pair(fit.scale), _of_pair(fit.sign_of_channels),
    _of_pair(fit.offset), _of_pair(fit.by_row), _of_pair(moves.shifted), _of_pair(moves.permuted),
    lambda found: iter(casts.cast(found.pair, found.bits)),
    _of_pair(casts.clamp), _of_pair(parts.part_of_axis), _of_pair(regions.region),
    lambda found: iter(others.mixed_up(found.pair, found.similar())),
    lambda found: iter(others.missing_term(found.pair, found.sources())),
)  # fmt: skip


def place_of(name: str) -> int:
    """The rank of a symptom among those that explain as much; lower is reported first."""
    return SYMPTOMS.index(name) if name in SYMPTOMS else len(SYMPTOMS)
