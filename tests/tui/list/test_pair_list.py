"""Lines of the list: names, columns, gaps, notes, harmless text, views."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from layertui.capture.records import Capture, Record
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.model import Row, Verdict
from layertui.tui.list.columns import columns_for, heading
from layertui.tui.list.kept_place import find_row
from layertui.tui.list.pair_list import PairList
from layertui.tui.list.row_model import (
    ComparedRows,
    View,
    position,
    row_key,
    rows_in_view,
    view_words,
)
from layertui.tui.present.short_names import ShortNames, block_of
from layertui.tui.present.text import clean, cut, elide, fit, metric_number, number, width_of, wrap
from layertui.tui.terminal import Terminal
from layertui.tui.theme import LOOKS
from support.screens.tui_captures import (
    PARTS,
    make_app,
    measured,
    settled,
    write_pair,
    write_safetensors,
)


@given(st.text(max_size=60), st.integers(2, 40))
@settings(max_examples=150, deadline=None)
def test_text_is_harmless_and_has_its_width(text: str, width: int) -> None:
    shown = clean(text)
    assert shown.isprintable()
    for cell in (elide(shown, width), fit(shown, width)):
        assert cell_len(cell) == width
        assert cell.isprintable()
    assert width_of(cut(shown, width)) <= width
    assert all(width_of(line) <= width for line in wrap(shown, width))
    assert clean(text, ascii_only=True).isascii()


def test_escapes_are_shown() -> None:
    assert clean("a\x1b[31m\u202eb\n") == "a\\x1b[31m\\u202eb\\n"


def test_elision_keeps_layer_and_tail() -> None:
    name = "L12 post_attention_layernorm.weight_scale"
    shown = elide(name, 24)
    assert shown.startswith("L12 …")
    assert name.endswith(shown[5:])


def test_wrapping_loses_nothing() -> None:
    text = "model.layers.0.self_attn.q_norm-output is above the limit; greatest at [3, 24]"
    assert "".join(wrap(text, 17)).replace(" ", "") == text.replace(" ", "")


def test_wrapped_text_that_is_cut_ends_in_the_dots_of_the_terminal() -> None:
    assert wrap("a name that is too long", 8, 2, "..") == ["a name", "that i.."]


@pytest.mark.parametrize(
    ("metric", "value", "shown"),
    [
        ("mse", 3.14e-14, "3.1e-14"),
        ("mse", 0.0, "0"),
        ("mse", None, "-"),
        ("mse", float("nan"), "NaN"),
        ("mse", float("inf"), "Inf"),
        ("ulp", 12.0, "12"),
        ("cosine", 1.0, "1"),
        ("cosine", 1 - 2e-9, "1-2.0e-09"),
        ("cosine", -0.25, "-0.25000"),
    ],
)
def test_numbers(metric: str, value: float | None, shown: str) -> None:
    assert metric_number(metric, value) == shown
    assert width_of(shown) <= 9


def test_numbers_fit_their_column() -> None:
    for value in (1.2345e-300, -9.99e250, 99_999.0, 123_456.0, 0.1):
        assert len(number(value)) <= 9


@pytest.mark.parametrize("width", [60, 80, 100, 120, 142, 200, 250])
@pytest.mark.parametrize("rows", [1, 10_000, 100_000])
def test_columns_fill_the_width(width: int, rows: int) -> None:
    columns = columns_for(width, rows, 12)
    shape = columns.shape + 1 if columns.shape else 0
    used = 1 + columns.number + 1 + columns.name + columns.right_name
    used += 2 * shape + 4 + columns.badge
    assert used == width
    assert columns.name >= 15
    assert len(heading(columns, "relative_l2")) <= width


def test_short_names() -> None:
    records = [
        Record(f"model.model.layers.{i}.{part}-output", f"model.model.layers.{i}.{part}", "output")
        for i in range(3)
        for part in PARTS
    ]
    other = Record("x", "model.vision.layers.1.mlp", "output", call=2)
    top = Record("y", "model.lm_head", "input_0")
    capture = Capture("p", "f", [*records, other, top], "", True, root="model")
    names = ShortNames(capture)
    assert names.short(records[0]) == "L0 input_layernorm"
    assert names.short(other) == "model.vision.layers.1 mlp(2)"
    assert names.short(top) == "lm_head-input_0"
    different = {(record.module, record.call, record.slot) for record in capture.records}
    assert len({names.short(record) for record in capture.records}) == len(different)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("/model/layers.{}/self_attn/q_proj/MatMul_output_0", "L{} self_attn/q_proj/MatMul"),
        ("model/layers_{}/mlp/__call__/0", "L{} mlp/__call__/0"),
        ("model_layers_{}_self_attn_q_proj", "L{} self_attn_q_proj"),
        ("blk.{}.attn_q.weight", "L{} attn_q.weight"),
        ("rank1/model.layers.{}.mlp", "rank1/L{} mlp"),
        ("path.{}.of_a_branch", "path.{}.of_a_branch"),
    ],
)
def test_names_that_other_tools_give_are_short_and_tell_the_layer(name: str, short: str) -> None:
    names = [name.format(number) for number in range(3)]
    names += [f"rank0/{each}" for each in names if not each.startswith("rank")]
    capture = Capture("p", "f", [Record(n, n, "output") for n in names], "", True)
    shown = [ShortNames(capture).short(record) for record in capture.records]
    assert shown[:3] == [short.format(number) for number in range(3)]
    assert len(set(shown)) == len(names)


def test_step_and_layer_are_kept_where_a_name_is_cut() -> None:
    assert elide("s0 L12 post_attention_layernorm", 24) == "s0 L12 …ention_layernorm"
    assert elide("L12 post_attention_layernorm", 20) == "L12 …ntion_layernorm"
    assert elide("s0 L12 post_attention_layernorm", 12) == "s0 …ayernorm"


def test_blocks() -> None:
    assert block_of("layers.3.mlp.down_proj") == block_of("layers.3") == "layers.3"
    assert block_of("embed_tokens") == "embed_tokens"


def test_every_level_has_its_own_glyph() -> None:
    for glyphs in (
        [look.glyph for look in LOOKS.values()],
        [look.ascii for look in LOOKS.values()],
    ):
        assert len(set(glyphs)) == len(LOOKS)
        assert all(cell_len(glyph) == 1 for glyph in glyphs)
    assert all(look.ascii.isascii() for look in LOOKS.values())


@pytest.fixture
def small(small_pair: tuple[Path, Path]) -> Comparison:
    comparison = open_comparison(str(small_pair[0]), str(small_pair[1]))
    assert comparison.measure(use_cache=False)
    return comparison


def test_views_are_ranges_or_lists_of_numbers(small: Comparison) -> None:
    model = ComparedRows(small)
    assert rows_in_view(model, View("everything")) == range(40)
    assert list(rows_in_view(model, View("everything", only=True))) == [12, 13, 31]
    found = rows_in_view(model, View("everything", filter="Q_PROJ layers.2"))
    assert [small.rows[row].canonical for row in found] == ["layers.2.self_attn.q_proj"]
    assert position([3, 7, 9], 8) == 2
    assert position([], 8) == 0


def test_rows_are_found_again_by_their_records(small: Comparison) -> None:
    again = open_comparison(small.reference.path, small.candidate.path)
    for row in small.rows:
        assert find_row(again.rows, row_key(row)) == row.index
        assert find_row(_NoOther(again.rows), row_key(row), row.index) == row.index
        assert find_row(again.rows, row_key(row), row.index + 1) == row.index
    assert find_row(again.rows, row_key(small.rows[3]), 1000) == 3


def test_a_record_without_a_partner_is_found_before_the_last_row(small: Comparison) -> None:
    row = small.rows[3]
    gap = (row_key(row)[0], None, row.canonical)
    rows = _NotBehind(small.rows)
    rows.last = 3
    assert find_row(rows, gap) == 3


class _NoOther(tuple[Row, ...]):
    """Rows that are not gone through."""

    def __iter__(self) -> Iterator[Row]:
        raise AssertionError("other rows are looked at")


class _NotBehind(tuple[Row, ...]):
    """Rows that are gone through up to `last`."""

    last = 0

    def __iter__(self) -> Iterator[Row]:
        for at, row in enumerate(super().__iter__()):
            assert at <= self.last, "rows behind it are looked at"
            yield row


def _strange(folder: Path) -> tuple[Path, Path]:
    evil = "model.layers.0.\x1b[31m[bold red]x[/]\n-output"
    names = {evil: [1.0], "model.layers.1.mlp-output": [2.0], "model.only_here-output": [1.0]}
    ref = write_safetensors(folder / "ref" / "model.safetensors", names).parent
    cut_short = write_safetensors(folder / "cand" / "model.safetensors", {evil: [1.0]})
    truncated = folder / "cand" / "model.layers.1.mlp-output.npy"
    truncated.write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr'")
    return ref, cut_short.parent


def _with(part: str, texts: list[str]) -> str:
    found = [text for text in texts if part in text]
    assert found, f"no {part!r} in {texts}"
    return found[0]


async def test_gaps_reasons_and_untrusted_names(tmp_path: Path) -> None:
    app = make_app(*_strange(tmp_path))
    async with app.run_test(size=(160, 40)) as pilot:
        await measured(pilot, app)
        pairs = app.list_screen.pairs
        texts = [pairs.render_line(y).text for y in range(len(pairs.view))]
        assert all(text.isprintable() for text in texts)
        assert all(cell_len(text) == pairs.size.width for text in texts)
        assert any("\\x1b[31m[bold red]x[/]\\n" in text for text in texts)
        alone = _with("only_here", texts)
        assert "╌╌╌╌" in alone
        assert "gap" in alone
        broken = _with("UNREADABLE", texts)
        assert "mlp" in broken
        assert "cut short" in broken or "header" in broken or "truncated" in broken


async def test_partial_rows_say_so(tmp_path: Path) -> None:
    for side in ("py", "cpp"):
        numbers = "\n".join("1.000000e+00" for _ in range(50))
        text = (
            "# Tensor: layer_0_attn_norm_output\n# Shape: 1x3x2048\n# Total elements: 6144\n"
            f"# Data:\n# First 50 elements:\n{numbers}\n# Last 50 elements:\n{numbers}\n"
        )
        (tmp_path / f"{side}_layer_0_attn_norm_output.txt").write_text(text)
    app = make_app(tmp_path, tmp_path)
    async with app.run_test(size=(200, 50)) as pilot:
        await measured(pilot, app)
        assert "partial 100 of 6144" in app.list_screen.pairs.render_line(0).text
        values = app.list_screen.query_one("#left .values")
        assert any("partial 100 of 6144" in text for text in values.texts)  # type: ignore[attr-defined]


async def test_ascii_rows_are_ascii(tmp_path: Path) -> None:
    app = make_app(*_strange(tmp_path), Terminal(ascii=True))
    async with app.run_test(size=(100, 40)) as pilot:
        await measured(pilot, app)
        pairs = app.list_screen.pairs
        assert all(pairs.render_line(y).text.isascii() for y in range(8))


async def test_scrolling_by_steps_jumps_over_ssh(tmp_path: Path) -> None:
    app = make_app(*write_pair(tmp_path, 100), Terminal(scroll_jump=8))
    async with app.run_test(size=(100, 24)) as pilot:
        await measured(pilot, app)
        pairs = app.list_screen.query_one(PairList)
        height = pairs.size.height
        for _ in range(height - 1):
            await pilot.press("j")
        assert pairs.scroll_offset.y == 0
        await pilot.press("j")
        assert pairs.scroll_offset.y == 8
        await pilot.press("j")
        assert pairs.scroll_offset.y == 8
        await settled(pilot)


def test_numbers_of_another_order_are_not_shown_for_what_is_right(
    small_pair: tuple[Path, Path],
) -> None:
    comparison = open_comparison(*map(str, small_pair))
    comparison.measure(use_cache=False)
    rows = ComparedRows(comparison)
    assert rows.value(12, "mse") not in ("", "permuted")
    for level, shown in (("ok", True), ("diverged", False)):
        verdict = Verdict(level, "permuted: the same values in another layout, two heads swapped")
        comparison.verdicts[12] = verdict
        assert verdict.permuted is shown
        assert (rows.value(12, "mse") == "permuted") is shown


def test_where_there_are_no_inputs_nothing_is_said_of_outputs(
    small_pair: tuple[Path, Path],
) -> None:
    rows = ComparedRows(open_comparison(*map(str, small_pair)))
    assert not rows.has_inputs
    assert view_words(rows, View()) == ""
    assert view_words(rows, View(only=True)) == "only diverged"
    assert view_words(None, View()) == "outputs"
