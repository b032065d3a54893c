"""The state of the screens without a terminal, and what they ask of the program around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from .jobs.rerun_job import Reruns
from .settings.settings import Settings
from .unsaved import Unsaved

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..compare.case_pairs import CasePair
    from ..compare.changes.earlier import RowChanges
    from ..compare.comparison import Comparison
    from ..compare.reports.row_report import RowReport
    from .jobs.export_job import ExportChoice
    from .jobs.job import Job
    from .jobs.news import News
    from .jobs.request import Request
    from .list.folds.list_lines import Start
    from .list.limits import Limits
    from .question import Question
    from .scene import Scene, Trial


@dataclass
class Cases:
    """The captures of two folders, the place of the one that is looked at, and what came of those
    that were looked at, by name.
    """

    pairs: Sequence[CasePair]
    at: int
    outcomes: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """`case 2/3 test1`."""
        return f"case {self.at + 1}/{len(self.pairs)} {self.pairs[self.at].name}"


def _nowhere() -> int | None:
    return None


def _nothing() -> Sequence[int]:
    return ()


@dataclass
class Session:
    """One comparison and what the user did to it. The screens draw it, controllers change it.

    `cursor` gives the row under the list's cursor, `visible` the rows on the screen, which are
    measured first (it is called in another thread).
    """

    request: Request
    limits: Limits
    metric: str = "mse"
    rules_path: str | None = None  # where pairs and recipes are written to
    options: tuple[str, ...] = ()  # of the command line, for the commands that exports name
    reruns: Reruns = field(default_factory=Reruns)
    comparison: Comparison | None = None
    marks: set[int] = field(default_factory=set)
    search_words: list[str] = field(default_factory=list)
    scene: Scene | None = None  # what the pair screen looks at
    unsaved: Unsaved = field(default_factory=Unsaved)
    checked: bool = False  # whether the captures themselves were looked at
    cases: Cases | None = None  # where both sides are folders of captures
    inputs_differ: str = ""  # what the checks say of other inputs, in a few words
    before: str | None = None  # an earlier candidate that the present one is compared with
    changes: RowChanges | None = None  # what has changed since that one, or the last reading
    watched: str = ""  # what the candidate does that is watched; empty: it is not
    rerun_state: str = ""  # what a rerun does now
    fold: Start = "auto"  # what the list folds before the user folds anything
    settings: Settings = field(default_factory=lambda: Settings(""))
    touched: bool = False  # whether the user pressed anything since these captures were opened
    cursor: Callable[[], int | None] = _nowhere
    visible: Callable[[], Sequence[int]] = _nothing

    @property
    def paths(self) -> tuple[str, str]:
        return (self.request.reference, self.request.candidate)

    @property
    def case_text(self) -> str:
        """Which of several cases is looked at; empty where there is one pair only."""
        return "" if self.cases is None else f"{self.cases.text} (c: next)"

    @property
    def row(self) -> int | None:
        """The row under the cursor once rows are aligned."""
        return None if self.comparison is None else self.cursor()

    @property
    def trial(self) -> Trial | None:
        """The recipes that the pair screen tries."""
        return None if self.scene is None else self.scene.trial

    def chosen(self) -> list[int]:
        """The marked rows, else the one under the cursor."""
        if self.marks:
            return sorted(self.marks)
        return [] if self.row is None else [self.row]

    def command_options(self) -> list[str]:
        """The options of a command line that shows what the screens show."""
        options = [] if self.rules_path is None else ["--rules", self.rules_path]
        options += [] if self.request.raw is None else ["--raw", self.request.raw]
        models = self.request.models
        for side, path in () if models is None else models.by_side():
            options += [] if path is None else [f"--{side}-model", path]
        options += [] if self.metric == "mse" else ["--metric", self.metric]
        return [*options, *self.options, *self.limits.options]


class Front(Protocol):
    """The screen in front, as controllers see it."""

    def export_choice(self) -> ExportChoice | None:
        """What it would export; None where there is nothing."""
        ...

    def yank_report(self) -> RowReport | None:
        """What `y` and `Y` copy, where that is not the row under the list's cursor as it was
        aligned.
        """
        ...

    def after_command(self) -> None:
        """Called when there may be something else to show."""
        ...


class Host(Protocol):
    """What controllers ask of the program around them."""

    session: Session

    @property
    def front(self) -> Front: ...

    def say(self, text: str, *, warn: bool = False) -> None:
        """One line on the screen in front."""
        ...

    def ask(self, question: Question) -> None:
        """Open the prompt of the screen in front."""
        ...

    def copy(self, text: str) -> None:
        """Send a text to the terminal's clipboard."""
        ...

    def print_at_end(self, text: str) -> None:
        """Keep a text for standard output, which is free once the screens are left."""
        ...

    def take_picture(self, take: Callable[[str], None]) -> None:
        """Hand over what is on the screen as SVG, once it is painted."""
        ...

    def start(self, work: Callable[[Job], bool], take: Callable[[News], None]) -> Job:
        """Run work in the background; `take` gets its news, in the thread of the screens."""
        ...

    @property
    def said(self) -> str:
        """What is being said on the screen in front."""
        ...

    def say_from_thread(self, text: str) -> None:
        """`say`, called in the thread of a job, which waits for it."""
        ...

    def rows_changed(self, rows: Sequence[int]) -> None:
        """Rows have other numbers or verdicts: what shows them in front is drawn again."""
        ...

    def rerun_changed(self) -> None:
        """A rerun has news: what shows it in front is drawn again."""
        ...

    def give_up(self, reason: str) -> None:
        """End the program with exit status 2 and one line on standard error."""
        ...
