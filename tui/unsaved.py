"""What was paired by hand or given a recipe in this session and is in no rules file yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..compare.rules.rules import HandPair, RecipeRule


@dataclass
class Unsaved:
    """Recipes, pairs made and pairs taken apart, the newest last."""

    recipes: list[RecipeRule] = field(default_factory=list)
    pairs: list[HandPair] = field(default_factory=list)
    apart: list[HandPair] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not (self.recipes or self.pairs or self.apart)

    def clear(self) -> None:
        for found in (self.recipes, self.pairs, self.apart):
            found.clear()

    def add(
        self, pairs: Iterable[HandPair], apart: Iterable[HandPair], restored: Iterable[HandPair],
        recipes: Iterable[RecipeRule],
    ) -> None:  # fmt: skip
        """Take in a change; one that undoes an earlier one takes it out."""
        for pair in pairs:
            self.apart = [known for known in self.apart if known != pair]
            self.pairs = [known for known in self.pairs if known != pair] + [pair]
        for pair in apart:
            made = pair in self.pairs
            self.pairs = [known for known in self.pairs if known != pair]
            if not made:
                self.apart = [known for known in self.apart if known != pair] + [pair]
        back = set(restored)
        self.apart = [known for known in self.apart if known not in back]
        for rule in recipes:
            self.recipes = [known for known in self.recipes if known.match != rule.match] + [rule]
