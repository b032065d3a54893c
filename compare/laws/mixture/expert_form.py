"""The experts of a mixture as the reference has them."""

from __future__ import annotations

from dataclasses import dataclass

from ..feed_forward.gated import Form
from .routing import Rule

# What the outputs of the chosen experts are multiplied with; the first is right.
COUNTED = ("their scores", "one", "their normalised scores", "the best one alone")


@dataclass(frozen=True)
class Mixture:
    """How the experts of a layer compute. `rule` says how they are chosen where no record does;
    `count_as` is one of `COUNTED`.
    """

    experts: str
    form: Form
    rule: Rule | None = None
    count_as: str = COUNTED[0]
    swapped: bool = False
    shift: int = 0  # the expert so many further on stands in each one's place
