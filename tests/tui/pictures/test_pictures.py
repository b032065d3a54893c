"""Pictures of lines, as files."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.style import Style

from layertui.tui.app import LayertuiApp
from layertui.tui.commands import CommandError
from layertui.tui.overview.overview_screen import OverviewScreen
from layertui.tui.overview.trend_screen import TrendScreen
from layertui.tui.pictures.cells import BACKGROUND, Filled, Letters, colors_of, parts_of
from layertui.tui.pictures.forms import content_of, form_of
from layertui.tui.present.pieces import Pieces
from layertui.tui.present.text import width_of
from support.screens.tui_captures import make_app, measured, type_line, until

_RED = Style(color="#ff0000", bold=True)
_REVERSED = Style(reverse=True)
lines = st.lists(
    st.tuples(st.text("ab <&>▁█▌◆⣿漢", max_size=9), st.sampled_from([None, _RED, _REVERSED])),
    max_size=4,
)

# Logic, without a terminal


@given(lines)
def test_every_sign_is_drawn_on_its_cell(line: Pieces) -> None:
    text = "".join(part for part, _ in line)
    found = list(parts_of(line))
    letters = [part for part in found if isinstance(part, Letters)]
    blocks = sum(char in "▁█▌" for char in text)
    grounds = sum(bool(part) for part, style in line if style is _REVERSED)
    assert sum(isinstance(part, Filled) for part in found) == blocks + grounds
    drawn = "".join(part.text for part in letters)
    assert drawn == "".join(char for char in text if char not in " ▁█▌")
    for part in letters:
        before = next(at for at in range(len(text) + 1) if width_of(text[:at]) == part.column)
        assert text[before:].startswith(part.text) and part.width == width_of(part.text)


@given(st.lists(lines, max_size=4))
def test_svg_is_well_formed_and_fetches_nothing(drawn: list[Pieces]) -> None:
    svg = content_of(drawn, "svg")
    assert isinstance(svg, str)
    root = ElementTree.fromstring(svg)
    words = "".join(each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text"))
    assert words == "".join(
        c for line in drawn for text, _ in line for c in text if c not in " ▁█▌"
    )
    assert svg.replace("http://www.w3.org/2000/svg", "").count("http") == 0


def test_colours() -> None:
    assert colors_of(_RED) == ("#ff0000", None, True)
    assert colors_of(Style(reverse=True, color="#ff0000"))[:2] == (BACKGROUND, "#ff0000")
    assert colors_of(Style(bgcolor="#00ff00"))[1] == "#00ff00"


def test_text_has_no_spaces_at_its_ends() -> None:
    assert content_of([[("a ", None), ("b  ", _RED)], [("", None)]], "text") == "a b\n\n"


def test_png() -> None:
    pytest.importorskip("matplotlib")
    import struct

    small, wide = (content_of([[("█ a⣿$x", _RED), (" " * more, None)]], "png") for more in (0, 40))
    assert isinstance(small, bytes) and isinstance(wide, bytes)
    assert small.startswith(b"\x89PNG")
    sizes = [struct.unpack(">II", each[16:24]) for each in (small, wide)]
    assert sizes[1][0] > 3 * sizes[0][0] and sizes[0][1] == sizes[1][1]


@pytest.mark.parametrize(
    ("name", "form"), [("a.svg", "svg"), ("a.SVG ", "svg"), ("b.png", "png"), ("c.txt", "text"),
                       ("d", "text"), ("x/e.md", "text")],
)  # fmt: skip
def test_the_suffix_says_the_form(name: str, form: str) -> None:
    assert form_of(name) == form


def test_other_pictures_are_refused() -> None:
    with pytest.raises(CommandError, match=r"a.pdf: a picture is written as .svg or .png"):
        form_of("a.pdf")
    with pytest.raises(CommandError, match=r"a.png: a picture is written as .svg$"):
        form_of("a.png", ("text", "svg"))


# On the screen


@pytest.fixture
def app(small_pair: tuple[Path, Path]) -> LayertuiApp:
    return make_app(*small_pair)


def _words(path: Path) -> str:
    root = ElementTree.parse(path).getroot()
    texts = root.iter("{http://www.w3.org/2000/svg}text")
    return " ".join(each.text or "" for each in texts)


async def test_export_of_what_is_on_the_screen(app: LayertuiApp, tmp_path: Path) -> None:
    """Of any screen; the rows as text, as ever, for any other name."""
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        for name, pressed, words in (
            ("list", "f", "L1 self_attn.k_proj"), ("pair", "enter", "Stats"),
        ):  # fmt: skip
            await pilot.press(pressed)
            await until(pilot, lambda: getattr(app.screen, "reading", False) is not True)
            path = tmp_path / f"{name}.svg"
            await type_line(pilot, "colon", f"export {path}")
            await until(pilot, path.exists)
            await until(pilot, lambda: app.controllers.export.job is None)
            assert words in _words(path), name
            assert "wrote the picture to" in app.said
        await type_line(pilot, "colon", f"export {tmp_path / 'row.txt'}")
        await until(pilot, (tmp_path / "row.txt").exists)
        assert "REPRODUCE" in (tmp_path / "row.txt").read_text()
        await type_line(pilot, "colon", f"export {tmp_path / 'list.png'}")
        assert "a picture is written as .svg" in app.said
        assert not (tmp_path / "list.png").exists()


async def test_nothing_is_replaced_unasked(app: LayertuiApp, tmp_path: Path) -> None:
    path = tmp_path / "kept.svg"
    path.write_text("mine")
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        await type_line(pilot, "colon", f"export {path}")
        await pilot.press("n", "enter")
        assert app.said == "not written" and path.read_text() == "mine"
        await type_line(pilot, "colon", f"export {path}")
        await pilot.press("y", "enter")
        await until(pilot, lambda: path.read_text() != "mine")
        await pilot.press("e")
        app.screen.query_one("Entry").value = str(tmp_path / "no/such/a.svg")  # type: ignore[attr-defined]
        await pilot.press("enter")
        await until(pilot, lambda: "cannot be written" in app.said)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["kept.svg", "small"]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("M", "self_attn.q_proj, self_attn.k_proj, self_attn.v_proj: off in 1 of 4 layers"),
        ("T", "3 introduced, first #12"),
    ],
)
async def test_map_and_trend_are_saved_by_the_suffix(
    app: LayertuiApp, tmp_path: Path, key: str, words: str
) -> None:
    async with app.run_test(size=(60, 15)) as pilot:
        await measured(pilot, app)
        await pilot.press(key)
        screen = app.screen
        assert isinstance(screen, OverviewScreen)
        await until(pilot, lambda: screen.made)
        for suffix in ("txt", "svg"):
            path = tmp_path / f"picture.{suffix}"
            await type_line(pilot, "colon", f"save {path}")
            await until(pilot, lambda: path.exists() and app.controllers.export.job is None)  # noqa: B023
            text = path.read_text() if suffix == "txt" else _words(path)
            assert words in " ".join(text.split()), suffix
            assert "post_attention_layernorm" in text or key == "T"  # in full, also at 60 columns
        await type_line(pilot, "colon", f"save {tmp_path / 'picture.pdf'}")
        assert "a picture is written as .svg or .png" in app.said
        await type_line(pilot, "colon", "save")
        entry = app.screen.query_one("Entry")
        assert entry.value == f"layertui-{screen.SCOPE}.svg"  # type: ignore[attr-defined]
        entry.value = str(tmp_path / "asked.svg")  # type: ignore[attr-defined]
        await pilot.press("enter")
        await until(pilot, (tmp_path / "asked.svg").exists)


async def test_png_is_written_or_says_what_it_needs(
    app: LayertuiApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        await pilot.press("T")
        screen = app.screen
        assert isinstance(screen, TrendScreen)
        await until(pilot, lambda: screen.made)
        path = tmp_path / "trend.png"
        with monkeypatch.context() as patch:
            patch.setattr("layertui.compare.reports.plot.has_extra", lambda _: False)
            await type_line(pilot, "colon", f"save {path}")
            assert "needs the extra 'plot'" in app.said and not path.exists()
        pytest.importorskip("matplotlib")
        await type_line(pilot, "colon", f"save {path}")
        await until(pilot, path.exists)
        assert path.read_bytes().startswith(b"\x89PNG")
