"""What the terminal can do, asked of the environment before textual is imported."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

Colors = Literal["none", "16", "256", "truecolor"]

_SLOW_LINK_JUMP = 8  # lines to scroll at once at the edge over ssh: 6 times fewer bytes


@dataclass(frozen=True)
class Terminal:
    """What the screens need to know of the terminal."""

    colors: Colors = "truecolor"
    ascii: bool = False
    scroll_jump: int = 1
    light_ground: bool = False  # whether its ground is light, as far as that is known
    light: bool = False  # whether to draw for that; with 16 colours or fewer it means nothing

    @property
    def ansi(self) -> bool:
        """True when only the terminal's own 16 colours, or none, are to be used."""
        return self.colors in ("none", "16")


def is_interactive() -> bool:
    """True when there is a terminal to draw on (stderr) and to read keys from (stdin)."""
    try:
        return sys.stdin.isatty() and sys.stderr.isatty()
    except (AttributeError, ValueError):  # closed or absent
        return False


def refusal(environ: Mapping[str, str] = os.environ) -> str | None:
    """Why this terminal cannot show the screen, in one line with the way out; None if it can."""
    term = environ.get("TERM", "")
    if term in ("", "dumb", "unknown"):
        shown = term or "not set"
        return (
            f"layertui: the terminal cannot move its cursor (TERM is {shown}); "
            "use `layertui compare` for a plain report"
        )
    return None


def prepare(environ: MutableMapping[str, str] = os.environ) -> None:
    """Set what textual reads when it is imported; what the user has set stays. An empty NO_COLOR
    asks for nothing (no-color.org), but textual would leave all colours out.
    """
    if environ.get("NO_COLOR") == "":
        del environ["NO_COLOR"]
    if environ.get("SSH_CONNECTION"):
        environ.setdefault("TEXTUAL_ANIMATIONS", "none")
        environ.setdefault("TEXTUAL_FPS", "30")


def detect(environ: Mapping[str, str] = os.environ, *, ascii_only: bool = False) -> Terminal:
    """The terminal as its environment describes it."""
    return Terminal(
        colors=color_depth(environ),
        ascii=ascii_only or wants_ascii(environ),
        scroll_jump=_SLOW_LINK_JUMP if environ.get("SSH_CONNECTION") else 1,
        light_ground=light_by_environment(environ),
    )


def light_by_environment(environ: Mapping[str, str]) -> bool:
    """COLORFGBG, which some terminals set: `15;0` is light on dark. Dark where there is none."""
    return environ.get("COLORFGBG", "").rpartition(";")[2] in ("7", "15")


def color_depth(environ: Mapping[str, str]) -> Colors:
    """How many colours to use: NO_COLOR, then COLORTERM, then TERM."""
    if environ.get("NO_COLOR"):
        return "none"
    forced: dict[str, Colors] = {"truecolor": "truecolor", "256": "256", "standard": "16"}
    override = environ.get("TEXTUAL_COLOR_SYSTEM", "")
    if override in forced:
        return forced[override]
    if environ.get("COLORTERM", "").strip().lower() in ("truecolor", "24bit"):
        return "truecolor"
    suffix = environ.get("TERM", "").rpartition("-")[2]
    return "256" if suffix in ("256color", "kitty") else "16"


def wants_ascii(environ: Mapping[str, str]) -> bool:
    """True when the locale names no UTF-8.

    Python itself puts `LC_CTYPE=C.UTF-8` into the environment of a C locale (PEP 538), so that
    value counts only when the process was started with it.
    """
    chosen = ""
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        if environ.get(name):
            chosen = environ[name]
            if name == "LC_CTYPE" and environ is os.environ and _coerced(chosen):
                chosen = environ.get("LANG", "")
            break
    return "utf8" not in chosen.lower().replace("-", "")


def _coerced(value: str) -> bool:
    if value not in ("C.UTF-8", "C.utf8", "UTF-8"):
        return False
    try:
        with open("/proc/self/environ", "rb") as started_with:
            return not any(
                part.startswith(b"LC_CTYPE=") for part in started_with.read().split(b"\0")
            )
    except OSError:  # not Linux: believe the environment
        return False
