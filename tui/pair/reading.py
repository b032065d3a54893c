"""What the views of the pair screen ask for: read in the background, and kept for a while."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..jobs.inspector import Fault, Found, Inspector

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from ...compare.inspection.subject import Subject
    from ..jobs.inspector import InspectionNews, Look, Task

_KEPT = 24  # results of scenes and views that are remembered


class Reading:
    """One inspector for all views. Questions are known by the name of who asked, and a key."""

    def __init__(self, post: Callable[[InspectionNews], None]) -> None:
        self._inspector = Inspector(post)
        self._kept: dict[Hashable, Any] = {}

    @property
    def busy(self) -> bool:
        """Whether something is read, or waits to be."""
        return self._inspector.busy

    @property
    def alive(self) -> bool:
        """Whether there is a thread that reads."""
        return self._inspector.alive

    def read(self, name: str, key: Hashable, subject: Subject, look: Look) -> Found | None:
        """What is kept of the same question, else nothing, and it is read."""
        whole = (subject, key)
        if whole in self._kept:
            return Found(key, self._kept[whole], 1, 1)
        self._inspector.look((name, whole), subject, look)
        return None

    def run(self, name: str, key: Hashable, task: Task) -> None:
        """Run something else; its result is not kept."""
        self._inspector.run((name, (None, key)), task)

    def take(self, news: InspectionNews) -> tuple[str, Subject | None, InspectionNews]:
        """Who asked, what it is about (nothing, for a task), and the news with the key they gave.

        Raises the error of a fault of the program.
        """
        if isinstance(news, Fault):
            raise news.error
        name, (subject, key) = news.key  # type: ignore[misc]
        if isinstance(news, Found) and news.final and subject is not None:
            self._kept[(subject, key)] = news.result
            while len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]
        return name, subject, replace(news, key=key)

    def stop(self) -> bool:
        """Stop what is read; False when nothing is."""
        return self._inspector.stop()

    def close(self) -> None:
        self._inspector.close()
