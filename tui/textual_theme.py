"""The colours that textual draws its own parts with."""

from __future__ import annotations

from textual.theme import Theme

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
