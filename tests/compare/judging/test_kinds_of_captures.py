"""Captures as people have them: what is wrong is found and named, what is not is not blamed."""

from __future__ import annotations

from pathlib import Path

import pytest

from layertui.compare.aligned import SideName
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.reports.forms.json_form import json_report
from layertui.compare.reports.forms.text_form import text_report


def judged(real: Path, name: str) -> Comparison:
    folder = real / "cases" / name
    comparison = open_comparison(str(folder / "ref"), str(folder / "cand"))
    assert comparison.measure(use_cache=False, threads=1)
    return comparison


@pytest.mark.parametrize(
    ("name", "module", "symptom"),
    [
        ("values-below-minus-1e4-ignored", "layers.2.mlp", "scale"),
        ("minus-inf-overflow-ignored", "layers.2.mlp", "nan"),
        ("nan-hidden-by-outlier", "layers.2.mlp", "nan"),
        ("outlier-magnitude-ignored", "layers.2.mlp", "scale"),
        ("coarse-source-loosens-all", "layers.2.mlp", None),
        ("hidden-states-only-massive-bf16", "4", None),
        ("sliding-window-onset-token", "layers.0.self_attn.o_proj", "region"),
        ("stacked-hidden-states", "all_hidden", "region"),
    ],
)
def test_what_is_wrong_is_named(real: Path, name: str, module: str, symptom: str | None) -> None:
    comparison = judged(real, name)
    first = comparison.first_divergence()
    assert first is not None and first.module == module
    assert comparison.exit_status() == 1
    if symptom is not None:
        assert first.symptoms[0].name == symptom


@pytest.mark.parametrize(
    "name",
    [
        "final-norm-after-massive-activation-healthy",
        "bf16-runs-saved-as-float32-healthy",
        "int4-weights-healthy",
        "llamacpp-permuted-qk-healthy",
        "megatron-names-healthy",
        "vllm-residual-tuples-healthy",
    ],
)
def test_what_is_healthy_has_no_divergence(real: Path, name: str) -> None:
    comparison = judged(real, name)
    assert comparison.first_divergence() is None
    assert comparison.exit_status(0.0) == 0


def test_large_numbers_of_what_is_healthy_have_a_reason(real: Path) -> None:
    text = text_report(judged(real, "llamacpp-permuted-qk-healthy"), "layertui")
    (line,) = [line for line in text.splitlines() if " layers.0.self_attn.q_proj-value:" in line]
    assert " ok " in line and "permuted" in line.partition("->")[2]


def test_a_part_that_is_wrong_is_said_by_its_place(real: Path) -> None:
    for name, words in (
        ("sliding-window-onset-token", "from token 7 on"),
        ("stacked-hidden-states", "index 2 of axis 0"),
    ):
        first = judged(real, name).first_divergence()
        assert first is not None and words in first.symptoms[0].evidence


def test_printed_digits_are_a_floor(real: Path) -> None:
    comparison = judged(real, "printed-digits-are-not-a-divergence")
    first = comparison.first_divergence()
    assert first is not None and first.reference == "layer 1 mlp_out"
    levels = [verdict.level for verdict in comparison.verdicts]
    assert levels.count("ok") == 7 and levels.count("diverged") == 1


def test_a_layout_that_nothing_behind_shows_is_ok_and_offers_its_recipe(real: Path) -> None:
    comparison = judged(real, "llamacpp-permuted-qk-healthy")
    assert len(comparison.layouts) == 4
    index, layout = next(iter(comparison.layouts.items()))
    verdict, row = comparison.verdicts[index], comparison.rows[index]
    assert row.canonical == "layers.0.self_attn.q_proj" and verdict.level == "ok"
    assert "halves interleaved" in verdict.reason and layout.recipe in verdict.reason
    from layertui.compare.rules.rules import RecipeRule

    rule = RecipeRule(comparison.globs(index)[0], candidate=layout.recipe)
    comparison.repair(recipes=[rule])
    comparison.measure(use_cache=False)
    result = comparison.measurements[index]
    assert getattr(result, "relative_l2", 1.0) < 1e-6


def test_places_alone_make_no_pair_of_unrelated_values(real: Path) -> None:
    for name, least in (("megatron-names-healthy", 20), ("vllm-residual-tuples-healthy", 20)):
        comparison = judged(real, name)
        rows = [row for row in json_report(comparison, "layertui")["rows"] if row["metrics"]]
        assert len(rows) >= least
        assert all(row["doubtful"] is None for row in rows)
        assert all(row["metrics"]["relative_l2"] < 0.02 for row in rows)


def test_a_coarser_run_is_said(real: Path) -> None:
    coarse = judged(real, "bf16-runs-saved-as-float32-healthy")
    sides: tuple[SideName, ...] = ("reference", "candidate")
    for side in sides:
        assert any("the values are bfloat16" in note for note in coarse.notes(side))
    quantised = judged(real, "int4-weights-healthy")
    assert any("as 4-bit weights do" in note for note in quantised.notes("candidate"))
