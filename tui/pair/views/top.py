"""The greatest differences, element by element or ranked along an axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...commands import CommandError
from ...present.pieces import Pieces
from ...present.side_by_side import GAP, side_by_side
from ...present.text import clean, elide, fit
from ..beside.neighbourhood import Neighbourhood, around, neighbourhood_lines
from ..shapes import element_at
from .view import View, ViewKey

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from rich.style import Style

    from ....compare.inspection.axes import AxisRanking
    from ....compare.inspection.top import Difference, Order, Top
    from ....compare.inspection.window import Window
    from ..stage import Stage

DEFAULT_TOP = 100
_LIST = 104  # columns of the list where it has something beside it: all of it, for three axes
_NOTHING_HERE = "nothing to open here"
_ORDER_WORDS = {"abs": "absolute difference", "rel": "relative difference", "ulp": "ULP distance"}


class TopView(View):
    """A list with a cursor; `s` changes its order, `a` goes from elements to one axis after
    another, Enter shows the place in Values.
    """

    NAME = "top"
    title = "Greatest differences"
    short_title = "Top"
    about = "element by element, or ranked along an axis"
    KEYS = (
        ViewKey("enter", "enter,plus", "show in values", "show the place in values", 6),
        ViewKey("order", "s", "other order", "absolute, relative, ULP", 8),
        ViewKey("axis", "a", "next axis", "rank along the next axis", 9),
    )
    COMMANDS = ("top", "heads")
    BROUGHT_BY = frozenset({"top", "heads"})

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.order: Order = "abs"
        self.count = DEFAULT_TOP
        self.axis: int | None = None  # which ranking; None: elements
        self.cursor = 0
        self._top: Top | None = None
        self._axes: tuple[AxisRanking, ...] = ()
        self._final = False  # whether all of the tensor was read
        self._near: tuple[Neighbourhood, Window] | None = None

    def scene_changed(self) -> None:
        self._top, self._axes, self.cursor = None, (), 0
        self._near, self._final = None, False
        self.to_top()

    def ask(self) -> None:
        from ....compare.inspection.axes import AxesAnalysis
        from ....compare.inspection.top import TopAnalysis

        if self.axis is None:
            order, count = self.order, self.count
            self.inspect(
                ("top", order, count),
                lambda subject, shape: TopAnalysis(subject, shape, order, count),
            )
        else:
            heads = self.stage.heads
            self.inspect(("axes", heads), lambda _, shape: AxesAnalysis(shape, heads))

    def found(self, key: Hashable, result: Any, final: bool) -> None:
        if isinstance(key, Neighbourhood):
            self._near = (key, result)
            return
        if isinstance(key, tuple) and key[0] == "axes":
            self._axes = result
        else:
            self._top = result
        self._final = final
        self._ask_near()

    # What is beside the list

    @property
    def _place(self) -> Neighbourhood | None:
        """What is shown beside the list: the surroundings of what Enter would show."""
        index, shape = self._element, self.shape
        if index is None or shape is None or not self.is_wide:
            return None
        return around(shape, index, self.size.width - _LIST - GAP, self.size.height)

    @property
    def _element(self) -> tuple[int, ...] | None:
        """The element under the cursor, or, of a ranking, one at the place under it."""
        if self.selected is not None:
            return self.selected.index
        ranking = self.ranking
        if ranking is None or self.scene is None or self.cursor >= len(ranking.order):
            return None
        place = ranking.order[self.cursor] * ranking.step
        return element_at(self.scene, self.shape, ranking.axis, place)

    def _ask_near(self) -> None:
        """Read it, once all of the tensor was read."""
        from ....compare.inspection.window import read_window

        place = self._place
        if place is None or not self._final or (self._near and self._near[0] == place):
            return
        subject = self.subject()
        if subject is not None:
            region = place.region
            self.read(place, subject, lambda reader, _: read_window(reader, region))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """What is beside the list stays where it is."""
        super().watch_scroll_y(old_value, new_value)
        if self.is_wide and self.scene is not None:
            self.draw()

    def on_resize(self) -> None:
        if self.scene is not None and self.display:
            self._ask_near()
            self.draw()

    @property
    def ranking(self) -> AxisRanking | None:
        """The axis that is shown."""
        if self.axis is None or not self._axes:
            return None
        return self._axes[self.axis % len(self._axes)]

    @property
    def entries(self) -> int:
        """How many lines the cursor can be on."""
        ranking = self.ranking
        if self.axis is not None:
            return min(len(ranking.order), self.count) if ranking is not None else 0
        return len(self._top.differences) if self._top is not None else 0

    @property
    def selected(self) -> Difference | None:
        if self.axis is not None or self._top is None:
            return None
        found = self._top.differences
        return found[self.cursor] if self.cursor < len(found) else None

    # Keys and commands

    @property
    def actions(self) -> dict[str, Callable[[], str]]:
        return {"enter": self.enter, "order": self.cycle_order, "axis": self.cycle_axis}

    @property
    def commands(self) -> dict[str, Callable[[str], str]]:
        return {"top": self.set_count, "heads": self.set_heads}

    def cycle_order(self) -> str:
        from ....compare.inspection.top import ORDERS

        self.axis = None
        self.order = ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)]
        self._top, self.cursor = None, 0
        self.ask()
        self.draw()
        return f"ordered by {_ORDER_WORDS[self.order]}"

    def cycle_axis(self) -> str:
        known = len(self._axes) or len(self.scene.numbers.shape if self.scene and self.scene.numbers
                                       else (0,)) + bool(self.stage.heads)  # fmt: skip
        following = 0 if self.axis is None else self.axis + 1
        self.axis = following if following < known else None
        self.cursor = 0
        self.ask()
        self.draw()
        if self.axis is None:
            return "elements"
        ranking = self.ranking
        return f"ranked along {ranking.title}" if ranking is not None else "ranked along an axis"

    def set_count(self, text: str) -> str:
        """`:top N`."""
        from ....compare.inspection.top import MOST

        if not text.isdecimal() or not 1 <= int(text) <= MOST:
            raise CommandError(f"top how many? a number from 1 to {MOST}")
        self.count = int(text)
        self.cursor = 0
        self.ask()
        self.draw()
        return f"the {self.count} greatest"

    def set_heads(self, text: str) -> str:
        """`:heads N`: rank that many heads of the last axis."""
        if not text.isdecimal() or int(text) < 1:
            raise CommandError("heads how many? a whole number")
        heads, shape = int(text), self.shape
        if shape and (heads > shape[-1] or shape[-1] % heads):
            raise CommandError(f"{heads} heads do not divide the last axis, of {shape[-1]}")
        self.stage.heads = heads
        self.axis = len(shape) if shape else None  # the ranking behind those of the axes
        self.cursor, self._axes = 0, ()
        self.ask()
        self.draw()
        return f"ranked along {heads} heads of the last axis"

    def move(self, lines: int) -> None:
        self.cursor = max(0, min(self.entries - 1, self.cursor + lines))
        self._follow()

    def page(self, pages: float) -> None:
        self.move(int(pages * max(1, self.size.height - self._head)))

    def to_top(self) -> None:
        self.cursor = 0
        self._follow()

    def to_bottom(self) -> None:
        self.cursor = max(0, self.entries - 1)
        self._follow()

    def enter(self) -> str:
        """Show the place in Values."""
        if self._element is None:
            return _NOTHING_HERE
        self.stage.go_to_element(self._element)
        return ""

    def context(self) -> str:
        found = self.selected
        if found is None:
            return ""
        from ....compare.reports.words import index_text

        return (
            f"view {index_text(found.index)}  reference {index_text(found.reference_index)}  "
            f"candidate {index_text(found.candidate_index)}"
        )

    # Drawing

    _head = 2  # lines above the entries

    def _follow(self) -> None:
        """Keep the cursor's line on the screen."""
        if not self.is_mounted:
            return
        line, top, height = self.cursor + self._head, self.scroll_offset.y, self.size.height
        if line < top + self._head:
            self._scroll(max(0, line - self._head))
        elif line >= top + height:
            self._scroll(line - height + 1)
        self._ask_near()
        self.draw()
        self.stage.say_place()

    def lines(self) -> list[Pieces]:
        own = self._own_lines()
        place = self._place
        if place is None:
            return own
        near: list[Pieces] = []
        if self._near is not None and self._near[0] == place and self.scene is not None:
            near = neighbourhood_lines(self.look, self.scene.row, *self._near)
        above: list[Pieces] = [[]] * int(self.scroll_offset.y)
        blocks = (_LIST, own), (self.size.width - _LIST - GAP, [*above, *near])
        return side_by_side(blocks, self.look.signs.dots)[: max(len(own), len(near))]

    def _own_lines(self) -> list[Pieces]:
        if self.axis is not None:
            return self._axis_lines()
        from ....compare.inspection.top_text import TOP_HEADING, top_row, top_summary

        state, top = self.state_lines(), self._top
        if top is None:
            return state or [[(" looking", self.look.palette.muted)]]
        if top.order != self.order:
            note = "integers and complex numbers have no ULP: by absolute difference"
            state = [*state, [(f" {note}", self.look.palette.warn)]]
        first: Pieces = [(f" {top_summary(top)}", self.look.palette.heading)]
        if state:
            first = [*first, ("  ", None), *state[0]]
        if not top.differences:
            return [first]
        rows = [TOP_HEADING, *(top_row(at, d) for at, d in enumerate(top.differences, 1))]
        widths = self._widths(rows)
        return [first, *(self._line(row, widths, at) for at, row in enumerate(rows))]

    def _widths(self, rows: list[tuple[str, ...]]) -> list[int]:
        """Widths of the columns; 0 leaves a column out where there is no room for it."""
        widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
        for dropped in (2, 3):  # own indices, where they say nothing or the line below has them
            if all(row[dropped] == "same" for row in rows[1:]):
                widths[dropped] = 0
        for dropped in (3, 2, 8, 7):
            room = _LIST if self.is_wide else self.size.width
            if sum(width + 2 for width in widths if width) + 1 > room:
                widths[dropped] = 0
        return widths

    def _line(self, row: tuple[str, ...], widths: list[int], at: int) -> Pieces:
        cells = [
            elide(cell, width, self.look.signs.dots) if number in (1, 2, 3) else fit(cell, width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
            if width
        ]
        text = " " + "  ".join(cells)
        return [(clean(text, self.ascii), self._entry_style(at - 1))]

    def _entry_style(self, entry: int) -> Style | None:
        if entry < 0:
            return self.look.palette.heading
        return self.look.palette.cursor if entry == self.cursor else None

    def _axis_lines(self) -> list[Pieces]:
        from ....compare.inspection.top_text import axis_rows

        ranking = self.ranking
        state = self.state_lines()
        if ranking is None:
            return state or [[(" looking", self.look.palette.muted)]]
        share = ""
        found = ranking.concentration
        if found is not None and ranking.size > 1:
            share = f": {found[1]:.0%} of the squared difference at {ranking.label(found[0])}"
        title = f" RMS of the difference along {ranking.title}{share}"
        lines: list[Pieces] = [[(title, self.look.palette.heading), *(state[0] if state else [])]]
        lines.append([(f" {'place':>14}  {'RMS':<10}", self.look.palette.heading)])
        for at, (place, rms, bar) in enumerate(axis_rows(ranking, self.count)):
            shown = bar if self.ascii else bar.replace("#", "█")
            text = f" {place:>14}  {rms:<10}  {shown}"
            lines.append([(text, self._entry_style(at))])
        return lines
