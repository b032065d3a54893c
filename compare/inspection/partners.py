"""Which records of the other side a gap's record may be compared with."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from math import prod
from typing import TYPE_CHECKING

from ...capture.dtypes import DTYPES
from ...capture.records import Record

if TYPE_CHECKING:
    from ..comparison import Comparison

_MOST = 40


@dataclass(frozen=True, slots=True)
class Partner:
    """A record of the other side, and in words why it may be the one."""

    record: Record
    why: str


def partners_of(comparison: Comparison, index: int) -> list[Partner]:
    """Records of the other side, the likeliest first: those with as many elements, then those
    whose last axis is as long, then by likeness of the names; of the same step.
    """
    row = comparison.rows[index]
    own = row.reference or row.candidate
    if row.kind == "pair" or own is None or own.shape is None:
        return []
    found = [
        (_rank(own, other), other)
        for other in _others(comparison, index)
        if other.locator is not None and other.step == own.step
    ]
    found.sort(key=lambda entry: entry[0])
    return [Partner(other, _why(own, other)) for _, other in found[:_MOST]]


def partner_named(comparison: Comparison, index: int, name: str) -> Record | None:
    """The record of the other side that is called so, or the only one whose name holds it."""
    others = list(_others(comparison, index))
    exact = [other for other in others if other.name == name]
    holding = [other for other in others if name and name in other.name]
    if exact:
        return exact[0]
    return holding[0] if len(holding) == 1 else None


def _others(comparison: Comparison, index: int) -> list[Record]:
    row = comparison.rows[index]
    capture = comparison.candidate if row.kind == "gap_reference" else comparison.reference
    return capture.records


def _rank(own: Record, other: Record) -> tuple[bool, bool, bool, float]:
    return (
        _kind(own) != _kind(other),
        prod(own.shape or ()) != prod(other.shape or ()),
        (own.shape or ())[-1:] != (other.shape or ())[-1:],
        -SequenceMatcher(None, own.name, other.name, autojunk=False).quick_ratio(),
    )


def _kind(record: Record) -> str:
    known = DTYPES.get(record.dtype or "")
    return known.kind if known is not None else ""


def _why(own: Record, other: Record) -> str:
    if own.shape == other.shape:
        return "same shape"
    if prod(own.shape or ()) == prod(other.shape or ()):
        return "as many elements"
    if (own.shape or ())[-1:] == (other.shape or ())[-1:]:
        return "equally wide"
    return ""
