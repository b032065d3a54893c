"""How far the loading of a model is, told to whoever waits for the runner."""

from __future__ import annotations

from collections.abc import Callable


class LoadingWatcher:
    """A `run_plan.Watcher`: stages are progress, what is to be known of the model is noted."""

    def __init__(self, notes: list[str], progress: Callable[[str], None]) -> None:
        self._notes, self._progress = notes, progress

    def say(self, line: str) -> None:
        if line.startswith(("note", "weights")):
            self._notes.append(" ".join(line.split()[1:]))

    def stage(self, text: str, folder: str = "") -> None:
        self._progress(text)

    def layers(self, done: int, total: int) -> None:
        """Loading has no layers."""
