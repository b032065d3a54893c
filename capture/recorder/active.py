"""The recordings that run right now, for whoever has something to record."""

from __future__ import annotations

from typing import Any, Protocol


class Recording(Protocol):
    """What takes tensors that are tapped."""

    def tap(self, name: str, value: Any) -> None:
        """Record `value`, or the tensors in it, under the module that is running."""
        ...


# Replaced, never changed, so that another thread may look at any time.
recordings: tuple[Recording, ...] = ()


def begin(recording: Recording) -> None:
    """Let `recording` have what is tapped from now on."""
    global recordings
    recordings = (*recordings, recording)


def end(recording: Recording) -> None:
    """No longer; nothing happens when it has none anyway."""
    global recordings
    recordings = tuple(other for other in recordings if other is not recording)


def runs(recording: Recording) -> bool:
    """True between `begin` and `end`."""
    return recording in recordings
