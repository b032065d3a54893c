"""The places that the cursor jumped from, as vim keeps them."""

from __future__ import annotations

from typing import Generic, TypeVar

PlaceT = TypeVar("PlaceT")
_MOST = 100  # places that are kept, as in vim


class Jumps(Generic[PlaceT]):
    """Places in the order in which they were left, each once, and where among them one is."""

    def __init__(self) -> None:
        self._places: list[PlaceT] = []
        self._at = 0  # `len(places)`: at none of them, but where the last jump led
        self._last: PlaceT | None = None

    def leave(self, here: PlaceT) -> None:
        """Keep the place that a jump starts from."""
        self._keep(here)
        self._last = here

    def walk(self, here: PlaceT, steps: int) -> PlaceT | None:
        """The place `steps` further on, or back where that is negative; None where there is none.
        The first step back keeps `here`, so that one can come forward to it again.
        """
        if steps < 0 and self._at >= len(self._places):
            self._keep(here)
            self._at -= 1
        end = 0 if steps < 0 else len(self._places) - 1
        if self._at == end or not self._places or self._at >= len(self._places):
            return None
        at = max(0, min(self._at + steps, len(self._places) - 1))
        self._at, self._last = at, here
        return self._places[at]

    def swap(self, here: PlaceT) -> PlaceT | None:
        """The place before the last jump, which is kept in its place; None where none was left."""
        last = self._last
        if last is not None:
            self.leave(here)
        return last

    def _keep(self, place: PlaceT) -> None:
        if place in self._places:
            self._places.remove(place)
        self._places.append(place)
        del self._places[:-_MOST]
        self._at = len(self._places)
