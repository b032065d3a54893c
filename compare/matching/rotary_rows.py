"""Queries and keys whose rows an engine keeps in rotary pairs, `0 8 1 9 ..`, head by head.

llama.cpp does, of models whose checkpoints have them in two halves, and rotates neighbours: the
result is the same. A capture that says so is read in the order of the other side.
"""

from __future__ import annotations

from ..aligned import Note, SideName
from ..recipes.steps import Reshape, Step, Transpose
from .named_records import Item, Side
from .names.roles import role_of

_TURNED = ("query", "key")
_WORDS = "rows of heads in halves, not in pairs"


def in_halves(ref: Side, cand: Side) -> list[Note]:
    """Give what the projections of queries and keys return on the one side that keeps pairs the
    order of halves.
    """
    sizes = head_of_pairs(ref), head_of_pairs(cand)
    if sizes[0] == sizes[1]:
        return []
    sides: tuple[tuple[SideName, Side], ...] = (("reference", ref), ("candidate", cand))
    notes: list[Note] = []
    for (name, side), size in zip(sides, sizes, strict=True):
        if size is None:
            continue
        turned = [item for item in side.items if _is_turned(item, size)]
        for item in turned:
            item.make(_steps(item.shape, size), _WORDS)
        if turned:
            notes.append(Note(name, "queries and keys are kept in rotary pairs, head by head: they "
                              "are compared in halves"))  # fmt: skip
    return notes


def head_of_pairs(side: Side) -> int | None:
    """Elements of a head, where the capture says that it keeps pairs. It is not trusted."""
    said = (side.capture.run or {}).get("interleaved_heads")
    return said if type(said) is int and said > 0 and said % 2 == 0 else None


def _is_turned(item: Item, size: int) -> bool:
    record = item.record
    whole = record.locator is not None and item.kind == "float"
    fits = bool(item.shape) and item.shape[-1] % size == 0
    return whole and fits and item.role != "input" and role_of(item.module) in _TURNED


def _steps(shape: tuple[int, ...], size: int) -> tuple[Step, ...]:
    lead = shape[:-1]
    apart = (*lead, shape[-1] // size, size // 2, 2)
    return (
        Reshape(apart), Transpose(len(apart) - 2, len(apart) - 1), Reshape(shape),
    )  # fmt: skip
