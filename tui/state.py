"""Files that the program keeps for the user: prompt history, the last yank, crash reports."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from ..capture.user.paths import state_dir

if TYPE_CHECKING:
    from pathlib import Path

_HISTORY_LINES = 500
_LONGEST_NAME = 100  # characters that are read of a file with a name
UNREMEMBERED = ("ulp",)  # takes another pass over all values, so only when it is asked for


def made_state_dir() -> Path:
    """The state directory, made when missing, for the user only. Raises OSError."""
    path = state_dir()
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write it whole or not at all: temporary file beside it, fsync, rename. Raises OSError."""
    if isinstance(content, str):
        content = content.encode("utf-8", "backslashreplace")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class History:
    """Earlier lines of the prompts, newest last; a prompt is told by its sign (`:`, `/`, `&`).

    Kept in the state directory; without one it lasts as long as the program.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        try:
            self._path: Path | None = made_state_dir() / "history"
            text = self._path.read_text(encoding="utf-8", errors="replace")
            self._lines = text.splitlines()[-_HISTORY_LINES:]
        except FileNotFoundError:
            pass
        except OSError:
            self._path = None

    def of(self, sign: str) -> list[str]:
        """The lines of one prompt, oldest first, each once."""
        lines = [line[1:] for line in self._lines if line.startswith(sign)]
        return list(reversed(dict.fromkeys(reversed(lines))))

    def add(self, sign: str, text: str) -> None:
        """Remember a line; failing to write it down is no reason to disturb."""
        if not text.strip() or "\n" in text:
            return
        self._lines.append(sign + text)
        del self._lines[:-_HISTORY_LINES]
        if self._path is not None:
            try:
                write_atomically(self._path, "\n".join(self._lines) + "\n")
            except OSError:
                self._path = None


def remember_metric(name: str) -> None:
    """Keep what badges show for the next time; failing to is no reason to disturb."""
    with contextlib.suppress(OSError):
        write_atomically(made_state_dir() / "metric", name + "\n")


def remembered_metric() -> str:
    """What badges showed last: a metric that can be chosen; MSE at first."""
    from ..compare.measuring.metrics import METRICS

    try:
        with open(state_dir() / "metric", encoding="utf-8", errors="replace") as file:
            name = file.read(_LONGEST_NAME).strip()
    except OSError:
        return "mse"
    return name if name in METRICS and name not in UNREMEMBERED else "mse"


def save_yank(text: str) -> Path | None:
    """Keep what was yanked; None when that is not possible."""
    try:
        path = made_state_dir() / "yank.txt"
        write_atomically(path, text)
    except OSError:
        return None
    return path


def save_crash(report: str) -> Path | None:
    """Keep a traceback; None when that is not possible."""
    try:
        path = made_state_dir() / "crash.log"
        write_atomically(path, report)
    except OSError:
        return None
    return path
