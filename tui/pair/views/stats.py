"""All numbers of both sides and of their difference."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any, ClassVar

from ...present.pieces import Piece, Pieces
from ...present.row_fields import page_fields, side_table
from ...present.text import clean, fit, wrap
from .view import LABEL, View

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from ....compare.inspection.profile import Profile
    from ...scene import Scene
    from ..stage import Stage


class StatsView(View):
    """Metrics at once, as they were measured; distributions as they come."""

    NAME = "stats"
    title = "Stats"
    about = "all numbers of both sides and of their difference"
    needs_pair: ClassVar[bool] = False

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._profile: Profile | None = None
        self._asked: set[tuple[int, int]] = set()  # rows whose symptoms were asked for

    def scene_changed(self) -> None:
        self._profile = None
        self.to_top()

    def ask(self) -> None:
        if self.scene is not None and not self.scene.only_statistics:
            ask_profile(self)

    def found(self, key: Hashable, result: Any, final: bool) -> None:
        if key == "profile":
            self._profile = result
            if final:
                self._ask_symptoms()

    def _ask_symptoms(self) -> None:
        """What the difference of a failing row looks like, once its numbers are there."""
        scene = self.scene
        if scene is None or scene.trial is not None or scene.injected is not None:
            return
        comparison, index = scene.comparison, scene.index
        worth = scene.verdict.fails and comparison.complete  # other rows are looked at, too
        if not worth or comparison.has_symptoms(index):
            return
        key = (id(comparison), index)
        if key not in self._asked:  # once: some rows have none
            self._asked.add(key)
            self.run_task("symptoms", lambda _: comparison.find_symptoms(index))

    def lines(self) -> list[Pieces]:
        scene = self.scene
        if scene is None:
            return []
        lines: list[Pieces] = [[]]
        for at, (title, fields) in enumerate(page_fields(scene)):
            if title:
                lines += [[], self.heading(title)]
            for field in fields:
                style = self.look.style(field.level) if field.level else None
                room = max(10, self.size.width - LABEL - 4)
                text, dots = clean(field.value, self.ascii), self.look.signs.dots
                for number, part in enumerate(wrap(text, room, 12, dots)):
                    label = field.label if number == 0 else ""
                    lines.append(self.labelled(label, [(part, style)]))
            if at == 0:
                lines += self._statistics_lines(scene) or self._distribution_lines()
        return lines + self._side_lines()

    def _statistics_lines(self, scene: Scene) -> list[Pieces]:
        """The statistics that were recorded of both sides in place of values."""
        from ....compare.model import ByStatistics
        from ....compare.reports.statistics_words import difference_table

        found = scene.measurement
        if not isinstance(found, ByStatistics):
            return []
        title = "Recorded statistics; relative: to the reference's RMS, of L2 to its L2"
        return [[], self.heading(title), *self._columns(difference_table(found))]

    def _distribution_lines(self) -> list[Pieces]:
        from ....compare.inspection.text import ladder_rows, likeness_rows, stats_rows

        said = (
            bool(self.failure)
            and self.scene is not None
            and (str(self.failure) in self.scene.verdict.reason)
        )  # the verdict gives the same reason
        state = [[], *self.state_lines()] if (self.failure and not said) or self.progress else []
        profile = self._profile
        if profile is None:
            return state
        lines = [*state, [], *self._columns(stats_rows(profile))]
        likeness = likeness_rows(profile)
        if likeness:
            lines += [[], self.heading("Likeness")]
            lines += [self.labelled(label, [(text, None)]) for label, text in likeness]
        ladder = ladder_rows(profile)
        if ladder:
            lines += [[], self.heading("Matches within rtol = atol =")]
            lines += [self.labelled(label, [(text, None)]) for label, text in ladder]
        return lines

    def _columns(self, rows: Sequence[tuple[str, ...]]) -> list[Pieces]:
        count = max(1, len(rows[0]) - 1)
        width = min(26, max(12, (self.size.width - LABEL - 4) // count - 2))
        lines: list[Pieces] = []
        for at, (label, *cells) in enumerate(rows):
            differs = label in ("NaN", "Inf") and len(set(cells[:2])) > 1
            style = self.look.palette.heading if at == 0 else None
            style = self.look.palette.accent if differs else style
            pieces: list[Piece] = [(fit(cell, width) + "  ", style) for cell in cells]
            lines.append(self.labelled(label, pieces))
        return lines

    def _side_lines(self) -> list[Pieces]:
        """Names, shapes and files of both sides, beside one another."""
        assert self.scene is not None
        half = max(10, (self.size.width - LABEL - 6) // 2)
        heads: list[Piece] = [
            (f"{'Reference':<{half}}  ", self.look.palette.heading),
            ("Candidate", self.look.palette.heading),
        ]
        lines: list[Pieces] = [[], self.labelled("", heads)]
        for label, left, right in side_table(self.scene):
            differs = left != right and label in ("shape", "dtype", "NaN", "Inf")
            style = self.look.palette.accent if differs else None
            columns = (wrap(clean(text, self.ascii), half, 6) for text in (left, right))
            for number, texts in enumerate(zip_longest(*columns, fillvalue="")):
                pieces: list[Piece] = []
                for text in texts:
                    pieces += [(fit(text, half), style), ("  ", None)]
                lines.append(self.labelled("" if number else label, pieces))
        return lines


def ask_profile(view: View) -> None:
    """The distributions, which two views show."""
    from ....compare.inspection.profile import ProfileAnalysis

    view.inspect("profile", ProfileAnalysis)
