"""What one test of a record found, and words that several tests share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...limits import FACTOR_OF_OK, FACTOR_UNITS
from ..noise.peers import LayerPeers
from ..row_facts import Facts


@dataclass(frozen=True, slots=True)
class Evidence:
    """`strength` is the ratio to the limit, above 1; `words` are the reason. `symptom` is what the
    test looked for, where the size of the error alone did not show it.
    """

    strength: float
    words: str
    symptom: str | None = None


Test = Callable[[Facts, LayerPeers], Evidence | None]


def inputs_words(facts: Facts) -> str:
    if not facts.sources:
        return facts.before.words
    if facts.stand_in:
        agree = f"agrees to {facts.inherited:.2g}" if facts.inherited else "is identical"
        return f"its inputs {facts.inputs_are}, but what precedes them {agree}"
    if facts.is_gradient:
        agree = f"agree to {facts.inherited:.2g}" if facts.inherited else "are identical"
        return f"the forward pass and the gradients before it {agree}"
    if facts.inherited == 0:
        return "inputs are identical"
    return f"inputs agree to {facts.inherited:.2g}"


def this_words(facts: Facts) -> str:
    if facts.is_gradient:
        return "this gradient"
    return "the value passed on" if facts.is_same else "output"


def least_factor(facts: Facts) -> float:
    """The least factor, of all elements or of those of a row or channel, that is a finding."""
    return min(FACTOR_OF_OK * facts.ok, FACTOR_UNITS * facts.unit)
