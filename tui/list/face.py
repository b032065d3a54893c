"""The list, as those see it who move its cursor, change what it shows, or bring it news."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...capture.records import Capture
    from ...compare.changes.earlier import RowChanges
    from ...compare.checks.finding import Finding
    from ...compare.comparison import Comparison
    from ...compare.model import Counts
    from ..present.short_names import ShortNames
    from .finding.spot import Spot
    from .folds.prepared import Prepared
    from .row_model import RowModel, View


class ListFace(Protocol):
    """Rows, of which some are shown, and a cursor on one of those."""

    @property
    def model(self) -> RowModel | None: ...

    @property
    def view(self) -> View:
        """Which rows are shown, by what."""
        ...

    @property
    def shown(self) -> Sequence[int]:
        """The numbers of the rows that are shown, in order."""
        ...

    @property
    def cursor(self) -> int:
        """The cursor's place among the rows shown; on a folded line that of the first of them."""
        ...

    @property
    def folded(self) -> bool:
        """Whether the cursor is on a folded line."""
        ...

    @property
    def members(self) -> Sequence[int]:
        """The rows on the line under the cursor: several where it is folded."""
        ...

    def next_line(self) -> None:
        """The cursor on the line below."""
        ...

    @property
    def can_fold(self) -> bool:
        """Whether rows are aligned, and not only some of them shown."""
        ...

    def fold_here(self) -> bool:
        """Fold one level more of what the cursor is in; False where there is none."""
        ...

    def unfold_here(self) -> bool:
        """Unfold the line under the cursor by one level; False where it is a row."""
        ...

    def fold_all(self, folded: bool) -> None:
        """Fold every layer and module, or unfold all; the cursor stays with its row."""
        ...

    def move_to(self, place: int) -> None:
        """The cursor on another place among the rows shown."""
        ...

    def go_to_row(self, row: int) -> None:
        """The cursor on `row`, or on the next that is shown."""
        ...

    def go_to(self, row: int) -> list[str]:
        """The cursor on `row`, revealed if it is hidden; says what that took."""
        ...

    @property
    def spot(self) -> Spot:
        """Where the cursor is, on the screen too, and what is folded."""
        ...

    def back_to(self, spot: Spot) -> None:
        """Cursor, scroll and folds as they were."""
        ...

    def next_of(self, rows: Sequence[int], direction: int) -> int | None:
        """The first of the sorted `rows` after (or before) the cursor."""
        ...

    def go_to_block(self, direction: int) -> bool:
        """To the next layer block, or the one before; False where there is none."""
        ...

    def change_view(self, view: View) -> None:
        """Show other rows; the cursor stays on its row where that is still there."""
        ...

    def show_search(self) -> None:
        """The words of the search are others."""
        ...

    def show_marks(self, *, only_here: bool = False) -> None:
        """Marks are others; `only_here`: that of the row under the cursor alone."""
        ...

    def verdicts_changed(self) -> None:
        """Policy or metric are others: everything that shows a verdict or number is redrawn."""
        ...

    def judge_when_done(self) -> None:
        """The policy changed while results arrive: judge all of them again at the end."""
        ...

    def show_pane(self) -> None: ...

    def show_singles(self) -> None:
        """The column of single errors, once something was rerun."""
        ...

    def show_changes(self, changes: RowChanges | None, problem: str = "") -> None:
        """The column of what has changed since an earlier candidate, and the line above the list;
        or in that line why there is none.
        """
        ...

    def show_watched(self) -> None:
        """Whether the candidate is watched, and what it does."""
        ...

    def show_earlier(self, words: str) -> None:
        """How far the comparison with an earlier candidate is."""
        ...

    def remember_place(self) -> None:
        """Keep cursor and marks as records: rows are about to be made anew."""
        ...

    def show_rows(self) -> None:
        """Rows were made anew: show them, the cursor on the record it was on."""
        ...

    # News of the work behind the screen

    def listed(
        self, reference: Capture, candidate: Capture, short: Sequence[ShortNames] = ()
    ) -> None: ...
    def reading(self, done: int, total: int) -> None: ...
    def aligned(
        self, comparison: Comparison, counts: Counts | None = None,
        prepared: Prepared | None = None,
    ) -> None: ...  # fmt: skip
    def counted(self, counts: Counts) -> None: ...
    def measured(self, rows: Sequence[int]) -> None: ...
    def checking(self) -> None: ...
    def checked(self, findings: Sequence[Finding]) -> None: ...
    def ended(self, complete: bool = True) -> None: ...
