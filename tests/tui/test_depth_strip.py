"""The strip of the whole run, as what is known of its rows changes."""

from __future__ import annotations

from pathlib import Path

from layertui.compare.model import Verdict
from layertui.tui.widgets.depth_strip import DepthStrip
from support.screens.tui_captures import make_app, measured, write_pair


async def test_bars_follow_rows_that_become_better(tmp_path: Path) -> None:
    """A row that is found to be right in another order was a divergence for a moment."""
    app = make_app(*write_pair(tmp_path, 20, (3,)))
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        comparison, strip = app.list_screen.comparison, app.list_screen.query_one(DepthStrip)
        assert comparison is not None
        bars = app.look.signs.bars
        before = strip.text
        assert len(before) == 20 and bars.index(before[3]) > 5
        comparison.verdicts[3] = Verdict("ok", "permuted: the same values in another layout")
        strip.update_rows([3])
        assert bars.index(strip.text[3]) == 1
        assert strip.text[:3] + strip.text[4:] == before[:3] + before[4:]
