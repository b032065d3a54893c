"""A textual screenshot (SVG) as PNG, every glyph on its own cell.

librsvg ignores `textLength` and trims spaces at the start of a text, so runs with spaces, block
or braille characters would shift. Each character therefore gets a `<text>` with its own place.
Needs `rsvg-convert`. Use: svg2png.py IN.svg OUT.png [WIDTH]
"""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

_TEXT = re.compile(
    r'<text( [^>]*?)x="([\d.]+)" ([^>]*?)textLength="([\d.]+)"([^>]*)>([^<]*)</text>'
)


def _one_by_one(match: re.Match[str]) -> str:
    before, x, between, length, rest, escaped = match.groups()
    text = html.unescape(escaped)
    if not text:
        return ""
    step = float(length) / len(text)
    return "".join(
        f'<text{before}x="{float(x) + i * step:.1f}" {between}{rest}>{html.escape(char)}</text>'
        for i, char in enumerate(text)
        if not char.isspace()
    )


def svg_to_png(svg: str, out: Path, width: int = 1600) -> None:
    """Write `svg` to `out`. Raises RuntimeError with what rsvg-convert says."""
    placed = _TEXT.sub(_one_by_one, svg)
    placed = re.sub(
        r'font-family: ?"?Fira Code"?(, monospace)?', "font-family: DejaVu Sans Mono", placed
    )
    done = subprocess.run(
        ["rsvg-convert", "-w", str(width), "-o", str(out)],
        input=placed.encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace")[:300])


if __name__ == "__main__":
    svg_to_png(
        Path(sys.argv[1]).read_text(encoding="utf-8"),
        Path(sys.argv[2]),
        int(sys.argv[3]) if len(sys.argv) > 3 else 1600,
    )
