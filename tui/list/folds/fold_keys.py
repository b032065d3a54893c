"""Folding and unfolding by keys, and what is said where there is nothing to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...session import Host
    from ..face import ListFace


class FoldKeys:
    """Folds the line under the cursor by one level, or all lines."""

    def __init__(self, host: Host, face: ListFace) -> None:
        self._host, self._face = host, face

    def fold(self) -> None:
        """What the cursor is in: a run of gaps, its module, its layer."""
        if self._possible() and not self._face.fold_here():
            what = "folded as far as it goes" if self._face.folded else "nothing to fold here"
            self._host.say(f"{what}; zM folds all")

    def unfold(self) -> None:
        """The line under the cursor, by one level."""
        if self._possible() and not self._face.unfold_here():
            self._host.say("one row, nothing is folded here; zR unfolds all")

    def all(self, folded: bool) -> None:
        """Every layer and module, or nothing."""
        if self._possible():
            self._face.fold_all(folded)

    def open(self) -> bool:
        """Unfold the line under the cursor down to the row that it stands for; False where it is a
        row.
        """
        row = self._host.session.row
        if not self._face.folded or row is None:
            return False
        self._face.go_to_row(row)
        return True

    def _possible(self) -> bool:
        if self._face.can_fold:
            return True
        if self._host.session.comparison is None:
            self._host.say("rows are not aligned yet")
        else:
            self._host.say("only a whole list folds: Esc shows all rows")
        return False
