"""What the main screen shows; no key is handled here, and no news."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.style import Style
from textual import on
from textual.containers import Container, Horizontal, Vertical

from ...capture.plurals import counted
from ..before.before_line import BeforeLine
from ..present.field import Field
from ..present.rerun_fields import rerun_fields
from ..present.working import checking_laws
from ..widgets.answer_bar import AnswerBar
from ..widgets.depth_strip import DepthStrip
from ..widgets.detail_pane import Detail
from ..widgets.footer import Footer
from ..widgets.lines import Lines
from ..widgets.prompt import PromptBar
from .columns import heading
from .pair_list import PairList
from .row_model import hidden_failing, view_words
from .shown_rows import ShownRows
from .status_line import sides_line, status_line

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.timer import Timer

    from ...capture.records import Capture
    from ...compare.changes.earlier import RowChanges
    from ...compare.checks.finding import Finding
    from ...compare.model import Counts
    from ..work_screen import ScreenHost

SMALLEST = (60, 15)
REST = 0.06  # seconds without a move after which the pane follows the cursor
_WIDE = 110  # columns from which the counts have words for everything


class ListDisplay(ShownRows):
    """Rows in execution order, gaps drawn as gaps; detail of the row under the cursor."""

    DEFAULT_CSS = """
    ListDisplay { layout: vertical; }
    ListDisplay > #answer { background: $surface; }
    ListDisplay > #before { background: $surface; display: none; }
    ListDisplay > #sides { background: $panel; }
    ListDisplay > #counts-row { height: 1; background: $surface; }
    ListDisplay #position { width: 15; }
    ListDisplay #heading { background: $panel; }
    ListDisplay > #middle { height: 1fr; }
    ListDisplay > #small { display: none; height: 1fr; }
    ListDisplay #list-side { width: 1fr; height: 1fr; }
    ListDisplay Detail { display: none; }
    ListDisplay.-before > #before { display: block; }
    ListDisplay.-beside > #middle { layout: horizontal; }
    ListDisplay.-beside Detail { display: block; width: 58; height: 1fr; }
    ListDisplay.-beside Detail #right { display: none; }
    ListDisplay.-below > #middle { layout: vertical; }
    ListDisplay.-below Detail { display: block; width: 1fr; height: 10; }
    ListDisplay.-one Detail #right { display: none; }
    ListDisplay.-small > * { display: none; }
    ListDisplay.-small > #before { display: none; }
    ListDisplay.-small > #small { display: block; }
    """

    def __init__(self, host: ScreenHost, names: tuple[Capture, Capture] | None = None) -> None:
        super().__init__(host)
        self._first_names = names  # a glance at what is being opened
        self._counts: Counts | None = None  # counting 100,000 rows takes too long to do it often
        self._captures: tuple[Capture, Capture] | None = None
        self._reading = "listing both directories"
        self.findings = 0  # serious ones of the checks of both captures
        self._position_width = 0
        self._first_said = False  # whether the end of the measuring told the first divergence
        self._worst: Finding | None = None  # what was said last
        self._pane_timer: Timer | None = None
        self._late_timer: Timer | None = None
        self._late_rows: list[int] = []  # results that strip and counts have not drawn yet

    def compose(self) -> ComposeResult:
        yield AnswerBar(id="answer")
        yield BeforeLine(id="before")
        yield Lines(id="sides")
        with Horizontal(id="counts-row"):
            yield Lines(id="counts")
            yield Lines(id="position")
        yield DepthStrip(id="strip")
        with Container(id="middle"):
            with Vertical(id="list-side"):
                yield Lines(id="heading")
                yield PairList(id="list", classes="body")
            yield Detail(id="detail")
        yield Lines(id="small")
        yield PromptBar(self.host.history)
        yield Footer(id="footer")

    def on_mount(self) -> None:
        pairs, session = self.pairs, self.session
        pairs.metric, pairs.marks = session.metric, session.marks
        pairs.folding.start = session.fold
        session.cursor, session.visible = lambda: pairs.row, lambda: pairs.on_screen
        if self._first_names is not None:
            self._show_names(*self._first_names)
        self._show_status()

    # Drawing

    def _show_all(self) -> None:
        self.query_one(DepthStrip).set_comparison(self.comparison, self.session.metric)
        if self.comparison is not None:
            policy = self.comparison.policy
            exact = "x exact" if getattr(policy, "exact", None) else ""
            ratio = "x base" if getattr(policy, "baselines", ()) else exact
            self.pairs.set_judging(ratio, policy.name == "noise")
        self.pairs.set_locals(self.comparison is not None and bool(self.comparison.locals))
        self.pairs.set_singles(
            {} if self.comparison is None
            else self.session.reruns.singles(self.comparison, self.session.metric)
        )  # fmt: skip
        if self.session.changes is None:
            self.query_one(BeforeLine).wait()
        self._show_heading()
        self._show_status()
        self.show_pane()

    def restyle(self) -> None:
        super().restyle()
        self.pairs.refresh()
        self.query_one(DepthStrip).refresh()
        self._show_all()
        self.post_message(PairList.Moved())

    def verdicts_changed(self) -> None:
        """Policy or metric are others: everything that shows a verdict or number is redrawn."""
        self.pairs.metric = self.session.metric
        if self.comparison is not None and self.view.only:
            self._follow_failing()
        if self.comparison is not None:
            self.pairs.first = self.comparison.first_index
        self.pairs.verdicts_changed()
        self._show_all()

    def _show_heading(self) -> None:
        text = heading(
            self.pairs.columns(), self.pairs.number_heading, self.pairs.ratio,
            self.pairs.second_heading,
        )  # fmt: skip
        self.query_one("#heading", Lines).set_lines([[(text, self.look.palette.heading)]])

    def _show_status(self) -> None:
        look, width = self.look, self.size.width
        sides = sides_line(self.session.paths, self._captures, look, width)
        self.query_one("#sides", Lines).set_lines([sides])
        counts = self.query_one("#counts", Lines)
        if self.comparison is None:
            counts.set_lines([[(f" {self._reading} {look.signs.dots}", look.palette.accent)]])
        else:
            hidden = hidden_failing(self.comparison, self.pairs.view)
            kept = f" {look.signs.dot} ".join(self._kept_settings)
            pieces = status_line(
                self.comparison, self._counts, hidden, look, width - self._position_width,
                width >= _WIDE, self.session.inputs_differ, self._settings, kept,
            )  # fmt: skip
            counts.set_lines([pieces])
        working = self.controllers.working
        self.query_one(AnswerBar).show(self.comparison, self._counts, working)

    @property
    def _settings(self) -> list[str]:
        """What the list shows and by which policy, the least important last."""
        words = (
            self._state,
            f"{counted(self.findings, 'warning')} (:notes)" if self.findings else "",
            f"filter {self.view.filter}" if self.view.filter else "",
            view_words(self.pairs.model, self.view),
        )
        return [*self._kept_settings, *filter(None, words)]

    @property
    def _kept_settings(self) -> list[str]:
        """What is shown, whatever else must give way."""
        limits = self.session.limits
        policy = [] if limits.is_default else [f"policy {limits.policy}"]
        return [*filter(None, [self.session.case_text, self.session.watched]), *policy]

    @property
    def _state(self) -> str:
        """What the work behind the screen does, beyond measuring, which is counted."""
        comparison = self.comparison
        if not self._reading and comparison is not None and self.controllers.working:
            return "judging" if comparison.complete and not checking_laws(comparison) else ""
        return self._reading

    @on(PairList.Moved)
    def _moved(self) -> None:
        """The pane follows when the cursor rests; position and strip at once."""
        total = len(self.pairs.view)
        width = 2 * len(str(total)) + 2
        text = f"{self.pairs.place + 1 if total else 0}/{total}".rjust(width - 1)
        position = self.query_one("#position", Lines)
        position.set_lines([[(text, self.look.palette.muted)]])
        if width != self._position_width:  # one step of the cursor must not lay all out anew
            self._position_width = position.styles.width = width
            self._show_status()
        if self.row is not None:
            self.query_one(DepthStrip).set_cursor(self.row)
        if self._pane_timer is not None:
            self._pane_timer.stop()
        self._pane_timer = self.set_timer(REST, self.show_pane)

    def show_changes(self, changes: RowChanges | None, problem: str = "") -> None:
        """The column of what changed, and the line above the list."""
        self.pairs.set_changes(changes)
        if self.view.change is not None:
            self.change_view(self.view)
        line = self.query_one(BeforeLine)
        line.show(changes, problem)
        self.set_class(line.known, "-before")
        self._show_heading()
        self.show_pane()

    def show_watched(self) -> None:
        self._show_status()

    def show_earlier(self, words: str) -> None:
        self.query_one(BeforeLine).progress(words)
        self.add_class("-before")

    def show_singles(self) -> None:
        """The column of single errors, once something was rerun."""
        comparison = self.comparison
        if comparison is None:
            return
        self.pairs.set_singles(self.session.reruns.singles(comparison, self.session.metric))
        self._show_heading()
        self.show_pane()

    def show_pane(self) -> None:
        """Detail of the row under the cursor, in the pane or in one line."""
        comparison, row, fold = self.comparison, self.row, self.pairs.fold
        detail = self.query_one(Detail)
        if detail.display and not self.has_class("-small"):
            more = [] if comparison is None or row is None else (
                rerun_fields(self.session.reruns, comparison, row)
            )  # fmt: skip
            if fold is None and self.session.changes is not None:
                from ..before.change_words import change_fields

                more = [*change_fields(self.session.changes, row), *more]
            more = more if fold is None else [Field("folded", fold.words), *more]
            detail.show_row(comparison, row, more)
            if not self.prompt.asking:
                self.prompt.rest("", self.place)
        elif not self.prompt.asking:
            text = "" if fold is None else fold.words
            if comparison is not None and row is not None and fold is None:
                from ..present.row_fields import summary

                text = summary(comparison, row)
            self.prompt.rest(text, self.place)

    def on_resize(self) -> None:
        width, height = self.size
        small = width < SMALLEST[0] or height < SMALLEST[1]
        beside = not small and width >= 150 and height >= 22
        below = not small and not beside and width >= 80 and height >= 30
        self.set_class(small, "-small")
        self.set_class(beside, "-beside")
        self.set_class(below, "-below")
        self.set_class(below and width < 110, "-one")
        if small:
            needed = f"{SMALLEST[0]}x{SMALLEST[1]} needed"
            text = f"terminal too small: {width}x{height}, {needed}"
            self.query_one("#small", Lines).set_lines([[(text[:width], Style(bold=True))]])
        self.call_after_refresh(self._resized)

    def _resized(self) -> None:
        self.show_footer()
        self._show_heading()
        self._show_status()
        self.show_pane()
