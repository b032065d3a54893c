"""What the views of the pair screen ask for: read in the background, and kept for a while."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..jobs.inspector import Fault, Found, Inspector

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Hashable

    from ...compare.inspection.subject import Subject
    from ..jobs.inspector import InspectionNews, Look, Task

_KEPT = 24  # results of scenes and views that are remembered


@dataclass(frozen=True)
class _Question:
    """Who asked for what; `subject` is None where it opens its own records."""

    name: str
    key: tuple[Subject | None, Hashable]
    ask: Callable[[], None]


class Reading:
    """One inspector for all views. Questions are known by the name of who asked, and a key. The
    newest is read first; those of other views that are `shown` go on afterwards, the rest is
    forgotten.
    """

    def __init__(
        self, post: Callable[[InspectionNews], None], shown: Callable[[], Container[str]] = tuple
    ) -> None:
        self._inspector = Inspector(post)
        self._shown = shown
        self._kept: dict[Hashable, Any] = {}
        self._running: _Question | None = None
        self._waiting: dict[str, _Question] = {}  # by who asked

    @property
    def busy(self) -> bool:
        """Whether something is read, or waits to be; what was found has not been taken yet."""
        return self._running is not None or bool(self._waiting)

    @property
    def alive(self) -> bool:
        """Whether there is a thread that reads."""
        return self._inspector.alive

    def read(self, name: str, key: Hashable, subject: Subject, look: Look) -> Found | None:
        """What is kept of the same question, else nothing, and it is read."""
        whole = (subject, key)
        if whole in self._kept:
            return Found(key, self._kept[whole], 1, 1)
        self._ask(
            _Question(name, whole, lambda: self._inspector.look((name, whole), subject, look))
        )
        return None

    def run(self, name: str, key: Hashable, task: Task) -> None:
        """Run something else; its result is not kept."""
        whole = (None, key)
        self._ask(_Question(name, whole, lambda: self._inspector.run((name, whole), task)))

    def _ask(self, question: _Question) -> None:
        subject, before = question.key[0], self._running
        self._waiting.pop(question.name, None)
        if before is not None and before.name != question.name:
            self._waiting[before.name] = before
        self._waiting = {
            name: each
            for name, each in self._waiting.items()
            if name in self._shown() and (subject is None or each.key[0] in (None, subject))
        }
        self._running = question
        question.ask()

    def go_on(self) -> None:
        """Read what had to wait, the last first, once nothing else is read."""
        if self._running is None and self._waiting:
            _, self._running = self._waiting.popitem()
            self._running.ask()

    def take(self, news: InspectionNews) -> tuple[str, Subject | None, InspectionNews]:
        """Who asked, what it is about (nothing, for a task), and the news with the key they gave.

        Raises the error of a fault of the program.
        """
        if isinstance(news, Fault):
            raise news.error
        name, (subject, key) = news.key  # type: ignore[misc]
        over = not isinstance(news, Found) or news.final
        if over and self._running is not None and self._running.key == (subject, key):
            self._running = None
        if isinstance(news, Found) and news.final and subject is not None:
            self._kept[(subject, key)] = news.result
            while len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]
        return name, subject, replace(news, key=key)

    def stop(self) -> bool:
        """Stop what is read; False when nothing is."""
        self._waiting.clear()
        return self._inspector.stop()

    def close(self) -> None:
        self._waiting.clear()
        self._inspector.close()
