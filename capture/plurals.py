"""Counts in words: `1 record has`, `3 records have`."""

from __future__ import annotations


def counted(count: int, one: str, verbs: tuple[str, str] | None = None) -> str:
    """`1 record`, `3 records`; with the verbs of one and of many `1 record has`."""
    words = f"{count} {one}{'' if count == 1 else 's'}"
    return words if verbs is None else f"{words} {which(count, *verbs)}"


def which(count: int, one: str, many: str) -> str:
    """The word alone: `has` or `have`."""
    return one if count == 1 else many


IS = ("is", "are")
WAS = ("was", "were")
HAS = ("has", "have")
HOLDS = ("holds", "hold")
