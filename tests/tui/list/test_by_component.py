"""`:by component`: what each kind of module adds, one line each."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import median

import pytest
from rich.cells import cell_len

from layertui.capture.demo.shipped import unpack
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.model import Failure, Verdict
from layertui.compare.reports.component_growth import ComponentGrowth, growth_by_component
from layertui.compare.reports.summary import component_of
from layertui.tui.present.by_component import component_lines
from layertui.tui.terminal import Terminal
from layertui.tui.theme import Look
from layertui.tui.widgets.lines import ScrolledLines
from layertui.tui.widgets.text_screen import TextScreen
from support.screens.tui_captures import make_app, measured, type_line, write_safetensors


def compared(folder: Path, fault: str) -> Comparison:
    comparison = open_comparison(*unpack(str(folder), fault))
    assert comparison.measure(use_cache=False)
    return comparison


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """down_proj of layer 3 is 1 % too large."""
    return compared(tmp_path_factory.mktemp("scaled"), "weight-scale")


def named(found: list[ComponentGrowth]) -> dict[str, ComponentGrowth]:
    assert len({each.name for each in found}) == len(found)
    return {each.name: each for each in found}


def text_of(comparison: Comparison, terminal: Terminal | None = None) -> list[str]:
    lines = component_lines(comparison, Look(terminal or Terminal()))
    return ["".join(text for text, _ in pieces) for pieces in lines]


def test_the_component_with_the_fault_comes_first(scaled: Comparison) -> None:
    found = growth_by_component(scaled)
    first = found[0]
    assert first.name == "down_proj" and first.rows == 6
    assert first.worst is not None and first.median is not None and first.worst_row is not None
    assert scaled.rows[first.worst_row].canonical == "layers.3.mlp.down_proj"
    assert first.worst > 1000 and first.median < 2
    assert first.level == "diverged"
    others = [each.worst for each in found[1:] if each.worst is not None]
    assert max(others) < 2  # what they inherited is none of theirs


def test_the_numbers_are_those_of_the_judge(scaled: Comparison) -> None:
    """Every output belongs to one component, and none is left out."""
    facts = scaled.analysis().facts
    found = named(growth_by_component(scaled))
    outputs = [row for row in scaled.rows if row.role == "output"]
    assert sum(each.rows for each in found.values()) == len(outputs)
    for name, growth in found.items():
        rows = [row for row in outputs if component_of(row) == name]
        grown = [facts[row.index].amplification for row in rows if row.index in facts]
        assert growth.worst == (max(grown) if grown else None)
        assert growth.median == (median(grown) if grown else None)
        gaps = sum(row.kind != "pair" for row in rows)
        assert dict(growth.told).get("missing", 0) == gaps
        assert (growth.worst_row is None) is (not grown)


def test_an_error_that_an_input_brings_is_told_as_the_inputs(tmp_path: Path) -> None:
    comparison = compared(tmp_path, "attention-scale")
    found = growth_by_component(comparison)
    assert found[0].name == "o_proj input"
    assert found[0].worst_row == comparison.first_index
    assert sum(each.name.endswith(" input") for each in found) == 1


def test_where_nan_first_appears_comes_before_any_number(tmp_path: Path) -> None:
    comparison = compared(tmp_path, "nan-row")
    first, *rest = growth_by_component(comparison)
    assert (first.name, first.worst) == ("down_proj", math.inf)
    assert first.worst_row == comparison.first_index
    assert all(each.worst != math.inf for each in rest)
    line = next(text for text in text_of(comparison) if "down_proj" in text)
    assert " NAN " in line and "N2" in line


def test_what_has_no_numbers_and_what_is_doubtful_is_told(tmp_path: Path) -> None:
    comparison = compared(tmp_path, "weight-scale")
    rows = [row.index for row in comparison.rows if row.canonical.endswith("mlp.down_proj")
            and row.role == "output"]  # fmt: skip
    comparison.take(rows[0], Failure("cut short", "candidate"))
    comparison.settle()
    comparison.verdicts[rows[3]] = Verdict("drift", doubtful="another tensor")
    growth = named(growth_by_component(comparison))["down_proj"]
    assert growth.level == "unreadable" and growth.doubtful == 1
    assert growth.worst is not None and growth.worst < 2  # the doubtful pair counts for nothing
    line = next(text for text in text_of(comparison) if "  down_proj " in text)
    assert "?1" in line and "1 doubtful" in line


def test_lines_fit_a_terminal_of_80_columns(scaled: Comparison) -> None:
    for terminal in (Terminal(), Terminal("none", ascii=True)):
        texts = text_of(scaled, terminal)[2:]
        assert max(cell_len(text) for text in texts) <= 80
        assert texts[0].split() == ["component", "rows", "median", "worst", "in", "row", "rel",
                                    "L2"]  # fmt: skip
    assert all(text.isascii() for text in text_of(scaled, Terminal("none", ascii=True)))


async def test_the_command(small_pair: tuple[Path, Path]) -> None:
    app = make_app(*small_pair)
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        await type_line(pilot, "colon", "by")
        assert "by what?" in app.said
        await type_line(pilot, "colon", "by component")
        assert isinstance(app.screen, TextScreen)
        text = "\n".join(app.screen.query_one(ScrolledLines).texts)
        assert "k_proj" in text and "█1" in text
        await pilot.press("q")
        comparison = app.list_screen.comparison
        assert comparison is not None
        app.session.comparison = Comparison(comparison.reference, comparison.candidate)
        await type_line(pilot, "colon", "by component")
        assert "when all rows are measured" in app.said


def test_captures_of_one_tensor_a_module_have_components(tmp_path: Path) -> None:
    """Names without `-output`, as hooks of one's own write them, with a weight among them."""
    for side in ("reference", "candidate"):
        (tmp_path / side).mkdir()
        wrong = 1.1 if side == "candidate" else 1.0
        tensors = {f"model.layers.{n}.mlp": [1.0, 2.0, 3.0 * wrong] for n in range(3)}
        tensors["model.layers.0.mlp.weight"] = [1.0, 2.0, 4.0]
        write_safetensors(tmp_path / side / "dump.safetensors", tensors)
    comparison = open_comparison(str(tmp_path / "reference"), str(tmp_path / "candidate"))
    assert comparison.measure(use_cache=False)
    assert {row.role for row in comparison.rows} == {"value"}
    found = named(growth_by_component(comparison))
    assert found.keys() == {"mlp"} and found["mlp"].rows == 3
    assert any("  mlp " in text for text in text_of(comparison))
