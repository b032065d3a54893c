"""Blocks of lines beside one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .text import cut, width_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .pieces import Piece, Pieces

GAP = 2  # columns between two blocks


def side_by_side(blocks: Sequence[tuple[int, Sequence[Pieces]]], dots: str = "…") -> list[Pieces]:
    """Blocks of so many columns from left to right, all beginning on the same line; what is too
    wide for its block is cut, and `dots` say so.
    """
    height = max((len(lines) for _, lines in blocks), default=0)
    found: list[Pieces] = []
    for at in range(height):
        line: list[Piece] = []
        for number, (width, lines) in enumerate(blocks):
            pieces = lines[at] if at < len(lines) else ()
            last = number == len(blocks) - 1
            line += fitted(pieces, width, dots, pad=0 if last else width + GAP)
        found.append(line)
    return found


def fitted(pieces: Pieces, width: int, dots: str = "…", pad: int = 0) -> list[Piece]:
    """At most `width` cells of a line, filled with spaces up to `pad`."""
    line: list[Piece] = []
    room = width
    for text, style in pieces:
        size = width_of(text)
        if size > room:
            shown = cut(text, room, dots if text[room:].strip() else "")
            line.append((shown, style))
            room -= width_of(shown)
            break
        line.append((text, style))
        room -= size
    used = width - room
    return [*line, (" " * (pad - used), None)] if pad > used else line
