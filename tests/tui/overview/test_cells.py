"""What a cell of the map is: the worst of its rows, and each paired output in exactly one."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.demo.shipped import unpack
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.judging.policy import policy_named
from layertui.compare.model import Verdict
from layertui.compare.vocabulary import FAILING, LEVELS, Level, Origin
from layertui.tui.list.folds.fold_summary import RANK
from layertui.tui.overview.cells import LayerMap, layer_map
from layertui.tui.overview.map_cursor import MapCursor
from layertui.tui.overview.map_picture import MapPicture, Window
from layertui.tui.overview.map_words import cell_words
from layertui.tui.overview.quantities import quantities
from layertui.tui.overview.series import trend_of
from layertui.tui.present.opening import opening_row
from layertui.tui.terminal import Terminal
from layertui.tui.theme import Look
from support.screens.tui_captures import PARTS, write_pair, write_safetensors


def compared(reference: Path | str, candidate: Path | str) -> Comparison:
    comparison = open_comparison(str(reference), str(candidate))
    assert comparison.measure(use_cache=False)
    return comparison


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """The demo's model of six layers: down_proj of layer 3 is 1 % too large."""
    return compared(*unpack(str(tmp_path_factory.mktemp("scaled")), "weight-scale"))


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Eight layers of ten modules; q_proj is off in each."""
    folder = tmp_path_factory.mktemp("everywhere")
    return compared(*write_pair(folder, 80, tuple(range(1, 80, len(PARTS)))))


def at(found: LayerMap, component: str, layer: str) -> tuple[int, int]:
    return found.components.index(component), found.layers.index(layer)


def assert_is_sound(comparison: Comparison, found: LayerMap) -> None:
    """Each paired output is in one cell, and each cell is as bad as the worst of its rows."""
    within = Counter(row for cell in found.cells.values() for row in cell.rows)
    outputs = {row.index for row in comparison.rows if row.kind == "pair" and row.role == "output"}
    assert outputs <= set(within) and set(within.values()) == {1}
    for cell in found.cells.values():
        verdicts = [comparison.verdicts[row] for row in cell.rows]
        assert RANK[cell.level] == max(RANK[verdict.level] for verdict in verdicts)
        assert cell.made == any(v.fails and v.origin == "made" for v in verdicts)
        assert cell.row in cell.rows
        assert cell.made or comparison.verdicts[cell.row].level == cell.level
        assert list(cell.rows) == sorted(cell.rows)


def test_rows_and_badges(scaled: Comparison) -> None:
    found = layer_map(scaled, "mse")
    assert_is_sound(scaled, found)
    assert [found.label(layer) for layer in range(len(found.layers))] == [*"-012345-"]
    cell = found.cells[at(found, "mlp.down_proj", "layers.3")]
    assert cell.made and cell.level == "diverged" and cell.row == scaled.first_index
    assert cell.ratio is not None and cell.ratio > 1000
    usual = found.cells[at(found, "mlp.down_proj", "layers.2")]
    assert not usual.fails and usual.ratio is not None and usual.ratio < 3
    norm = found.cells[at(found, "input_layernorm", "layers.2")]
    assert norm.local is not None and norm.local < 5 and not norm.breaks_law
    counts = dict(zip(found.components, found.counts, strict=True))
    assert counts["mlp.down_proj"] == (1, 6) and counts["embed_tokens"] == (0, 1)
    assert sum(off for off, _ in counts.values()) == 1


def test_an_error_that_an_input_brings_is_that_of_its_component(tmp_path: Path) -> None:
    comparison = compared(*unpack(str(tmp_path), "attention-scale"))
    found = layer_map(comparison, "mse")
    cell = found.cells[at(found, "self_attn.o_proj", "layers.3")]
    assert cell.row == comparison.first_index
    assert comparison.rows[cell.row].role == "input"


def test_a_component_that_is_off_in_every_layer(everywhere: Comparison) -> None:
    found = layer_map(everywhere, "mse")
    assert_is_sound(everywhere, found)
    counts = dict(zip(found.components, found.counts, strict=True))
    assert counts.pop("self_attn.q_proj") == (8, 8)
    assert set(counts.values()) == {(0, 8)}


def test_by_limits_what_fails_is_off(everywhere: Comparison, scaled: Comparison) -> None:
    assert not layer_map(everywhere, "mse").counts[0][0]
    comparison = Comparison(scaled.reference, scaled.candidate, None, policy_named("fixed"))
    comparison.measure(use_cache=False)
    found = layer_map(comparison, "mse")
    assert not found.by_origin
    failing = {key for key, cell in found.cells.items() if cell.fails}
    assert failing and sum(off for off, _ in found.counts) == len(failing)


def test_before_anything_is_measured(scaled: Comparison) -> None:
    comparison = Comparison(scaled.reference, scaled.candidate)
    found = layer_map(comparison, "mse")
    assert_is_sound(comparison, found)
    assert {cell.level for cell in found.cells.values()} == {"pending"}
    assert found.measured == 0 < found.total
    assert set(found.counts) == {(0, 0)}


def test_components_without_a_pair_are_left_out_and_experts_are_one(tmp_path: Path) -> None:
    names = [f"layers.{layer}.mlp.experts.{expert}.up_proj-output" for layer in (0, 1)
             for expert in range(3)]  # fmt: skip
    values = {name: [1.0, 2.0, 3.0 + at] for at, name in enumerate(names)}
    write_safetensors(tmp_path / "ref" / "a.safetensors", {**values, "extra-output": [1.0]})
    write_safetensors(tmp_path / "cand" / "a.safetensors", values)
    comparison = compared(tmp_path / "ref", tmp_path / "cand")
    found = layer_map(comparison, "mse")
    assert found.components == ("mlp.experts.*.up_proj",)
    assert [len(cell.rows) for cell in found.cells.values()] == [3, 3]


def test_a_map_of_nothing_has_a_cursor() -> None:
    cursor = MapCursor(LayerMap("mse", (), (), {}, True, 0, 0))
    assert cursor.start(None) == (0, 0)
    assert cursor.next_of((0, 0), 1, lambda cell: True) is None


_ORIGINS: tuple[Origin | None, ...] = (None, "made", "inherited", "none")


@settings(max_examples=25, deadline=None)
@given(
    changed=st.lists(
        st.tuples(st.integers(0, 10_000), st.sampled_from(LEVELS), st.sampled_from(_ORIGINS)),
        max_size=30,
    )
)
def test_whatever_the_verdicts_are(
    scaled: Comparison, changed: list[tuple[int, Level, Origin | None]]
) -> None:
    before = list(enumerate(scaled.verdicts))
    try:
        for row, level, origin in changed:
            scaled.verdicts[row % len(before)] = Verdict(level, origin=origin)
        found = layer_map(scaled, "mse")
        assert_is_sound(scaled, found)
        assert_cursor_walks(found)
    finally:
        for row, verdict in before:
            scaled.verdicts[row] = verdict


def assert_cursor_walks(found: LayerMap) -> None:
    """`]` from the top meets every failing cell once, `[` the same backwards."""
    cursor = MapCursor(found)
    failing = [key for key in found.in_order if found.cells[key].level in FAILING]
    first = found.in_order[0]
    met = [first] if found.cells[first].fails else []
    key: tuple[int, int] | None = first
    while (key := cursor.next_of(key, 1, lambda cell: cell.fails)) is not None:
        met.append(key)
    assert met == failing
    back = met[-1:]
    while back and (key := cursor.next_of(back[-1], -1, lambda cell: cell.fails)) is not None:
        back.append(key)
    assert back[::-1] == failing


def test_rows_are_found_on_the_map(scaled: Comparison) -> None:
    found = layer_map(scaled, "mse")
    for row in scaled.rows:
        key = found.key_of(row)
        if row.kind == "pair" and row.role == "output":
            assert key is not None and row.index in found.cells[key].rows
        elif key is not None:
            layer, component = found.layers[key[1]].strip(), found.components[key[0]]
            if component != "layer":
                assert row.canonical == ".".join(filter(None, (layer, component)))


def test_the_cursor_starts_on_the_row_or_the_first_error_and_stays_inside(
    scaled: Comparison,
) -> None:
    found = layer_map(scaled, "mse")
    cursor = MapCursor(found)
    off = at(found, "mlp.down_proj", "layers.3")
    assert cursor.start(None) == off
    assert cursor.start((1, 1)) == (1, 1)
    assert cursor.moved(off, -100, -100) == (0, 0)
    assert cursor.moved(off, 100, 100) == (len(found.components) - 1, len(found.layers) - 1)
    empty = at(found, "embed_tokens", "layers.3")
    assert empty not in found.cells
    following = cursor.next_of(empty, 1, lambda cell: cell.made)
    assert following == off


def test_what_passes_in_another_order_has_no_error(tmp_path: Path) -> None:
    """Its number is that of the order that is not right: map, trend and opening leave it out."""
    comparison = compared(*write_pair(tmp_path, 20, (3,)))
    row = comparison.rows[3]
    assert row.index == opening_row(comparison)
    comparison.verdicts[3] = Verdict("ok", "permuted: the same values in another layout")
    found = layer_map(comparison, "mse")
    key = found.key_of(row)
    assert key is not None and found.cells[key].error is None
    words = cell_words(comparison, found, key)
    assert "permuted" in words and "MSE" not in words
    picture = MapPicture.whole(Look(Terminal()), found, quantities("mse")[0])
    line = "".join(text for text, _ in picture.lines(Window(), key)[1 + key[0]])
    assert "\u00b7" in line and "\u2588" not in line
    trend = trend_of(comparison, "mse")
    assert math.isnan(trend.errors[trend.rows.index(3)])
    assert trend.greatest is None or trend.rows[trend.greatest] != 3
