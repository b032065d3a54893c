"""Matching the records of one call on both sides: outputs with outputs, inputs with inputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod

from ..recipes.common_view import SAME, CommonView, common_view
from ..recipes.errors import Shape
from ..recipes.recipe import Recipe
from ..vocabulary import Level, MatchedBy
from .named_records import Item
from .token_view import tokens_view


@dataclass(slots=True, eq=False)
class Match:
    """A pair of items, or why the two cannot be brought together."""

    reference: Item
    candidate: Item
    view: CommonView
    matched_by: MatchedBy
    how: str
    problem: str | None = None
    problem_level: Level | None = None
    part: Item | None = None  # of a fused module: gives the row its name
    sure: float | None = None  # 0 to 1, of pairs by values

    @property
    def named(self) -> Item:
        """The item that names the row."""
        return self.part or self.reference


@lru_cache(maxsize=65536)
def shapes_view(
    reference: Shape, candidate: Shape, last_rows: bool, reshaped: bool = False
) -> CommonView | None:
    """`common_view`, remembered: a model has few shapes and many records."""
    return common_view(reference, candidate, last_rows=last_rows, reshaped=reshaped)


_SHAPE_UNKNOWN = CommonView(Recipe(), Recipe(), "a shape is not recorded")


def view_of(reference: Item, candidate: Item, last_rows: bool) -> CommonView | None:
    """How to see two readable items alike; None when kinds or shapes do not go together.

    Only activations are looked at by their last rows: whole numbers (ids, offsets, lengths) of
    few elements fit anything that way.
    """
    if reference.kind != candidate.kind or not reference.kind:
        return None
    if reference.record.shape is None or candidate.record.shape is None:
        return _SHAPE_UNKNOWN
    floats = reference.kind == "float"
    reshaped = reference.reshaped and floats
    left, right = reference.record.tokens, candidate.record.tokens
    if left is None and right is None:
        return shapes_view(reference.shape, candidate.shape, last_rows and floats, reshaped)
    # What has the last token alone is no partner of a part that ends before it.
    to_the_end = all(known is None or known.has_last for known in (left, right))
    last_rows = last_rows and floats and to_the_end
    return tokens_view(
        (reference.shape, left), (candidate.shape, right),
        partial(shapes_view, last_rows=last_rows, reshaped=reshaped),
    )  # fmt: skip


def join(
    reference: Item, candidate: Item, view: CommonView, matched_by: MatchedBy, how: str,
    problem: str | None = None, level: Level | None = None,
) -> Match:  # fmt: skip
    """Make a match and count it on both items."""
    reference.matches += 1
    candidate.matches += 1
    words = f"{how}; {view.how}" if view.how else how
    if reference.before.steps or candidate.before.steps:
        view = CommonView(
            Recipe((*reference.before.steps, *view.reference.steps)),
            Recipe((*candidate.before.steps, *view.candidate.steps)), view.how,
        )  # fmt: skip
        words = "; ".join([words, *dict.fromkeys((*reference.made_by, *candidate.made_by))])
    return Match(reference, candidate, view, matched_by, words, problem, level)


def named(reference: Item, candidate: Item) -> tuple[MatchedBy, str]:
    """How two items with one canonical name came to it."""
    if reference.plain == candidate.plain:
        return "name", "same name"
    return "rule", f"both are {reference.module} by the naming rules"


Describe = Callable[[Item, Item], tuple[MatchedBy, str]]


def match_calls(
    references: list[Item], candidates: list[Item], describe: Describe = named
) -> list[Match]:
    """Pair the records of one call. What has no partner stays unmatched."""
    last = bool(references) and references[0].last_rows
    matches: list[Match] = []
    matches.extend(_same_slot(references, candidates, last, describe))
    matches.extend(_first_of_role(references, candidates, last, describe))
    matches.extend(_misfits(references, candidates, describe))
    return matches


def _free(items: list[Item]) -> list[Item]:
    return [item for item in items if item.matches == 0]


def _same_slot(
    references: list[Item], candidates: list[Item], last: bool, describe: Describe
) -> Iterator[Match]:
    by_slot = {item.slot: item for item in reversed(_free(candidates))}
    for ref in _free(references):
        cand = by_slot.get(ref.slot)
        if cand is None or cand.matches:
            continue
        if ref.unreadable or cand.unreadable:
            yield _unreadable(ref, cand, describe)
            continue
        view = view_of(ref, cand, last)
        if view is not None:
            yield join(ref, cand, view, *describe(ref, cand))


def _unreadable(ref: Item, cand: Item, describe: Describe) -> Match:
    return join(ref, cand, SAME, *describe(ref, cand), why_unreadable(ref, cand), "unreadable")


def why_unreadable(ref: Item, cand: Item) -> str:
    """Which record of a pair cannot be read, and why."""
    broken = ref if ref.unreadable else cand
    why = broken.record.error or "captured as statistics only: no values to compare"
    return f"{broken.record.path}: {why}"


def why_apart(ref: Item, cand: Item) -> str:
    """Why two readable records cannot be brought together."""
    if ref.kind != cand.kind:
        return f"dtypes {ref.record.dtype} and {cand.record.dtype} cannot be compared"
    return f"shapes {list(ref.shape)} and {list(cand.shape)} do not fit together"


def _first_of_role(
    references: list[Item], candidates: list[Item], last: bool, describe: Describe
) -> Iterator[Match]:
    """Where slots are called differently, the first record of a kind that fits is the one.

    Only one pair a role: a call's further inputs (masks, positions, offsets) are too easily
    mistaken for one another.
    """
    for role in ("input", "output", "grad_output", "grad_input"):
        pool = [item for item in references if plays(item, role)]
        others = [item for item in candidates if plays(item, role)]
        if any(item.matches for item in pool) and any(item.matches for item in others):
            continue
        for ref, cand in ((r, c) for r in _free(pool) for c in _free(others)):
            if ref.unreadable or cand.unreadable:
                continue
            if role == "input" and not _may_be_first_input(ref, cand):
                continue
            same = _same_output(ref, cand)
            if role != "input" and not same and not _may_be_one_output(ref, cand):
                continue
            view = view_of(ref, cand, last)
            if view is not None:
                by, how = describe(ref, cand)
                if not same and by in ("name", "rule"):
                    words = f"first {role} on either side that fits: {ref.slot}, {cand.slot}"
                    by, how = "order", f"{how}; {words}"
                yield join(ref, cand, view, by, how)
                break


def _same_output(ref: Item, cand: Item) -> bool:
    """Whether both hold the one thing that their module returns: a dump without slots has that."""
    slots = {ref.slot, cand.slot}
    return len(slots) == 1 or slots == {"value", "output"}


def _may_be_one_output(ref: Item, cand: Item) -> bool:
    """Whether outputs of different names can be the same: no cache, and equally wide. A cache of
    `[1, 2, 10, 16]` has as many elements as logits of `[1, 320]`.
    """
    steering = _STEERING.search(ref.slot) or _STEERING.search(cand.slot)
    numbers = {_number(ref.slot), _number(cand.slot)} - {None}
    return not steering and len(numbers) < 2 and same_width(ref, cand)


_NUMBERED = re.compile(r"(?:output|grad_output|input|grad_input)_([0-9]{1,9})$")


def _number(slot: str) -> int | None:
    """Which of several a slot is; None for one that has a name. What stands alone is the first."""
    if slot in ("value", "output", "grad_output", "input", "grad_input"):
        return 0
    found = _NUMBERED.match(slot)
    return int(found[1]) if found else None


def same_width(ref: Item, cand: Item) -> bool:
    """True when the last axes (of sizes other than 1) are equal: features face features."""
    widths = ([n for n in item.shape if n != 1][-1:] for item in (ref, cand))
    return next(widths) == next(widths)


def plays(item: Item, role: str) -> bool:
    """A tap without a slot may stand for its module's output."""
    return item.role == role or (role == "output" and item.role == "value")


