"""What wide views show beside their own lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.pilot import Pilot

from layertui.tui.app import LayertuiApp
from layertui.tui.pair.beside.neighbourhood import around, block_width
from layertui.tui.pair.screen import PairScreen
from layertui.tui.pair.views.view import WIDE
from layertui.tui.present.pieces import Pieces
from layertui.tui.present.side_by_side import GAP, fitted, side_by_side
from support.screens.tui_captures import make_app, measured, settled, until

shapes = st.lists(st.integers(1, 40), min_size=1, max_size=4).map(tuple)
texts = st.text("ab ░é漢", max_size=12)


def _text(pieces: Pieces) -> str:
    return "".join(text for text, _ in pieces)


# Logic, without a terminal


@given(st.lists(st.tuples(st.integers(4, 9), st.lists(texts, max_size=4)), max_size=3))
def test_blocks_begin_at_their_columns(blocks: list[tuple[int, list[str]]]) -> None:
    lines = [(width, [[(text, None)] for text in block]) for width, block in blocks]
    found = side_by_side(lines, ".")
    assert len(found) == max((len(block) for _, block in blocks), default=0)
    total = sum(width + GAP for width, _ in blocks) - GAP
    for at, line in enumerate(found):
        assert cell_len(_text(line)) <= total
        shown = [block[at] if at < len(block) else "" for _, block in blocks]
        fits = all(cell_len(s) <= w for s, (w, _) in zip(shown, blocks, strict=True))
        if fits:
            assert _text(line).split() == " ".join(shown).split()


def test_what_is_cut_ends_in_dots() -> None:
    assert _text(fitted([("abc", None), ("def", None)], 5, "…", pad=7)) == "abcd…  "
    assert _text(fitted([("abc   ", None)], 3, "…")) == "abc"


@given(shapes, st.data(), st.integers(1, 120), st.integers(1, 60))
def test_the_neighbourhood_holds_its_element(
    shape: tuple[int, ...], data: st.DataObject, width: int, height: int
) -> None:
    index = tuple(data.draw(st.integers(0, size - 1)) for size in shape)
    found = around(shape, index, width, height)
    if found is None:
        assert width < block_width(1) or height < 10
        return
    sizes = []
    for at, size, (low, high) in zip(index, shape, found.region, strict=True):
        assert 0 <= low <= at < high <= size
        sizes.append(high - low)
    assert np.prod(sizes) <= 9 * 7
    open_axes = {axis for axis, size in enumerate(sizes) if size > 1}
    assert open_axes <= {found.rows, found.columns}
    columns = sizes[found.columns] if found.columns is not None else 1
    rows = sizes[found.rows] if found.rows is not None else 1
    assert block_width(columns) <= width and 1 + 3 * (2 + rows) <= height


def test_the_neighbourhood_of_a_corner_is_as_large_as_any() -> None:
    middle, corner = (around((20, 20), at, 93, 40) for at in ((10, 10), (0, 19)))
    assert middle is not None and corner is not None
    assert middle.region == ((6, 15), (7, 14))
    assert corner.region == ((0, 9), (13, 20))


# On the screen


def _at_rest(app: LayertuiApp) -> bool:
    return getattr(app.screen, "reading", False) is not True and not app.working


async def _opened(pilot: Pilot[None], app: LayertuiApp, *pressed: str) -> PairScreen:
    await measured(pilot, app)
    for key in ("f", "enter", *pressed):
        await pilot.press(key)
        await until(
            pilot, lambda: getattr(app.screen, "reading", False) is not True and not app.working
        )
    await settled(pilot)
    assert isinstance(app.screen, PairScreen)
    return app.screen


def _app(real: Path) -> LayertuiApp:
    return make_app(real / "olmo2-f32/torch_dump", real / "olmo2-f32/max_dump")


async def test_wide_stats_answer_where_it_differs(real: Path) -> None:
    """One screen of 200x50 without a key: numbers, map, worst tokens, channels and heads."""
    app = _app(real)
    async with app.run_test(size=(200, 50)) as pilot:
        screen = await _opened(pilot, app)
        height = screen.view.size.height
        lines = screen.view.texts[:height]
        shown = "\n".join(lines)
        for words in ("99 %", "rel L2", "max abs", "|difference|",
                      "Worst tokens, axis 0 (10)", "Worst channels, axis 1 (64)",
                      "Worst 4 heads of axis 1", "head 1", "Matches within"):  # fmt: skip
            assert words in shown, words
        (head,) = (line for line in lines if "reference   " in line and "difference" in line)
        assert "Numbers" in head and "|difference|" in head  # beside one another
        assert all(cell_len(line.rstrip()) <= 200 for line in lines)


@pytest.mark.parametrize("width", [80, WIDE - 1])
async def test_narrow_stats_stay_as_they_were(real: Path, width: int) -> None:
    app = _app(real)
    async with app.run_test(size=(width, 24)) as pilot:
        screen = await _opened(pilot, app)
        assert not any("Worst" in line for line in screen.view.texts)
        lines = [line for line in screen.view.texts if line.strip()]
        assert lines.index(" Numbers") > next(i for i, x in enumerate(lines) if "99 %" in x)


async def test_wide_stats_of_a_record_alone_have_its_map(real: Path) -> None:
    app = _app(real)
    async with app.run_test(size=(200, 50)) as pilot:
        await measured(pilot, app)
        comparison = app.session.comparison
        assert comparison is not None
        gap = next(r.index for r in comparison.rows if r.kind == "gap_reference"
                   and r.reference is not None and r.reference.shape == (1, 10, 16))  # fmt: skip
        await pilot.press("colon", *str(gap), "enter", "enter")
        await until(pilot, lambda: _at_rest(app))
        shown = "\n".join(app.screen.view.texts)  # type: ignore[attr-defined]
        assert "reference over" in shown and "Worst" not in shown


async def test_greatest_differences_stand_beside_their_neighbourhood(real: Path) -> None:
    app = _app(real)
    async with app.run_test(size=(200, 50)) as pilot:
        screen = await _opened(pilot, app, "2")
        assert "Around (3, 24)" in screen.view.texts[0]
        assert "6.4945e-03" in "\n".join(screen.view.texts)
        for pressed, place in (("j", "Around (5, 36)"), ("G", "Around (1, 28)")):
            await pilot.press(pressed)
            await until(pilot, lambda: not screen.reading)
            await settled(pilot)
            top = int(screen.view.scroll_offset.y)
            assert place in screen.view.texts[top], pressed  # it does not scroll away
        await pilot.press("a", "j")  # tokens: the second worst of them
        await until(pilot, lambda: "Around (6, 24)" in screen.view.texts[0])
        await pilot.resize_terminal(100, 30)
        await settled(pilot)
        assert not any("Around" in line for line in screen.view.texts)


async def test_values_show_as_many_as_fit(real: Path) -> None:
    """At 200x50 no other number of columns would show more: 15 of 12 cells, 3 grids of 10 rows."""
    app = _app(real)
    async with app.run_test(size=(200, 50)) as pilot:
        screen = await _opened(pilot, app, "5")
        window = screen.view.window  # type: ignore[attr-defined]
        assert window.region == ((0, 10), (0, 15))
        assert max(cell_len(line.rstrip()) for line in screen.view.texts) > 200 - 12 - 2
