"""Whether the terminal's ground is light: asked of the terminal while the program is still loaded.

The question (OSC 11) is written before textual is imported, the answer is read when the screen is
about to be drawn: by then it is there. Behind it goes a question that every terminal answers (its
attributes), so that one which does not know the first is not waited for.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.message import Message

    from .terminal import Terminal

_QUESTION = b"\x1b]11;?\x1b\\\x1b[c"
_COLOR = re.compile(rb"\x1b\]11;rgba?:([0-9a-fA-F]+)/([0-9a-fA-F]+)/([0-9a-fA-F]+)[^\x1b\x07]*"
                    rb"(?:\x07|\x1b\\)")  # fmt: skip
_ATTRIBUTES = re.compile(rb"\x1b\[\?[\d;]*c")
_PATIENCE = 0.05  # seconds that a terminal gets once everything else is ready
_LIGHT = 0.5  # of the greatest brightness


class Question:
    """Asks on the terminal of `fd` (read) and `out` (written)."""

    def __init__(self, fd: int, out: int) -> None:
        import termios

        self._fd, self._before = fd, termios.tcgetattr(fd)
        quiet = termios.tcgetattr(fd)
        quiet[3] &= ~(termios.ECHO | termios.ICANON)
        termios.tcsetattr(fd, termios.TCSANOW, quiet)
        self.typed = b""  # what the user typed meanwhile
        self.late = False  # whether answers may still come
        os.write(out, _QUESTION)

    def answer(self, patience: float = _PATIENCE) -> bool | None:
        """Whether the ground is light; None where the terminal does not say. Leaves the terminal
        as it was; keys that were read are in `typed`.
        """
        import termios

        end, data = time.monotonic() + patience, b""
        try:
            while _ATTRIBUTES.search(data) is None:
                left = end - time.monotonic()
                if not select.select([self._fd], [], [], max(0.0, left))[0]:
                    break
                read = os.read(self._fd, 1024)
                if not read:
                    break
                data += read
        except OSError:
            pass
        finally:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._fd, termios.TCSANOW, self._before)
        self.typed, self.late = without_answers(data), _ATTRIBUTES.search(data) is None
        return light_of(data)


def ask(terminal: Terminal) -> Question | None:
    """Ask the terminal that the program draws on; None where its ground does not matter, or where
    it cannot be asked.
    """
    if terminal.ansi:
        return None
    try:
        return Question(sys.stdin.fileno(), sys.stderr.fileno())
    except (ImportError, OSError, ValueError):  # no termios; no terminal
        return None
    except Exception as error:
        if type(error).__name__ == "error":  # termios.error
            return None
        raise


def light_of(data: bytes) -> bool | None:
    """What the answer in some bytes says: `rgb:ffff/ffff/ffff`, of one to four digits each."""
    found = _COLOR.search(data)
    if found is None:
        return None
    red, green, blue = (int(part, 16) / (16 ** len(part) - 1) for part in found.groups())
    return 0.299 * red + 0.587 * green + 0.114 * blue > _LIGHT


def without_answers(data: bytes) -> bytes:
    """Bytes without the answers to both questions."""
    return _ATTRIBUTES.sub(b"", _COLOR.sub(b"", data))


def is_light(theme: str, terminal: Terminal) -> bool:
    """Whether to draw for a light ground: by the setting `theme`, else as the terminal is."""
    if theme == "auto":
        return terminal.light_ground
    return theme == "light"


def drop_late_answers() -> None:
    """Keep answers that come when textual reads the keys from being taken for keys: it does not
    know these sequences.
    """
    from textual._xterm_parser import XTermParser
    from textual.drivers import linux_driver

    class Parser(XTermParser):
        def feed(self, data: str) -> Iterable[Message]:
            rest = without_answers(data.encode("utf-8", "surrogateescape"))
            return super().feed(rest.decode("utf-8", "surrogateescape")) if rest or not data else ()

    setattr(linux_driver, "XTermParser", Parser)  # noqa: B010  which it made for itself


def events_of(typed: bytes) -> list[Message]:
    """The keys that were typed while the terminal was asked."""
    from textual._xterm_parser import XTermParser

    parser = XTermParser()
    return [*parser.feed(typed.decode("utf-8", "replace")), *parser.feed("")] if typed else []
