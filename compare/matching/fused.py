"""Modules that one side runs as one and the other as several: slices of the fused output."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Literal

from ..recipes.common_view import SAME, CommonView
from ..recipes.recipe import Recipe
from ..recipes.steps import Slice
from ..rules.rules import BUILT_IN_FUSED, FusedRule
from ..vocabulary import Level
from .call_match import Match, join, plays, shapes_view, why_apart, why_unreadable
from .head_groups import group_cuts, head_size, is_grouped
from .named_records import Item, Key, Side


def match_fused(ref: Side, cand: Side, rules: tuple[FusedRule, ...]) -> list[Match]:
    """Match fused records with the parts on the other side, whichever side fuses."""
    sizes = head_size(ref), head_size(cand)
    size = sizes[0] or sizes[1]
    matches = list(_one_way(ref, cand, rules, size, fused_is_candidate=True))
    matches += _one_way(cand, ref, rules, size, fused_is_candidate=False)
    return matches


def _one_way(
    parts_side: Side, fused_side: Side, rules: tuple[FusedRule, ...], head: int | None, *,
    fused_is_candidate: bool,
) -> Iterator[Match]:  # fmt: skip
    by_last: dict[str, list[FusedRule]] = defaultdict(list)
    for rule in rules:
        by_last[rule.fused.rpartition(".")[2]].append(rule)
    for key, items in fused_side.groups.items():
        chosen = _rule_for(key, by_last.get(key[1].rpartition(".")[2], []), parts_side)
        if chosen is None:
            continue
        rule, groups = chosen
        for item in items:
            if item.matches == 0:
                parts = [_part(group, item) for group in groups]
                if is_grouped(fused_side, item, rule) and item.role not in ("input", "grad_input"):
                    cuts = group_cuts(item, parts, head)
                    if cuts is not None:
                        yield from _pairs(item, parts, rule, fused_is_candidate, cuts)
                    continue
                yield from _pairs(item, parts, rule, fused_is_candidate)


Chosen = tuple[FusedRule, list["list[Item] | None"]]


def _rule_for(key: Key, rules: list[FusedRule], parts_side: Side) -> Chosen | None:
    """The rule for a fused call and its parts on the other side: a rule of the user's file before
    the built-in ones, then one whose parts are all there.
    """
    step, module, call = key
    found: list[tuple[tuple[bool, bool], FusedRule, list[list[Item] | None]]] = []
    for rule in rules:
        if module != rule.fused and not module.endswith("." + rule.fused):
            continue
        parent = module[: len(module) - len(rule.fused)]
        groups = [parts_side.groups.get((step, parent + part, call)) for part in rule.parts]
        if any(groups):
            found.append(((rule not in BUILT_IN_FUSED, all(groups)), rule, groups))
    if not found:
        return None
    _, rule, groups = max(found, key=lambda entry: entry[0])
    return rule, groups


def _part(group: list[Item] | None, fused: Item) -> Item | None:
    """The record of a part that plays the fused record's role."""
    if group is None:
        return None
    role = "output" if fused.role == "value" else fused.role
    same = [item for item in group if plays(item, role) and not item.matches]
    exact = [item for item in same if item.slot == fused.slot]
    if role == "input":
        return next(iter(exact), None)
    return next(iter(exact or same), None)


def _pairs(
    fused: Item, parts: list[Item | None], rule: FusedRule, fused_is_candidate: bool,
    known_cuts: list[Recipe] | None = None,
) -> Iterator[Match]:  # fmt: skip
    """Matches of one fused record. What a part is a slice of only outputs tell; inputs are the
    same for all parts.
    """
    axis = rule.axis - len(fused.shape) if rule.axis >= 0 else rule.axis
    whole: list[_Cut] = [Recipe() for _ in parts]
    cuts: list[_Cut] = whole if fused.role in ("input", "grad_input") else list(known_cuts or ())
    if not cuts:
        cuts = whole if _is_its_only_part(fused, parts) else _cuts(fused, parts, axis)
    wrong = f"widths of {', '.join(rule.parts)} do not add up to {list(fused.shape)}"
    for part, cut in zip(parts, cuts, strict=True):
        if part is None or (cut is None and not (part.unreadable or fused.unreadable)):
            continue
        pair = (part, fused) if fused_is_candidate else (fused, part)
        view, problem, level = _view(part, fused, cut, fused_is_candidate)
        how = f"{part.module.rpartition('.')[2]} is a part of {fused.module}"
        match = join(*pair, view or SAME, "fused", how, problem or wrong if level else None, level)
        match.part = part
        yield match


