"""Doubtful pairs are counted, and said wherever a verdict is shown."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.reports import Settings, part_of, whole
from layertui.compare.reports.forms.text_form import summary_line, text_report
from layertui.compare.reports.row_text import row_text
from layertui.compare.rules.rules import HandPair, Rules
from support.synthetic import saved

SETTINGS = Settings("layertui compare ref cand")


def pairs(left: dict[str, np.ndarray], right: dict[str, np.ndarray], path: Path) -> Comparison:
    found = Comparison(saved(path / "ref", left), saved(path / "cand", right))
    assert found.measure(use_cache=False, threads=1)
    return found


def engines(
    seed: int = 0, layers: int = 3, explained: bool = False
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Two engines that agree, and that mean different things by `act_fn`: what the candidate means
    is recorded by the reference, too, where that is `explained`.
    """
    rng = np.random.default_rng(seed)
    left: dict[str, np.ndarray] = {}
    right: dict[str, np.ndarray] = {}

    def record(name: str, other: np.ndarray | None = None) -> None:
        values = rng.standard_normal((8, 16)).astype(np.float32)
        left[f"model.{name}-output"] = values
        right[f"{name}-output"] = values if other is None else other

    for layer in range(layers):
        record(f"layers.{layer}.input_layernorm")
        for part in "qkvo":
            record(f"layers.{layer}.self_attn.{part}_proj")
        for part in ("gate_proj", "up_proj"):
            record(f"layers.{layer}.mlp.{part}")
        gated = rng.standard_normal((8, 16)).astype(np.float32)
        record(f"layers.{layer}.mlp.act_fn", gated)
        if explained:
            left[f"model.layers.{layer}.mlp.down_proj-input_0"] = gated
        record(f"layers.{layer}.mlp.down_proj")
        record(f"layers.{layer}")
    return left, right


@pytest.fixture
def doubted(tmp_path: Path) -> Comparison:
    return pairs(*engines(), tmp_path)


def test_a_name_that_means_something_else_in_every_layer_is_doubtful(doubted: Comparison) -> None:
    found = [doubted.rows[i].label for i, v in enumerate(doubted.verdicts) if v.doubtful]
    assert found == [f"layers.{n}.mlp.act_fn-output" for n in range(3)]
    assert doubted.first_divergence() is None
    assert doubted.counts.doubtful == 3
    assert doubted.counts.coverage == pytest.approx(27 / 30)


def test_a_doubt_that_nothing_explains_does_not_pass(doubted: Comparison) -> None:
    outcome = doubted.outcome()
    assert outcome.status == 1 and not outcome.doubts
    assert outcome.of_the_whole[0].startswith("3 pairs are doubtful, the first layers.0.mlp.act_fn")


def test_a_doubt_that_values_explain_passes_and_is_said(tmp_path: Path) -> None:
    outcome = pairs(*engines(explained=True), tmp_path).outcome()
    assert outcome.status == 0, outcome.reasons
    assert "3 pairs are doubtful" in outcome.doubts[0]
    assert "equals the other side's model.layers.0.mlp.down_proj-input_0" in outcome.doubts[0]


@pytest.mark.parametrize("part", ["self_attn.q_proj", "mlp.gate_proj", "mlp.down_proj", ""])
def test_records_of_two_layers_that_are_mixed_up_do_not_pass(tmp_path: Path, part: str) -> None:
    """With two layers, the record is wrong in every one, as if its name meant something else."""
    left, right = engines(layers=2)
    for layer in range(2):
        del left[f"model.layers.{layer}.mlp.act_fn-output"]
        del right[f"layers.{layer}.mlp.act_fn-output"]
    first, second = (f"layers.{n}.{part}".rstrip(".") + "-output" for n in range(2))
    right[first], right[second] = right[second], right[first]
    assert pairs(left, right, tmp_path).exit_status() == 1


def test_one_wrong_record_of_many_is_no_other_quantity(tmp_path: Path) -> None:
    left, right = engines()
    for layer in (0, 2):
        right[f"layers.{layer}.mlp.act_fn-output"] = left[f"model.layers.{layer}.mlp.act_fn-output"]
    found = pairs(left, right, tmp_path)
    first = found.first_divergence()
    assert first is not None and first.module == "layers.1.mlp.act_fn"
    assert found.exit_status() == 1 and found.counts.doubtful == 0


