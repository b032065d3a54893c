"""The application driven by keys, over real captures and a real comparison."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from rich.cells import cell_len
from textual import events
from textual.command import CommandPalette
from textual.pilot import Pilot

from layertui.capture import open_capture
from layertui.compare.aligned import Note
from layertui.compare.comparison import Comparison
from layertui.compare.model import Failure
from layertui.tui.app import JobNews, LayertuiApp
from layertui.tui.commands import COMMANDS
from layertui.tui.jobs.compare_job import Request
from layertui.tui.jobs.job import Job
from layertui.tui.jobs.news import Ended
from layertui.tui.keys import keys_of
from layertui.tui.list.row_model import NameRows, record_key
from layertui.tui.list.screen import ListScreen
from layertui.tui.pair.screen import PairScreen
from layertui.tui.present.row_fields import page_fields, pane_fields
from layertui.tui.scene import Scene
from layertui.tui.widgets.depth_strip import DepthStrip
from layertui.tui.widgets.lines import Lines, ScrolledLines
from layertui.tui.widgets.prompt import Entry
from layertui.tui.widgets.text_screen import TextScreen
from support.screens.tui_captures import (
    make_app,
    measured,
    measured_from_top,
    olmo,
    settled,
    type_line,
    until,
    write_pair,
    write_safetensors,
)


def label(app: LayertuiApp) -> str:
    screen = app.list_screen
    assert screen.comparison is not None
    assert screen.row is not None
    return screen.comparison.rows[screen.row].label


class NamesOnly(LayertuiApp):
    """Stops where both directories are listed and nothing is read yet."""

    def begin(self) -> None:
        sides = [open_capture(path, headers=False) for path in self.session.paths]
        self.list_screen.listed(*sides)


async def test_names_are_there_before_headers_are_read(real: Path) -> None:
    pair = real / "olmo2-f32"
    app = NamesOnly(Request(str(pair / "torch_dump"), str(pair / "max_dump")))
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        screen = app.list_screen
        model = screen.pairs.model
        assert isinstance(model, NameRows)
        line = model.line(0)
        assert line.left is not None
        assert line.right is not None
        shown = screen.pairs.render_line(0).text
        assert line.left.name in shown
        assert line.right.name in shown
        assert "reading headers" in screen.query_one("#counts", Lines).texts[0]
        names = ("f", "space", "e", "y", "p", "P", "d", "d", "m", "enter", "right_square_bracket")
        await pilot.press(*names, "right_curly_bracket", "G", "home", *"jjjjjj")
        assert app.is_running
        assert screen.pairs.cursor == 6
        key = model.key(6)
        sides = [open_capture(path) for path in app.session.paths]
        comparison = Comparison(*sides)
        screen.aligned(comparison)
        await settled(pilot)
        assert screen.row is not None
        record = comparison.rows[screen.row].reference
        assert record_key(record) == key[0]


async def test_names_come_first_then_rows_then_numbers(real: Path) -> None:
    app = olmo(real)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        screen = app.list_screen
        assert screen.comparison is not None
        assert screen.comparison.first_is_final()
        counts = screen.query_one("#counts", Lines).texts[0]
        assert "56 pairs" in counts
        assert "61 gaps" in counts
        assert "DIVERGED" in counts
        strip = screen.query_one(DepthStrip).text
        assert {"▁", "╌", "▆"} <= set(strip)


async def test_first_divergence_is_the_norm_that_ignores_eps(real: Path) -> None:
    app = olmo(real)
    async with app.run_test(size=(200, 50)) as pilot:
        await measured(pilot, app)
        await pilot.press("f")
        await settled(pilot)
        assert label(app) == "layers.0.self_attn.q_norm-output"
        said = app.list_screen.prompt.message
        assert "first divergence: introduced in layers.0.self_attn.q_norm" in said
        shown = app.list_screen.query_one("#left .values", Lines).texts
        assert any(text.startswith("DIVERGED") for text in shown)
        await pilot.press("right_square_bracket")
        assert label(app) == "layers.0.self_attn.k_norm-output"
        await pilot.press("left_square_bracket", "left_square_bracket")
        assert label(app) == "layers.0.self_attn.q_norm-output"
        assert "no divergence above" in app.list_screen.prompt.message


async def test_f_reveals_a_hidden_row_and_says_so(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        await type_line(pilot, "ampersand", "layers.3")
        assert len(app.list_screen.pairs.view) == 10
        counts = app.list_screen.query_one("#counts", Lines).texts[0]
        assert "2 hidden" in counts
        await pilot.press("f")
        assert app.list_screen.row == 12
        assert "filter cleared" in app.list_screen.prompt.message
        assert len(app.list_screen.pairs.view) == 40


async def test_moving(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured_from_top(pilot, app)
        pairs = app.list_screen.pairs
        height = pairs.size.height
        for keys, row in (
            (("j", "down", "k"), 1), (("G",), 39), (("home",), 0), (("end",), 39), (("g", "g"), 0),
            (("ctrl+f",), height), (("ctrl+b",), 0), (("ctrl+d",), height // 2),
            (("ctrl+u",), 0), (("pagedown", "pageup"), 0), (("right_curly_bracket",), 10),
            (("right_curly_bracket",), 20), (("j", "j", "left_curly_bracket"), 20),
            (("left_curly_bracket",), 10),
        ):  # fmt: skip
            await pilot.press(*keys)
            assert app.list_screen.row == row, keys
            top = pairs.scroll_offset.y
            assert top <= pairs.cursor < top + height


async def test_search(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured_from_top(pilot, app)
        await type_line(pilot, "slash", "Q_PROJ")
        assert app.list_screen.row == 1
        await pilot.press("n")
        assert app.list_screen.row == 11
        await pilot.press("N", "N")
        assert app.list_screen.row == 31
        assert "wrapped around" in app.list_screen.prompt.message
        await type_line(pilot, "slash", "nowhere")
        assert "no row with 'nowhere'" in app.list_screen.prompt.message
        await pilot.press("escape")
        assert app.session.search_words == []


async def test_what_is_typed_ahead_goes_to_the_prompt(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        for key in ("slash", *"q_proj", "enter"):
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: app.session.search_words)
        assert app.session.search_words == ["q_proj"]
        assert app.is_running


async def test_only_diverged_and_escape_steps_out(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        await pilot.press("G", "d")
        assert list(app.list_screen.pairs.view) == [12, 13, 31]
        await type_line(pilot, "ampersand", "layers.1")
        await type_line(pilot, "slash", "k_proj")
        assert app.list_screen.row == 12
        lengths = []
        for _ in range(3):
            await pilot.press("escape")
            lengths.append(len(app.list_screen.pairs.view))
        assert lengths == [2, 3, 40]
        assert app.list_screen.row == 12
        await pilot.press("escape")
        assert app.is_running


async def test_modes_show_inputs_and_everything(real: Path) -> None:
    app = olmo(real)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None
        lengths = []
        for _ in range(3):
            lengths.append(len(app.list_screen.pairs.view))
            await pilot.press("o")
        assert lengths[0] < lengths[1] < lengths[2] == len(comparison.rows)
        assert len(app.list_screen.pairs.view) == lengths[0]


async def test_metric_changes_badges_not_the_cursor(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        await pilot.press("f")
        before = app.list_screen.pairs.render_line(app.list_screen.pairs.screen_line).text
        await pilot.press("m")
        after = app.list_screen.pairs.render_line(app.list_screen.pairs.screen_line).text
        assert "5.0e-01" in after
        assert before != after
        assert "rel L2" in app.list_screen.query_one("#heading", Lines).texts[0]
        assert app.list_screen.row == 12
        await type_line(pilot, "colon", "metric ulp")
        await measured(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None
        assert comparison.aligned.ulp
        assert app.list_screen.row == 12


async def test_thresholds_change_verdicts_at_once(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None
        await type_line(pilot, "t", "policy=fixed relative_l2=0.9")
        assert comparison.failing == []
        assert "fixed: relative_l2 <= 0.9" in app.list_screen.prompt.message
        await type_line(pilot, "colon", "threshold relative_l2=0.1")
        assert comparison.failing == [12, 13, 31]
        await type_line(pilot, "colon", "policy dtype")
        await type_line(pilot, "t", "mse=lots")
        assert "'lots' is not a number" in app.list_screen.prompt.message
        await type_line(pilot, "t", "policy=nonsense")
        assert "nonsense" in app.list_screen.prompt.message
        assert app.session.limits.policy != "nonsense"


async def test_a_tolerance_counts_mismatches_anew(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        await pilot.press("f", "j", "j")
        row = app.list_screen.row
        await type_line(pilot, "t", "policy=default rtol=10 atol=10")
        await measured(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None
        assert (comparison.aligned.rtol, comparison.aligned.atol) == (10, 10)
        assert comparison.failing == []
        assert app.list_screen.row == row


async def test_pair_screen(real: Path) -> None:
    app = olmo(real)
    async with app.run_test(size=(100, 30)) as pilot:
        await measured(pilot, app)
        await pilot.press("f", "enter")
        await until(pilot, lambda: isinstance(app.screen, PairScreen) and not app.screen.reading)
        assert isinstance(app.screen, PairScreen)
        texts = "\n".join(app.screen.view.texts)
        for part in ("q_norm-output", "squeeze(0)", "naming rule", "MSE", "max rel", "std"):
            assert part in texts
        assert "q_norm" in app.screen.query_one("#title", Lines).texts[0]
        await pilot.press("right_square_bracket")
        await pilot.pause(0.05)
        assert "k_norm" in app.screen.query_one("#title", Lines).texts[0]
        await pilot.press("J")
        assert "v_proj" in app.screen.query_one("#title", Lines).texts[0]
        await pilot.press("K", "K")
        assert "k_proj" in app.screen.query_one("#title", Lines).texts[0]
        await pilot.press("G", "g", "j")
        assert app.screen.view.scroll_offset.y == 1
        await pilot.press("question_mark")
        assert isinstance(app.screen, TextScreen)
        await pilot.press("escape", "escape")
        assert isinstance(app.screen, ListScreen)
        assert label(app) == "layers.0.self_attn.k_proj-output"


async def test_commands(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        screen = app.list_screen
        await type_line(pilot, "colon", "17")
        assert screen.row == 17
        await type_line(pilot, "colon", "goto layers.2 down_proj")
        assert screen.row == 28
        await type_line(pilot, "colon", "goto 400")
        assert "no row 400: rows are 0 to 39" in screen.prompt.message
        await type_line(pilot, "colon", "nonsense")
        assert "no command 'nonsense'" in screen.prompt.message
        await type_line(pilot, "colon", "s")
        assert "could be" in screen.prompt.message
        await type_line(pilot, "colon", "filter mlp")
        assert len(screen.pairs.view) == 12
        await type_line(pilot, "colon", "metric nonsense")
        assert "no metric" in screen.prompt.message
        await pilot.press("colon", "up", "up")
        assert screen.query_one(Entry).value == "filter mlp"
        await pilot.press("down", "escape")
        assert not screen.prompt.asking
        await type_line(pilot, "colon", "q")
        await pilot.pause()
    assert app.return_code == 0


async def test_notes_tell_of_both_captures(real: Path) -> None:
    app = olmo(real)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        await type_line(pilot, "colon", "notes")
        assert isinstance(app.screen, TextScreen)
        text = "\n".join(app.screen.query_one(ScrolledLines).texts)
        comparison = app.list_screen.comparison
        assert comparison is not None
        for part in ("torch_dump", "max_dump", "MAX checkpoint", comparison.order.reason):
            assert part in text
        await pilot.press("q")
        assert isinstance(app.screen, ListScreen)


async def test_why_a_record_has_no_partner(real: Path) -> None:
    app = olmo(real)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None
        gap = next(r for r in comparison.rows if r.kind == "gap_reference" and r.role == "output")
        await type_line(pilot, "colon", f"goto {gap.index}")
        await type_line(pilot, "colon", "why")
        text = "\n".join(app.screen.query_one(ScrolledLines).texts)
        assert gap.label in text and "the candidate" in text


async def test_history_outlives_the_program(small_pair: tuple[Path, Path]) -> None:
    for _ in range(2):
        app = make_app(*small_pair)
        async with app.run_test(size=(120, 30)) as pilot:
            await measured(pilot, app)
            await type_line(pilot, "colon", "goto 5")
            await type_line(pilot, "slash", "mlp")
            await pilot.press("colon", "up")
            assert app.list_screen.query_one(Entry).value == "goto 5"


async def test_export_asks_before_it_replaces(
    small_pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        screen = app.list_screen

        async def pressed(*keys: str) -> None:
            await pilot.press(*keys)
            await until(pilot, lambda: app.controllers.export.job is None)

        await pilot.press("f", "e")
        name = screen.query_one(Entry).value
        assert name == "layertui-layers.1.self_attn.k_proj-output.txt"
        await pressed("enter")
        written = (tmp_path / name).read_text(encoding="utf-8")
        assert "DIVERGED" in written
        (tmp_path / name).write_text("mine", encoding="utf-8")
        await pressed("e", "enter")
        await pressed("n", "enter")
        assert (tmp_path / name).read_text(encoding="utf-8") == "mine"
        assert "not written" in screen.prompt.message
        await pressed("e", "enter")
        await pressed("y", "enter")
        assert (tmp_path / name).read_text(encoding="utf-8") == written
        await pilot.press("space", "space")
        assert screen.pairs.marks == {12, 13}
        await type_line(pilot, "e", str(tmp_path / "two.txt"))
        await pressed()
        both = (tmp_path / "two.txt").read_text(encoding="utf-8")
        assert both.startswith(written.rstrip())
        assert "v_proj" in both
        await type_line(pilot, "e", str(tmp_path / "missing" / "x.txt"))
        await pressed()
        assert "cannot be written" in screen.prompt.message
        await pilot.press("u")
        assert screen.pairs.marks == set()
        assert sorted(path.name for path in tmp_path.glob("*.tmp")) == []


async def test_yank_says_where_it_went(small_pair: tuple[Path, Path], private_home: Path) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        await pilot.press("f", "y")
        saved = private_home / "state" / "layertui" / "yank.txt"
        assert "k_proj" in saved.read_text(encoding="utf-8")
        assert app.clipboard == saved.read_text(encoding="utf-8")
        assert "clipboard" in app.list_screen.prompt.message
        assert "yank.txt" in app.list_screen.prompt.message


async def test_what_is_yanked_is_short_or_long(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        await pilot.press("y")
        headline, numbers = app.clipboard.splitlines()
        assert headline.startswith("layers.1.self_attn.k_proj-output (row 12): DIVERGED introduced")
        assert numbers.startswith("  rel L2 5.000e-01  MSE ")
        assert "  cosine " in numbers
        assert numbers.endswith("  max abs 7.500e+00  max rel 5.000e-01")
        await pilot.press("Y")
        long = app.clipboard
        assert long.startswith(headline.partition(": ")[0])
        assert "matched by" in long and "mismatched elements" in long
        await type_line(pilot, ":", "yank")
        assert app.clipboard.splitlines() == [headline, numbers]
        await type_line(pilot, ":", "yank long")
        assert app.clipboard == long
        await type_line(pilot, ":", "yank everything")
        assert "yank, or yank long" in app.said
        await pilot.press("enter")
        await settled(pilot)
        await pilot.press("Y")
        assert app.clipboard == long


def _renamed(folder: Path) -> tuple[Path, Path]:
    """A pair of captures whose third tensors do not go together by name or shape."""
    same = {f"model.layers.{i}.mlp-output": [float(i), 1.0] for i in range(4)}
    ref = {**same, "model.alpha-output": [1.0, 2.0, 3.0]}
    cand = {**same, "model.omega-output": [1.0, 2.0, 3.0, 4.0]}
    return (
        write_safetensors(folder / "ref" / "m.safetensors", ref).parent,
        write_safetensors(folder / "cand" / "m.safetensors", cand).parent,
    )


async def test_pairing_by_hand_and_apart(tmp_path: Path) -> None:
    app = make_app(*_renamed(tmp_path))
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        screen = app.list_screen
        assert screen.comparison is not None
        assert screen.comparison.counts.pairs == 4
        await type_line(pilot, "colon", "goto mlp layers.3")
        await pilot.press("space")
        marked = {screen.comparison.rows[row].label for row in screen.pairs.marks}
        await type_line(pilot, "colon", "goto alpha")
        await pilot.press("p")
        assert "now p on its partner" in screen.prompt.message
        await type_line(pilot, "colon", "goto omega")
        await pilot.press("p")
        await measured(pilot, app)
        assert screen.comparison.counts.pairs == 5
        assert screen.row is not None
        row = screen.comparison.rows[screen.row]
        assert row.reference is not None
        assert row.candidate is not None
        assert row.matched_by == "hand"
        assert (row.reference.module, row.candidate.module) == ("model.alpha", "model.omega")
        assert {screen.comparison.rows[r].label for r in screen.pairs.marks} == marked
        await pilot.press("p")
        assert "already paired" in screen.prompt.message
        await pilot.press("P")
        await measured(pilot, app)
        assert screen.comparison.counts.pairs == 4
        assert "alpha" in label(app) or "omega" in label(app)


async def test_reading_again_keeps_the_cursor_on_its_record(tmp_path: Path) -> None:
    ref, cand = write_pair(tmp_path, 40, (12,))
    app = make_app(ref, cand)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        await pilot.press("G", "space")
        await type_line(pilot, "colon", "goto layers.2 o_proj")
        before, marks = label(app), set(app.list_screen.pairs.marks)
        write_safetensors(cand / "zz.safetensors", {"model.layers.9.extra-output": [1.0]})
        await pilot.press("ctrl+r")
        await measured(pilot, app)
        assert app.list_screen.comparison is not None
        assert len(app.list_screen.comparison.rows) == 41
        assert label(app) == before
        assert len(app.list_screen.pairs.marks) == len(marks) == 1
        shutil.rmtree(cand)
        await pilot.press("ctrl+r")
        await measured(pilot, app)
        assert "no such file" in app.list_screen.prompt.message
        assert label(app) == before


async def test_results_never_move_the_cursor(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 24)) as pilot:
        await measured(pilot, app)
        done = app.list_screen.comparison
        assert done is not None
        fresh = Comparison(done.reference, done.candidate)
        app.list_screen.aligned(fresh)
        await pilot.press("j", "j", "pagedown")
        row, top = app.list_screen.row, app.list_screen.pairs.scroll_offset.y
        assert row not in (0, None)
        await pilot.press("f")
        assert "still measuring" in app.list_screen.prompt.message
        for results in ([39, 31], list(range(20)), list(range(20, 40))):
            for index in results:
                result = done.measurements[index]
                assert result is not None
                fresh.take(index, result)
            app.list_screen.measured(results)
            await pilot.pause()
            assert app.list_screen.row == row
            assert app.list_screen.pairs.scroll_offset.y == top
        assert fresh.failing == [12, 13, 31]
        await pilot.press("f")
        assert app.list_screen.row == 12


async def test_only_diverged_takes_up_new_results_under_the_cursor(
    small_pair: tuple[Path, Path],
) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 24)) as pilot:
        await measured(pilot, app)
        done = app.list_screen.comparison
        assert done is not None
        fresh = Comparison(done.reference, done.candidate)
        app.list_screen.aligned(fresh)
        for index in (31, 12):
            result = done.measurements[index]
            assert result is not None
            fresh.take(index, result)
            app.list_screen.measured([index])
            if index == 31:
                await pilot.press("d")
            assert app.list_screen.row == 31
        assert list(app.list_screen.pairs.view) == [12, 31]


async def _until_measuring(pilot: Pilot[None], app: LayertuiApp) -> None:
    await until(pilot, lambda: app.list_screen.comparison is not None)


async def test_ctrl_c_stops_the_work_and_then_quits(big_pair: tuple[Path, Path]) -> None:
    app = make_app(*big_pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await _until_measuring(pilot, app)
        await pilot.press("ctrl+c")
        await measured(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None
        assert "stopped at" in app.list_screen.prompt.message
        assert comparison.measured < comparison.to_measure
        await pilot.press("ctrl+c")
    assert app.return_code == 0


async def test_quitting_while_measuring_stops_it(big_pair: tuple[Path, Path]) -> None:
    app = make_app(*big_pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await _until_measuring(pilot, app)
        job = app.controllers.comparing.job
        assert isinstance(job, Job)
        await pilot.press("q")
    assert job.stopped()
    assert app.return_code == 0


async def test_palette_offers_the_keys(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        await pilot.press("ctrl+p")
        await pilot.pause()
        assert isinstance(app.screen, CommandPalette)
        await pilot.press(*"first")
        await pilot.pause(0.3)
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, ListScreen))
        assert app.list_screen.row == 12


async def test_mouse(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 24)) as pilot:
        await measured_from_top(pilot, app)
        await pilot.click("#list", offset=(10, 6))
        assert app.list_screen.row == 6
        await pilot.click("#list", offset=(10, 6), times=2)
        await until(pilot, lambda: isinstance(app.screen, PairScreen))


async def test_a_file_that_shrinks_is_shown_unreadable(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 40)) as pilot:
        await measured_from_top(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None
        comparison.take(0, Failure("cut short while it was read", "candidate"))
        app.list_screen.measured([0])
        app.list_screen.ended()
        assert "UNREADABLE" in app.list_screen.pairs.render_line(0).text
        assert any("cut short" in field.value for field in pane_fields(comparison, 0))
        sections = page_fields(Scene(comparison, 0))
        assert any("cut short" in field.value for _, fields in sections for field in fields)
        assert "1 UNREADABLE" in app.list_screen.query_one("#counts", Lines).texts[0]


@pytest.mark.parametrize(
    ("size", "classes"),
    [((80, 24), set()), ((120, 30), {"-below"}), ((90, 30), {"-below", "-one"}),
     ((200, 50), {"-beside"}), ((250, 70), {"-beside"}), ((59, 24), {"-small"}),
     ((80, 14), {"-small"}), ((60, 15), set())],
)  # fmt: skip
async def test_layout_follows_the_size(
    size: tuple[int, int], classes: set[str], small_pair: tuple[Path, Path]
) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=size) as pilot:
        await measured(pilot, app)
        shown = {name for name in ("-small", "-beside", "-below", "-one")
                 if app.list_screen.has_class(name)}  # fmt: skip
        assert shown == classes
        if "-small" in classes:
            text = app.list_screen.query_one("#small", Lines).texts[0]
            assert text.startswith("terminal too small")
        else:
            assert app.list_screen.pairs.size.height >= 8


async def test_search_finds_what_the_list_shows(small_pair: tuple[Path, Path]) -> None:
    """Names stand there as `L2 self_attn.q_proj`, not as the dump has them."""
    app = make_app(*small_pair)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        await type_line(pilot, "slash", "q_proj L2")
        assert label(app).startswith("layers.2.self_attn.q_proj")


async def test_the_usual_policy_has_no_thresholds(real: Path) -> None:
    app = olmo(real)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None
        before = len(comparison.failing)
        await type_line(pilot, "colon", "threshold mse=1e-5")
        assert len(comparison.failing) < before
        counts = app.list_screen.query_one("#counts", Lines).texts[0]
        assert "  policy fixed" in counts  # whole, on 80 columns
        await type_line(pilot, "colon", "policy noise")
        assert len(comparison.failing) == before
        assert comparison.policy.name == "noise"


async def test_a_fused_slice_taken_apart_can_be_put_back(real: Path) -> None:
    """By hand it could not: its other half still belongs to the other parts."""
    app = olmo(real)
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None
        rows = comparison.rows
        await type_line(pilot, "colon", "goto 7")
        assert label(app) == "layers.0.self_attn.q_proj-output"
        await pilot.press("P")
        await settled(pilot)
        assert comparison.rows[7].kind == "gap_reference"
        await pilot.press("P")
        await settled(pilot)
        assert comparison.rows == rows


@pytest.mark.parametrize("size", [(80, 24), (60, 15)])
async def test_nothing_that_is_there_to_read_is_cut(
    small_pair: tuple[Path, Path], size: tuple[int, int]
) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(200, 50)) as pilot:
        await measured(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None
        note = "a note that goes on and on " * 6
        comparison.remarks = (Note("candidate", note),)
        wanted = [key.description for key in keys_of("list")]
        wanted += [command.description for command in COMMANDS]
        for opened, words in (("question_mark", wanted), (None, [note.strip()])):
            if opened is not None:
                await pilot.press(opened)
            else:
                await type_line(pilot, "colon", "notes")
            assert isinstance(app.screen, TextScreen)
            await pilot.resize_terminal(*size)
            await until(pilot, lambda: app.screen.size.width == size[0])
            await pilot.pause()
            texts = app.screen.query_one(ScrolledLines).texts
            assert max(cell_len(text) for text in texts) <= size[0]
            whole = " ".join(" ".join(texts).split())
            assert [each for each in words if " ".join(each.split()) not in whole] == []
            await pilot.press("escape")
            await pilot.resize_terminal(200, 50)


async def test_news_of_a_job_after_the_screens_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, held = make_app(*write_pair(tmp_path, 20)), list[JobNews]()
    original = LayertuiApp.on_job_news
    async with app.run_test() as pilot:
        await measured(pilot, app)
        monkeypatch.setattr(LayertuiApp, "on_job_news", lambda _, message: held.append(message))
        await type_line(pilot, ":", "reload")
        await until(pilot, lambda: held and isinstance(held[-1].news, Ended))
    for message in held:
        original(app, message)


async def test_layers_of_a_single_file_are_short(tmp_path: Path) -> None:
    """The names of a file come to light with its headers only."""
    tensors = {f"model.layers.{n}.mlp": [1.0, 2.0] for n in range(3)}
    places = [write_safetensors(tmp_path / f"{side}.safetensors", tensors) for side in "ab"]
    app = make_app(*places)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        model = app.list_screen.model
        assert model is not None
        left = [model.line(row).left for row in range(3)]
        assert [side.name for side in left if side] == ["L0 mlp", "L1 mlp", "L2 mlp"]
