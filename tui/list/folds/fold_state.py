"""The folds of the list, over rows that are made anew now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .list_lines import ListLines, any_between

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....compare.comparison import Comparison
    from ....compare.model import Row
    from .fold_summary import FoldSummary
    from .folding import Folded, Folds
    from .levels import Levels
    from .list_lines import Start


class FoldState:
    """What is folded, the lines that this makes, and what folded lines say.

    `start` says what is folded before the user says anything. `flat` rows (filtered ones) have a
    line each, whatever is folded.
    """

    def __init__(self, start: Start = "auto") -> None:
        self.start: Start = start
        self.flat = False
        self._comparison: Comparison | None = None
        self._known: tuple[Sequence[Row], Levels] | None = None
        self._folds: Folds | None = None  # made when something is folded for the first time
        self._by_user = False
        self._said: dict[tuple[int, int], FoldSummary] = {}  # by first and last place

    def prepare(self, rows: Sequence[Row], levels: Levels) -> None:
        """The levels of rows that will be shown."""
        self._known = rows, levels

    def new_rows(self, comparison: Comparison | None, shown: int, height: int) -> None:
        """Rows were made anew, of which `shown` are shown on a list of `height` lines: what the
        user folded stays so; else layers are folded as `start` says.
        """
        before, self._comparison, self._folds = self._folds, comparison, None
        self._said.clear()
        if comparison is None:
            return
        if self._by_user and before is not None:
            self.folds.like(before)
        elif self.start == "layers" or (self.start == "auto" and shown > height > 0):
            self.folds.start()

    @property
    def folds(self) -> Folds:
        """Raises `ValueError` where rows are not aligned yet."""
        if self._comparison is None:
            raise ValueError("only aligned rows have levels")
        if self._folds is None:
            from .folding import Folds  # not before the first paint
            from .levels import levels_of

            rows, levels = self._comparison.rows, None
            if self._known is not None and self._known[0] is rows:
                levels = self._known[1]
            self._folds = Folds(levels or levels_of(rows))
        return self._folds

    def lines(self, rows: Sequence[int]) -> ListLines:
        """The lines of the rows shown."""
        self._said.clear()
        if self.flat or self._folds is None:
            return ListLines(rows)
        return self._folds.lines(rows)

    def reveal(self, row: int) -> None:
        """Unfold all that `row` lies in."""
        if self._folds is not None:
            self._folds.reveal(row)

    def kept(self) -> Folded | None:
        """What is folded now; None where nothing was yet."""
        return None if self._folds is None else self._folds.kept()

    def fold_as(self, kept: Folded | None) -> bool:
        """Fold what was folded then; False where that changes nothing."""
        return kept is not None and self._folds is not None and self._folds.fold_as(kept)

    # What the user folds

    @property
    def possible(self) -> bool:
        """Whether anything can be folded now."""
        return self._comparison is not None and not self.flat

    def fold(self, lines: ListLines, line: int) -> bool:
        """One level more of what the line lies in; False where there is none."""
        self._by_user = True
        return self.folds.fold(lines, line)

    def unfold(self, lines: ListLines, line: int) -> bool:
        """One level less of the line; False where it is a row."""
        self._by_user = True
        return self.folds.unfold(lines, line)

    def fold_all(self, folded: bool) -> None:
        self._by_user = True
        if folded:
            self.folds.fold_all()
        else:
            self.folds.unfold_all()

    # What folded lines say

    def summary(self, lines: ListLines, line: int) -> FoldSummary | None:
        """What a folded line says; None of a row that has its line for itself."""
        kind = lines.kind(line)
        if kind == "row" or self._folds is None or self._comparison is None:
            return None
        places = lines.places(line)
        key = places.start, places.stop
        found = self._said.get(key)
        if found is None:
            from .fold_summary import summary_of

            levels, members = self._folds.levels, lines.members(line)
            found = self._said[key] = summary_of(self._comparison, levels, kind, members)
        return found

    def forget(self, view: Sequence[int], changed: Sequence[int]) -> None:
        """The rows of these numbers, in order, have other verdicts."""
        for start, stop in list(self._said):
            if any_between(changed, view, range(start, stop)):
                del self._said[start, stop]

    def forget_all(self) -> None:
        """Any row may have another verdict."""
        self._said.clear()
