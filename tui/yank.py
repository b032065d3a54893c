"""Yanking: the terminal's clipboard by OSC 52, tmux's buffer, and always a file."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from .state import save_yank

if TYPE_CHECKING:
    from collections.abc import Callable

_LARGEST = 74_000  # terminals drop OSC 52 beyond about 100 kB of base64


def yank(text: str, osc52: Callable[[str], None]) -> str:
    """Copy `text`; says in one line where it went.

    `osc52` writes the escape sequence. tmux swallows it with its default settings, so inside tmux
    its own buffer is loaded too (`-w` passes it on to the terminal).
    """
    size = len(text.encode("utf-8", "replace"))
    places: list[str] = []
    if size <= _LARGEST:
        osc52(text)
        places.append("clipboard")
        if os.environ.get("TMUX") and _load_tmux_buffer(text):
            places.append("tmux buffer")
    saved = save_yank(text)
    if saved is not None:
        places.append(_home_relative(str(saved)))
    if not places:
        return "nothing yanked: too long for the clipboard, and no state directory to write to"
    return f"yanked {size} bytes: {', '.join(places)}"


def _load_tmux_buffer(text: str) -> bool:
    for arguments in (["-w", "-"], ["-"]):  # tmux before 3.2 does not know -w
        try:
            done = subprocess.run(
                ["tmux", "load-buffer", *arguments],
                input=text.encode("utf-8", "replace"),
                capture_output=True,
                timeout=2,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        if done.returncode == 0:
            return True
    return False


def _home_relative(path: str) -> str:
    home = str(Path.home())
    return "~" + path[len(home) :] if path.startswith(home + os.sep) else path
