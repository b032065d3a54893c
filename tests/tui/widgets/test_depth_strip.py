"""The strip of the whole run takes in many rows between keys and other work."""

from __future__ import annotations

from pathlib import Path

from layertui.compare.comparison import Comparison, open_comparison
from layertui.tui.widgets.depth_strip import DepthStrip
from support.screens.tui_captures import make_app, measured, until

_GAP = "\N{BOX DRAWINGS LIGHT DOUBLE DASH HORIZONTAL}"


async def test_many_rows_are_not_taken_in_at_once(
    big_pair: tuple[Path, Path], small_pair: tuple[Path, Path]
) -> None:
    many = _mostly_gaps(big_pair, small_pair)
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        strip = app.list_screen.query_one(DepthStrip)
        strip.set_comparison(many, "mse")
        assert strip.text.strip() == ""  # whoever drew it goes on at once
        await until(pilot, lambda: strip.text.count(_GAP) > 100)


def _mostly_gaps(big_pair: tuple[Path, Path], small_pair: tuple[Path, Path]) -> Comparison:
    comparison = open_comparison(str(big_pair[0]), str(small_pair[1]))
    assert len(comparison.rows) == 10_000
    return comparison
