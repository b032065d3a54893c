"""All numbers of both sides and of their difference."""

from __future__ import annotations

from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, ClassVar

from ...present.pieces import Piece, Pieces
from ...present.row_fields import page_fields, side_table
from ...present.side_by_side import GAP, side_by_side
from ...present.text import clean, fit, wrap
from ..beside.places import places_analysis, places_lines, places_of
from .view import LABEL, View

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from ....compare.inspection.heat import Quantity
    from ....compare.inspection.profile import Profile
    from ...present.field import Field
    from ...scene import Scene
    from ..beside.places import Places
    from ..stage import Stage

_DISTRIBUTION = 66  # columns of the numbers of both sides and of the difference
_LEAST_NUMBERS = 44  # the longest of the metrics goes on over three lines in that
_LEAST_PLACES, _MOST_PLACES = 64, 84  # a map of 64 channels, a cell each, has its margin beside it


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
        self._places: Places | None = None
        self._places_asked: tuple[object, ...] | None = None

    def scene_changed(self) -> None:
        self._profile = self._places = self._places_asked = None
        self.to_top()

    def ask(self) -> None:
        if self.scene is not None and not self.scene.only_statistics:
            ask_profile(self)

    def found(self, key: Hashable, result: Any, final: bool) -> None:
        if key == "profile":
            self._profile = result
            if final and not self._ask_symptoms():
                self._ask_places()
        elif key == "symptoms":
            self._ask_places()
        elif key == self._places_asked:
            self._places = places_of(result)

    def _ask_symptoms(self) -> bool:
        """What the difference of a failing row looks like, once its numbers are there; whether that
        is looked for.
        """
        scene = self.scene
        if scene is None or scene.trial is not None or scene.injected is not None:
            return False
        comparison, index = scene.comparison, scene.index
        worth = scene.verdict.fails and comparison.complete  # other rows are looked at, too
        key = (id(comparison), index)
        if not worth or comparison.has_symptoms(index) or key in self._asked:
            return False  # once: some rows have none
        self._asked.add(key)
        self.run_task("symptoms", lambda _: comparison.find_symptoms(index))
        return True

    def _ask_places(self) -> None:
        """Where the difference lies, where there is room to show it: after all else."""
        scene, blocks = self.scene, self._blocks
        if scene is None or blocks is None:
            return
        heads, width = self.stage.heads, blocks[-1]
        key = ("places", heads, width)
        if key == self._places_asked and self._places is not None:
            return
        self._places_asked = key
        quantity: Quantity = "difference"
        if scene.row.kind != "pair":
            quantity = "reference" if scene.row.reference is not None else "candidate"
        paired = scene.row.kind == "pair"
        self.inspect(
            key, lambda _, shape: places_analysis(shape, quantity, heads, width, paired=paired)
        )

    def on_resize(self) -> None:
        if self.scene is not None and self.display and self._profile is not None:
            self._ask_places()
            self.draw()

    @property
    def _blocks(self) -> tuple[int, ...] | None:
        """Columns of the blocks that stand beside one another; None where the screen is narrow."""
        if not self.is_wide:
            return None
        width = self.size.width - 1
        rest = width - _DISTRIBUTION - GAP
        if rest - GAP - _LEAST_NUMBERS < _LEAST_PLACES:
            return _DISTRIBUTION, rest
        places = min(_MOST_PLACES, rest - GAP - _LEAST_NUMBERS)
        return _DISTRIBUTION, rest - GAP - places, places

    def lines(self) -> list[Pieces]:
        scene = self.scene
        if scene is None:
            return []
        sections = [self._section(title, fields) for title, fields in page_fields(scene)]
        first, rest = [[], *sections[0]], sections[1:]
        own = self._statistics_lines(scene)
        blocks = self._blocks
        if own or blocks is None or self._profile is None:
            middle = own or self._distribution_lines(self.size.width)
            return [*first, *middle, *chain(*rest), *self._side_lines()]
        numbers = self._section(*page_fields(scene)[1], blocks[-2]) if rest else []
        columns = [self._distribution_lines(blocks[0]), self._place_lines(blocks[-1])]
        if len(blocks) > len(columns):
            columns.insert(1, [])
        columns[-2] = [*columns[-2], *numbers]
        beside = side_by_side(list(zip(blocks, columns, strict=True)), self.look.signs.dots)
        return [*first, *beside, *chain(*rest[1:]), *self._side_lines()]

    def _section(
        self, title: str, fields: Sequence[Field], width: int | None = None
    ) -> list[Pieces]:
        """Fields under their title, in `width` columns."""
        lines: list[Pieces] = [[], self.heading(title)] if title else []
        room = max(10, (width or self.size.width) - LABEL - 4)
        for field in fields:
            style = self.look.style(field.level) if field.level else None
            text, dots = clean(field.value, self.ascii), self.look.signs.dots
            for number, part in enumerate(wrap(text, room, 12, dots)):
                label = field.label if number == 0 else ""
                lines.append(self.labelled(label, [(part, style)]))
        return lines

    def _place_lines(self, width: int) -> list[Pieces]:
        if self._places is None or self.scene is None:
            return []
        shape = self._places.heat.plan.region
        sizes = tuple(high for _, high in shape)
        return [[], *places_lines(self.look, self.scene.row, sizes, self._places, width)]

    def _statistics_lines(self, scene: Scene) -> list[Pieces]:
        """The statistics that were recorded of both sides in place of values."""
        from ....compare.model import ByStatistics
        from ....compare.reports.statistics_words import difference_table

        found = scene.measurement
        if not isinstance(found, ByStatistics):
            return []
        title = "Recorded statistics; relative: to the reference's RMS, of L2 to its L2"
        return [[], self.heading(title), *self._columns(difference_table(found), self.size.width)]

    def _distribution_lines(self, width: int) -> list[Pieces]:
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
        lines = [*state, [], *self._columns(stats_rows(profile), width)]
        likeness = likeness_rows(profile)
        if likeness:
            lines += [[], self.heading("Likeness")]
            lines += [self.labelled(label, [(text, None)]) for label, text in likeness]
        ladder = ladder_rows(profile)
        if ladder:
            lines += [[], self.heading("Matches within rtol = atol =")]
            lines += [self.labelled(label, [(text, None)]) for label, text in ladder]
        return lines

    def _columns(self, rows: Sequence[tuple[str, ...]], room: int) -> list[Pieces]:
        count = max(1, len(rows[0]) - 1)
        width = min(26, max(12, (room - LABEL - 4) // count - 2))
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
