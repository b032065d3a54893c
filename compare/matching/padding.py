"""A padded batch against a ragged one, or one that is padded otherwise: only tokens are compared.

Which tokens are padding is read from the attention masks that the dumps hold; nothing is guessed
from shapes. Where the lengths of both sides contradict each other, nothing is done, and said.
"""

from __future__ import annotations

from collections import Counter
from math import prod

from ..aligned import Note, SideName
from ..recipes.ranges import Ranges
from ..recipes.steps import Reshape, Step, Transpose
from .named_records import Item, Side, behind_layers
from .token_facts import Padding, paddings, sequence_lengths

_MOST_RANGES = 4096  # sequences, about: a recipe is a line that people can still open


def drop_padding(ref: Side, cand: Side) -> list[Note]:
    """Give the items of padded batches the recipe that leaves their tokens. Gives notes."""
    sides: tuple[tuple[SideName, Side, Side], ...] = (
        ("reference", ref, cand), ("candidate", cand, ref),
    )  # fmt: skip
    known: dict[SideName, dict[int, list[Padding]]] = {
        name: paddings(side.capture.records) for name, side, _ in sides
    }
    if not any(known.values()):
        return []
    lengths = {name: sequence_lengths(side.capture.records) for name, side, _ in sides}
    rows: dict[SideName, dict[int, tuple[int, ...]]] = {
        name: _rows(side) for name, side, _ in sides
    }
    notes: list[Note] = []
    for step in sorted(set(known["reference"]) | set(known["candidate"])):
        shapes = {rows[name].get(step) for name, _, _ in sides}
        if len(shapes) == 1:
            continue  # both are padded alike, or nothing is known
        for name, side, _ in sides:
            other: SideName = "candidate" if name == "reference" else "reference"
            for padding in known[name].get(step, ()):
                tokens = _tokens_beside(other, step, known, rows)
                if tokens != padding.tokens:
                    continue
                said = {len_ for len_ in lengths[other].get(step, ()) if sum(len_) == tokens}
                if said and padding.lengths not in said:
                    notes.append(Note(name, _apart(padding, sorted(said)[0], other)))
                    continue
                count = _unpad(side, _by_key(ref if side is cand else cand), step, padding)
                if count:
                    notes.append(Note(name, _words(padding, step)))
    return notes


def _tokens_beside(
    name: SideName, step: int, known: dict[SideName, dict[int, list[Padding]]],
    rows: dict[SideName, dict[int, tuple[int, ...]]],
) -> int | None:  # fmt: skip
    """How many tokens a side ran in a step: without padding where its own mask tells that."""
    own = known[name].get(step)
    if own:
        return own[0].tokens
    found = rows[name].get(step)
    return None if found is None else prod(found)


def _rows(side: Side) -> dict[int, tuple[int, ...]]:
    """By step, the axes in front of the features that most activations have; axes of size 1 in
    front left out.
    """
    counts: dict[int, Counter[tuple[int, ...]]] = {}
    for item in side.items:
        if item.kind == "float" and item.role in ("output", "value") and len(item.shape) > 1:
            lead = item.shape[:-1]
            while len(lead) > 1 and lead[0] == 1:
                lead = lead[1:]
            if len(lead) <= 2:
                counts.setdefault(item.step, Counter())[lead] += 1
    return {step: found.most_common(1)[0][0] for step, found in counts.items()}


def _by_key(side: Side) -> dict[object, tuple[int, ...]]:
    """Shapes of the other side's outputs behind the layers, by call."""
    return {
        item.key: item.shape
        for item in side.items
        if item.kind == "float" and item.role != "input" and behind_layers(item.module)
    }


def _unpad(side: Side, other: dict[object, tuple[int, ...]], step: int, padding: Padding) -> int:
    """Give items their recipe; how many got one."""
    if len(padding.flat) > _MOST_RANGES:
        return 0
    count = 0
    for item in (one for known in side.items for one in (known, *known.aliases)):
        if item.step != step or item.unreadable or not item.kind:
            continue
        theirs = other.get(item.key, ())
        last = bool(theirs) and prod(theirs[:-1]) == padding.sequences != padding.tokens
        steps = _steps(item, padding, last)
        if steps is not None:
            item.make(steps, "padding left out")
            count += 1
    return count


def _steps(item: Item, padding: Padding, last: bool) -> tuple[Step, ...] | None:
    """`[sequences, length, ...]`, or with heads between the two, as `[tokens, ...]`."""
    shape = item.shape
    lead = (padding.sequences, padding.length)
    steps: list[Step] = []
    if len(shape) > 3 and shape[1] != padding.length and (shape[0], shape[2]) == lead:
        steps.append(Transpose(1, 2))
        shape = steps[0].shape(shape)
    if shape[:2] != lead or (len(shape) > 3 and shape[2] == padding.length):
        return None  # scores of queries by keys are not a tensor of tokens
    steps.append(Reshape((prod(lead), *shape[2:])))
    steps.append(Ranges(0, padding.last if last else padding.flat))
    return tuple(steps)


def _words(padding: Padding, step: int) -> str:
    total = padding.sequences * padding.length
    where = f" in step {step}" if step else ""
    return (
        f"padding is left out{where}, as {padding.source} says: {padding.tokens} of {total} tokens "
        "are compared"
    )


def _apart(padding: Padding, lengths: tuple[int, ...], other: SideName) -> str:
    return (
        f"{padding.source} says sequences of {_few(padding.lengths)} tokens, the {other} ran "
        f"sequences of {_few(lengths)}: padding is not left out, since the two are not in the same "
        "order"
    )


def _few(lengths: tuple[int, ...]) -> str:
    return ", ".join(map(str, lengths[:6])) + (", ..." if len(lengths) > 6 else "")
