"""Aligning two captures: every record of both on a row, in a pair or in a gap.

Order of trust: pairs given by hand, equal canonical names, fused modules against their parts,
calls that one side repeats for all tokens, other modules that hold the same quantity, and last
what names that no table knows have in common. Shapes and dtypes are known by then; values are not
looked at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from math import prod

from ...capture.interpreter.garbage import free_slowly
from ...capture.records import Capture
from ..aligned import Aligned, Note, SideName
from ..ranks.joined_sides import joined_sides
from ..recipes.common_view import SAME, CommonView
from ..recipes.errors import RecipeError
from ..recipes.one_sided import completed
from ..recipes.parse import parse_recipe
from ..recipes.recipe import view_shapes
from ..recipes.steps import Concat
from ..rules.rules import HandPair, RecipeRule, Rules
from .call_match import (
    Match,
    join,
    match_calls,
    named,
    same_width,
    shapes_view,
    view_of,
    why_apart,
    why_unreadable,
)
from .content.axes.first_axes import WORDS, exchanged
from .content.axes.turned import with_turned
from .content.found import Content
from .content.matches import content_matches, without_refused
from .content.misfits import with_layouts
from .equivalents import match_equivalents
from .experts import match_experts
from .fused import match_fused
from .leftovers import leftover_pairs
from .named_records import Item, Side, kind_of, primary, same_base, settle, sides_of
from .names.reading import Names
from .padding import drop_padding
from .rotary_rows import in_halves
from .row_order import check_order, lay_out
from .stacked_layers import match_stacked_layers
from .token_steps import fit_steps, mark_last_rows


def align(
    reference: Capture, candidate: Capture, rules: Rules | None = None,
    content: Content = Content(),  # noqa: B008
    names: Names | None = None,
) -> Aligned:  # fmt: skip
    """Align two captures whose headers have been read; those of several ranks are put together by
    the rules and by each other. `content` are pairs that values show,
    `names` the readings of both by the same rules (`Aligned.names`), which take long.
    """
    aligned, leavings = _align(reference, candidate, rules or Rules(), content, names)
    free_slowly(leavings)
    return aligned


def _align(
    reference: Capture, candidate: Capture, rules: Rules, content: Content, names: Names | None
) -> tuple[Aligned, list[object]]:
    """The captures aligned, and what that took."""
    if names is None:
        reference, candidate = joined_sides(reference, candidate, rules)
    ref, cand = sides_of(reference, candidate, rules, names)
    same_base(ref, cand)
    notes = _notes_of_names(ref, cand)
    notes += [Note(side, text) for side, text in fit_steps(ref, cand)]
    notes += drop_padding(ref, cand)
    notes += in_halves(ref, cand)
    notes += [Note(side, text) for side, text in mark_last_rows(ref, cand)]
    apart = set(rules.unpaired)
    notes += _unknown_pairs(ref, cand, rules.pairs)
    matches = list(_by_hand(ref, cand, rules.pairs))
    matches += _by_name(ref, cand)
    matches += match_fused(ref, cand, rules.fused)
    matches += match_experts(ref, cand)
    matches += match_stacked_layers(ref, cand)
    matches += _repeated_calls(ref, cand, matches)
    matches += match_equivalents(ref, cand)
    matches += content_matches(ref, cand, content)
    matches = without_refused(matches + _left_over(ref, cand), content)
    matches += _only_ones(ref, cand)
    matches = [match for match in matches if not _taken_apart(match, apart)]
    matches = with_layouts(matches, content)
    if content.exchanged:  # of all records at once; pair by pair it is looked for otherwise
        matches = [exchanged(match) for match in matches]
        notes.append(Note("candidate", WORDS))
    else:
        matches = with_turned(matches, content)
    matches = [_with_rule(match, rules) for match in matches]
    settle(ref)
    settle(cand)
    rows = lay_out(ref, cand, matches)
    if rules.thresholds:
        from ..rules.learned_limits import coverage_notes

        notes += [Note("reference", text) for text in coverage_notes(rules.thresholds, rows)]
    aligned = Aligned(
        reference, candidate, rules, tuple(rows), check_order(ref, cand, matches),
        tuple(ref.ignored), tuple(cand.ignored), tuple(notes), content,
        names=(ref.naming, cand.naming),
    )  # fmt: skip
    return aligned, [*ref.items, *cand.items, *matches]


def _only_ones(ref: Side, cand: Side) -> Iterator[Match]:
    """Two captures of one tensor each (`layertui a.pt b.max`): whatever they are called, the user
    asks to compare these two.
    """
    if len(ref.items) != 1 or len(cand.items) != 1 or ref.items[0].matches:
        return
    ours, theirs = ref.items[0], cand.items[0]
    how = "the only record on either side"
    if ours.unreadable or theirs.unreadable:
        why = why_unreadable(ours, theirs)
        yield join(ours, theirs, SAME, "order", how, why, "unreadable")
        return
    view = view_of(ours, theirs, True)
    if view is not None:
        yield join(ours, theirs, view, "order", how)
    else:
        yield join(ours, theirs, SAME, "order", how, why_apart(ours, theirs), "shape")


def _taken_apart(match: Match, apart: set[HandPair]) -> bool:
    if HandPair(match.reference.record.name, match.candidate.record.name) not in apart:
        return False
    match.reference.matches -= 1
    match.candidate.matches -= 1
    return True


def _by_hand(ref: Side, cand: Side, pairs: tuple[HandPair, ...]) -> Iterator[Match]:
    if not pairs:
        return
    ours, theirs = _by_record_name(ref), _by_record_name(cand)
    for pair in dict.fromkeys(pairs):
        for step, item in ours.get(pair.reference, {}).items():
            other = theirs.get(pair.candidate, {}).get(step)
            if other is None:
                continue
            if item.unreadable or other.unreadable:
                why = why_unreadable(item, other)
                yield join(item, other, SAME, "hand", "paired by hand", why, "unreadable")
                continue
            view = view_of(item, other, True)
            if view is not None:
                yield join(item, other, view, "hand", "paired by hand")
            else:
                words = f"{why_apart(item, other)}: a recipe is needed"
                yield join(item, other, SAME, "hand", "paired by hand", words, "shape")


def _unknown_pairs(ref: Side, cand: Side, pairs: tuple[HandPair, ...]) -> list[Note]:
    """Pairs given by hand whose records are not there."""
    if not pairs:
        return []
    ours, theirs = _by_record_name(ref), _by_record_name(cand)
    return [
        Note("reference", f"[[pair]] {pair.reference}, {pair.candidate}: no such two records")
        for pair in dict.fromkeys(pairs)
        if pair.reference not in ours or pair.candidate not in theirs
    ]


def _by_record_name(side: Side) -> dict[str, dict[int, Item]]:
    names: dict[str, dict[int, Item]] = defaultdict(dict)
    for item in side.items:
        names[item.record.name].setdefault(item.step, item)
    return names


def _by_name(ref: Side, cand: Side) -> list[Match]:
    matches: list[Match] = []
    for key, items in ref.groups.items():
        others = cand.groups.get(key)
        if others:
            matches.extend(match_calls(items, others))
    return matches


def _repeated_calls(ref: Side, cand: Side, matches: list[Match]) -> list[Match]:
    """A module that one side ran twice, for the last tokens and for all: the other side's single
    record, which has all, is the partner of both.
    """
    found: list[Match] = []
    for match in matches:
        first = match.reference
        if match.problem is not None or match.part or not first.last_rows:
            continue
        for whole, side in ((match.reference, cand), (match.candidate, ref)):
            item = _again(match, whole, side)
            if item is not None:
                pair = (whole, item) if side is cand else (item, whole)
                view = view_of(*pair, True)
                assert view is not None
                _, how = named(*pair)
                found.append(join(*pair, view, "rule", f"{how}, run again"))
                break
    return found


def _again(match: Match, whole: Item, side: Side) -> Item | None:
    """The record of `side` that repeats what `match` has of `whole`: one of the two views must be
    of the last tokens only, else the calls are two different ones.
    """
    for item in _later(side, whole, match):
        pair = (whole, item) if whole is match.reference else (item, whole)
        view = view_of(*pair, True)
        if view is None or max(prod(match.reference.shape), prod(match.candidate.shape)) != prod(
            whole.shape
        ):
            continue
        if not same_width(whole, item):
            continue
        partial = ("the last" in match.view.how) != ("the last" in view.how)
        if partial or _one_token(whole, item, match):
            return item
    return None


def _one_token(whole: Item, item: Item, match: Match) -> bool:
    """With one token a sequence, its last token is all of it, and both calls have one shape."""
    known = match.candidate if whole is match.reference else match.reference
    one = whole.kind == "float" and whole.shape[-2:-1] == (1,)
    return one and item.shape == known.shape


def _later(side: Side, item: Item, match: Match) -> Iterator[Item]:
    """Unmatched records of the same module and role on the other side, this call and later."""
    known = match.candidate if match.reference is item else match.reference
    call = known.call
    while (items := side.groups.get((item.step, item.module, call))) is not None:
        for other in items:
            alike = other.slot == known.slot or call == known.call
            if other.matches == 0 and other.role == item.role and alike and not other.unreadable:
                yield other
        call += 1


def _left_over(ref: Side, cand: Side) -> list[Match]:
    """Calls without a partner by any table, whose names have enough in common."""
    matches: list[Match] = []
    for key, other in leftover_pairs(ref, cand):
        ours, theirs = primary(ref.groups[key]), primary(cand.groups[other])
        assert ours is not None and theirs is not None
        if shapes_view(ours.shape, theirs.shape, False) is None:
            continue
        words = f"by order: {key[1]} and {other[1]} are at the same position and fit"
        matches += match_calls(
            ref.groups[key], cand.groups[other], lambda a, b, w=words: ("order", w)
        )
    return matches


def _notes_of_names(ref: Side, cand: Side) -> list[Note]:
    """Which engine's names were recognised, and what reading them found out."""
    notes: list[Note] = []
    sides: tuple[tuple[SideName, Side], ...] = (("reference", ref), ("candidate", cand))
    for name, side in sides:
        if side.naming.engine is not None:
            notes.append(Note(name, f"names are read as those of {side.naming.engine.name}"))
        notes += [Note(name, text) for text in side.naming.notes]
    return notes


