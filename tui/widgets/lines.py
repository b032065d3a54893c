"""Widgets that are given lines of segments and repaint only the lines that changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from ..present.pieces import Pieces
from ..present.text import width_of
from ..theme import Look


def look_of(widget: Widget) -> Look:
    """The look that the running app was given."""
    return cast(Look, getattr(widget.app, "look"))  # noqa: B009  the app's class imports this


def strip_of(pieces: Pieces, base: Style, width: int, dots: str = "") -> Strip:
    """A strip of exactly `width` cells; what is cut off leaves `dots`."""
    segments = [Segment(text, _over(base, style)) for text, style in pieces if text]
    strip = Strip(segments)
    room = width - width_of(dots)
    if dots and room > 0 and strip.cell_length > width and _is_cut(segments, width):
        strip = strip.crop(0, room)
        last = next((s.style for s in reversed([*strip]) if s.text.strip()), base)
        return Strip([*strip, Segment(dots, last)]).adjust_cell_length(width, base)
    return strip.adjust_cell_length(width, base)


def _is_cut(segments: Sequence[Segment], width: int) -> bool:
    """Whether more than spaces would be lost."""
    return width_of("".join(segment.text for segment in segments).rstrip()) > width


def _over(base: Style, style: Style | None) -> Style:
    """A piece's style over the widget's own. Cells of a background alone stay that: a foreground
    that nobody sees would cost twenty bytes a cell.
    """
    if style is None:
        return base
    alone = style.bgcolor is not None and style.color is None and not style.bold
    return style if alone else base + style


class _Lined:
    """What has lines: none at first."""

    _lines: Sequence[Pieces] = ()

    @property
    def texts(self) -> list[str]:
        """All lines as plain text."""
        return ["".join(text for text, _ in pieces) for pieces in self._lines]


class Lines(_Lined, Widget):
    """Fixed lines; what does not fit is cut off, and dots say so. Text is no markup."""

    DEFAULT_CSS = "Lines { height: 1; width: 1fr; }"

    def set_lines(self, lines: list[Pieces]) -> None:
        """Show `lines`. Only lines that differ are sent to the terminal, without their padding."""
        old, self._lines = self._lines, lines
        dirty = [
            Region(0, y, max(_extent(old, y), _extent(lines, y)), 1)
            for y in range(max(len(old), len(lines)))
            if _line(old, y) != _line(lines, y)
        ]
        if dirty:
            self.refresh(*dirty)

    def render_line(self, y: int) -> Strip:
        dots = look_of(self).signs.dots
        return strip_of(_line(self._lines, y), self.rich_style, self.size.width, dots)


def _line(lines: Sequence[Pieces], y: int) -> Pieces:
    return lines[y] if y < len(lines) else ()


def _extent(lines: Sequence[Pieces], y: int) -> int:
    return sum(width_of(text) for text, _ in _line(lines, y))


class ScrolledLines(_Lined, ScrollView, can_focus=True, inherit_bindings=False):
    """Lines that scroll, moved by the keys of its screen."""

    DEFAULT_CSS = """
    ScrolledLines { height: 1fr; width: 1fr; scrollbar-size: 0 0; overflow-x: hidden; }
    """

    SCROLLS: ClassVar[bool] = True  # False for lines that always fit

    def set_lines(self, lines: list[Pieces]) -> None:
        """Show `lines`. Only those that differ, and are on the screen, are sent."""
        old, self._lines = self._lines, lines
        top, height = self.scroll_offset.y, self.size.height
        if self.SCROLLS and len(old) != len(lines):
            self.virtual_size = Size(0, len(lines))
        dirty = [
            Region(0, y, self.size.width, 1)
            for y in range(height)
            if _line(old, y + top) != _line(lines, y + top)
        ]
        if dirty:
            self.refresh(*dirty)

    def render_line(self, y: int) -> Strip:
        pieces = _line(self._lines, y + self.scroll_offset.y)
        return strip_of(pieces, self.rich_style, self.size.width, look_of(self).signs.dots)

    def move(self, lines: int) -> None:
        self._scroll(self.scroll_offset.y + lines)

    def page(self, pages: float) -> None:
        self.move(int(pages * self.size.height))

    def to_top(self) -> None:
        self._scroll(0)

    def to_bottom(self) -> None:
        self._scroll(len(self._lines))

    def _scroll(self, y: int) -> None:
        self.scroll_to(y=max(0, min(y, len(self._lines) - self.size.height)), animate=False)