def _is_its_only_part(fused: Item, parts: list[Item | None]) -> bool:
    """Megatron's `linear_fc1` is the up projection alone where the network has no gate."""
    there = [part for part in parts if part is not None]
    return (
        len(there) == 1 and not fused.unreadable and not there[0].unreadable
        and bool(fused.shape) and there[0].shape[-1:] == fused.shape[-1:]
    )  # fmt: skip


_Cut = Recipe | None | Literal["wrong"]


def _cuts(fused: Item, parts: list[Item | None], axis: int) -> list[_Cut]:
    """The slice of each part: None where its place is not known, `wrong` when nothing adds up."""
    spans = _spans(fused, parts, axis)
    if spans is None:
        return ["wrong" for _ in parts]
    return [span and Recipe((_slice(fused, axis, *span),)) for span in spans]


def _view(
    part: Item, fused: Item, cut: _Cut, fused_is_candidate: bool
) -> tuple[CommonView | None, str | None, Level | None]:
    """How a part and its slice are seen alike, or the problem in words and its level."""
    pair = (part, fused) if fused_is_candidate else (fused, part)
    if part.unreadable or fused.unreadable or cut is None:
        return None, why_unreadable(*pair), "unreadable"
    if part.kind != fused.kind:
        return None, why_apart(*pair), "shape"
    if cut == "wrong":
        return None, None, "shape"
    view = _through(part, fused, cut, fused_is_candidate)
    if view is not None:
        return view, None, None
    words = f"shapes {list(part.shape)} and {cut} of {list(fused.shape)} do not fit together"
    return None, words, "shape"


def _spans(fused: Item, parts: list[Item | None], axis: int) -> list[tuple[int, int] | None] | None:
    """Where each part lies on the fused axis: counted from the left, then from the right, as far
    as the parts' widths are known (a part between two missing ones has no known place); None when
    the widths cannot be right.
    """
    if not -len(fused.shape) <= axis < len(fused.shape):
        return None
    total = fused.shape[axis]
    widths = [_width(part, axis) for part in parts]
    known = sum(width for width in widths if width is not None)
    if known > total or (known == total) != (None not in widths):
        return None
    spans: list[tuple[int, int] | None] = [None] * len(parts)
    at = 0
    for index, width in enumerate(widths):
        if width is None:
            break
        spans[index] = (at, at + width)
        at += width
    at = total
    for index in range(len(widths) - 1, -1, -1):
        width = widths[index]
        if width is None:
            break
        spans[index] = (at - width, at)
        at -= width
    return spans


def _width(part: Item | None, axis: int) -> int | None:
    if part is None or part.unreadable or not -len(part.shape) <= axis < len(part.shape):
        return None
    return part.shape[axis]


def _slice(fused: Item, axis: int, start: int, stop: int) -> Slice:
    everything = (None, None, None)
    before = axis % len(fused.shape)
    return Slice((*(everything for _ in range(before)), (start, stop, None)))


def _through(part: Item, fused: Item, cut: Recipe, fused_is_candidate: bool) -> CommonView | None:
    """The common view of a part and its slice of the fused record."""
    shape = cut.shape(fused.shape)
    if fused_is_candidate:
        view = shapes_view(part.shape, shape, False)
        if view is None:
            return None
        return CommonView(view.reference, Recipe((*cut.steps, *view.candidate.steps)), view.how)
    view = shapes_view(shape, part.shape, False)
    if view is None:
        return None
    return CommonView(Recipe((*cut.steps, *view.reference.steps)), view.candidate, view.how)
