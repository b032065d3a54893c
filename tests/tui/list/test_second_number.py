"""The number beside the badge's, and which metric the next start shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from layertui.cli.main import status_of
from layertui.compare.measuring.metrics import METRICS
from layertui.compare.model import Verdict
from layertui.tui import start as starting
from layertui.tui.list.columns import Extras, columns_for, heading
from layertui.tui.list.line_drawing import second_metric
from layertui.tui.state import remember_metric, remembered_metric
from layertui.tui.terminal import Terminal
from layertui.tui.theme import LOOKS, ORIGIN_WORDS
from layertui.tui.widgets.lines import Lines, ScrolledLines
from support.screens.statistics_captures import PLACES, write_statistics
from support.screens.tui_captures import make_app, measured, settled, type_line


@pytest.mark.parametrize("width", [60, 80, 96, 100, 120, 142, 200, 250])
@pytest.mark.parametrize("local", [False, True])
def test_the_column_is_there_where_names_can_spare_it(width: int, local: bool) -> None:
    extras = Extras(origin=True, local=local, second=True)
    columns = columns_for(width, 10_000, 12, extras)
    shape = columns.shape + 1 if columns.shape else 0
    used = 1 + columns.number + 1 + columns.name + columns.right_name
    assert used + 2 * shape + 4 + columns.badge == width
    without = columns_for(width, 10_000, 12, Extras(origin=True, local=local))
    if columns.second:
        assert columns.name >= 19 and columns.local == without.local
        assert "rel L2" in heading(columns, "MSE", "", "rel L2")
    else:
        assert columns == without
    assert len(heading(columns, "MSE", "", "rel L2")) <= width


def test_verdicts_speak_of_the_relative_l2() -> None:
    assert {second_metric(name) for name in METRICS if name != "relative_l2"} == {"relative_l2"}
    assert second_metric("relative_l2") == "mse"


async def test_beside_mse_stands_the_relative_l2(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        pairs = app.list_screen.pairs
        comparison = app.list_screen.comparison
        assert comparison is not None
        title = app.list_screen.query_one("#heading", Lines)

        def line() -> str:
            return pairs.render_line(pairs.screen_line).text

        assert " MSE " in title.texts[0] and " rel L2 " in title.texts[0]
        at = title.texts[0].index("rel L2")
        assert line()[at : at + 7] == "5.0e-01"
        await type_line(pilot, "colon", "metric relative_l2")
        assert title.texts[0].index("MSE") == at  # nothing else moves
        assert "5.0e-01" in line()
        await type_line(pilot, "colon", "metric cosine")
        assert title.texts[0].index("rel L2") == at
        comparison.verdicts[12] = Verdict("drift", doubtful="another tensor")
        pairs.refresh()
        assert line()[at : at + 7] == " " * 7


async def test_statistics_have_no_second_number(tmp_path: Path) -> None:
    write_statistics(tmp_path / "ref")
    write_statistics(tmp_path / "cand", frozenset(PLACES[2:]))
    app = make_app(tmp_path / "ref", tmp_path / "cand")
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        assert "rel L2" not in app.list_screen.query_one("#heading", Lines).texts[0]


async def test_the_metric_is_remembered(
    small_pair: tuple[Path, Path], private_home: Path
) -> None:  # fmt: skip
    assert remembered_metric() == "mse"
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        await type_line(pilot, "colon", "metric cosine")
        assert remembered_metric() == "cosine"
        await type_line(pilot, "colon", "metric ulp")  # costs another pass: not by itself
        await measured(pilot, app)
        assert app.session.metric == "ulp"
    assert remembered_metric() == "cosine"
    place = private_home / "state" / "layertui" / "metric"
    for bad in ("", "nonsense", "ulp", "cosine" * 1000):
        place.write_text(bad)
        assert remembered_metric() == "mse"
    place.write_bytes(b"\xff\xfe\x00")
    assert remembered_metric() == "mse"


@pytest.mark.parametrize(
    ("options", "shown"), [([], "cosine"), (["--metric", "mse"], "mse"),
                           (["--metric", "nmse"], "nmse")],
)  # fmt: skip
def test_what_the_command_line_says_goes_before_what_is_remembered(
    options: list[str], shown: str, small_pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []

    class Seen(starting.LayertuiApp):
        def run(self, **_: object) -> None:
            found.append(self.session.metric)

    monkeypatch.setattr("layertui.tui.is_interactive", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(starting, "LayertuiApp", Seen)
    remember_metric("cosine")
    assert status_of([*map(str, small_pair), *options]) == 0
    assert found == [shown]


@pytest.mark.parametrize("terminal", [Terminal(), Terminal("none", ascii=True)])
async def test_the_legend_is_the_first_page_of_the_lists_help(
    small_pair: tuple[Path, Path], terminal: Terminal
) -> None:
    app = make_app(*small_pair, terminal)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        await pilot.press("question_mark")
        await settled(pilot)
        page = app.screen.query_one(ScrolledLines)
        shown = "\n".join(page.render_line(y).text for y in range(page.size.height))
        look = app.look
        for level, looks in LOOKS.items():
            assert f" {look.glyph(level)} {looks.word or 'not measured yet'} " in shown
        for origin in ("made", "inherited"):
            assert f" {look.origin_glyph(origin)} {ORIGIN_WORDS[origin]} " in shown
        assert f" {look.signs.folded} folded " in shown
        await pilot.press("G")
        await pilot.pause()
        whole = "\n".join(page.texts)
        assert "to the first divergence, also if it is hidden" in whole
