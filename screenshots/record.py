"""Records the tour of the README: the real program in a pseudo-terminal, as an animated SVG.

    python screenshots/record.py            writes tour.svg
    python screenshots/record.py OUT.svg

`layertui demo` is started on the captures that come with the package, keys are sent to it, and the
screen after each is drawn as one frame. Needs pyte, no torch.
"""

from __future__ import annotations

import contextlib
import fcntl
import html
import os
import pty
import select
import signal
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pyte

HERE = Path(__file__).parent
COLUMNS, ROWS = 110, 32
CELL, LINE = 8.0, 17.0  # pixels of a character
# Keys, seconds that the frame stays, and what is seen there.
TOUR = (
    ("", 5.0, "layertui demo: the first divergence, and its cause"),
    ("zM", 4.0, "zM: the whole model, a layer on a line"),
    ("f", 3.0, "f: back to the first divergence"),
    ("M", 4.0, "M: components by layers, and what is off in how many"),
    ("\x1b", 1.5, "Esc: back"),
    ("T", 4.0, "T: the error along the run"),
    ("\x1b", 1.5, "Esc: back"),
    ("\r", 5.0, "Enter: all numbers of this pair"),
    ("2", 4.0, "2: the greatest differences"),
    ("4", 4.0, "4: where in the tensor they lie"),
    ("8", 5.0, "8: the layer against its law, and the cause"),
    ("\x1b", 2.0, "Esc: back to the list"),
    ("d", 4.0, "d: only what diverged"),
    ("?", 4.0, "?: all keys"),
)
_QUIET = 1.5  # seconds without output after which a screen is complete
_LONGEST = 60.0  # that a screen may take
_FOREGROUND, _BACKGROUND = "#d8d8d8", "#121212"
_NAMED = {
    "black": "#1c1c1c", "red": "#cc5555", "green": "#66aa66", "brown": "#ccaa44",
    "blue": "#5588cc", "magenta": "#aa66aa", "cyan": "#55aaaa", "white": "#d8d8d8",
}  # fmt: skip


class Program:
    """`layertui` in a pseudo-terminal, its screen kept by pyte."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self.screen)
        self._child, self._terminal = pty.fork()
        if self._child == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
            os.execve(command[0], command, environment)

    def send(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def settle(self) -> None:
        """Read until nothing has come for a while."""
        end = time.monotonic() + _LONGEST
        while time.monotonic() < end and select.select([self._terminal], [], [], _QUIET)[0]:
            try:
                self._stream.feed(os.read(self._terminal, 65536))
            except OSError:  # Linux says EIO when the other end has closed
                return

    def wait_for(self, text: str) -> None:
        """Raises `TimeoutError` when `text` does not appear."""
        end = time.monotonic() + 4 * _LONGEST
        while not any(text in line for line in self.screen.display):
            if time.monotonic() > end:
                raise TimeoutError("\n".join(self.screen.display))
            self.settle()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.kill(self._child, signal.SIGTERM)
        os.waitpid(self._child, 0)
        os.close(self._terminal)


def record() -> list[tuple[str, float, list[str]]]:
    """What the tour shows: a caption, how long it stays, and the SVG of every line."""
    frames: list[tuple[str, float, list[str]]] = []
    with tempfile.TemporaryDirectory() as home:
        environment = {
            **os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor",
            "TEXTUAL_ANIMATIONS": "none",
            **{f"XDG_{name}_HOME": home for name in ("CONFIG", "CACHE", "STATE")},
        }  # fmt: skip
        environment.pop("NO_COLOR", None)
        place = os.path.join(home, "demo")
        command = [sys.executable, "-m", "layertui.cli", "demo", "-o", place]
        program = Program(command, environment)
        try:
            program.wait_for("DIVERGED")
            for keys, seconds, caption in TOUR:
                if keys:
                    program.send(keys)
                program.settle()
                frames.append((caption, seconds, list(lines_of(program.screen))))
        finally:
            program.close()
    return frames


def lines_of(screen: pyte.Screen) -> Iterator[str]:
    """The SVG of every line: a rectangle for each background, a text for each run of one style."""
    for y in range(ROWS):
        cells = [screen.buffer[y][x] for x in range(COLUMNS)]
        yield "".join(_runs(cells, y))


def _runs(cells: list[pyte.screens.Char], y: int) -> Iterator[str]:
    x = 0
    for style, group in groupby(cells, _style):
        run = list(group)
        text, (front, back, bold) = "".join(cell.data for cell in run), style
        left, top, width = x * CELL, y * LINE, len(run) * CELL
        x += len(run)
        if back != _BACKGROUND:
            size = f'width="{width:g}" height="{LINE:g}"'
            yield f'<rect x="{left:g}" y="{top:g}" {size} fill="{back}"/>'
        if text.strip():
            weight = ' font-weight="bold"' if bold else ""
            yield (
                f'<text x="{left:g}" y="{top + LINE - 4:g}" textLength="{width:g}" '
                f'fill="{front}"{weight}>{html.escape(text)}</text>'
            )


def _style(cell: pyte.screens.Char) -> tuple[str, str, bool]:
    front, back = _colour(cell.fg, _FOREGROUND), _colour(cell.bg, _BACKGROUND)
    return (back, front, cell.bold) if cell.reverse else (front, back, cell.bold)


def _colour(name: str, default: str) -> str:
    if name == "default":
        return default
    if name in _NAMED:
        return _NAMED[name]
    plain = name.removeprefix("bright")
    return _NAMED.get(plain, f"#{name}" if len(name) == 6 else default)


def animated(frames: list[tuple[str, float, list[str]]]) -> str:
    """One SVG in which the frames follow each other without end. Lines are stored once."""
    total = sum(seconds for _, seconds, _ in frames)
    width, height = COLUMNS * CELL, (ROWS + 1.6) * LINE
    stored: dict[str, str] = {}
    styles, shown, begin = [], [], 0.0
    for number, (caption, seconds, lines) in enumerate(frames):
        for line in lines:
            stored.setdefault(line, f"l{len(stored)}")
        first, last = 100 * begin / total, 100 * (begin + seconds) / total
        begin += seconds
        styles.append(
            f"@keyframes k{number}{{0%,{max(first - 0.01, 0):.2f}%{{visibility:hidden}}"
            f"{first:.2f}%,{last - 0.01:.2f}%{{visibility:visible}}"
            f"{last:.2f}%,100%{{visibility:hidden}}}}"
            f"#f{number}{{visibility:hidden;animation:k{number} {total:g}s step-end infinite}}"
        )
        uses = "".join(f'<use href="#{stored[line]}"/>' for line in lines if line)
        label = html.escape(caption)
        shown.append(f'<g id="f{number}">{uses}<text x="8" y="{height - 9:g}" '
                     f'fill="#ffd75f" font-weight="bold">{label}</text></g>')  # fmt: skip
    styles[0] = styles[0].replace("0%,0.00%{visibility:hidden}", "", 1)
    kept = "".join(f'<g id="{name}">{line}</g>' for line, name in stored.items() if line)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'font-family="Fira Code, DejaVu Sans Mono, Menlo, monospace" font-size="13" '
        f'xml:space="preserve"><title>A tour of layertui</title><style>{"".join(styles)}</style>'
        f'<rect width="100%" height="100%" fill="{_BACKGROUND}"/><defs>{kept}</defs>'
        f"{''.join(shown)}</svg>\n"
    )


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "tour.svg"
    frames = record()
    target.write_text(animated(frames), encoding="utf-8")
    print(f"{target}: {len(frames)} frames, {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
