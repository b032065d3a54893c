"""A program without a terminal around a session: what it was told, and a list in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from layertui.compare.comparison import open_comparison
from layertui.tui.controllers import Controllers
from layertui.tui.jobs.compare_job import Request
from layertui.tui.jobs.export_job import ExportChoice
from layertui.tui.jobs.job import Job
from layertui.tui.jobs.news import News
from layertui.tui.list.finding.spot import Spot
from layertui.tui.list.limits import Limits
from layertui.tui.list.row_model import (
    ComparedRows,
    RowModel,
    View,
    holds,
    position,
    rows_in_view,
)
from layertui.tui.question import Question
from layertui.tui.session import Session


class FakeFront:
    """A screen in front that exports what the controllers choose."""

    def __init__(self, host: FakeHost) -> None:
        self._host = host
        self.commands_done = 0

    def export_choice(self) -> ExportChoice | None:
        return self._host.controllers.export.rows_chosen()

    def yank_report(self) -> None:
        return None

    def after_command(self) -> None:
        self.commands_done += 1


class FakeList:
    """The rows of a comparison, and a cursor."""

    def __init__(self) -> None:
        self.model: RowModel | None = None
        self.view = View()
        self.shown: Sequence[int] = ()
        self.cursor = 0
        self.calls: list[str] = []

    @property
    def row(self) -> int | None:
        return self.shown[self.cursor] if self.cursor < len(self.shown) else None

    def open(self, model: RowModel) -> None:
        self.model, self.shown = model, rows_in_view(model, self.view)

    @property
    def folded(self) -> bool:
        return False

    @property
    def members(self) -> Sequence[int]:
        return () if self.row is None else (self.row,)

    def next_line(self) -> None:
        self.move_to(self.cursor + 1)

    def move_to(self, place: int) -> None:
        self.cursor = max(0, min(place, len(self.shown) - 1))

    def go_to_row(self, row: int) -> None:
        self.cursor = position(self.shown, row)

    def go_to(self, row: int) -> list[str]:
        hidden = not holds(self.shown, row)
        if hidden:
            self.change_view(View("everything"))
        self.go_to_row(row)
        return ["all rows"] if hidden else []

    @property
    def spot(self) -> Spot:
        return Spot(self.row or 0, 0, None)

    def back_to(self, spot: Spot) -> None:
        self.go_to_row(spot.row)

    def next_of(self, rows: Sequence[int], direction: int) -> int | None:
        here = self.row
        ahead = [r for r in rows if here is None or (r - here) * direction > 0]
        return (ahead[0] if direction > 0 else ahead[-1]) if ahead else None

    def go_to_block(self, direction: int) -> bool:
        return False

    def change_view(self, view: View) -> None:
        here = self.row or 0
        self.view = view
        if self.model is not None:
            self.shown = rows_in_view(self.model, view)
        self.go_to_row(here)

    def show_search(self) -> None:
        self.calls.append("search")

    def show_marks(self, *, only_here: bool = False) -> None:
        self.calls.append("marks")

    def verdicts_changed(self) -> None:
        self.calls.append("verdicts")

    def judge_when_done(self) -> None:
        self.calls.append("judge when done")

    def show_changes(self, changes: object, problem: str = "") -> None:
        pass

    def show_earlier(self, words: str) -> None:
        pass

    def show_watched(self) -> None:
        pass

    def show_pane(self) -> None:
        self.calls.append("pane")

    def show_singles(self) -> None:
        self.calls.append("singles")

    def remember_place(self) -> None:
        self.calls.append("place")

    def show_rows(self) -> None:
        self.calls.append("rows")

    def listed(self, *_: object) -> None:
        self.calls.append("listed")

    def reading(self, *_: object) -> None:
        self.calls.append("reading")

    def aligned(self, *_: object) -> None:
        self.calls.append("aligned")

    def counted(self, *_: object) -> None:
        self.calls.append("counted")

    def measured(self, *_: object) -> None:
        self.calls.append("measured")

    def checking(self) -> None:
        self.calls.append("checking")

    def checked(self, *_: object) -> None:
        self.calls.append("checked")

    def ended(self, complete: bool = True) -> None:
        self.calls.append("ended" if complete else "stopped")


class FakeHost:
    """Runs jobs in its own thread, one after another, when `work` is called."""

    def __init__(self, reference: Path, candidate: Path) -> None:
        self.session = Session(Request(str(reference), str(candidate)), Limits())
        self.list = FakeList()
        self.session.cursor = lambda: self.list.row
        self.controllers = Controllers(self, self.list)
        self.front = FakeFront(self)
        self.said = ""
        self.questions: list[Question] = []
        self.copied: list[str] = []
        self.output: list[str] = []
        self.ended = ""
        self.changed: list[int] = []
        self._waiting: list[Job] = []

    def measure(self) -> None:
        """Align and measure both captures at once."""
        comparison = open_comparison(self.session.request.reference, self.session.request.candidate)
        comparison.measure()
        self.session.comparison = comparison
        self.list.open(ComparedRows(comparison))

    def work(self) -> None:
        """Run what was started, and hand its news over."""
        while self._waiting:
            self._waiting.pop(0).run()

    def say(self, text: str, *, warn: bool = False) -> None:
        self.said = text

    def ask(self, question: Question) -> None:
        self.questions.append(question)

    def answer(self, text: str) -> None:
        """Answer the question that was asked last."""
        self.questions.pop().answer(text)

    def copy(self, text: str) -> None:
        self.copied.append(text)

    def take_picture(self, take: Callable[[str], None]) -> None:
        take("<svg/>")

    def print_at_end(self, text: str) -> None:
        self.output.append(text)

    def start(self, work: Callable[[Job], bool], take: Callable[[News], None]) -> Job:
        job = Job(work, Job.deliver, take)
        self._waiting.append(job)
        return job

    def say_from_thread(self, text: str) -> None:
        self.say(text)

    def rows_changed(self, rows: Sequence[int]) -> None:
        self.changed.extend(rows)

    def rerun_changed(self) -> None:
        pass

    def give_up(self, reason: str) -> None:
        self.ended = reason
