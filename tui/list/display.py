"""What the main screen shows and how it follows the work behind it; no key is handled here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rich.style import Style
from textual import on
from textual.containers import Container, Horizontal, Vertical

from ..present.answer import answer_line, checking_laws
from ..widgets.depth_strip import DepthStrip
from ..widgets.detail_pane import Detail
from ..widgets.lines import Lines, Piece
from ..widgets.prompt import PromptBar
from ..work_screen import WorkScreen
from .limits import Limits
from .pair_list import PairList, heading
from .row_model import (
    MODE_WORDS,
    ComparedRows,
    NameRows,
    RowKey,
    RowModel,
    View,
    find_row,
    hidden_failing,
    holds,
    in_mode,
    row_key,
    rows_in_view,
)
from .status_line import ALL_FACTS, Footer, counts_line, short_finding, sides_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult
    from textual.timer import Timer

    from ...capture.records import Capture
    from ...compare.checks.finding import Finding
    from ...compare.comparison import Comparison
    from ...compare.model import Counts

SMALLEST = (60, 15)
REST = 0.06  # seconds without a move after which the pane follows the cursor
_STRIP_EVERY = 0.5  # seconds between repaints of strip and counts while results arrive


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

    def __init__(
        self,
        metric: str = "mse",
        limits: Limits | None = None,
        names: tuple[Capture, Capture] | None = None,
    ) -> None:
        super().__init__()
        self._first_names = names  # a glance at what is being opened
        self.comparison: Comparison | None = None
        self._counts: Counts | None = None  # counting 100,000 rows takes too long to do it often
        self.metric = metric
        self.limits = limits or Limits()
        self.view = View()
        self.search_words: list[str] = []
        self._captures: tuple[Capture, Capture] | None = None
        self.judge_again = False  # the policy changed while results arrived
        self._reading = "listing both directories"
        self.findings = 0  # grave ones of the checks of both captures
        self.inputs_differ = ""  # what the checks say of other inputs, in a few words
        self._position_width = 0
        self._first_said = False  # whether the end of the measuring told the first divergence
        self._gravest: Finding | None = None  # what was said last
        self._pane_timer: Timer | None = None
        self._late_timer: Timer | None = None
        self._late_rows: list[int] = []  # results that strip and counts have not drawn yet
        self._kept_row: RowKey | None = None  # what to find again when rows are new
        self._kept_marks: list[RowKey] = []

    def compose(self) -> ComposeResult:
        yield Lines(id="answer")
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
        yield PromptBar(self.layertui.history)
        yield Footer(id="footer")

    def on_mount(self) -> None:
        self.pairs.metric = self.metric
        if self._first_names is not None:
            self._show_names(*self._first_names)
        self._show_status()

    @property
    def pairs(self) -> PairList:
        return self.query_one(PairList)

    @property
    def row(self) -> int | None:
        """The row under the cursor once rows are aligned."""
        return self.pairs.row if self.comparison is not None else None

    # News of the work behind the screen

    def listed(self, reference: Capture, candidate: Capture) -> None:
        """Names are known: show them unless there are rows already (a re-reading)."""
        self._captures = (reference, candidate)
        self._reading = "reading headers"
        if self.comparison is None:
            self._show_names(reference, candidate)
        self._show_status()

    def _show_names(self, reference: Capture, candidate: Capture) -> None:
        model = NameRows(reference, candidate, self.layertui.look.terminal.ascii)
        if len(model):
            cursor = min(self.pairs.cursor, len(model) - 1)
            self.pairs.set_model(model, range(len(model)), cursor, self.pairs.screen_line)

    def reading(self, done: int, total: int) -> None:
        self._reading = f"reading headers {done} of {total}"
        self._show_status()

    def aligned(self, comparison: Comparison, counts: Counts | None = None) -> None:
        """Rows exist: the cursor stays on its record, on its line of the screen."""
        self.remember_place()
        self._counts = counts or comparison.counts
        self.comparison = comparison
        self._captures = (comparison.reference, comparison.candidate)
        self._reading = ""
        self._first_said = False
        self.show_rows()
        self._say_limits()

    def _say_limits(self) -> None:
        """Layers that a thresholds file has no limits for are judged by something else: say so."""
        assert self.comparison is not None
        found = [note for note in self.comparison.reference.notes if " has no limits for " in note]
        if found:
            self.layertui.work_screen().say(f"{found[0]} (:notes)", warn=True)

    def measured(self, rows: Sequence[int]) -> None:
        """Results: repaint what is visible now, strip and counts a little later."""
        comparison = self.comparison
        if comparison is None:
            return
        self._late_rows.extend(rows)
        if self._late_timer is None:
            self._late_timer = self.set_timer(_STRIP_EVERY, self._show_late)
        if self.view.only:
            self._follow_failing()
        self.pairs.rows_changed(rows)
        self.pairs.set_first(comparison.first_index)
        if self.pairs.set_locals(bool(comparison.locals)):
            self._show_heading()
        if self.row in rows:
            self.show_pane()

    def checking(self) -> None:
        """Everything is measured; the captures are checked."""
        self._reading = "checking"
        self._show_status()

    def checked(self, findings: Sequence[Finding]) -> None:
        """What the checks found goes into the notes; the gravest is said when it is another."""
        comparison = self.comparison
        if comparison is None:
            return
        from ...compare.checks.two_sides import note_findings

        note_findings(comparison, list(findings))
        grave = [finding for finding in findings if finding.severity != "note"]
        self.findings = len(grave)
        inputs = [f for f in grave if f.code == "inputs" and f.severity == "error"]
        self.inputs_differ = short_finding(inputs[0]) if inputs else ""
        if grave and grave[0] != self._gravest:
            more = f"; {len(grave) - 1} more" if len(grave) > 1 else ""
            self.layertui.work_screen().say(f"{grave[0].line}{more} (:notes)", warn=True)
        self._gravest = grave[0] if grave else None
        self._show_status()

    def ended(self, complete: bool = True) -> None:
        """The work is over, done or stopped."""
        self._reading = ""
        if self.comparison is not None:
            self._counts = self.comparison.counts
            if self.judge_again:  # a result on its way may have met the policy of before
                self.judge_again = False
                self.comparison.set_policy(self.comparison.policy)
                self.verdicts_changed()
        self._show_late()
        if complete and not self._first_said:
            self._first_said = True
            self._say_first()

    def _say_first(self) -> None:
        """What it comes to in the logits, and the first divergence, once everything is known,
        unless something else is being said.
        """
        from ..present.origin import last_words

        comparison, screen = self.comparison, self.layertui.work_screen()
        words = "" if comparison is None else last_words(comparison)
        if words and not screen.prompt.said:
            screen.say(words)

    def _show_late(self) -> None:
        if self._late_timer is not None:
            self._late_timer.stop()
            self._late_timer = None
        rows, self._late_rows = self._late_rows, []
        self.query_one(DepthStrip).update_rows(rows)
        self._show_status()
        if self.comparison is not None and self.layertui.working and checking_laws(self.comparison):
            self._late_timer = self.set_timer(_STRIP_EVERY, self._show_late)  # the progress goes on

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
        model, row = self.pairs.model, self.pairs.row
        self._kept_row, self._kept_marks = None, []
        if isinstance(model, ComparedRows):
            rows = model.comparison.rows
            self._kept_row = row_key(rows[row]) if row is not None else None
            self._kept_marks = [row_key(rows[mark]) for mark in sorted(self.pairs.marks)]
        elif isinstance(model, NameRows) and row is not None and self.pairs.cursor > 0:
            self._kept_row = model.key(row)

    def show_rows(self, row: int | None = None) -> None:
        """Rows were made anew: show them, the cursor on `row` or on the record it was on."""
        comparison = self.comparison
        if comparison is None:
            return
        model = ComparedRows(comparison, self.layertui.look.terminal.ascii)
        found = row
        if found is None and self._kept_row is not None:
            found = find_row(comparison.rows, self._kept_row)
        marks = (find_row(comparison.rows, key) for key in self._kept_marks)
        self.pairs.marks = {mark for mark in marks if mark is not None}
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

    # Drawing

    def _show_all(self) -> None:
        self.query_one(DepthStrip).set_comparison(self.comparison, self.metric)
        if self.comparison is not None:
            policy = self.comparison.policy
            exact = "x exact" if getattr(policy, "exact", None) else ""
            ratio = "x base" if getattr(policy, "baselines", ()) else exact
            self.pairs.set_judging(ratio, policy.name == "noise")
        self.pairs.set_locals(self.comparison is not None and bool(self.comparison.locals))
        self.pairs.set_singles(
            {} if self.comparison is None
            else self.layertui.reruns.singles(self.comparison, self.metric)
        )  # fmt: skip
        self._show_heading()
        self._show_status()
        self.show_pane()

    def verdicts_changed(self) -> None:
        """Policy or metric are others: everything that shows a verdict or number is redrawn."""
        self.pairs.metric = self.metric
        if self.comparison is not None and self.view.only:
            self._follow_failing()
        if self.comparison is not None:
            self.pairs.first = self.comparison.first_index
        self.pairs.refresh()
        self._show_all()

    def _show_heading(self) -> None:
        text = heading(self.pairs.columns(), self.metric, self.pairs.ratio)
        self.query_one("#heading", Lines).set_lines([[(text, self.layertui.look.palette.heading)]])

    def _show_status(self) -> None:
        look = self.layertui.look
        sides = sides_line(self.layertui.paths, self._captures, look, self.size.width)
        self.query_one("#sides", Lines).set_lines([sides])
        counts = self.query_one("#counts", Lines)
        if self.comparison is None:
            counts.set_lines([[(f" {self._reading} {look.signs.dots}", look.palette.accent)]])
        else:
            hidden = hidden_failing(self.comparison, self.pairs.view)
            wide = self.size.width >= 110
            usual = self.limits.usual
            policy = "" if usual else f"  policy {self.limits.policy}"
            room, found = self.size.width - self._position_width - len(policy), []
            for facts in ALL_FACTS:
                found = counts_line(self.comparison, self._counts, hidden, look, wide, facts,
                                    self.inputs_differ)  # fmt: skip
                if sum(len(text) for text, _ in found) <= room:
                    break
            room += len(policy) - sum(len(text) for text, _ in found)
            counts.set_lines([[*found, self._settings(room)]])
        self._show_answer()

    def _show_answer(self) -> None:
        """The answer so far; nothing that the checks find takes its place."""
        comparison, line = self.comparison, self.query_one("#answer", Lines)
        if comparison is None or self._counts is None:
            line.set_lines([[]])
        else:
            app, width = self.layertui, self.size.width
            pieces = answer_line(comparison, self._counts, app.look, width, app.working)
            line.set_lines([pieces])

    def _settings(self, room: int) -> Piece:
        """What the list shows, and by which policy where that is not the usual one; what does not
        fit in `room` is left out, the least important first, never cut.
        """
        look = self.layertui.look
        words: list[str] = []
        if self._state:
            words.append(self._state)
        if not self.limits.usual:
            words.append(f"policy {self.limits.policy}")
        if self.findings:
            words.append(f"{self.findings} warnings (:notes)")
        if self.view.filter:
            words.append(f"filter {self.view.filter}")
        words.append("only diverged" if self.view.only else MODE_WORDS[self.view.mode])
        separator = f" {look.signs.dot} "
        while words and 2 + len(separator.join(words)) > room:
            words.pop()
        return ("  " + separator.join(words) if words else "", look.palette.muted)

    @property
    def _state(self) -> str:
        """What the work behind the screen does, beyond measuring, which is counted."""
        comparison = self.comparison
        if not self._reading and comparison is not None and self.layertui.working:
            return "judging" if comparison.complete and not checking_laws(comparison) else ""
        return self._reading

    @on(PairList.Moved)
    def _moved(self) -> None:
        """The pane follows when the cursor rests; position and strip at once."""
        total = len(self.pairs.view)
        width = 2 * len(str(total)) + 2
        text = f"{self.pairs.cursor + 1 if total else 0}/{total}".rjust(width - 1)
        position = self.query_one("#position", Lines)
        position.set_lines([[(text, self.layertui.look.palette.muted)]])
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
        self.pairs.set_singles(self.layertui.reruns.singles(comparison, self.metric))
        self._show_heading()
        self.show_pane()

    def show_pane(self) -> None:
        """Detail of the row under the cursor, in the pane or in one line."""
        comparison, row = self.comparison, self.row
        detail = self.query_one(Detail)
        if detail.display and not self.has_class("-small"):
            more = [] if comparison is None or row is None else (
                self.layertui.reruns.fields(comparison, row)
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