def test_where_both_sides_name_all_alike_a_name_means_the_same(tmp_path: Path) -> None:
    left, right = engines()
    found = pairs(left, {f"model.{name}": values for name, values in right.items()}, tmp_path)
    first = found.first_divergence()
    assert first is not None and first.module == "layers.0.mlp.act_fn"
    assert found.counts.doubtful == 0


def test_what_is_passed_on_is_no_doubt(tmp_path: Path) -> None:
    left, right = engines()
    for layer in range(3):
        right[f"layers.{layer}.mlp.down_proj-output"] = right[
            f"layers.{layer}.mlp.down_proj-output"
        ] * np.float32(1.01)
    found = pairs(left, right, tmp_path)
    assert found.counts.doubtful == 0 and found.exit_status() == 1


def test_pairs_made_by_hand_are_not_doubted(doubted: Comparison) -> None:
    index = next(i for i, v in enumerate(doubted.verdicts) if v.doubtful)
    row = doubted.rows[index]
    assert row.reference is not None and row.candidate is not None
    doubted.repair(pairs=[HandPair(row.reference.name, row.candidate.name)])
    assert doubted.measure(use_cache=False, threads=1)
    assert doubted.verdicts[index].level == "diverged"
    assert not doubted.verdicts[index].doubtful


def test_doubtful_outputs_are_not_covered(doubted: Comparison) -> None:
    assert not any("are paired" in reason for reason in doubted.outcome(0.9).reasons)
    assert any("90.0% of the outputs are paired" in r for r in doubted.outcome(0.95).reasons)


def test_every_report_says_it(doubted: Comparison) -> None:
    for form in ("text", "html", "markdown", "junit"):
        said = whole([part_of(doubted, form, SETTINGS)], form, SETTINGS)
        assert "3 pairs are doubtful, the first" in said, form
    report = json.loads(part_of(doubted, "json", SETTINGS).text)
    assert report["counts"]["doubtful"] == 3
    assert "3 pairs are doubtful" in report["outcome"]["reasons"][0]
    assert "3 of them are doubtful" in report["answer"]
    assert sum(row["doubtful"] is not None for row in report["rows"]) == 3
    rows = list(csv.DictReader(io.StringIO(part_of(doubted, "csv", SETTINGS).text)))
    assert sum(bool(row["doubtful"]) for row in rows) == 3


def test_a_row_of_a_report_says_it(doubted: Comparison) -> None:
    index = next(i for i, v in enumerate(doubted.verdicts) if v.doubtful)
    assert "no divergence found, but 3 pairs are doubtful" in summary_line(doubted)
    assert row_text(doubted, index).splitlines()[0].endswith(": doubtful")
    only = text_report(doubted, "command", only_diverged=True)
    rows = only.partition("ROWS IN EXECUTION ORDER")[2].partition("ONLY IN")[0]
    assert rows.count("! doubtful") == 3 and "= identical" not in rows
    assert "exit status 1:\n- 3 pairs are doubtful" in text_report(doubted, "command")
    junit = whole([part_of(doubted, "junit", SETTINGS)], "junit", SETTINGS)
    assert 'skipped="3"' in junit
    markdown = whole([part_of(doubted, "markdown", SETTINGS)], "markdown", SETTINGS)
    assert "no divergence found, but 3 doubtful" in markdown.splitlines()[0]


def test_a_report_says_of_an_explained_doubt_that_it_passes(tmp_path: Path) -> None:
    explained = pairs(*engines(explained=True), tmp_path)
    assert summary_line(explained).endswith("no divergence, but 3 doubtful")
    text = text_report(explained, "command")
    assert "exit status 0: everything comparable agrees up to rounding, but for:" in text


def test_rules_make_the_doubt_go(tmp_path: Path) -> None:
    left, right = engines()
    saved(tmp_path / "ref", left)
    saved(tmp_path / "cand", right)
    rules = replace(Rules(), ignore=("*.act_fn",))
    found = open_comparison(str(tmp_path / "ref"), str(tmp_path / "cand"), rules=rules)
    assert found.measure(use_cache=False, threads=1)
    assert found.counts.doubtful == 0 and found.counts.ignored == 6
    assert "agrees up to rounding" in found.outcome().lines()[0]
