"""The colours that textual draws its own parts with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import App
from textual.theme import Theme

if TYPE_CHECKING:
    from .terminal import Terminal

THEME = Theme(
    name="layertui",
    primary="#56b4e9",
    secondary="#5f94c4",
    accent="#e69f00",
    warning="#e69f00",
    error="#d55e00",
    success="#56b4e9",
    foreground="#d3dbe4",
    background="#101418",
    surface="#171d24",
    panel="#1d252e",
    dark=True,
)
LIGHT = Theme(
    name="layertui-light",
    primary="#0b72b5",
    secondary="#2f6ea5",
    accent="#955e00",
    warning="#955e00",
    error="#c23b10",
    success="#0b72b5",
    foreground="#1f2933",
    background="#fcfcfa",
    surface="#f1f3f2",
    panel="#e3e7e8",
    dark=False,
)

THEMES = (THEME, LIGHT)
# Textual's own prompt without characters that not every terminal has.
STYLES = """
Screen { background: $background; color: $foreground; }
CommandPalette SearchIcon, CommandPalette LoadingIndicator { display: none; }
CommandPalette #--input, CommandPalette CommandInput, CommandPalette CommandList {
    border: none;
}
CommandPalette #--input { padding: 0 1; }
CommandPalette CommandList { scrollbar-size: 0 0; }
"""


def theme_name(terminal: Terminal) -> str:
    """The theme of textual's own parts for a terminal."""
    if terminal.ansi:
        return "ansi-dark"
    return LIGHT.name if terminal.light else THEME.name


class ThemedApp(App[None]):
    """An application in the theme of a terminal."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(ansi_color=terminal.ansi)
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = theme_name(terminal)

    def refresh_css(self, animate: bool = True) -> None:
        """Before the first screen is there nothing is drawn in other colours: the style sheet,
        which takes milliseconds to read, is read once, with the variables of the theme.
        """
        if self.screen_stack:
            super().refresh_css(animate)
        else:
            self.stylesheet.set_variables(self.get_css_variables())
