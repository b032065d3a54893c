"""What is said of a divergence that only records without values precede."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.capture import record
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.judging.rows_before import RowsBefore
from layertui.compare.reports.forms.json_form import json_report
from layertui.compare.reports.forms.text_form import text_report
from layertui.tui.present.answer import answer_of
from layertui.tui.terminal import Terminal
from layertui.tui.theme import Look
from support.synthetic import saved

torch = pytest.importorskip("torch")
nn = torch.nn

LAYERS, WIDTH = 4, 32


class Block(nn.Module):
    """`factor` is one of the block's own code, between its modules; `weight` one of the first."""

    def __init__(self, factor: float, weight: float) -> None:
        super().__init__()
        self.a, self.b, self.factor = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), factor
        with torch.no_grad():
            self.a.weight.mul_(weight)

    def forward(self, x: Any) -> Any:
        return self.b(torch.tanh(self.a(x)) * self.factor)


class Model(nn.Module):
    def __init__(
        self, factors: dict[int, float] | None = None, weights: dict[int, float] | None = None
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        factors, weights = factors or {}, weights or {}
        self.layers = nn.ModuleList(
            Block(factors.get(at, 1.0), weights.get(at, 1.0)) for at in range(LAYERS)
        )

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = x + layer(x)
        return x


class Aside(nn.Module):
    """Two modules beside each other, both given the same tensor: `noise` in the weights of one, a
    factor in the other's.
    """

    def __init__(self, noise: float, factor: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.aside, self.main = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        with torch.no_grad():
            self.aside.weight.add_(noise * torch.randn(WIDTH, WIDTH) / WIDTH)
            self.main.weight.mul_(factor)

    def forward(self, x: Any) -> Any:
        return self.aside(x) + self.main(x)


def compared(tmp_path: Path, reference: Any, candidate: Any, **options: Any) -> Comparison:
    """The first in full, the second with values where it differs."""
    left, right = tmp_path / "reference", tmp_path / "candidate"
    for folder, model, more in (
        (left, reference, {}), (right, candidate, {"dump_on_mismatch": left, **options}),
    ):  # fmt: skip
        x = torch.randn(1, 10, WIDTH, generator=torch.manual_seed(1))
        with torch.no_grad(), record(model.eval(), folder, **more):
            model(x)
    comparison = open_comparison(str(left), str(right))
    assert comparison.measure(use_cache=False, threads=1)
    return comparison


def test_rows_that_have_statistics_precede_the_first_divergence(tmp_path: Path) -> None:
    comparison = compared(tmp_path, Model(), Model(weights={2: 1.05}))
    first = comparison.first_divergence()
    assert first is not None and first.module == "layers.2.a" and first.index == 13
    words = "the 13 rows before it were compared by their statistics, without a divergence; "
    assert first.reason.startswith(words + "relative L2 ")
    shown = json_report(comparison, "command")
    assert shown["first_divergence"]["reason"] == first.reason
    assert shown["rows"][13]["reason"] == first.reason
    answer = answer_of(comparison, comparison.counts, Look(Terminal()), working=False)
    assert words in answer.words[0] and "introduced here" in answer.words[0]
    for said in (json.dumps(shown), text_report(comparison, "command"), *answer.words):
        assert "nothing recorded" not in said


def test_what_a_block_s_own_code_does_is_not_laid_to_the_module_that_it_is_given_to(
    tmp_path: Path,
) -> None:
    first = compared(tmp_path, Model(), Model(factors={2: 1.02})).first_divergence()
    assert first is not None and (first.module, first.index) == ("layers.2", 14)
    assert first.reason.startswith(
        "introduced inside layers.2, whose records before this input agree: the 14 rows before it "
        "were compared by their statistics, without a divergence; "
    )


def test_behind_statistics_that_differ_it_is_open_where_an_error_was_introduced(
    tmp_path: Path,
) -> None:
    candidate = Model(weights={1: 1.01, 3: 1.1})
    comparison = compared(tmp_path, Model(), candidate, mismatch=0.02)
    valued = next(i for i, found in enumerate(comparison.verdicts)
                  if found.fails and not found.by_statistics)  # fmt: skip
    differing = sum(found.fails for found in comparison.verdicts[:valued])
    verdict = comparison.verdicts[valued]
    assert differing > 1 and comparison.rows[valued].canonical == "layers.3.a"
    assert verdict.reason.startswith(
        f"the {valued} rows before it were compared by their statistics, "
        f"with {differing} divergences; "
    )
    assert (verdict.origin, verdict.confidence) == (None, None)
    first = comparison.first_divergence()
    assert first is not None and first.module == "layers.1.a"


def test_inputs_that_have_statistics_are_recorded(tmp_path: Path) -> None:
    comparison = compared(tmp_path, Aside(0.0, 1.0), Aside(1e-3, 1.05))
    first = comparison.first_divergence()
    assert first is not None and first.module == "main"
    assert first.reason.startswith(
        "its inputs were compared by their statistics, but what precedes them agrees to 0.000"
    )


class NotANumber(Block):
    def forward(self, x: Any) -> Any:
        return super().forward(x) * float("nan")


def test_nan_behind_statistics_does_not_speak_of_inputs(tmp_path: Path) -> None:
    broken = Model()
    broken.layers[2] = NotANumber(1.0, 1.0)
    broken.layers[2].load_state_dict(Model().layers[2].state_dict())
    comparison = compared(tmp_path, Model(), broken)
    first = comparison.first_divergence()
    assert first is not None and (first.module, first.verdict) == ("layers.2", "nan")
    assert "; the 17 rows before it were compared by their statistics, without" in first.reason


def test_rows_that_could_not_be_compared_precede_it_too(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((9, 32)).astype(np.float32)
    other = values[:, :7]
    saved(tmp_path / "left", {"a.output": values, "lm_head.output": values})
    saved(tmp_path / "right", {"a.output": other, "lm_head.output": 1.1 * values})
    comparison = open_comparison(str(tmp_path / "left"), str(tmp_path / "right"))
    assert comparison.measure(use_cache=False, threads=1)
    assert [found.level for found in comparison.verdicts] == ["shape", "diverged"]
    assert comparison.verdicts[1].reason.startswith("the row before it could not be compared; ")


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (RowsBefore(), "nothing recorded precedes it"),
        (RowsBefore(1, 1),
         "the row before it was compared by its statistics, without a divergence"),
        (RowsBefore(3, 1, 1),
         "1 of the 3 rows before it was compared by its statistics, with 1 divergence"),
        (RowsBefore(5, 3, 2),
         "3 of the 5 rows before it were compared by their statistics, with 2 divergences"),
        (RowsBefore(4, uncompared=4), "the 4 rows before it could not be compared"),
        (RowsBefore(4, uncompared=1), "1 of the 4 rows before it could not be compared"),
        (RowsBefore(4), "what it was made from is not recorded"),
    ],
)  # fmt: skip
def test_rows_before_are_counted_in_words(before: RowsBefore, words: str) -> None:
    assert before.words == words
