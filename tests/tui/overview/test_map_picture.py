"""How the map is drawn: in any size and terminal, by heights and glyphs as well as by colours."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.cells import cell_len

from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.vocabulary import LEVELS
from layertui.tui.overview.cells import Cell, LayerMap, layer_map
from layertui.tui.overview.map_picture import MapPicture, Window
from layertui.tui.overview.map_words import cell_words, off_words, state_words
from layertui.tui.overview.quantities import FULL, Quantity, quantities
from layertui.tui.terminal import Terminal
from layertui.tui.theme import Look
from support.screens.tui_captures import PARTS, write_pair

_ERROR, _LOCAL, _RATIO, _VERDICT = quantities("mse")
_TERMINALS = (Terminal(), Terminal("16"), Terminal("none"), Terminal("none", ascii=True))


def compared(folder: Path, layers: int, part: int) -> Comparison:
    wrong = tuple(range(part, layers * len(PARTS), len(PARTS)))
    reference, candidate = write_pair(folder, layers * len(PARTS), wrong)
    comparison = open_comparison(str(reference), str(candidate))
    assert comparison.measure(use_cache=False)
    return comparison


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """60 layers; q_proj is off in each."""
    return compared(tmp_path_factory.mktemp("deep"), 60, 1)


def drawn(
    found: LayerMap, size: tuple[int, int], cursor: tuple[int, int] = (0, 0),
    quantity: Quantity = _ERROR, terminal: Terminal | None = None,
) -> list[str]:  # fmt: skip
    picture = MapPicture(Look(terminal or Terminal()), found, quantity, *size)
    lines = picture.lines(Window().around(cursor, picture.room), cursor)
    return ["".join(text for text, _ in pieces) for pieces in [*lines, picture.legend()]]


@pytest.mark.parametrize("terminal", _TERMINALS)
@pytest.mark.parametrize("size", [(60, 8), (80, 16), (200, 42)])
@pytest.mark.parametrize("quantity", quantities("mse"))
def test_it_fits_every_terminal(
    deep: Comparison, terminal: Terminal, size: tuple[int, int], quantity: Quantity
) -> None:
    found = layer_map(deep, "mse")
    for cursor in ((0, 0), (9, 59), (1, 30)):
        lines = drawn(found, size, cursor, quantity, terminal)
        assert len(lines) <= size[1] + 1
        assert max(map(cell_len, lines[:-1])) <= size[0]
        assert not terminal.ascii or all(line.isascii() for line in lines)
        name = found.components[cursor[0]]
        here = next(line for line in lines if line.startswith(Look(terminal).signs.pointer))
        assert name.rpartition(".")[2] in here or name[-8:] in here
        assert found.label(cursor[1]) in lines[0].split()


def test_a_component_that_is_off_in_every_layer_stands_out_and_is_said(deep: Comparison) -> None:
    found = layer_map(deep, "mse")
    assert off_words(found) == ("self_attn.q_proj: off in 60 of 60 layers",)
    assert state_words(found) == off_words(found)[0]
    lines = drawn(found, (200, 20))
    q_proj = next(line for line in lines if "self_attn.q_proj" in line)
    assert q_proj.count("◆") == 60 and q_proj.endswith(" 60/60")
    assert not any("◆" in line for line in lines[:-1] if line != q_proj)
    scrolled = drawn(found, (60, 20), (1, 59))
    assert "59" in scrolled[0].split() and "0" not in scrolled[0].split()


def cell(number: float | None, name: str = "error") -> Cell:
    error, local, ratio = (number if name == each else None for each in ("error", "local", "ratio"))
    return Cell((0,), "ok", "none", 0, error, local, ratio, False)


def of_cells(cells: list[Cell]) -> LayerMap:
    layers = tuple(f"layers.{at}" for at in range(len(cells)))
    found = {(0, at): each for at, each in enumerate(cells)}
    return LayerMap("mse", layers, ("mlp",), found, True, 1, 1)


@pytest.mark.parametrize("ascii_only", [False, True])
def test_bars_grow_with_the_number(ascii_only: bool) -> None:
    terminal = Terminal("none", ascii=ascii_only)
    bars = Look(terminal).signs.bars
    for quantity, values in (
        (_ERROR, [1e-15, 1e-9, 1e-5, 1.0]), (_LOCAL, [0.5, 30, 1e3, 1e9]),
        (_RATIO, [1.0, 30, 1e3, float("inf")]),
    ):  # fmt: skip
        name = quantity.name
        cells = [cell(value, name) for value in values]
        line = drawn(of_cells(cells), (80, 5), (0, 0), quantity, terminal)[1]
        heights = [bars.index(each[0]) for each in line.split("mlp ")[1].split()]
        assert heights == sorted(set(heights)) and heights[-1] == 7, (name, line)


def test_what_is_not_known_and_what_is_zero_look_different() -> None:
    line = drawn(of_cells([cell(0.0), cell(None), cell(1e-3)]), (80, 5), (0, 2))[1]
    assert line.split("mlp ")[1].split() == ["===", "···", "▇▇▇"]


def test_names_are_made_harmless() -> None:
    found = LayerMap("mse", ("layers.0",), ("evil\x1b[2Jname",), {(0, 0): cell(1.0)}, True, 1, 1)
    assert "\x1b" not in "".join(drawn(found, (80, 5)))


def test_the_cursor_says_name_verdict_and_numbers(deep: Comparison) -> None:
    found = layer_map(deep, "mse")
    text = cell_words(deep, found, (1, 3))
    assert text.startswith("#31 L3 self_attn.q_proj DIVERGED introduced  MSE ")
    assert "rel L2 5.0e-01" in text and "ratio " in text
    assert "identical" in cell_words(deep, found, (0, 3))
    less = LayerMap("mse", found.layers, found.components, {}, True, 1, 2)
    assert cell_words(deep, less, (0, 3)) == "L3 input_layernorm: nothing recorded"
    assert state_words(less) == "no component is off so far; 1 of 2 pairs measured"


def test_a_bar_is_no_mark_of_a_verdict_or_gap() -> None:
    """On the map and the strip marks stand among bars; without colours only the sign tells them
    apart.
    """
    for ascii_only in (False, True):
        look = Look(Terminal("none", ascii=ascii_only))
        marks = {look.glyph(level) for level in LEVELS if level != "diverged"}
        marks |= {look.signs.gap, look.origin_glyph("made"), look.origin_glyph("inherited")}
        assert not marks & set(look.signs.bars) and len(set(look.signs.bars)) == FULL + 1
