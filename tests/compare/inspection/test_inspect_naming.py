"""Rows by name, and command lines that a shell reads back."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.compare.comparison import open_comparison
from layertui.compare.inspection.naming import (
    NoSuchNameError,
    command_line,
    module_names,
    names,
    record_named,
    row_named,
    rows_called,
    telling_name,
)

PAIRS = ["llama-f32", "llama_v3-f32", "llama_steps-f32", "llama_batch_steps-f32", "qwen3-f32"]


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("name", PAIRS)
def test_every_row_has_a_name_that_leads_back(real: Path, name: str, swapped: bool) -> None:
    sides = [str(real / name / side) for side in ("torch_dump", "max_dump")]
    comparison = open_comparison(*(reversed(sides) if swapped else sides))
    assert len(comparison.rows) > 60
    for row in comparison.rows:
        found = telling_name(comparison, row)
        assert found in (*names(row), f"#{row.index}")
        assert row_named(comparison, found, row.step or None).index == row.index


def test_a_fused_record_is_called_by_its_parts(real: Path) -> None:
    sides = [str(real / "llama-f32" / side) for side in ("torch_dump", "max_dump")]
    comparison = open_comparison(*sides)
    fused = "model.layers.layers.0.self_attn.qkv_proj-output"
    with pytest.raises(NoSuchNameError, match=r"matches 3 rows: .*q_proj-output"):
        row_named(comparison, fused, None)
    row = row_named(comparison, "layers.0.self_attn.k_proj-output", None)
    assert row.candidate is not None and row.candidate.name == fused
    assert row_named(comparison, f"#{row.index}", None) is row
    assert row_named(comparison, f"#{row.index}", 0) is row
    with pytest.raises(NoSuchNameError, match="no record '#99999'"):
        row_named(comparison, "#99999", None)
    with pytest.raises(NoSuchNameError, match=r"no record 'nope' in step 7 in .*torch_dump"):
        row_named(comparison, "nope", 7)
    with pytest.raises(NoSuchNameError, match=r"matches 84 records: .*, \.{3}$"):
        record_named(comparison.reference, "", None)


def test_all_rows_that_a_name_means(real: Path) -> None:
    sides = [str(real / "llama-f32" / side) for side in ("torch_dump", "max_dump")]
    comparison = open_comparison(*sides)
    norm = row_named(comparison, "layers.0.input_layernorm-output", None)
    assert rows_called(comparison, norm.label) == [norm]
    assert rows_called(comparison, f"#{norm.index}") == [norm]
    assert norm.reference is not None
    assert rows_called(comparison, norm.reference.name) == [norm]
    whole = rows_called(comparison, norm.canonical)
    assert whole == [row for row in comparison.rows if row.canonical == norm.canonical]
    assert len(whole) > 1 and rows_called(comparison, norm.reference.module) == whole
    assert norm.reference.module in module_names(norm) and norm.canonical in module_names(norm)
    parts = rows_called(comparison, "input_layernorm-out")
    assert norm in parts and len(parts) == 2
    fused = rows_called(comparison, "model.layers.layers.0.self_attn.qkv_proj-output")
    assert [row.canonical.rpartition(".")[2] for row in fused] == ["q_proj", "k_proj", "v_proj"]
    assert rows_called(comparison, "nope") == []


WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


@given(st.lists(WORDS, max_size=4))
@settings(max_examples=40, deadline=None)
def test_a_shell_reads_the_words_back(words: list[str]) -> None:
    line = command_line(["printf", "%s\\0"], words, [])
    assert line.isprintable()
    line = line.replace(" -- ", " ", 1) if any(word.startswith("-") for word in words) else line
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=True)
    wanted = [word.encode() for word in words] or [b""]
    assert done.stdout.split(b"\0")[:-1] == wanted


def test_places_like_options_come_last() -> None:
    assert command_line(["x"], ["a", "-output"], ["--top", "3"]) == "x --top 3 -- a -output"
    assert command_line(["x"], ["a b", "c"], ["--top", "3"]) == "x 'a b' c --top 3"
