"""The keys at the foot of a screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..keys import Key, show_key
from ..present.text import clean, width_of
from .lines import Lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..completion.candidates import Candidates
    from ..present.pieces import Piece
    from ..theme import Look


class Footer(Lines):
    """The keys of now, as many as fit."""

    DEFAULT_CSS = "Footer { height: 1; background: $panel; }"

    def show_keys(self, keys: Sequence[Key], look: Look) -> None:
        """`f first divergence  ] next ...`; the last two (help, quit) always stay."""
        entries = [(show_key(key.keys.split(",")[0]), key.label) for key in keys]
        self.show_entries(entries, look)

    def show_entries(self, entries: list[tuple[str, str]], look: Look) -> None:
        room = self.size.width - 1
        kept: list[tuple[str, str]] = []
        if entries:
            always = entries[-2:]
            room -= sum(map(_length, always))
            for entry in entries[:-2]:
                if room - _length(entry) < 0:
                    break
                room -= _length(entry)
                kept.append(entry)
            kept += always
        pieces: list[Piece] = [(" ", None)]
        for shown, label in kept:
            pieces += [(shown, look.palette.key), (f" {label}  ", look.palette.muted)]
        self.set_lines([pieces])

    def show_candidates(self, candidates: Candidates, at: int | None, look: Look) -> None:
        """What Tab offers, the one in the line marked; those around it where not all fit."""
        words = shortened(candidates.words)
        first, last = window([width_of(word) + 2 for word in words], at or 0, self.size.width - 8)
        dots = look.signs.dots
        pieces: list[Piece] = [(f" {dots} " if first else " ", look.palette.muted)]
        for place in range(first, last):
            style = look.palette.key if place == at else look.palette.muted
            pieces.append((f"{clean(words[place], look.terminal.ascii)}  ", style))
        pieces.append((dots if last < len(words) else "", look.palette.muted))
        self.set_lines([pieces if words else [(" nothing begins so", look.palette.muted)]])


def shortened(words: Sequence[str]) -> list[str]:
    """Paths and names without the folders or modules that all of them have."""
    from ..completion.candidates import common_start  # not before the first paint

    common = common_start(words) if len(words) > 1 else ""
    shared = max(common.rfind("/"), common.rfind(".")) + 1
    return [word[shared:] or word for word in words]


def window(widths: Sequence[int], at: int, room: int) -> tuple[int, int]:
    """The first and the end of the neighbours of `at` that fit into `room` with it."""
    first = last = at
    while last < len(widths) and (last == at or sum(widths[first : last + 1]) <= room):
        last += 1
    while first > 0 and sum(widths[first - 1 : last]) <= room:
        first -= 1
    return first, last


def _length(entry: tuple[str, str]) -> int:
    return len(entry[0]) + len(entry[1]) + 3
