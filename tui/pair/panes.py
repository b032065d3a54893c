"""Which views are on the screen: one, or two beside one another, and which of them has the keys."""

from __future__ import annotations

from dataclasses import dataclass, replace

WIDE_ENOUGH = 160  # columns: either of two views has the 80 that all of them are made for


@dataclass(frozen=True)
class Panes:
    """`names` of the views from left to right; `focus` is the place of the one with the keys."""

    names: tuple[str, ...]
    focus: int = 0

    @property
    def front(self) -> str:
        """The view that keys are about."""
        return self.names[self.focus]

    @property
    def other(self) -> str | None:
        """The view beside it, if there are two."""
        return self.names[1 - self.focus] if len(self.names) > 1 else None

    def chosen(self, name: str) -> Panes:
        """Another view in the place of the one in front; the keys go to one that is shown."""
        if name in self.names:
            return replace(self, focus=self.names.index(name))
        return replace(self, names=tuple(
            name if at == self.focus else known for at, known in enumerate(self.names)
        ))  # fmt: skip

    def beside(self, name: str) -> Panes:
        """A second view, which gets the keys, so that the next digit chooses what it shows."""
        return Panes((self.front, name), 1)

    def with_other(self, name: str) -> Panes:
        """Another view beside the one in front, which keeps the keys."""
        return replace(self.switched().chosen(name), focus=self.focus)

    def switched(self) -> Panes:
        """The keys to the other view."""
        return replace(self, focus=len(self.names) - 1 - self.focus)

    def single(self) -> Panes:
        """The view in front alone."""
        return Panes((self.front,))


def too_narrow(width: int) -> str:
    """What to say where two views do not fit."""
    return f"two views need {WIDE_ENOUGH} columns; here are {width}"
