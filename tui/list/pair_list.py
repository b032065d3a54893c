"""The list: both sides of every pair on one line, folded or not, one cursor, one scroll."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ...compare.measuring.metrics import METRICS
from ..widgets.lines import look_of
from .columns import Columns, Extras, columns_for
from .folds.fold_state import FoldState
from .folds.list_lines import ListLines, any_between
from .line_drawing import Drawing, draw_fold, draw_line, second_metric
from .motions.blocks import block_start
from .row_model import ComparedRows, RowModel, position

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textual import events

    from ...compare.changes.earlier import RowChanges
    from .finding.spot import Spot
    from .folds.fold_summary import FoldSummary


class PairList(ScrollView, can_focus=True, inherit_bindings=False):
    """Rows of a model; `view` holds the numbers of those shown and is swapped, never copied. On
    each of the `lines` is one of them, or several that are folded.
    """

    DEFAULT_CSS = """
    PairList { height: 1fr; width: 1fr; scrollbar-size: 0 0; overflow-x: hidden; }
    """
    cursor: reactive[int] = reactive(0, repaint=False, init=False)  # an index into `lines`

    class Moved(Message):
        """The cursor is on another row; a held key leaves only the last of these."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, PairList.Moved)

    class Opened(Message):
        """A click on the row that has the cursor already."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.model: RowModel | None = None
        self.lines = ListLines()
        self.folding = FoldState()
        self.metric = "mse"
        self.marks: set[int] = set()
        self.words: list[str] = []  # what a search marks
        self.first: int | None = None  # the first failing row, whose badge is solid
        self.singles: dict[int, str] = {}  # errors of reruns, by row
        self.ratio = ""  # what the column of ratios is about; empty: there is none
        self.origins = False  # whether the policy says where errors come from
        self.locals = False  # whether laws apply to any row
        self.on_screen: tuple[int, ...] = ()  # rows on the screen; read by the measuring thread
        self._columns: Columns | None = None
        self._shape_width = 9

    # What is shown

    def set_model(self, model: RowModel, view: Sequence[int], row: int, screen_line: int) -> None:
        """Show another model, the cursor on `row`, that row on line `screen_line` of the list."""
        self.model = model
        comparison = model.comparison if isinstance(model, ComparedRows) else None
        self.folding.new_rows(comparison, len(view), self.size.height)
        self._shape_width = _longest_shape(model)
        self._columns = None
        self.set_view(view, row, screen_line)

    def set_view(self, view: Sequence[int], row: int, screen_line: int | None = None) -> None:
        """Show other rows of the model, the cursor on `row` (or the next that is there)."""
        line = self.screen_line if screen_line is None else screen_line
        self.lines = self.folding.lines(view)
        self.virtual_size = Size(0, len(self.lines))
        self.set_reactive(PairList.cursor, self.lines.line_at(position(view, row)))
        self._scroll(self.cursor - line)
        self.refresh()
        self._note_visible()
        self.post_message(self.Moved())

    @property
    def view(self) -> Sequence[int]:
        """The numbers of the rows shown, in order."""
        return self.lines.rows

    @property
    def row(self) -> int | None:
        """The row number under the cursor, of a folded line the one that it stands for; None when
        nothing is shown.
        """
        if self.cursor >= len(self.lines):
            return None
        fold = self.fold
        return self.lines.first(self.cursor) if fold is None else fold.row

    @property
    def fold(self) -> FoldSummary | None:
        """What the folded line under the cursor says; None where that is a row."""
        if self.cursor >= len(self.lines):
            return None
        return self.folding.summary(self.lines, self.cursor)

    @property
    def place(self) -> int:
        """The place of the cursor among the rows shown; of a folded line that of its first row."""
        return self.lines.places(self.cursor).start if self.cursor < len(self.lines) else 0

    @property
    def screen_line(self) -> int:
        """How far below the top of the list the cursor is."""
        return self.cursor - self.scroll_offset.y

    def set_first(self, row: int | None) -> None:
        """Say which row the first divergence is."""
        if row != self.first:
            old, self.first = self.first, row
            self.rows_changed(r for r in (old, row) if r is not None)

    def set_singles(self, singles: dict[int, str]) -> None:
        """Errors of reruns, as their column shows them; no column without any."""
        if singles != self.singles:
            self.singles, self._columns = singles, None
            self.refresh()

    def set_judging(self, ratio: str, origins: bool) -> None:
        """Columns that the policy has: ratios to further captures, and origins."""
        if (ratio, origins) != (self.ratio, self.origins):
            self.ratio, self.origins, self._columns = ratio, origins, None
            self.refresh()

    @property
    def number_heading(self) -> str:
        """What stands above the badges."""
        return METRICS[self.metric].heading if self.model is None else (
            self.model.heading(self.metric)
        )  # fmt: skip

    @property
    def second_heading(self) -> str:
        """What stands above the numbers beside the badges."""
        return METRICS[second_metric(self.metric)].heading

    def set_locals(self, known: bool) -> bool:
        """Whether there is a column of local errors; True when that is new."""
        if known == self.locals:
            return False
        self.locals, self._columns = known, None
        self.refresh()
        return True

    def set_changes(self, changes: RowChanges | None) -> None:
        """What has changed since an earlier candidate; no column without one."""
        if isinstance(self.model, ComparedRows):
            self.model.changes, self._columns = changes, None
            self.refresh()

    def rows_changed(self, rows: Iterable[int]) -> None:
        """Repaint the lines of those of `rows` that are on the screen."""
        if self.lines.starts is None:
            shown = set(self.on_screen)
            for row in rows:
                if row in shown:
                    self.refresh_line(position(self.view, row))
            return
        changed = sorted(rows)
        self.folding.forget(self.view, changed)
        top = self.scroll_offset.y
        for line in range(top, min(top + self.size.height, len(self.lines))):
            if any_between(changed, self.view, self.lines.places(line)):
                self.refresh_line(line)

    def verdicts_changed(self) -> None:
        """Any row may have another verdict or number."""
        self.folding.forget_all()
        self.refresh()

    def set_words(self, words: list[str]) -> None:
        """Mark other words: lines that have none of them, and had none, stay as they are."""
        either = {*self.words, *words}
        self.words = words
        model, top = self.model, self.scroll_offset.y
        if model is None or not either:
            return
        for line in range(top, min(top + self.size.height, len(self.lines))):
            if self.lines.kind(line) == "row" and any(
                model.finds(self.lines.first(line), (word,)) for word in either
            ):
                self.refresh_line(line)

    @property
    def spot(self) -> Spot:
        """Where the cursor is and what is folded."""
        from .finding.spot import Spot  # not before the first paint

        return Spot(self.row or 0, self.screen_line, self.folding.kept())

    def back_to(self, spot: Spot) -> None:
        """Cursor, scroll and folds as they were."""
        if self.folding.fold_as(spot.folds):
            self.set_view(self.view, spot.row, spot.line)
        else:
            self.cursor = self.lines.line_at(position(self.view, spot.row))
            self._scroll(self.cursor - spot.line)

    # The cursor

    def validate_cursor(self, value: int) -> int:
        return max(0, min(value, len(self.lines) - 1))

    def watch_cursor(self, old: int, new: int) -> None:
        self.refresh_line(old)
        self.refresh_line(new)
        self._follow(old, new)
        self.post_message(self.Moved())

    def _follow(self, old: int, new: int) -> None:
        """Scroll when the cursor leaves the screen: a step by several lines at once on a slow
        link (textual repaints all lines, however few it scrolls by), a jump to the middle.
        """
        top, height = self.scroll_offset.y, self.size.height
        if not height or top <= new < top + height:
            return
        jump = min(look_of(self).terminal.scroll_jump, max(1, height // 2))
        if abs(new - old) > 1:
            self._scroll(new - height // 2)
        elif new > old:
            self._scroll(new - height + jump)
        else:
            self._scroll(new - jump + 1)

    def _scroll(self, y: int) -> None:
        limit = max(0, len(self.lines) - self.size.height)
        self.scroll_to(y=max(0, min(y, limit)), animate=False, force=True, immediate=True)

    def move(self, lines: int) -> None:
        self.cursor += lines

    def page(self, pages: float) -> None:
        """Move cursor and rows together, as less and vim do."""
        lines = int(pages * self.size.height)
        top = self.scroll_offset.y
        self._scroll(top + lines)
        self.cursor += lines

    def to_top(self) -> None:
        self.cursor = 0

    def to_bottom(self) -> None:
        self.cursor = len(self.lines) - 1

    def to_screen_line(self, end: int, lines: int) -> None:
        """The cursor `lines` below the top of the screen (`end` 0), or above its bottom."""
        top = self.scroll_offset.y
        bottom = min(top + self.size.height, len(self.lines)) - 1
        self.cursor = max(top, bottom - lines) if end else min(bottom, top + lines)

    def scroll_line(self, part: float) -> None:
        """Scroll until the cursor is at the top of the screen (0), in the middle, or below (1)."""
        self._scroll(self.cursor - int(part * max(0, self.size.height - 1)))

    def go_to_row(self, row: int) -> None:
        """The cursor on the row numbered `row`, or the next that is shown, which is unfolded."""
        place = position(self.view, row)
        line = self.lines.line_at(place)
        if self.lines.kind(line) == "row":
            self.cursor = line
            return
        found, at, height = self.view[place], line - self.scroll_offset.y, self.size.height
        self.folding.reveal(found)
        self.set_view(self.view, found, at if 0 <= at < height else height // 2)

    def go_to_block(self, direction: int) -> bool:
        """To the start of the next layer block, or of this one and then the one before."""
        if self.model is None or not self.view:
            return False
        target = block_start(self.model, self.lines, self.cursor, direction)
        if target is None:
            return False
        self.cursor = target
        return True

    def next_of(self, rows: Sequence[int], direction: int) -> int | None:
        """The first of the sorted `rows` after (or before) the cursor; O(log n). From a folded line
        the first on it comes after the cursor.
        """
        if self.row is None:
            return rows[0] if rows else None
        here = self.lines.first(self.cursor)
        after = bisect_right if self.fold is None else bisect_left
        at = after(rows, here) if direction > 0 else bisect_left(rows, here) - 1
        return rows[at] if 0 <= at < len(rows) else None

    # Folding

    def fold_here(self) -> bool:
        """Fold what the cursor is in by one level more; False where there is none."""
        return self._folded(self.folding.fold(self.lines, self.cursor))

    def unfold_here(self) -> bool:
        """Unfold the line under the cursor by one level; False where it is a row."""
        return self._folded(self.folding.unfold(self.lines, self.cursor))

    def fold_all(self, folded: bool) -> None:
        """Fold or unfold everything; the cursor stays on its row, or on the line that has it."""
        row = self.row
        self.folding.fold_all(folded)
        self.set_view(self.view, row or 0)

    def _folded(self, changed: bool) -> bool:
        if changed:
            self.set_view(self.view, self.lines.first(self.cursor))
        return changed

    # Mouse and size

    def on_click(self, event: events.Click) -> None:
        line = event.y + self.scroll_offset.y
        if line < len(self.lines):
            if line == self.cursor and event.chain > 1:
                self.post_message(self.Opened())
            self.cursor = line

    def on_resize(self) -> None:
        self._columns = None
        self._scroll(
            min(self.cursor, max(self.scroll_offset.y, self.cursor - self.size.height + 1))
        )
        self._note_visible()
        self.refresh()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._note_visible()

    def _note_visible(self) -> None:
        top = self.scroll_offset.y
        bottom = min(top + self.size.height, len(self.lines))
        if self.lines.starts is None:
            self.on_screen = tuple(self.view[top:bottom])
        else:
            shown = (line for line in range(top, bottom) if self.lines.kind(line) == "row")
            self.on_screen = tuple(map(self.lines.first, shown))

    # Drawing

    def columns(self) -> Columns:
        """The widths of the columns now; the heading uses them too."""
        if self._columns is None:
            rows = 0 if self.model is None else len(self.model)
            second = isinstance(self.model, ComparedRows) and not self.model.by_statistics
            extras = Extras(bool(self.singles), self.ratio, self.origins, self.locals, second,
                            self.model is not None and self.model.changes is not None)  # fmt: skip
            self._columns = columns_for(self.size.width, rows, self._shape_width, extras)
        return self._columns

    def render_line(self, y: int) -> Strip:
        base = self.rich_style
        at = y + self.scroll_offset.y
        if self.model is None or at >= len(self.lines):
            return Strip.blank(self.size.width, base)
        drawing = Drawing(
            self.model, self.columns(), look_of(self), self.metric, self.marks, self.words,
            self.first, self.singles, self.size.width,
        )  # fmt: skip
        fold = self.folding.summary(self.lines, at)
        if fold is None:
            return draw_line(drawing, self.lines.first(at), base, at == self.cursor)
        return draw_fold(drawing, fold, self.lines.members(at), base, at == self.cursor)


def _longest_shape(model: RowModel) -> int:
    """The widest shape of some rows; all of 100,000 would take too long and change little."""
    if not model.aligned:  # names alone are shown without shapes
        return 0
    step = max(1, len(model) // 500)
    longest = 0
    for row in range(0, len(model), step):
        line = model.line(row)
        for side in (line.left, line.right):
            if side is not None:
                longest = max(longest, len(side.shape))
    return longest
