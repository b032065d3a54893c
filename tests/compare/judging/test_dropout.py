"""Runs in which dropout was active: said, and judged by statistics of either side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from layertui.capture import record
from layertui.capture.open import open_capture
from layertui.cli.main import status_of
from layertui.compare.checks.one_side import check_capture
from layertui.compare.checks.two_sides import check_pair
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.judging.noise.dropout import ByStatistics, Dropout, dropout_of
from layertui.compare.limits import STATISTICS_APART
from layertui.compare.model import Measurement, SideStatistics, Verdict

torch.set_num_threads(1)
IDS = (torch.arange(24)[None] * 7 + 3) % 60


def bert(**more: Any) -> Any:
    torch.manual_seed(0)
    return BertModel(BertConfig(
        vocab_size=60, hidden_size=64, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=96, max_position_embeddings=32, **more,
    ))  # fmt: skip


def run(folder: Path, model: nn.Module, training: bool, seed: int = 0) -> str:
    model.train(training)
    torch.manual_seed(seed)
    with torch.no_grad(), record(model, str(folder)):
        model(IDS)
    return str(folder)


def measured(one: str, other: str) -> Comparison:
    comparison = open_comparison(one, other)
    assert comparison.measure(use_cache=False)
    return comparison


@pytest.mark.parametrize("sides", [(True, True), (False, True), (True, False)])
def test_two_runs_with_dropout_agree_by_statistics(
    tmp_path: Path, sides: tuple[bool, bool]
) -> None:
    paths = [run(tmp_path / str(i), bert(), training, i) for i, training in enumerate(sides)]
    comparison = measured(*paths)
    assert comparison.first_divergence() is None and comparison.exit_status() == 0
    judged = [v for v in comparison.verdicts if v.by_statistics]
    assert len(judged) >= 3 and all("statistics" in verdict.reason for verdict in judged)
    for side, at_work in zip(("reference", "candidate"), sides, strict=True):
        notes = [n for n in comparison.notes(side) if "dropout was active" in n]
        assert len(notes) == at_work
        found = [f for f in check_pair(comparison) if f.side == side and f.code == "config"]
        said = " ".join(f.what for f in found)
        assert ("training mode" in said) == ("dropout was active" in said) == at_work


def test_a_fault_in_front_of_the_dropout_is_one(tmp_path: Path) -> None:
    wrong = bert()
    with torch.no_grad():
        wrong.embeddings.LayerNorm.bias += 0.1
    comparison = measured(run(tmp_path / "a", bert(), True, 1), run(tmp_path / "b", wrong, True, 2))
    first = comparison.first_divergence()
    assert first is not None and first.module == "embeddings.LayerNorm"
    assert comparison.exit_status() == 1


def test_what_dropout_does_not_explain_diverges(tmp_path: Path) -> None:
    wrong = bert()
    with torch.no_grad():
        wrong.encoder.layer[1].output.LayerNorm.weight *= 2
    comparison = measured(run(tmp_path / "a", bert(), True, 1), run(tmp_path / "b", wrong, True, 2))
    first = comparison.first_divergence()
    assert first is not None and "layers.1" in first.module
    data = [v for v in comparison.verdicts if v.level == "diverged"]
    assert data and comparison.exit_status() == 1


def test_training_without_dropout_is_judged_as_ever(tmp_path: Path) -> None:
    """Its elements agree: nothing is random in it."""
    wrong = bert(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    right = bert(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    with torch.no_grad():
        wrong.encoder.layer[1].output.dense.weight *= 1.1
    comparison = measured(run(tmp_path / "a", right, True), run(tmp_path / "b", wrong, True))
    assert comparison.evidence.dropout is None and comparison.exit_status() == 1
    assert not any(verdict.by_statistics for verdict in comparison.verdicts)


def test_nan_behind_dropout_is_none_of_its_doing(tmp_path: Path) -> None:
    wrong = bert()
    with torch.no_grad():
        wrong.encoder.layer[2].output.dense.bias[3] = float("nan")
    comparison = measured(run(tmp_path / "a", bert(), True, 1), run(tmp_path / "b", wrong, True, 2))
    assert comparison.exit_status() == 1
    assert "nan" in {verdict.level for verdict in comparison.verdicts}


def test_a_single_capture_says_it(tmp_path: Path) -> None:
    capture = open_capture(run(tmp_path / "a", bert(), True))
    (finding,) = check_capture(capture)
    assert (finding.severity, finding.code) == ("warning", "config")
    assert "dropout was active" in finding.what and finding.records
    assert check_capture(open_capture(run(tmp_path / "b", bert(), False))) == []


class Changed(nn.Module):
    """Calls itself dropout and is another function."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.dropout = Function(function)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dropout(x)


