"""Makes the pictures of the README from real captures: SVG files and one PNG.

    python screenshots/make.py

The captures are those of the tests (PyTorch and MAX, a tiny OLMo 2 whose q and k norms differ), so
the pictures are the same on every machine.
"""

from __future__ import annotations

import asyncio
import os
import tarfile
import tempfile
from pathlib import Path

from svg2png import svg_to_png

HERE = Path(__file__).parent
DATA = HERE.parent / "tests" / "data" / "olmo2-f32.tar.xz"

# Name, size, keys pressed once everything is measured.
PICTURES = (
    ("list", (120, 34), ("f",)),
    ("list-small", (80, 24), ("f", "j")),
    ("list-wide", (180, 44), ("f",)),
    ("folded", (110, 24), ("z", "M")),
    ("pair", (110, 38), ("f", "enter")),
    ("pair-wide", (200, 50), ("f", "enter")),
    ("two-views", (160, 40), ("f", "enter", "vertical_line", "4")),
    ("map", (110, 24), ("M",)),
    ("trend", (110, 24), ("T",)),
    ("greatest-differences", (110, 30), ("f", "enter", "2", "j")),
    ("histogram", (110, 38), ("f", "enter", "3")),
    ("heat-map", (110, 30), ("f", "enter", "4")),
    ("heat-map-small", (80, 24), ("f", "enter", "4", "right")),
    ("values", (110, 30), ("f", "enter", "5", "enter")),
    ("layout", (110, 30), ("f", "enter", "6", "l")),
    ("rerun", (110, 30), ("f", "enter", "7")),
    ("explain", (110, 30), ("f", "enter", "8")),
    ("help", (100, 40), ("question_mark",)),
)
FIRST = "list"  # the one that the README shows first, as PNG


async def picture(size: tuple[int, int], keys: tuple[str, ...]) -> str:
    """The screen as SVG."""
    from layertui.tui.app import LayertuiApp
    from layertui.tui.jobs.compare_job import Request

    app = LayertuiApp(Request("olmo2-f32/torch_dump", "olmo2-f32/max_dump"))
    async with app.run_test(size=size) as pilot:
        while app.list_screen.comparison is None or app.working:
            await pilot.pause(0.05)
        await pilot.pause(0.2)
        for key in keys:
            await pilot.press(key)
            await pilot.pause(0.3)
            while getattr(app.screen, "reading", False) is True:
                await pilot.pause(0.05)
        return app.export_screenshot(title="layertui")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(DATA) as archive:
            archive.extractall(folder, filter="data")
        os.environ |= {f"XDG_{name}_HOME": folder for name in ("CONFIG", "CACHE", "STATE")}
        os.environ |= {"TEXTUAL_ANIMATIONS": "none"}
        os.environ.pop("NO_COLOR", None)
        os.chdir(folder)
        for name, size, keys in PICTURES:
            svg = _stable(asyncio.run(picture(size, keys)))
            (HERE / f"{name}.svg").write_text(svg, encoding="utf-8")
            if name == FIRST:
                svg_to_png(svg, HERE / f"{name}.png")
            print(f"{name}.svg")


def _stable(svg: str) -> str:
    """Without the identifiers that rich makes from a checksum of the contents."""
    import re

    return re.sub(r"terminal-\d+", "terminal", svg)


if __name__ == "__main__":
    main()