def _with_rule(match: Match, rules: Rules) -> Match:
    """The recipes of the rules file, where one names this pair, instead of the built-in ones."""
    rule: RecipeRule | None = rules.recipe_for(match.named.label)
    if rule is None or match.problem_level == "unreadable":
        return match
    view, problem = match.view, None
    try:
        left, right = (
            None if text is None else parse_recipe(text)
            for text in (rule.reference, rule.candidate)
        )  # fmt: skip
        shapes = match.reference.shape, match.candidate.shape
        view = completed(left, right, CommonView(view.reference, view.candidate), shapes)
        problem = _misfit(match, view)
    except RecipeError as error:
        problem = str(error)
    match.view = view
    match.how = f"{match.how}; recipe of the rules file"
    match.problem, match.problem_level = problem, "shape" if problem else None
    return match


def _misfit(match: Match, view: CommonView) -> str | None:
    """Why recipes do not bring two records together. Raises `RecipeError` where one fits no
    record.
    """
    dtypes = [
        (item.record.dtype or "", *recipe.casts)[-1]
        for item, recipe in (
            (match.reference, view.reference),
            (match.candidate, view.candidate),
        )
    ]
    if kind_of(dtypes[0]) != kind_of(dtypes[1]):
        return f"dtypes {dtypes[0]} and {dtypes[1]} cannot be compared: a cast is needed"
    if any(isinstance(s, Concat) for s in (*view.reference.steps, *view.candidate.steps)):
        return None  # its shape is known once the other records are open
    shapes = view_shapes(
        view.reference,
        view.candidate,
        match.reference.record.shape or (),
        match.candidate.record.shape or (),
    )
    if shapes[0] != shapes[1]:
        return (
            f"recipes give {list(shapes[0])} of the reference "
            f"against {list(shapes[1])} of the candidate"
        )
    return None
