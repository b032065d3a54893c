"""Pairs made and taken apart by hand, and recipes found on the screen: as changes of the rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..model import Row
from .rules import HandPair, RecipeRule, Rules, glob_of, globs_of_kind


def changed(
    rules: Rules, pairs: Iterable[HandPair] = (), apart: Iterable[HandPair] = (),
    restored: Iterable[HandPair] = (), recipes: Iterable[RecipeRule] = (),
    forgotten: Iterable[str] = (),
) -> Rules:  # fmt: skip
    """The rules with records paired by hand, taken apart, or as they were before that (`restored`);
    with recipes, and without those whose `match` is `forgotten`.
    """
    back, lost = set(restored), set(forgotten)
    kept = replace(
        rules,
        unpaired=tuple(pair for pair in rules.unpaired if pair not in back),
        recipes=tuple(rule for rule in rules.recipes if rule.match not in lost),
    )
    return kept.with_changes(recipes, pairs, apart)


def taken_apart(rules: Rules, row: Row) -> list[HandPair]:
    """The pairs that the record of a gap had before it was taken out of them by hand."""
    record = row.reference or row.candidate
    if row.kind == "pair" or record is None:
        return []
    side = "reference" if row.reference is not None else "candidate"
    return [pair for pair in rules.unpaired if getattr(pair, side) == record.name]


def globs_for(rows: Sequence[Row], index: int, *, kind: bool = False) -> tuple[str, ...]:
    """What a recipe rule matches that is meant for the pair on row `index` alone or, with `kind`,
    for this slot of the same module in any layer.
    """
    row = rows[index]
    if not kind:
        return (glob_of(row.canonical, row.slot),)
    labels = {f"{each.canonical}-{each.slot}" for each in rows}
    return globs_of_kind(row.canonical, row.slot, labels)
