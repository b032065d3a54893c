"""What the main screen shows; no key is handled here, and no news."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rich.style import Style
from textual import on
from textual.containers import Container, Horizontal, Vertical

from ...capture.plurals import counted
from ..present.rerun_fields import rerun_fields
from ..present.working import checking_laws
from ..widgets.answer_bar import AnswerBar
from ..widgets.detail_pane import Detail
from ..widgets.footer import Footer
from ..widgets.lines import Lines
from ..widgets.prompt import PromptBar
from ..work_screen import WorkScreen
from .columns import heading
from .depth_strip import DepthStrip
from .kept_place import KeptPlace, kept_place
from .pair_list import PairList
from .row_model import (
    MODE_WORDS,
    ComparedRows,
    NameRows,
    RowModel,
    View,
    hidden_failing,
    holds,
    in_mode,
    rows_in_view,
    view_words,
)
from .status_line import sides_line, status_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult
    from textual.timer import Timer

    from ...capture.records import Capture
    from ...compare.checks.finding import Finding
    from ...compare.model import Counts
    from ..present.short_names import ShortNames
    from ..work_screen import ScreenHost

SMALLEST = (60, 15)
REST = 0.06  # seconds without a move after which the pane follows the cursor
_ROWS_ABOVE = 3  # the row that the list opens on has a third of the list above it
_WIDE = 110  # columns from which the counts have words for everything


class ListDisplay(WorkScreen):
    """Rows in execution order, gaps drawn as gaps; detail of the row under the cursor."""

    SCOPE = "list"
    DEFAULT_CSS = """
    ListDisplay { layout: vertical; }
    ListDisplay > #answer { background: $surface; }
    ListDisplay > #sides { background: $panel; }
    ListDisplay > #counts-row { height: 1; background: $surface; }
    ListDisplay #position { width: 15; }
    ListDisplay #heading { background: $panel; }
    ListDisplay > #middle { height: 1fr; }
    ListDisplay > #small { display: none; height: 1fr; }
    ListDisplay #list-side { width: 1fr; height: 1fr; }
    ListDisplay Detail { display: none; }
    ListDisplay.-beside > #middle { layout: horizontal; }
    ListDisplay.-beside Detail { display: block; width: 58; height: 1fr; }
    ListDisplay.-beside Detail #right { display: none; }
    ListDisplay.-below > #middle { layout: vertical; }
    ListDisplay.-below Detail { display: block; width: 1fr; height: 10; }
    ListDisplay.-one Detail #right { display: none; }
    ListDisplay.-small > * { display: none; }
    ListDisplay.-small > #small { display: block; }
    """

    def __init__(self, host: ScreenHost, names: tuple[Capture, Capture] | None = None) -> None:
        super().__init__(host)
        self._first_names = names  # a glance at what is being opened
        self._counts: Counts | None = None  # counting 100,000 rows takes too long to do it often
        self.view = View()
        self._captures: tuple[Capture, Capture] | None = None
        self._judge_when_done = False  # the policy changed while results arrived
        self._reading = "listing both directories"
        self.findings = 0  # serious ones of the checks of both captures
        self._position_width = 0
        self._first_said = False  # whether the end of the measuring told the first divergence
        self._worst: Finding | None = None  # what was said last
        self._pane_timer: Timer | None = None
        self._late_timer: Timer | None = None
        self._late_rows: list[int] = []  # results that strip and counts have not drawn yet
        self._kept = KeptPlace()

    def compose(self) -> ComposeResult:
        yield AnswerBar(id="answer")
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
        session.cursor, session.visible = lambda: pairs.row, lambda: pairs.on_screen
        if self._first_names is not None:
            self._show_names(*self._first_names)
        self._show_status()

    @property
    def pairs(self) -> PairList:
        return self.query_one(PairList)

    # What controllers ask

    @property
    def model(self) -> RowModel | None:
        return self.pairs.model

    @property
    def shown(self) -> Sequence[int]:
        return self.pairs.view

    @property
    def cursor(self) -> int:
        return self.pairs.cursor

    def move_to(self, place: int) -> None:
        """The cursor on another place among the rows shown."""
        self.pairs.cursor = place

    def go_to_row(self, row: int) -> None:
        self.pairs.go_to_row(row)

    def next_of(self, rows: Sequence[int], direction: int) -> int | None:
        return self.pairs.next_of(rows, direction)

    def go_to_block(self, direction: int) -> bool:
        return self.pairs.go_to_block(direction)

    def show_search(self) -> None:
        self.pairs.words = self.session.search_words
        self.pairs.refresh()

    def show_marks(self, *, only_here: bool = False) -> None:
        if only_here:
            self.pairs.refresh_line(self.pairs.cursor)
        else:
            self.pairs.refresh()

    def judge_when_done(self) -> None:
        self._judge_when_done = True

    def _show_names(
        self, reference: Capture, candidate: Capture, short: Sequence[ShortNames] = ()
    ) -> None:
        model = NameRows(reference, candidate, self.look.terminal.ascii, short)
        if len(model):
            cursor = min(self.pairs.cursor, len(model) - 1)
            self.pairs.set_model(model, range(len(model)), cursor, self.pairs.screen_line)

    def _follow_failing(self) -> None:
        """`only diverged` takes up new divergences; the cursor stays on its row."""
        view = rows_in_view(self._model, self.view)
        if list(view) != list(self.pairs.view):
            self.pairs.set_view(view, self.row or 0)

    # Rows and views

    @property
    def _model(self) -> RowModel:
        model = self.pairs.model
        assert model is not None
        return model

    def remember_place(self) -> None:
        """Keep cursor and marks as records, not as numbers: rows are about to be made anew."""
        pairs = self.pairs
        self._kept = kept_place(pairs.model, pairs.row, pairs.cursor, pairs.marks)

    def show_rows(self) -> None:
        """Rows were made anew: show them, the cursor on the record it was on."""
        comparison = self.comparison
        if comparison is None:
            return
        known = self.pairs.model.short if self.pairs.model is not None else ()
        model = ComparedRows(comparison, self.look.terminal.ascii, known)
        found, marks = self._kept.find(comparison.rows)
        self.session.marks.clear()
        self.session.marks.update(marks)
        if found is not None:
            self.reveal(found, model)
        view = rows_in_view(model, self.view)
        self.pairs.first = comparison.first_index
        self.pairs.set_model(model, view, found or 0, self.pairs.screen_line)
        self._show_all()

    def reveal(self, row: int, model: RowModel | None = None) -> list[str]:
        """Change what is shown until `row` is; says what was changed."""
        comparison = self.comparison
        if comparison is None:
            return []
        changed: list[str] = []
        shown = self.view
        rows = rows_in_view(model or self._model, shown)
        if holds(rows, row):
            return changed
        if shown.filter:
            shown, changed = replace(shown, filter=""), ["filter cleared"]
        if shown.only and not holds(rows_in_view(model or self._model, shown), row):
            shown = replace(shown, only=False)
            changed.append("all rows")
        found = comparison.rows[row]
        if not in_mode(found, shown.mode):
            mode = "inputs" if in_mode(found, "inputs") else "everything"
            shown = replace(shown, mode=mode)
            changed.append(f"showing {MODE_WORDS[mode]}")
        self.view = shown
        return changed

    def change_view(self, view: View, row: int | None = None) -> None:
        """Show other rows; the cursor stays on its row where that is still there."""
        self.view = view
        if self.pairs.model is None:
            return
        here = self.pairs.row if row is None else row
        self.pairs.set_view(rows_in_view(self._model, view), here or 0)
        self._show_status()

    def go_to(self, row: int) -> list[str]:
        """The cursor on `row`, revealed if it is hidden; says what that took."""
        changed = self.reveal(row)
        if changed:
            self.change_view(self.view, row)
        else:
            self.pairs.go_to_row(row)
        return changed

    def open_on(self, row: int) -> None:
        """The cursor on `row` with rows above it, moved by the program: what is said stays. One
        that is hidden is revealed where it diverges, else it is the next that is shown.
        """
        if self.comparison is not None and row == self.comparison.first_index:
            self.reveal(row)
        view = rows_in_view(self._model, self.view)
        self.pairs.set_view(view, row, self.pairs.size.height // _ROWS_ABOVE)
        self.prompt.stay(self.place)

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
        self._show_heading()
        self._show_status()
        self.show_pane()

    def verdicts_changed(self) -> None:
        """Policy or metric are others: everything that shows a verdict or number is redrawn."""
        self.pairs.metric = self.session.metric
        if self.comparison is not None and self.view.only:
            self._follow_failing()
        if self.comparison is not None:
            self.pairs.first = self.comparison.first_index
        self.pairs.refresh()
        self._show_all()

    def _show_heading(self) -> None:
        text = heading(self.pairs.columns(), self.pairs.number_heading, self.pairs.ratio)
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
        working = self.controllers.comparing.working
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
        return [*filter(None, [self.session.case_text]), *policy]

    @property
    def _state(self) -> str:
        """What the work behind the screen does, beyond measuring, which is counted."""
        comparison = self.comparison
        if not self._reading and comparison is not None and self.controllers.comparing.working:
            return "judging" if comparison.complete and not checking_laws(comparison) else ""
        return self._reading

    @on(PairList.Moved)
    def _moved(self) -> None:
        """The pane follows when the cursor rests; position and strip at once."""
        total = len(self.pairs.view)
        width = 2 * len(str(total)) + 2
        text = f"{self.pairs.cursor + 1 if total else 0}/{total}".rjust(width - 1)
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
        comparison, row = self.comparison, self.row
        detail = self.query_one(Detail)
        if detail.display and not self.has_class("-small"):
            more = [] if comparison is None or row is None else (
                rerun_fields(self.session.reruns, comparison, row)
            )  # fmt: skip
            detail.show_row(comparison, row, more)
            if not self.prompt.asking:
                self.prompt.rest("", self.place)
        elif not self.prompt.asking:
            text = ""
            if comparison is not None and row is not None:
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