class Function(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "share"),
    [
        (lambda x: nn.functional.dropout(x, 0.3), 0.3),
        (lambda x: nn.functional.dropout1d(x, 0.3), 0.3),
        (lambda x: x, None),
        (lambda x: 1.1 * x, None),
        (lambda x: x.clamp(min=0), None),
        (lambda x: 1.1 * x.clamp(min=0) * (1 + 0.1 * x), None),
        (lambda x: torch.roll(x, 1, 0), None),
        (lambda x: torch.where(x > 1, 0.0, x.exp()), None),
        (lambda x: torch.zeros_like(x), None),
    ],
)
def test_what_dropout_is(tmp_path: Path, function: Any, share: float | None) -> None:
    model = Changed(function)
    torch.manual_seed(3)
    with record(model, str(tmp_path / "a")):
        model(torch.randn(64, 32))
    found = dropout_of(open_capture(tmp_path / "a").records)
    if share is None:
        assert found is None
    else:
        assert found is not None and found.share == pytest.approx(share, abs=0.12)


def measurement(left: tuple[float, float], right: tuple[float, float]) -> Measurement:
    def side(mean: float, std: float) -> SideStatistics:
        return SideStatistics(-9.0, 9.0, mean, std, 1.0, 0, 0, 0)

    count = 10**9
    made: dict[str, Any] = dict.fromkeys(Measurement.__dataclass_fields__)
    made |= {"shape": (count,), "compared": count, "reference": side(*left),
             "candidate": side(*right)}  # fmt: skip
    return Measurement(**made)


@pytest.mark.parametrize(
    ("left", "right", "share", "fails"),
    [
        ((0, 1), (0, 1 + 0.99 * STATISTICS_APART), None, False),
        ((0, 1), (0, 1 + 1.01 * STATISTICS_APART), None, True),
        ((0, 1 + 0.99 * STATISTICS_APART), (0, 1), None, False),
        ((0, 1 + 1.01 * STATISTICS_APART), (0, 1), None, True),
        ((0, 1), (0.99 * STATISTICS_APART, 1), None, False),
        ((0, 1), (1.08 * STATISTICS_APART, 1), None, True),
        ((0, 1), (0, 1.4), 0.5, False),
        ((0, 1), (0, 1.99 * (1 + STATISTICS_APART)), 0.75, False),
        ((0, 1), (0, 2.01 * (1 + STATISTICS_APART)), 0.75, True),
        ((0, 0), (0, 0), None, False),
        ((0, 1), (0, 0), None, True),
    ],
)  # fmt: skip
def test_how_far_statistics_may_be_apart(
    left: tuple[float, float], right: tuple[float, float], share: float | None, fails: bool
) -> None:
    dropout = Dropout(("a",), share or 0.0)
    judging = ByStatistics(0, None, dropout)
    found = judging.by_moments(measurement(left, right), Verdict("diverged", "far"))
    assert found.fails == fails and found.by_statistics


def test_json_says_which_rows_were_judged_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [run(tmp_path / name, bert(), True, seed) for seed, name in enumerate("ab")]
    assert status_of(["compare", *paths, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["by_statistics"] for row in rows} == {True, False}
    assert all("statistics" in row["reason"] for row in rows if row["by_statistics"])


class Functional(nn.Module):
    """A feed-forward network that calls dropout as a function."""

    def __init__(self, share: float = 0.2) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.share = share
        self.up_proj, self.act = nn.Linear(32, 64), nn.GELU()
        self.down_proj, self.norm = nn.Linear(64, 32), nn.LayerNorm(32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = nn.functional.dropout(self.act(self.up_proj(x)), self.share, self.training)
        return self.norm(self.down_proj(inner))


def functional(folder: Path, model: nn.Module, training: bool, seed: int) -> str:
    x = torch.randn(64, 32, generator=torch.Generator().manual_seed(1))
    model.train(training)
    torch.manual_seed(seed)
    with torch.no_grad(), record(model, str(folder)):
        model(x)
    return str(folder)


def test_dropout_by_a_function_is_judged_by_statistics(tmp_path: Path) -> None:
    one, other = (
        functional(tmp_path / name, Functional(), True, seed) for seed, name in enumerate("ab")
    )
    comparison = measured(one, other)
    assert comparison.first_divergence() is None and comparison.exit_status() == 0
    assert any(verdict.by_statistics for verdict in comparison.verdicts)
    wrong = Functional()
    wrong.norm.weight.data *= 2
    found = measured(one, functional(tmp_path / "wrong", wrong, True, 3))
    first = found.first_divergence()
    assert first is not None and first.module == "norm" and found.exit_status() == 1
    front = Functional()
    front.up_proj.weight.data *= 1.5
    found = measured(one, functional(tmp_path / "front", front, True, 3))
    first = found.first_divergence()
    assert first is not None and first.module == "up_proj"
    plain = measured(*(functional(tmp_path / n, Functional(), False, 0) for n in ("c", "d")))
    assert not any(verdict.by_statistics for verdict in plain.verdicts)


@pytest.mark.parametrize("training", [True, False])
def test_one_capture_with_dropout_by_a_function_is_said(tmp_path: Path, training: bool) -> None:
    folder = functional(tmp_path / "run", Functional(), training, 0)
    found = [f.what for f in check_capture(open_capture(folder)) if f.code == "config"]
    assert any("dropout was active" in words for words in found) == training
