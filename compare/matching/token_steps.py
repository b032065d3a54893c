"""What the numbers of tokens on both sides say about steps and about last tokens.

The embedding's output has one row a token in every framework, padded or ragged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import prod
from typing import TYPE_CHECKING

from ...capture.errors import RecordError
from ..aligned import SideName
from .named_records import Item, Side, behind_layers
from .names.canonical import layer_number
from .names.roles import role_of

if TYPE_CHECKING:
    from ...capture.values import Array

_MOST_ELEMENTS = 1 << 22  # of embeddings that are read to tell steps apart


def fit_steps(ref: Side, cand: Side) -> list[tuple[SideName, str]]:
    """Where one side has a single step and the other several, find the one that it is.

    MAX overwrites its files at every step unless told otherwise: what is left is the last step.
    Prefill is kept where it fits. Gives a note for a side whose step was moved.
    """
    notes: list[tuple[SideName, str]] = list(_from_one(ref, cand))
    sides: tuple[tuple[SideName, Side, Side], ...] = (
        ("reference", ref, cand), ("candidate", cand, ref),
    )  # fmt: skip
    for name, single, several in sides:
        steps = {item.step for item in single.items}
        others = sorted({item.step for item in several.items})
        if len(steps) != 1 or len(others) < 2:
            continue
        (step,) = steps
        tokens, found = _tokens(single).get(step), _tokens(several)
        fitting = [other for other in others if found.get(other) == tokens]
        if tokens is None or not fitting:
            continue
        equal = _of_same_tokens(single, several, step, fitting)
        target = equal if equal is not None else step if step in fitting else fitting[-1]
        if target == step:
            continue
        _move(single, {step: target})
        words = "which fits" if equal is None else "whose embeddings are those of"
        note = f"holds one step, {words} step {target} of the other side: compared with it"
        notes.append((name, note))
    return notes


def _of_same_tokens(
    single: Side, several: Side, step: int, steps: Iterable[int]
) -> int | None:  # fmt: skip
    """The only one of `steps` whose embeddings are those of the single step: a pass for warming up
    runs other tokens. None where several are, or none is, or it cannot be read.
    """
    own = _embeddings(single).get(step)
    beside = _embeddings(several)
    if own is None:
        return None
    equal = [other for other in steps if other in beside and _are_equal(own, beside[other])]
    return equal[0] if len(equal) == 1 else None


def _are_equal(one: Item, other: Item) -> bool:
    first, second = _values_of(one), _values_of(other)
    if first is None or second is None or first.shape != second.shape:
        return False
    return _within_rounding(first, second, (one, other))


def _within_rounding(first: Array, second: Array, items: Iterable[Item]) -> bool:
    from .content.equal import distance, limit_of

    coarse = ((item.record.dtype or "") not in ("float32", "float64") for item in items)
    return distance(first, second) <= limit_of(*coarse)


def _values_of(item: Item) -> Array | None:
    """The values of a small record, flat; None where they cannot be read."""
    from ...capture.load import load  # the screen shows its rows before numpy is there
    from ...capture.values import upcast

    locator = item.record.locator
    if locator is None or locator.count > _MOST_ELEMENTS or item.record.partial is not None:
        return None
    try:
        return upcast(load(locator), locator.dtype).reshape(-1)
    except (RecordError, OSError, TypeError):
        return None


def _from_one(ref: Side, cand: Side) -> Iterator[tuple[SideName, str]]:
    """Where one side counts its steps from 1 and the other as many from 0, count both from 0; not
    where the numbers of tokens say that these are other steps.
    """
    ours, theirs = ({item.step for item in side.items} for side in (ref, cand))
    if len(ours) != len(theirs) or ours == theirs:
        return
    sides: tuple[tuple[SideName, Side, Side, set[int]], ...] = (
        ("reference", ref, cand, ours), ("candidate", cand, ref, theirs),
    )  # fmt: skip
    for name, side, other, steps in sides:
        count = len(steps)
        others = theirs if side is ref else ours
        if steps != set(range(1, count + 1)) or others != set(range(count)):
            continue
        tokens, beside = _tokens(side), _tokens(other)
        known = {step for step in steps if step in tokens and step - 1 in beside}
        if count == 1 and not known:
            continue  # a single step of either side may be any
        if all(tokens[step] == beside[step - 1] for step in known):
            _move(side, {step: step - 1 for step in steps})
            span = "step 1 is" if count == 1 else f"steps 1 to {count} are"
            to = "step 0" if count == 1 else f"steps 0 to {count - 1}"
            yield name, f"counts its steps from 1: its {span} compared with {to} of the other side"


def _move(side: Side, steps: Mapping[int, int]) -> None:
    for item in side.items:
        for one in (item, *item.aliases):
            one.step = steps.get(one.step, one.step)
    side.regroup()


def mark_last_rows(ref: Side, cand: Side) -> list[tuple[SideName, str]]:
    """Allow the last-token view behind the layers, and in the last one where an engine ends it so,
    except in steps whose numbers of tokens differ:
    there the last row of a padded sequence is not the last token of a ragged one. Everywhere in
    steps of which one side has nothing but the last token, as the embeddings show; these are said
    in the notes that are returned, with their side.
    """
    first, second = _embeddings(ref), _embeddings(cand)
    ours, theirs = _rows_of(first), _rows_of(second)
    differing = {step for step in ours.keys() & theirs.keys() if ours[step] != theirs[step]}
    last = {step for step in differing if _is_last_of(first[step], second[step])}
    end = _early_end(ref, cand)
    for item in (*ref.items, *cand.items):
        for one in (item, *item.aliases):
            behind = behind_layers(one.module) or layer_number(one.module) == end
            one.last_rows = one.step in last or (one.step not in differing and behind)
    notes: dict[tuple[SideName, str], None] = {}
    for step in sorted(last):
        shorter: SideName = "reference" if ours[step] < theirs[step] else "candidate"
        most = max(ours[step], theirs[step])
        text = f"has the last token alone, compared with the last of {most} of the other side"
        notes[shorter, text] = None
    return list(notes)


def _early_end(ref: Side, cand: Side) -> int:
    """The number of a layer that goes on with the last token alone; -1 where none does."""
    early = any(s.naming.engine is not None and s.naming.engine.ends_early for s in (ref, cand))
    numbers = (layer_number(item.module) for side in (ref, cand) for item in side.items)
    return max((n for n in numbers if n is not None), default=-1) if early else -1


def _is_last_of(one: Item, other: Item) -> bool:
    """Whether one of two embeddings is the last token of the other, of a single sequence."""
    shorter, longer = sorted((one, other), key=lambda item: prod(item.shape))
    if prod(shorter.shape[:-1]) != 1 or prod(longer.shape[:-2]) != 1:
        return False
    few, many = _values_of(shorter), _values_of(longer)
    if few is None or many is None or few.size > many.size:
        return False
    return _within_rounding(few, many[-few.size :], (one, other))


def _tokens(side: Side) -> dict[int, int]:
    """By step: rows of the embedding's output; none where it is not captured or not readable."""
    return _rows_of(_embeddings(side))


def _rows_of(items: Mapping[int, Item]) -> dict[int, int]:
    return {step: prod(item.shape[:-1]) for step, item in items.items()}


def _embeddings(side: Side) -> dict[int, Item]:
    """By step: the embedding's output."""
    found: dict[int, Item] = {}
    for item in side.items:
        first = item.call == 1 and item.step not in found
        if first and role_of(item.module) == "embedding" and _is_activation(item):
            found[item.step] = item
    return found


def _is_activation(item: Item) -> bool:
    return item.role in ("output", "value") and item.kind == "float" and len(item.shape) > 1
