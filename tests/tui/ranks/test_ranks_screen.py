"""What the screen says of runs on several ranks, without a terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from layertui.compare.checks.two_sides import check_pair, note_findings
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.reports.row_report import row_report
from layertui.tui.present.origin import first_sentence
from support.ranks.cut_llama import Cut, Fault, Records, run, write


def measured(folder: Path, records: list[Records]) -> Comparison:
    one = write(folder / "one", run(Cut(kv_heads=8)))
    comparison = open_comparison(str(one), str(write(folder / "ranks", records)))
    comparison.measure(use_cache=False)
    return comparison


def test_the_first_divergence_begins_with_its_rank(tmp_path: Path) -> None:
    cut = Cut(kv_heads=8, ranks=8)
    comparison = measured(tmp_path, run(replace(cut, fault=Fault(6, 1, "up", 1.1))))
    first = comparison.first_divergence()
    assert first is not None
    sentence = first_sentence(comparison, first)
    assert "layers.1.mlp.gate_up_proj" in sentence
    assert "rank6 of the candidate: all of the error is in its part" in sentence


def test_details_say_how_a_row_was_joined(tmp_path: Path) -> None:
    comparison = measured(tmp_path, run(Cut(kv_heads=8, ranks=8)))
    facts = {}
    for row in comparison.rows:
        matched = row_report(comparison, row.index).matched
        facts[row.canonical] = {fact.label: fact.text for fact in matched}
    joined = facts["layers.0.self_attn.qkv_proj"]["cand ranks"]
    assert joined.startswith("split 8:8:8 of 8 ranks: qkv_proj is split by its output")
    assert "cand ranks" not in facts["layers.0.self_attn.o_proj"]


def test_a_rank_that_differs_is_in_the_notes(tmp_path: Path) -> None:
    records = run(Cut(kv_heads=8, ranks=8))
    name = "model.layers.1.post_attention_layernorm"
    records[3][name] = records[3][name] * np.float32(2)
    comparison = measured(tmp_path, records)
    note_findings(comparison, check_pair(comparison))
    (note,) = [note for note in comparison.notes("candidate") if "rank3" in note]
    assert note.startswith("warning about the candidate: 1 output differs between ranks")
    assert "rank3 differs from the others in 10 rows, from row 0 on" in note and name in note
