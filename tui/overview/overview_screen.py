"""What the map and the trend have in common: a picture of all rows, made beside the screen, with a
cursor that Enter takes to the list.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import BindingType

from ...capture.interpreter.garbage import hold, settle
from ..commands import CommandError
from ..jobs.news import Ended, Made
from ..keys import bindings_of, footer_of, overview_keys
from ..present.text import clean, width_of, wrap
from ..terminal import Terminal
from ..theme import Look
from ..widgets.footer import Footer
from ..widgets.lines import Lines, ScrolledLines
from ..widgets.prompt import PromptBar
from ..work_screen import WorkScreen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.style import Style
    from textual.app import ComposeResult
    from textual.timer import Timer

    from ...compare.comparison import Comparison
    from ...compare.reports.row_report import RowReport
    from ..jobs.job import Job
    from ..jobs.news import News
    from ..keys import Key, Scope
    from ..pictures.forms import Form
    from ..present.pieces import Pieces
    from ..terminal import Colors
    from ..work_screen import ScreenHost

_AGAIN = 2.0  # seconds between two pictures while results arrive
_MOST_WORDS = 2  # lines that say what the picture shows, or what is under the cursor
_SAVED_WORDS = 80  # columns that words of a saved picture have at least
_WIDE = 110  # columns in which what is under the cursor has one line, as few say more


class Picture(ScrolledLines):
    """Lines that always fit."""

    SCROLLS = False


class OverviewScreen(WorkScreen, inherit_bindings=False):
    """A title, words, the picture, its scale, and what is under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = []
    DEFAULT_CSS = """
    OverviewScreen { layout: vertical; }
    OverviewScreen > #title { background: $panel; }
    """

    def __init__(self, host: ScreenHost) -> None:
        super().__init__(host)
        self._job: Job | None = None
        self._timer: Timer | None = None
        self._early = False  # whether results arrived while the picture was made
        self._holds = False  # whether it keeps full collections of garbage from happening
        self._of: Comparison | None = None  # what the picture was made of

    def compose(self) -> ComposeResult:
        yield Lines(id="title")
        yield Lines(id="words")
        yield Picture(classes="body")
        yield Lines(id="legend")
        yield Lines(id="here")
        yield PromptBar(self.host.history)
        yield Footer(id="footer")

    def on_mount(self) -> None:
        self._start()

    def on_unmount(self) -> None:
        if self._job is not None:
            self._job.drop()
            self._settle()

    def on_resize(self) -> None:
        super().on_resize()
        self.call_after_refresh(self.show)

    # What it is a picture of

    def make(self, comparison: Comparison) -> Any:
        """All that is drawn, in the thread of a job."""
        raise NotImplementedError

    def take(self, comparison: Comparison, made: Any) -> None:
        """It was made: keep it; the cursor stays where it was."""
        raise NotImplementedError

    @property
    def reading(self) -> bool:
        """Whether the picture is being made."""
        return self._job is not None

    def _start(self) -> None:
        self._timer = None
        comparison = self.comparison
        if comparison is None or self._job is not None:
            return

        def work(job: Job) -> bool:
            job.tell(Made(self.make(comparison)))
            return True

        self._of = comparison
        self._early = self.controllers.working
        self._holds = not self._early  # else that job holds it, and settles
        if self._holds:
            hold()
        self._job = self.host.start(work, self._news)

    def _news(self, news: News) -> None:
        if isinstance(news, Made) and self._of is not None:
            self.take(self._of, news.result)
            self.show()
        elif isinstance(news, Ended):
            self._job = None
            self._settle()
            if news.error is not None:
                raise news.error
            if self._early and self._timer is None:
                self._timer = self.set_timer(_AGAIN, self._start)

    def _settle(self) -> None:
        """Garbage is looked for as ever, but not among what was made."""
        if self._holds:
            self._holds = False
            settle()

    # Drawing

    def title_words(self) -> str:
        raise NotImplementedError

    def state(self) -> str:
        """What the picture shows, in words."""
        raise NotImplementedError

    def picture(self, width: int, height: int) -> tuple[list[Pieces], Pieces]:
        """The picture and the line below it."""
        raise NotImplementedError

    def here(self) -> str:
        """What is under the cursor."""
        raise NotImplementedError

    def whole_title(self) -> str:
        """What stands over the picture as it is saved."""
        return self.title_words()

    def whole_picture(self, look: Look) -> tuple[list[Pieces], Pieces]:
        """The picture as it is saved, in a look that the file has, and the line below it."""
        raise NotImplementedError

    @property
    def made(self) -> bool:
        """Whether there is anything to draw."""
        raise NotImplementedError

    def restyle(self) -> None:
        super().restyle()
        self.show()

    def show(self) -> None:
        """Draw what there is."""
        if not self.query("#title"):
            return
        palette, width = self.look.palette, self.size.width
        body = self.query_one(Picture)
        if not self.made:
            self._title()
            body.set_lines([[(f" looking {self.look.signs.dots}", palette.muted)]])
            return
        least = 1 if width >= _WIDE else _MOST_WORDS
        above = self._say_in("#words", self.state(), palette.accent)
        below = self._say_in("#here", self.here(), None, least)
        if above or below:  # the picture has another height now: it is drawn once
            self.call_after_refresh(self.show)
            return
        lines, legend = self.picture(width, body.size.height)
        body.set_lines(lines)
        self.query_one("#legend", Lines).set_lines([legend])
        self._title()
        if not self.prompt.asking:
            self.prompt.rest("", self.place)

    def _title(self) -> None:
        words = [(f" {self.title_words()}", self.look.palette.strong)]
        self.query_one("#title", Lines).set_lines([words])

    def _say_in(self, part: str, text: str, style: Style | None, least: int = 1) -> bool:
        """Words on as many lines as they need, at least and at most so many; whether these are
        other than before.
        """
        look, lines = self.look, self.query_one(part, Lines)
        text = clean(text, look.terminal.ascii)
        words = wrap(text, self.size.width - 2, _MOST_WORDS, look.signs.dots)
        height = max(least, len(words))
        changed = lines.styles.height is None or lines.styles.height.value != height
        if changed:
            lines.styles.height = height
        lines.set_lines([[(f" {line}", style)] for line in words])
        return changed

    # Saving

    @property
    def own_commands(self) -> dict[str, Callable[[str], None]]:
        return {**super().own_commands, "save": self._save}

    def _save(self, text: str) -> None:
        """`:save [FILE]`."""
        if not self.made:
            raise CommandError("nothing is drawn yet")
        self.controllers.export.picture(text, f"layertui-{self.SCOPE}.svg", self._saved_lines)

    def _saved_lines(self, form: Form) -> list[Pieces]:
        """Title, words, picture, legend, and what is under the cursor."""
        colors: Colors = "none" if form == "text" else "truecolor"
        look = Look(Terminal(colors=colors, ascii=self.look.terminal.ascii))
        lines, legend = self.whole_picture(look)
        room = max([sum(width_of(text) for text, _ in line) for line in (*lines, legend)])
        found: list[Pieces] = []
        for text, style in (
            (self.whole_title(), look.palette.strong), (self.state(), look.palette.accent),
        ):  # fmt: skip
            words = wrap(clean(text, look.terminal.ascii), max(room, _SAVED_WORDS) - 1)
            found += [[(f" {line}", style)] for line in words]
        here = wrap(clean(self.here(), look.terminal.ascii), max(room, _SAVED_WORDS) - 1)
        return [*found, *lines, legend, *([(f" {line}", None)] for line in here)]

    # Keys

    @classmethod
    def all_keys(cls) -> Sequence[Key]:
        return overview_keys(cls.SCOPE)

    @property
    def footer_keys(self) -> Sequence[Key]:
        keys = footer_of(self.all_keys())
        return [replace(key, label="back") if key.id == "back" else key for key in keys]

    def row_here(self) -> int | None:
        """The row that the cursor stands for."""
        raise NotImplementedError

    def action_go(self) -> None:
        """To the row of the cursor, in the list."""
        row = self.row_here()
        if row is None or self._of is not self.comparison:
            self.say("there is no row here")
            return
        self.dismiss()
        self.app.call_later(self.controllers.navigation.goto, str(row))

    def yank_report(self) -> RowReport | None:
        row = self.row_here()
        if row is None or self._of is None:
            return None
        from ...compare.reports.row_text import judged_report

        return judged_report(self._of, row)


def bindings_for(scope: Scope) -> list[BindingType]:
    """What works on an overview: its own keys and those of everywhere that make sense there."""
    kept = {f"{key.scope}.{key.id}" for key in overview_keys(scope)}
    return [each for each in (*bindings_of(scope), *bindings_of("everywhere")) if each.id in kept]
