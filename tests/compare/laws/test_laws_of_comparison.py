"""Laws as part of a comparison: verdicts, causes, findings, what is remembered, cancelling."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.reports.law_words import agreement, headline
from layertui.compare.running.law_cache import LawCache, decoded, encoded
from layertui.compare.weights.models import ModelPaths
from support.laws.law_checks import capture


def measured(real: Path, name: str, model: str | None = None) -> Comparison:
    comparison = open_comparison(str(real / name / "torch_dump"), str(real / name / "max_dump"))
    if model is not None:
        comparison.use_models(ModelPaths(str(real / model)))
    assert comparison.measure(use_cache=False)
    return comparison


@pytest.mark.parametrize("model", [None, "checkpoints/olmo2-f32"])
def test_the_real_defect_of_an_engine_is_named(real: Path, model: str | None) -> None:
    first = measured(real, "olmo2-f32", model).first_divergence()
    assert first is not None and first.module == "layers.0.self_attn.q_norm"
    assert first.causes
    cause = first.causes[0]
    assert cause.name == "eps"
    assert cause.layers == 2
    assert float(cause.candidate.split(" ")[0]) == pytest.approx(1e-6, rel=0.02)
    assert float(cause.reference.split(" ")[0]) == pytest.approx(1e-5, rel=0.02)
    assert "in all 2 layers" in cause.text
    assert cause.explained > 0.9999


def test_one_cause_in_several_layers_is_one_finding(real: Path) -> None:
    comparison = measured(real, "olmo2-f32", "checkpoints/olmo2-f32")
    assert [found.module for found in comparison.findings()] == [
        "layers.0.self_attn.q_norm", "layers.0.self_attn.k_norm",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["llama-f32", "llama-bf16", "llama_v3-f32", "llama_steps-f32"])
def test_healthy_engines_keep_to_their_laws(real: Path, name: str) -> None:
    comparison = measured(real, name)
    assert comparison.locals
    assert comparison.laws is not None and not comparison.laws.broken
    assert comparison.findings() == ()


def test_a_report_is_the_same_when_it_was_kept(real: Path) -> None:
    comparison = measured(real, "olmo2-f32", "checkpoints/olmo2-f32")
    assert comparison.laws is not None
    assert decoded(encoded(comparison.laws)) == comparison.laws
    assert decoded("{}") is None
    notes, first, *rest = encoded(comparison.laws).split("\n")
    row = json.loads(first)
    del row["module"]
    assert decoded("\n".join([notes, json.dumps(row), *rest])) is None
    assert decoded("\n".join([notes, first[:-1], *rest])) is None  # cut short


def test_what_was_found_is_remembered_until_something_changes(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from layertui.compare.laws import report

    left, right = (str(real / "olmo2-f32" / side) for side in ("torch_dump", "max_dump"))
    first = open_comparison(left, right)
    assert first.measure()
    assert first.laws is not None

    def never(*_: object, **__: object) -> None:
        raise AssertionError("worked out again")

    with monkeypatch.context() as patched:
        patched.setattr(report, "examine", never)
        again = open_comparison(left, right)
        assert again.measure()
        assert again.laws == first.laws
    key = LawCache.of(first.aligned, first.models)
    first.use_models(ModelPaths(str(real / "checkpoints" / "olmo2-f32")))
    assert LawCache.of(first.aligned, first.models) != key


def test_cancelled_laws_leave_the_verdicts_without_them(real: Path) -> None:
    left, right = (str(real / "olmo2-f32" / side) for side in ("torch_dump", "max_dump"))
    comparison = open_comparison(left, right)
    assert not comparison.measure(use_cache=False, cancelled=lambda: bool(comparison.locals))
    assert comparison.complete and comparison.laws is None
    first = comparison.first_divergence()
    assert first is not None and first.causes is None


class Block(nn.Module):
    """Returns what the projection inside it returns."""

    def __init__(self) -> None:
        super().__init__()
        self.down_proj = nn.Linear(32, 32, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(torch.tanh(x))


class Stack(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block() for _ in range(6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = x + layer(x)
        return x


def test_what_a_module_passes_on_is_no_second_finding(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model, x = Stack(), torch.randn(20, 32)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    left = capture(model, tmp_path / "left", x)
    with torch.no_grad():
        model.layers[2].get_submodule("down_proj").weight.mul_(1.05)  # type: ignore[operator]
    right = capture(model, tmp_path / "right", x)
    comparison = open_comparison(str(left), str(right))
    comparison.use_models(ModelPaths(str(tmp_path / "model.safetensors")))
    assert comparison.measure(use_cache=False)
    assert [found.module for found in comparison.findings()] == ["layers.2.mlp.down_proj"]
    around = next(
        row for row in comparison.rows if row.canonical == "layers.2" and row.role == "output"
    )
    assert comparison.verdicts[around.index].origin == "inherited"


def test_other_policies_ask_no_law(real: Path) -> None:
    from layertui.compare.judging.policy import FixedPolicy

    left, right = (str(real / "olmo2-f32" / side) for side in ("torch_dump", "max_dump"))
    comparison = open_comparison(left, right, policy=FixedPolicy())
    assert comparison.measure(use_cache=False)
    assert comparison.laws is None and not comparison.locals


def test_a_row_that_breaks_its_law_without_a_cause_is_doubtful(real: Path) -> None:
    comparison = measured(real, "llama-f32")
    assert comparison.laws is not None
    index = next(i for i, row in comparison.laws.rows.items() if row.state == "keeps")
    row = comparison.laws.rows[index]
    broken = replace(row, state="breaks", causes=(), excess=3.0, where="every row")
    comparison.laws.rows[index] = broken
    comparison.settle()
    verdict = comparison.verdicts[index]
    assert verdict.level in ("noise", "identical")
    if verdict.level == "noise":
        assert "its law does not fit this side" in verdict.reason


def test_the_answer_of_reports_leaves_out_no_doubt(
    real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right = (str(real / "llama-f32" / side) for side in ("torch_dump", "max_dump"))
    comparison = open_comparison(left, right)
    assert headline(comparison) == "no divergence so far, in 0 of 48 pairs"
    assert comparison.measure(use_cache=False)
    assert headline(comparison).startswith("no divergence in 48 pairs; the worst is ")
    monkeypatch.setattr(comparison, "level_counts", lambda: {"ok": 47, "unreadable": 1})
    said = "no divergence in 48 pairs, but 1 cannot be read; the worst is "
    assert headline(comparison).startswith(said)
    few = agreement(comparison, replace(comparison.counts, coverage=0.49))
    assert few.doubts and "and only 49% of the outputs are paired" in few.words[0]
    assert "outputs are paired" not in agreement(
        comparison, replace(comparison.counts, coverage=0.5)
    ).words[0]  # fmt: skip
