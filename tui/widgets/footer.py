"""The keys at the foot of a screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..keys import Key, show_key
from .lines import Lines

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def _length(entry: tuple[str, str]) -> int:
    return len(entry[0]) + len(entry[1]) + 3
