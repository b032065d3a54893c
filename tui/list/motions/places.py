"""Back and forth between the places that the cursor jumped from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..kept_place import find_row
from ..row_model import RowKey, row_key
from .jumps import Jumps

if TYPE_CHECKING:
    from ...session import Host
    from ..face import ListFace


@dataclass(frozen=True)
class Place:
    """A record that the cursor was on, and its row then: rows may be made anew."""

    key: RowKey
    row: int = field(compare=False)


class Places:
    """Keeps where the cursor was before it jumped, and goes back there."""

    def __init__(self, host: Host, face: ListFace) -> None:
        self._host, self._face = host, face
        self._jumps: Jumps[Place] = Jumps()

    def leave(self) -> None:
        """The cursor is about to jump: keep where it is."""
        here = self._here()
        if here is not None:
            self._jumps.leave(here)

    def walk(self, steps: int) -> None:
        """To a place before the last jump, or forward again."""
        here = self._here()
        place = None if here is None else self._jumps.walk(here, steps)
        if place is None:
            self._host.say("no earlier place" if steps < 0 else "no later place")
        else:
            self._go(place)

    def last(self) -> None:
        """To the place before the last jump."""
        here = self._here()
        place = None if here is None else self._jumps.swap(here)
        if place is None:
            self._host.say("no jump yet")
        else:
            self._go(place)

    def _here(self) -> Place | None:
        comparison, row = self._host.session.comparison, self._host.session.row
        if comparison is None or row is None:
            return None
        return Place(row_key(comparison.rows[row]), row)

    def _go(self, place: Place) -> None:
        comparison = self._host.session.comparison
        assert comparison is not None
        rows, row = comparison.rows, place.row
        if row >= len(rows) or row_key(rows[row]) != place.key:
            found = find_row(rows, place.key)
            if found is None:
                self._host.say("that record is not there any more", warn=True)
                return
            row = found
        changed = self._face.go_to(row)
        self._host.say("; ".join(changed))