_FURTHER = re.compile(r"input_[1-9][0-9]*$")
# Inputs that steer a call; engines have different ones, and their shapes are easily alike.
_STEERING = re.compile(
    r"mask|position|offset|layer_idx|length|freq|cache|past_key|cos$|sin$|_part$"
)


def _may_be_first_input(ref: Item, cand: Item) -> bool:
    """Whether two inputs of different slots may be what their module works on."""
    if _STEERING.search(ref.slot) or _STEERING.search(cand.slot):
        return False
    numbers = {_number(ref.slot), _number(cand.slot)} - {None}
    if len(numbers) == 2 and numbers != {0, 1}:  # an engine may pass the layer's number first
        return False
    return bool(ref.shape) == bool(cand.shape)  # a scalar is an index or a flag


def _misfits(references: list[Item], candidates: list[Item], describe: Describe) -> Iterator[Match]:
    """Records of one name and slot whose shapes do not go together: a finding, not two gaps."""
    by_slot = {item.slot: item for item in reversed(_free(candidates))}
    for ref in _free(references):
        cand = by_slot.get(ref.slot)
        if cand is None or cand.matches or ref.unreadable or cand.unreadable:
            continue
        if ref.role == "input" and not _same_quantity(ref, cand):
            continue
        yield join(ref, cand, SAME, *describe(ref, cand), why_apart(ref, cand), "shape")
    for ref, cand in ((r, c) for r in _free(references) for c in _free(candidates)):
        if ref.matches or cand.matches or ref.unreadable or cand.unreadable:
            continue
        alone = {ref.slot, cand.slot} == {"value", "output"} and ref.kind == cand.kind
        if alone and same_width(ref, cand):  # equally wide, for other tokens
            yield join(ref, cand, SAME, *describe(ref, cand), why_apart(ref, cand), "shape")


def _same_quantity(ref: Item, cand: Item) -> bool:
    """Whether a shared input slot can be trusted to mean the same (a scalar index is no tensor).

    A place in the argument list is no name: only the first is usually the same in two engines.
    """
    if ref.kind != cand.kind or _STEERING.search(ref.slot) or _FURTHER.match(ref.slot):
        return False
    return (prod(ref.shape) == 1) == (prod(cand.shape) == 1)
