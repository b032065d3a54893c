"""Which rows the list shows, and where its cursor is; nothing is drawn here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..work_screen import WorkScreen
from .kept_place import KeptPlace, kept_place
from .pair_list import PairList
from .row_model import (
    MODE_WORDS,
    ComparedRows,
    NameRows,
    RowModel,
    View,
    holds,
    in_mode,
    position,
    rows_in_view,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...capture.records import Capture
    from ..present.short_names import ShortNames
    from ..work_screen import ScreenHost
    from .finding.spot import Spot
    from .folds.prepared import Prepared

_ROWS_ABOVE = 3  # the row that the list opens on has a third of the list above it


class ShownRows(WorkScreen):
    """The rows of the list, by what they are chosen, and the place of the cursor among them."""

    SCOPE = "list"

    def __init__(self, host: ScreenHost) -> None:
        super().__init__(host)
        self.view = View()
        self._judge_when_done = False  # the policy changed while results arrived
        self._kept = KeptPlace()
        self._on_fold = False  # whether the cursor was on a folded line then
        self._prepared: Prepared | None = None

    def _show_all(self) -> None:
        """Rows were made anew."""
        raise NotImplementedError

    def _show_status(self) -> None:
        """Other rows are shown."""
        raise NotImplementedError

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
        return self.pairs.place

    @property
    def members(self) -> Sequence[int]:
        pairs = self.pairs
        return pairs.lines.members(pairs.cursor) if pairs.row is not None else ()

    @property
    def folded(self) -> bool:
        return self.pairs.fold is not None

    def next_line(self) -> None:
        self.pairs.move(1)

    @property
    def can_fold(self) -> bool:
        return self.pairs.folding.possible and len(self.shown) > 0

    def fold_here(self) -> bool:
        return self.pairs.fold_here()

    def unfold_here(self) -> bool:
        return self.pairs.unfold_here()

    def fold_all(self, folded: bool) -> None:
        self.pairs.fold_all(folded)

    def move_to(self, place: int) -> None:
        """The cursor on another place among the rows shown."""
        if self.shown:
            self.pairs.go_to_row(self.shown[max(0, min(place, len(self.shown) - 1))])

    def go_to_row(self, row: int) -> None:
        self.pairs.go_to_row(row)

    @property
    def spot(self) -> Spot:
        return self.pairs.spot

    def back_to(self, spot: Spot) -> None:
        self.pairs.back_to(spot)

    def next_of(self, rows: Sequence[int], direction: int) -> int | None:
        return self.pairs.next_of(rows, direction)

    def go_to_block(self, direction: int) -> bool:
        return self.pairs.go_to_block(direction)

    def show_search(self) -> None:
        self.pairs.set_words(self.session.search_words)

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
        self.pairs.folding.flat = _is_flat(self.view)
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
        self._on_fold = pairs.fold is not None

    def show_rows(self) -> None:
        """Rows were made anew: show them, the cursor on the record it was on."""
        comparison = self.comparison
        if comparison is None:
            return
        known = self.pairs.model.short if self.pairs.model is not None else ()
        ready = self._prepared
        by_mode = ready.by_mode if ready and ready.rows is comparison.rows else None
        known = (*known, *(ready.short if ready else ()))
        model = ComparedRows(comparison, self.look.terminal.ascii, known, by_mode)
        found, marks = self._kept.find(comparison.rows)
        self.session.marks.clear()
        self.session.marks.update(marks)
        if found is not None:
            self.reveal(found, model)
        view = rows_in_view(model, self.view)
        self.session.changes = None  # of other rows
        self.pairs.first = comparison.first_index
        self.pairs.folding.flat = _is_flat(self.view)
        self.pairs.set_model(model, view, found or 0, self.pairs.screen_line)
        if found is not None and not self._on_fold:
            self.pairs.go_to_row(found)  # which is on a line of its own again
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
        chosen = shown.only or shown.change
        if chosen and not holds(rows_in_view(model or self._model, shown), row):
            shown = replace(shown, only=False, change=None)
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
        if here is not None and (row is not None or not self.folded):
            self.pairs.folding.reveal(here)
        self.pairs.folding.flat = _is_flat(view)
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
        if view:
            self.pairs.folding.reveal(view[position(view, row)])
        self.pairs.set_view(view, row, self.pairs.size.height // _ROWS_ABOVE)
        self.prompt.stay(self.place)


def _is_flat(view: View) -> bool:
    """Whether every row has a line for itself: rows that were looked for are not folded away."""
    return view.only or bool(view.filter or view.change)
