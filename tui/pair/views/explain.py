"""This layer against its law, and every mistake that was tried."""

from __future__ import annotations

import re
from copy import copy
from typing import TYPE_CHECKING, Any

from ...present.laws import NO_LAWS_YET, law_fields
from ...present.pieces import Pieces
from ...present.text import clean, width_of, wrap
from ...present.working import laws_progress
from .view import LABEL, View

if TYPE_CHECKING:
    from collections.abc import Hashable

    from ....compare.laws.report import LawReport
    from ...jobs.inspector import InspectionNews, Work
    from ..stage import Stage

_KEPT = 64  # rows whose explanation is remembered
_LEAST_WORDS = 24  # cells of the last column that a long line keeps
_TRYING = "trying every known mistake of this kind of layer"


class ExplainView(View):
    """What is known of the law at once; the hypotheses tried, with their numbers, as soon as the
    records were read again for them.
    """

    NAME = "explain"
    title = "Explain"
    about = "this layer against its law, and every mistake that was tried"
    needs_pair = False

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        # Lines by row, with the laws that they are about: others come with another checkpoint.
        self._known: dict[int, tuple[LawReport, list[str]]] = {}
        self._asked: tuple[LawReport, int] | None = None

    def scene_changed(self) -> None:
        self._asked = None
        self.to_top()

    def ask(self) -> None:
        """Read the records again, once: a row that was stopped is asked about when it is shown
        again.
        """
        scene = self.scene
        laws = None if scene is None else scene.comparison.laws
        if scene is None or laws is None or self._explained is not None:
            return
        # As it is now: another checkpoint, or other rows, may come while records are read.
        comparison, index = copy(scene.comparison), scene.index
        if self._asked is not None and self._asked[0] is laws and self._asked[1] == index:
            return

        def task(work: Work) -> tuple[LawReport, list[str]]:
            from ....compare.measuring.pair_reader import CancelledError
            from ....compare.reports.explanation import explain_row

            lines = explain_row(comparison, index, work.cancelled)
            if work.cancelled():  # what it found by then is not all
                raise CancelledError
            return laws, lines

        self._asked, self.failure = (laws, index), None
        self.run_task(index, task)

    @property
    def _explained(self) -> list[str] | None:
        assert self.scene is not None
        known = self._known.get(self.scene.index)
        if known is None or known[0] is not self.scene.comparison.laws:
            return None
        return known[1]

    def news(self, news: InspectionNews) -> None:
        from ...jobs.inspector import Failed

        if not isinstance(news, Failed):
            super().news(news)
        elif self._asked is not None and news.key == self._asked[1]:
            self._asked = None
            number = self.stage.number_of(self.NAME)
            self.failure = f"stopped; {number} goes on" if news.stopped else news.reason
            self.draw()

    def found(self, key: Hashable, result: Any, final: bool) -> None:
        assert isinstance(key, int)
        self._known[key] = result
        while len(self._known) > _KEPT:
            del self._known[next(iter(self._known))]

    def lines(self) -> list[Pieces]:
        scene = self.scene
        if scene is None:
            return []
        comparison = scene.comparison
        title = "Explain: this layer against its law, for each side's own recorded inputs"
        lines: list[Pieces] = [[], self.heading(title), []]
        if comparison.laws is None:
            return [*lines, [(f"  {self._why_not()}", self.look.palette.muted)]]
        known = self._explained
        if known is None:
            return [*lines, *self._summary(), [], *self._state()]
        return [*lines, *(each for text in known for each in self._flowed(text))]

    def _why_not(self) -> str:
        assert self.scene is not None
        comparison = self.scene.comparison
        if not comparison.judges_by_laws:
            name = comparison.policy.name
            return f"the policy {name} does not check laws; :policy noise does"
        progress = laws_progress(comparison) if self.stage.measuring else ""
        return progress or NO_LAWS_YET

    def _state(self) -> list[Pieces]:
        if self.failure is not None:
            return self.state_lines()
        return [[(f"  {_TRYING} {self.look.signs.dots}", self.look.palette.accent)]]

    def _summary(self) -> list[Pieces]:
        """What the list knows of the row's law, while the rest is worked out."""
        assert self.scene is not None
        comparison, index = self.scene.comparison, self.scene.index
        if comparison.law_row(index) is None:
            return []
        lines: list[Pieces] = []
        room = max(10, self.size.width - LABEL - 4)
        for field in law_fields(comparison, index):
            style = self.look.style(field.level) if field.level else None
            parts = wrap(clean(field.value, self.ascii), room, 12, self.look.signs.dots)
            for at, part in enumerate(parts):
                lines.append(self.labelled("" if at else field.label, [(part, style)]))
        return lines

    def _flowed(self, text: str) -> list[Pieces]:
        """A line of the explanation; what is too wide goes on below where its words began."""
        text = clean(text, self.ascii)
        width = max(2 * _LEAST_WORDS, self.size.width - 3)
        if width_of(text) <= width:
            return [[(f" {text}", self._style(text))]]
        indent = min(_text_at(text), width - _LEAST_WORDS)
        first, *rest = wrap(text[indent:], width - indent)
        style = self._style(text)
        lines: list[Pieces] = [[(f" {text[:indent]}{first}", style)]]
        return lines + [[(" " * (indent + 1) + part, style)] for part in rest]

    def _style(self, text: str) -> Any:
        if not text.startswith(" "):
            return self.look.palette.strong
        return self.look.style("diverged") if text.startswith("  cause ") else None


_GAP = re.compile(r" {2,}(?=\S)")
_LABEL_WIDTH = 10  # of the explanation's own labels


def _text_at(text: str) -> int:
    """Where the last column of a line begins: behind its last gap of two spaces or more, or behind
    a label that fills its column.
    """
    found = max((gap.end() for gap in _GAP.finditer(text)), default=0)
    label, rest = text[2 : 2 + _LABEL_WIDTH], text[2 + _LABEL_WIDTH :]
    full = label == label.strip() and label.count(" ") < 2 and rest[:1] == " " != rest[1:2]
    return 2 + _LABEL_WIDTH + 1 if found == 2 and full else found
