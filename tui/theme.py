"""How things look: one table of levels, palettes for many colours on a dark and on a
light ground, and one for sixteen.

A level is told by its glyph first; its colour repeats it (blue over orange to vermilion, after
Okabe and Ito: survives colour blindness and the 256-colour cube).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from rich.style import Style

from ..compare.vocabulary import MARKS, Level

if TYPE_CHECKING:
    from ..compare.vocabulary import Origin
    from .terminal import Terminal


@dataclass(frozen=True)
class LevelLook:
    """Glyph, ASCII glyph, word (of what is not measured yet: none), and the colour for many colours
    on a dark ground, for 16, and for many on a light ground.
    """

    glyph: str
    ascii: str
    word: str
    color: str
    ansi: str
    light: str
    bold: bool = False


def _as(
    level: Level, glyph: str, color: str, ansi: str, light: str, bold: bool = False
) -> LevelLook:  # fmt: skip
    """A level by the mark and the word that reports have for it."""
    mark, word = MARKS[level]
    return LevelLook(glyph, mark, "" if level == "pending" else word, color, ansi, light, bold)


LOOKS: dict[Level, LevelLook] = {
    "pending": _as("pending", "⋯", "#5c6875", "bright_black", "#8a929b"),
    "missing": _as("missing", "╌", "#7d8a99", "bright_black", "#6b7580"),
    "identical": _as("identical", "=", "#5f94c4", "blue", "#2f6ea5"),
    "ok": _as("ok", "·", "#56b4e9", "cyan", "#0b72b5"),
    "noise": _as("noise", "~", "#d8c88a", "white", "#73641a"),
    "drift": _as("drift", "▲", "#e69f00", "yellow", "#955e00", True),
    "diverged": _as("diverged", "█", "#f0672f", "red", "#c23b10", True),
    "shape": _as("shape", "≠", "#d885b5", "magenta", "#a03a78", True),
    "nan": _as("nan", "N", "#ff5f6e", "red", "#c4162a", True),
    "unreadable": _as("unreadable", "?", "#f2c14e", "yellow", "#855700", True),
}


# Where a failing row's error comes from: glyph and ASCII glyph.
ORIGINS: dict[Origin, tuple[str, str]] = {"made": ("◆", "@"), "inherited": ("↓", "v")}
ORIGIN_WORDS: dict[Origin, str] = {
    "made": "introduced", "inherited": "inherited", "none": "none",
}  # fmt: skip


@dataclass(frozen=True)
class Palette:
    """Styles of everything that is no level."""

    muted: Style
    faint: Style
    accent: Style
    strong: Style
    cursor: Style
    warn: Style
    key: Style
    mark: Style
    heading: Style
    here: Style  # the cursor's place in the depth strip
    found: Style  # what a search found


_RICH = Palette(
    muted=Style(color="#8b99a8"),
    faint=Style(color="#56616e"),
    accent=Style(color="#56b4e9"),
    strong=Style(color="#ffffff", bold=True),
    cursor=Style(bgcolor="#24415f", bold=True),
    warn=Style(color="#e69f00", bold=True),
    key=Style(color="#56b4e9", bold=True),
    mark=Style(color="#e69f00", bold=True),
    heading=Style(color="#8b99a8", bold=True),
    here=Style(bgcolor="#e8eef5"),
    found=Style(color="#ffffff", bgcolor="#7a5c00"),
)
_LIGHT = Palette(
    muted=Style(color="#5a6673"),
    faint=Style(color="#98a2ad"),
    accent=Style(color="#0b72b5"),
    strong=Style(color="#000000", bold=True),
    cursor=Style(bgcolor="#cfe3f5", bold=True),
    warn=Style(color="#955e00", bold=True),
    key=Style(color="#0b72b5", bold=True),
    mark=Style(color="#955e00", bold=True),
    heading=Style(color="#5a6673", bold=True),
    here=Style(bgcolor="#a9c8e6"),
    found=Style(color="#000000", bgcolor="#ffdf80"),
)
_SIXTEEN = Palette(
    muted=Style(),
    faint=Style(color="bright_black"),
    accent=Style(color="cyan"),
    strong=Style(bold=True),
    cursor=Style(reverse=True),
    warn=Style(color="yellow", bold=True),
    key=Style(bold=True),
    mark=Style(color="yellow", bold=True),
    heading=Style(underline=True),
    here=Style(reverse=True),
    found=Style(bold=True, underline=True),
)


@dataclass(frozen=True)
class Signs:
    """The characters that are not letters."""

    dots: str
    gap: str
    pointer: str
    mark: str
    rule: str
    bars: str  # the depth strip, from little to much
    dot: str
    divider: str
    up_down: str
    folded: str
    note: str


_UNICODE = Signs("…", "╌", "▌", "●", "─", "▁▂▃▄▅▆▇█", "·", "│", "↑↓", "▸", "¶")
_ASCII = Signs("..", "-", ">", "*", "-", "_,;+o*%&", "-", "|", "Up/Down", "+", '"')


@dataclass(frozen=True)
class Look:
    """The look for one terminal."""

    terminal: Terminal

    @property
    def palette(self) -> Palette:
        if self.terminal.ansi:
            return _SIXTEEN
        return _LIGHT if self.terminal.light else _RICH

    @property
    def signs(self) -> Signs:
        return _ASCII if self.terminal.ascii else _UNICODE

    def glyph(self, level: Level) -> str:
        look = LOOKS[level]
        return look.ascii if self.terminal.ascii else look.glyph

    def origin_glyph(self, origin: Origin | None) -> str:
        """One cell: introduced here or inherited; a space for everything else."""
        signs = ORIGINS.get(origin) if origin is not None else None
        return " " if signs is None else signs[self.terminal.ascii]

    def style(self, level: Level, solid: bool = False) -> Style:
        """The badge's style; `solid` for the one that all others follow from."""
        return _level_style(level, self.terminal.ansi, self.terminal.light, solid)


@lru_cache(64)
def _level_style(level: Level, ansi: bool, light: bool, solid: bool) -> Style:
    look = LOOKS[level]
    if ansi:
        return Style(color=look.ansi, bold=look.bold, reverse=solid or None)
    color = look.light if light else look.color
    if solid:
        return Style(color="#ffffff" if light else "#101418", bgcolor=color, bold=True)
    return Style(color=color, bold=look.bold)
