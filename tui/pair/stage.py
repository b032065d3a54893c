"""The pair screen as its views see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from ...compare.inspection.subject import Subject
    from ..jobs.inspector import Found, Look, Task
    from ..scene import Scene, Trial
    from ..session import Session


class Stage(Protocol):
    """What views ask of the screen that they are on."""

    @property
    def heads(self) -> int | None:
        """Heads of the last axis, for rankings; None where there are none, or nothing says so. Set
        to what the user says.
        """
        ...

    @heads.setter
    def heads(self, count: int | None) -> None: ...

    @property
    def session(self) -> Session: ...

    @property
    def measuring(self) -> bool:
        """Whether anything is still measured or checked."""
        ...

    def say(self, text: str, *, warn: bool = False) -> None: ...

    def say_place(self) -> None:
        """What the view in front says about its cursor has changed."""
        ...

    def ask_user(
        self, label: str, answer: Callable[[str], None], text: str = "", *, sign: str = "",
        changed: Callable[[str], None] | None = None, left: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        """Open the prompt."""
        ...

    def number_of(self, name: str) -> int:
        """The number key of a view."""
        ...

    def shape_of(self, scene: Scene) -> tuple[int, ...] | None:
        """The shape of a scene that is not measured; None where recipes or records do not say."""
        ...

    # Reading

    def read(self, name: str, key: Hashable, subject: Subject, look: Look) -> Found | None:
        """What is kept of the question of the view called `name`; None: it is read, and its `news`
        is called.
        """
        ...

    def run_task(self, name: str, key: Hashable, task: Task) -> None:
        """Run something else for a view in the background; its result is not kept."""
        ...

    # Recipes on trial

    def try_trial(self, trial: Trial | None, *, remember: bool = True) -> None:
        """Look at the row through other recipes; None: as it was aligned."""
        ...

    def keep_trial(self, *, kind: bool, save: bool) -> None:
        """Keep the recipes that are tried, for the row alone or for all of its kind."""
        ...

    # From one view to another

    def go_to_element(self, index: tuple[int, ...]) -> None:
        """Show an element in the view of values."""
        ...

    def show_injected(self) -> bool:
        """Put the rerun's output in the candidate's place; False where there is none."""
        ...
