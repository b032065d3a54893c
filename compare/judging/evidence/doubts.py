"""Pairs of records that do not seem to belong together.

Names differ between engines, and records are then paired by their place. Where such a pair's values
have nothing to do with one another, while all that is made of them agrees, the pair is wrong, not
the model: an error of that size would have been passed on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from ...limits import AGREES, LEAST, UNLIKE, UNRELATED_COSINE
from ..row_facts import Facts

if TYPE_CHECKING:
    from ..errors import Errors

_BY_PLACE = ("order", "content")


def doubtful_pairs(errors: Errors) -> dict[int, str]:
    """By row: why the two records of a pair do not seem to belong together."""
    wrong = {index for index, facts in errors.facts.items() if may_be_doubted(errors, facts)}
    if wrong and _one_dialect(errors):
        wrong = {index for index in wrong if errors.rows[index].matched_by != "name"}
    if not wrong:
        return {}
    consumers = consumers_of(errors)
    while True:
        kept = agreeing_behind(errors, wrong, consumers)
        kinds = {errors.flow[index].kind for index in kept}
        # The last of its kind has nothing behind it that could show it.
        kept |= {index for index in wrong if index not in consumers
                 and errors.flow[index].kind in kinds}  # fmt: skip
        single = _single_of_a_name(errors, kept)
        if not single:
            break
        wrong -= single
    return {index: _words(errors, errors.facts[index]) for index in sorted(kept)}


def _one_dialect(errors: Errors) -> bool:
    """Whether both sides name everything alike: equal names then mean the same."""
    return all(
        row.matched_by == "name" and row.reference is not None and row.candidate is not None
        and row.reference.name == row.candidate.name
        for row in errors.rows if row.kind == "pair"
    )  # fmt: skip


def _single_of_a_name(errors: Errors, doubted: set[int]) -> set[int]:
    """Those of equal names whose kind is not doubted in every layer: two engines that mean
    different things by a name do so throughout, and one odd record is a wrong one.
    """
    named = {index for index in doubted if errors.rows[index].matched_by == "name"}
    members: dict[tuple[str, str, bool], set[int]] = {}
    if named:
        for index, node in errors.flow.nodes.items():
            members.setdefault(node.kind, set()).add(index)
    return {
        index for index in named
        if len(alike := members[errors.flow[index].kind]) < 2 or not alike <= doubted
    }  # fmt: skip


def may_be_doubted(errors: Errors, facts: Facts) -> bool:
    """Values that differ grossly, in a pair made by place; of equal names, that are unrelated."""
    if facts.plain <= UNLIKE:  # nearly always
        return False
    row = errors.rows[facts.index]
    if facts.exact or facts.blocked or row.role == "input" or facts.index in errors.layouts:
        return False
    if facts.result.nonfinite_mismatch:
        return False
    if row.matched_by in _BY_PLACE:
        return True
    cosine = facts.result.cosine
    return row.matched_by == "name" and cosine is not None and cosine < UNRELATED_COSINE


def _words(errors: Errors, facts: Facts) -> str:
    row = errors.rows[facts.index]
    how = "paired by place" if row.matched_by in _BY_PLACE else "of the same name"
    return (
        f"{how}, the two differ by {facts.plain:.2g}, yet everything computed from them agrees: "
        "they do not seem to be the same quantity"
    )


def consumers_of(errors: Errors) -> dict[int, list[int]]:
    """By row: the rows whose values were made from it, those of whole numbers left out."""
    found: dict[int, list[int]] = {}
    for index, node in errors.flow.nodes.items():
        if not errors.facts[index].exact:
            for source in node.sources:
                found.setdefault(source, []).append(index)
    return found


def agreeing_behind(
    errors: Errors, wrong: Collection[int], consumers: Mapping[int, list[int]] | None = None
) -> set[int]:
    """Those of the rows `wrong` of which everything that is made agrees, or is one of them;
    something that agrees there must be. Rows that nothing is made of are no evidence about others.
    `consumers` are those of `consumers_of`, if known.
    """
    if not wrong:
        return set()
    if consumers is None:
        consumers = consumers_of(errors)
    ends = {index for index in wrong if not consumers.get(index)}
    left = set(wrong) - ends
    while True:
        excused = left | ends
        out = {index for index in left if not _all_agree(errors, index, consumers, excused)}
        if not out:
            return left
        left -= out


def _all_agree(
    errors: Errors, index: int, consumers: Mapping[int, list[int]], excused: set[int]
) -> bool:
    """Whether what is made of a record agrees or is excused, and something of it agrees."""
    others = [each for each in consumers[index] if each not in excused]
    return bool(others) and all(agrees(errors, index, each, excused) for each in others)


def agrees(errors: Errors, index: int, behind: int, excused: set[int]) -> bool:
    """Whether a record agrees that is made of another: where names say that the two of that one
    belong together, to what rounding and all else that it is made of explain.
    """
    facts = errors.facts[behind]
    most = facts.ok
    if errors.rows[index].matched_by not in _BY_PLACE:
        others = [s.passed_on for s in facts.sources if s.index not in excused]
        most = min(most, max(AGREES * facts.floor, LEAST * max(others, default=0.0)))
    return not facts.result.nonfinite_mismatch and facts.greater <= most
