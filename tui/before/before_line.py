"""The line above the list that says what has changed since an earlier candidate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..present.text import clean
from ..widgets.lines import Lines, look_of

if TYPE_CHECKING:
    from ...compare.changes.earlier import RowChanges


class BeforeLine(Lines):
    """What became of the first divergence and how much changed, as much as fits; or why that is not
    known.
    """

    _changes: RowChanges | None = None
    _problem = ""

    @property
    def known(self) -> bool:
        """Whether there is anything to say."""
        return self._changes is not None or bool(self._problem)

    def show(self, changes: RowChanges | None, problem: str = "") -> None:
        self._changes, self._problem = changes, problem
        self.on_resize()

    def wait(self) -> None:
        """What it says is about other rows: it will be said anew once all of these are measured."""
        if self._changes is not None:
            self._changes, self._problem = None, "before: compared again when all is measured"
            self.progress(self._problem)

    def progress(self, words: str) -> None:
        """How far the comparison is."""
        self.set_lines([[(f" {words}", look_of(self).palette.accent)]])

    def on_resize(self) -> None:
        look, changes = look_of(self), self._changes
        if changes is None:
            words, style = self._problem, look.palette.warn
        else:
            from .change_words import headline_that_fits  # not before the first paint

            words = headline_that_fits(changes, self.app.size.width - 2)
            worse = changes.changes.is_worse
            style = look.style("diverged") if worse else look.palette.accent
        self.set_lines([[(f" {clean(words, look.terminal.ascii)}", style)]])
