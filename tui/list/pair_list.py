"""The list: both sides of every pair on one line, one cursor, one scroll."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ...compare.measuring.metrics import METRICS
from ...compare.vocabulary import Level, Origin
from ..present.text import cut, elide, fit, width_of
from ..theme import LOOKS, Look
from ..widgets.lines import look_of
from .row_model import Line, RowModel, SideText, position

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textual import events

_SHAPES_FROM = 96  # columns from which shapes are shown
_WORDS_FROM = 106  # and the verdict in a word
_ORIGINS_FROM = 120  # and where its error comes from
_WORD, _ORIGIN_WORD = 11, 18
_VALUE = 10
_SINGLE = 9
_RATIO = 8
_LOCAL = 7
_LEAST_NAME = 20  # cells of either name that the column of local errors leaves


@dataclass(frozen=True)
class Columns:
    """Widths of the columns for one width of the widget."""

    number: int
    name: int
    shape: int
    word: int
    right_name: int
    single: int = 0  # the error of a rerun
    ratio: int = 0  # the error over a baseline's
    origin: bool = False  # a glyph beside the verdict's says where the error comes from
    local: int = 0  # the error that a layer itself makes, over the usual

    @property
    def side(self) -> int:
        return self.name + (self.shape + 1 if self.shape else 0)

    @property
    def badge(self) -> int:
        parts = (self.word, self.ratio, self.local, self.single)
        more = sum(1 + width for width in parts if width)
        return 1 + 1 + _VALUE + more


@dataclass(frozen=True)
class Extras:
    """Columns that only some lists have: `reran` errors of reruns, `ratio` what the error is a
    multiple of (empty: nothing), `origin` where errors come from, `local` the errors that layers
    themselves make, where there is room.
    """

    reran: bool = False
    ratio: str = ""
    origin: bool = False
    local: bool = False


def columns_for(width: int, rows: int, longest_shape: int, extras: Extras | None = None) -> Columns:
    """Divide `width` between the columns; both sides get the same, an odd cell goes right."""
    extras = extras or Extras()
    number = max(3, len(str(max(0, rows - 1))))
    shape = min(18, max(5, longest_shape)) if width >= _SHAPES_FROM else 0
    word = _WORD if width >= _WORDS_FROM else 0
    if extras.origin and width >= _ORIGINS_FROM:
        word = _ORIGIN_WORD
    single = _SINGLE if extras.reran else 0
    ratio = _RATIO if extras.ratio and width >= _SHAPES_FROM else 0
    badge = 2 + _VALUE + sum(1 + part for part in (word, ratio, single) if part)
    left_over = width - 1 - number - 1 - (badge + 4) - 2 * (shape + 1 if shape else 0)
    local = _LOCAL if extras.local and left_over - _LOCAL - 1 >= 2 * _LEAST_NAME else 0
    left_over -= local + 1 if local else 0
    name = max(1, left_over // 2)
    return Columns(
        number, name, shape, word, max(1, left_over - name), single, ratio, extras.origin, local
    )


class PairList(ScrollView, can_focus=True, inherit_bindings=False):
    """Rows of a model; `view` holds the numbers of those shown and is swapped, never copied."""

    DEFAULT_CSS = """
    PairList { height: 1fr; width: 1fr; scrollbar-size: 0 0; overflow-x: hidden; }
    """
    cursor: reactive[int] = reactive(0, repaint=False, init=False)  # an index into `view`

    class Moved(Message):
        """The cursor is on another row; a held key leaves only the last of these."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, PairList.Moved)

    class Opened(Message):
        """A click on the row that has the cursor already."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.model: RowModel | None = None
        self.view: Sequence[int] = range(0)
        self.metric = "mse"
        self.marks: set[int] = set()
        self.words: list[str] = []  # what a search marks
        self.first: int | None = None  # the first failing row, whose badge is solid
        self.singles: dict[int, str] = {}  # errors of reruns, by row
        self.ratio = ""  # what the column of ratios is about; empty: there is none
        self.origins = False  # whether the policy says where errors come from
        self.locals = False  # whether laws apply to any row
        self.on_screen: tuple[int, ...] = ()  # rows on the screen; read by the measuring thread
        self._columns: Columns | None = None
        self._shape_width = 9

    # What is shown

    def set_model(self, model: RowModel, view: Sequence[int], row: int, screen_line: int) -> None:
        """Show another model, the cursor on `row`, that row on line `screen_line` of the list."""
        self.model = model
        self._shape_width = _longest_shape(model)
        self._columns = None
        self.set_view(view, row, screen_line)

    def set_view(self, view: Sequence[int], row: int, screen_line: int | None = None) -> None:
        """Show other rows of the model, the cursor on `row` (or the next that is there)."""
        line = self.screen_line if screen_line is None else screen_line
        self.view = view
        self.virtual_size = Size(0, len(view))
        self.set_reactive(PairList.cursor, position(view, row))
        self._scroll(self.cursor - line)
        self.refresh()
        self._note_visible()
        self.post_message(self.Moved())

    @property
    def row(self) -> int | None:
        """The row number under the cursor; None when nothing is shown."""
        return self.view[self.cursor] if self.cursor < len(self.view) else None

    @property
    def screen_line(self) -> int:
        """How far below the top of the list the cursor is."""
        return self.cursor - self.scroll_offset.y

    def set_first(self, row: int | None) -> None:
        """Say which row the first divergence is."""
        if row != self.first:
            old, self.first = self.first, row
            self.rows_changed(r for r in (old, row) if r is not None)

    def set_singles(self, singles: dict[int, str]) -> None:
        """Errors of reruns, as their column shows them; no column without any."""
        if singles != self.singles:
            self.singles, self._columns = singles, None
            self.refresh()

    def set_judging(self, ratio: str, origins: bool) -> None:
        """Columns that the policy has: ratios to further captures, and origins."""
        if (ratio, origins) != (self.ratio, self.origins):
            self.ratio, self.origins, self._columns = ratio, origins, None
            self.refresh()

    def set_locals(self, known: bool) -> bool:
        """Whether there is a column of local errors; True when that is new."""
        if known == self.locals:
            return False
        self.locals, self._columns = known, None
        self.refresh()
        return True

    def rows_changed(self, rows: Iterable[int]) -> None:
        """Repaint those of `rows` that are on the screen."""
        shown = set(self.on_screen)
        for row in rows:
            if row in shown:
                self.refresh_line(position(self.view, row))

    # The cursor

    def validate_cursor(self, value: int) -> int:
        return max(0, min(value, len(self.view) - 1))

    def watch_cursor(self, old: int, new: int) -> None:
        self.refresh_line(old)
        self.refresh_line(new)
        self._follow(old, new)
        self.post_message(self.Moved())

    def _follow(self, old: int, new: int) -> None:
        """Scroll when the cursor leaves the screen: a step by several lines at once on a slow
        link (textual repaints all lines, however few it scrolls by), a jump to the middle.
        """
        top, height = self.scroll_offset.y, self.size.height
        if not height or top <= new < top + height:
            return
        jump = min(look_of(self).terminal.scroll_jump, max(1, height // 2))
        if abs(new - old) > 1:
            self._scroll(new - height // 2)
        elif new > old:
            self._scroll(new - height + jump)
        else:
            self._scroll(new - jump + 1)

    def _scroll(self, y: int) -> None:
        limit = max(0, len(self.view) - self.size.height)
        self.scroll_to(y=max(0, min(y, limit)), animate=False, force=True, immediate=True)

    def move(self, lines: int) -> None:
        self.cursor += lines

    def page(self, pages: float) -> None:
        """Move cursor and rows together, as less and vim do."""
        lines = int(pages * self.size.height)
        top = self.scroll_offset.y
        self._scroll(top + lines)
        self.cursor += lines

    def to_top(self) -> None:
        self.cursor = 0

    def to_bottom(self) -> None:
        self.cursor = len(self.view) - 1

    def go_to_row(self, row: int) -> None:
        """The cursor on the row numbered `row`, or the next that is shown."""
        self.cursor = position(self.view, row)

    def go_to_block(self, direction: int) -> bool:
        """To the start of the next layer block, or of this one and then the one before."""
        if self.model is None or not self.view:
            return False
        target = _block_start(self.model, self.view, self.cursor, direction)
        if target is None:
            return False
        self.cursor = target
        return True

    def next_of(self, rows: Sequence[int], direction: int) -> int | None:
        """The first of the sorted `rows` after (or before) the cursor; O(log n)."""
        here = self.row
        if here is None:
            return rows[0] if rows else None
        at = bisect_right(rows, here) if direction > 0 else bisect_left(rows, here) - 1
        return rows[at] if 0 <= at < len(rows) else None

    # Mouse and size

    def on_click(self, event: events.Click) -> None:
        line = event.y + self.scroll_offset.y
        if line < len(self.view):
            if line == self.cursor and event.chain > 1:
                self.post_message(self.Opened())
            self.cursor = line

    def on_resize(self) -> None:
        self._columns = None
        self._scroll(
            min(self.cursor, max(self.scroll_offset.y, self.cursor - self.size.height + 1))
        )
        self._note_visible()
        self.refresh()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._note_visible()

    def _note_visible(self) -> None:
        top = self.scroll_offset.y
        self.on_screen = tuple(self.view[top : top + self.size.height])

    # Drawing

    def columns(self) -> Columns:
        """The widths of the columns now; the heading uses them too."""
        if self._columns is None:
            rows = 0 if self.model is None else len(self.model)
            extras = Extras(bool(self.singles), self.ratio, self.origins, self.locals)
            self._columns = columns_for(self.size.width, rows, self._shape_width, extras)
        return self._columns

    def render_line(self, y: int) -> Strip:
        base = self.rich_style
        at = y + self.scroll_offset.y
        if self.model is None or at >= len(self.view):
            return Strip.blank(self.size.width, base)
        row = self.view[at]
        return _draw(self, row, base, at == self.cursor)


def _draw(pairs: PairList, row: int, base: Style, here: bool) -> Strip:
    look, model, columns = look_of(pairs), pairs.model, pairs.columns()
    assert model is not None
    line, level = model.line(row), model.level(row)
    palette, signs = look.palette, look.signs
    style = base + palette.cursor if here else base
    muted = style if here and look.terminal.ansi else style + palette.muted
    plain = style if model.aligned else muted
    sign = signs.mark if row in pairs.marks else signs.pointer if here else " "
    number = f"{line.number:>{columns.number}} "
    mark_style = style + palette.mark if row in pairs.marks else style + palette.accent
    if sign == " ":
        mark_style = muted  # one style fewer to send
    value, word = model.value(row, pairs.metric), _word(model, row)
    first = row == pairs.first
    segments = [
        Segment(sign, mark_style),
        Segment(number, muted),
        *_side(line, line.left, columns.name, columns, look, plain, muted, pairs.words),
        Segment("  ", muted if columns.shape else plain),
        *_badge(level, word, model.origin(row), value, columns, look, style, here, first),
        *_more(model.ratio(row) if columns.ratio else "", columns.ratio, style),
        *_local(model, row, columns, look, style, here),
        *_more(pairs.singles.get(row, ""), columns.single, style),
        *_side(line, line.right, columns.right_name, columns, look, plain, muted, pairs.words),
    ]
    return Strip(Segment.simplify(segments)).adjust_cell_length(pairs.size.width, style)


def _word(model: RowModel, row: int) -> str:
    return "doubtful" if model.doubtful(row) else LOOKS[model.level(row)].word


def _badge(
    level: Level, word: str, origin: Origin | None, value: str, columns: Columns, look: Look,
    style: Style, here: bool, first: bool,
) -> list[Segment]:  # fmt: skip
    glyphs = look.glyph(level) + (look.origin_glyph(origin) if columns.origin else "")
    # The numbers of two records that are not the same quantity mean nothing.
    shown = word if not columns.word and (word == "doubtful" or not value) else value
    if len(shown) == _VALUE:  # a word that long takes the place of the origin, which it has not
        glyphs = glyphs.rstrip()
    text = f"{glyphs} {shown}"[: 2 + _VALUE].ljust(2 + _VALUE)
    if columns.word:
        long = f"{word} {origin}" if origin and columns.word == _ORIGIN_WORD else word
        text += " " + long.ljust(columns.word)
    badge = look.style(level, first)
    if (
        here and look.terminal.ansi and not first
    ):  # the bar is reverse video: colours would hide the badge
        badge = Style(bold=True)
    glyph = style + look.style(level) if first else style + badge  # a block needs no background
    return [
        Segment(text[0], glyph),
        Segment(text[1:], style + badge),
        Segment("  ", style),
    ]


def _more(text: str, width: int, style: Style) -> list[Segment]:
    """A further column, where there is one: the ratio to a baseline, the error of a rerun."""
    return [Segment(f"{text:<{width}} ", style)] if width else []


def _local(
    model: RowModel, row: int, columns: Columns, look: Look, style: Style, here: bool
) -> list[Segment]:  # fmt: skip
    """The column of local errors, in the colour of a divergence where a law is broken."""
    if not columns.local:
        return []
    shown = style
    if model.breaks_law(row):
        bar = here and look.terminal.ansi  # reverse video: a colour would hide the number
        shown = style + (Style(bold=True) if bar else look.style("diverged"))
    return _more(model.local(row), columns.local, shown)


def _side(
    line: Line, side: SideText | None, width: int, columns: Columns, look: Look,
    plain: Style, muted: Style, words: list[str],
) -> list[Segment]:  # fmt: skip
    shape_width = columns.shape + 1 if columns.shape else 0
    if side is None:
        return [Segment(look.signs.gap * (width + shape_width), plain + look.palette.faint)]
    dots = look.signs.dots
    if not side.note:
        found = [Segment(elide(side.name, width, dots), _found(side.name, words, plain, look))]
        if shape_width:
            found.append(Segment(" " + elide(side.shape, columns.shape, dots), muted))
        return found
    # A note takes the place of the shape and as much of the name as it needs.
    room = width + shape_width
    name_width = min(width_of(side.name), max(room // 3, room - width_of(side.note) - 2))
    note = "  " + cut(side.note, room - name_width - 2, dots)
    return [
        Segment(elide(side.name, name_width, dots), _found(side.name, words, plain, look)),
        Segment(fit(note, room - name_width), plain + look.palette.warn),
    ]


def _found(name: str, words: list[str], plain: Style, look: Look) -> Style:
    """A name that the search finds stands out."""
    lower = name.lower()
    hit = bool(words) and any(word in lower for word in words)
    return plain + look.palette.accent + Style(underline=True) if hit else plain


def heading(columns: Columns, metric: str, ratio: str = "") -> str:
    """The line above the list; `ratio` is what the column of ratios is about."""
    left = fit("reference", columns.name) + (
        " " + fit("shape", columns.shape) if columns.shape else ""
    )
    right = fit("candidate", columns.right_name) + (
        " " + fit("shape", columns.shape) if columns.shape else ""
    )
    badge = fit(f"{'   ' if columns.origin else '  '}{METRICS[metric].heading}", 2 + _VALUE)
    if columns.word:
        badge += " " + fit("verdict", columns.word)
    if columns.ratio:
        badge += "  " + fit(ratio, columns.ratio - 1)
    if columns.local:
        badge += "  " + fit("local", columns.local - 1)
    if columns.single:
        badge += "  " + fit("single", columns.single - 1)
    return f" {'#':>{columns.number}} {left}  {badge}  {right}"


def _longest_shape(model: RowModel) -> int:
    """The widest shape of some rows; all of 100,000 would take too long and change little."""
    step = max(1, len(model) // 500)
    longest = 0
    for row in range(0, len(model), step):
        line = model.line(row)
        for side in (line.left, line.right):
            if side is not None:
                longest = max(longest, len(side.shape))
    return longest


def _block_start(model: RowModel, view: Sequence[int], cursor: int, direction: int) -> int | None:
    block = model.block(view[cursor])
    if direction > 0:
        for at in range(cursor + 1, len(view)):
            if model.block(view[at]) != block:
                return at
        return None
    start = cursor
    if start > 0 and model.block(view[start - 1]) != block:  # at its start: the one before
        start -= 1
        block = model.block(view[start])
    while start > 0 and model.block(view[start - 1]) == block:
        start -= 1
    return start if start != cursor else None
