"""The answer above the list: on one line, or on two where a cause would be cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lines import Lines, look_of

if TYPE_CHECKING:
    from ...compare.comparison import Comparison
    from ...compare.model import Counts
    from ..present.pieces import Pieces


_ROOMY = 20  # lines of the terminal from which the list can spare one


class AnswerBar(Lines):
    """As high as the answer is long."""

    def show(self, comparison: Comparison | None, counts: Counts | None, working: bool) -> None:
        """The answer so far; `working`: whether anything is still measured or checked."""
        lines: list[Pieces] = [[]]
        if comparison is not None and counts is not None:
            from ..present.answer import answer_line, answer_lines  # not before the first paint

            width, height = self.app.size
            if height >= _ROOMY:
                lines = answer_lines(comparison, counts, look_of(self), width, working)
            else:
                lines = [answer_line(comparison, counts, look_of(self), width, working)]
        if len(lines) != len(self._lines):
            self.styles.height = len(lines)
        self.set_lines(lines)
