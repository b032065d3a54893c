"""A cause must bring the candidate nearer, not only allow it to be farther away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from layertui.compare.laws.attention.law import AttentionLaw
from layertui.compare.laws.causes import diagnose
from layertui.compare.laws.law import Case, Fit, Hypothesis, Prediction, Scene, Site
from support.laws.attention_stack import CULPRIT, TARGET, Stack, attention_of, compared


def widened(times: float, name: str) -> Any:
    """Hypotheses of a law: one that predicts the same, with `times` the error."""

    def hypotheses(
        law: AttentionLaw, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterator[Hypothesis]:
        (plain,) = law.predict(scene, site, fit, [candidate])
        assert plain is not None
        wide = Prediction(plain.value, plain.spread * times)
        yield Hypothesis(name, "anything goes", lambda: wide)

    return hypotheses


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("change", [{"scale": 0.3}, {"base": 3000.0}])
def test_a_wider_prediction_is_no_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, change: dict[str, Any]
) -> None:
    one, other = Stack(0, dtype), Stack(0, dtype).change(CULPRIT, **change)
    found = compared(tmp_path, one, other)
    judged = attention_of(found)[TARGET, 0]
    assert judged.excess is not None
    monkeypatch.setattr(AttentionLaw, "hypotheses", widened(1e9, "attention-mask"))
    assert diagnose(found.scene, judged).causes == ()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_errors_that_are_far_below_a_prediction_are_not_its_arithmetic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    one, other = Stack(0, dtype), Stack(0, dtype).change(CULPRIT, scale=0.3)
    found = compared(tmp_path, one, other)
    judged = attention_of(found)[TARGET, 0]
    fits = judged.evaluation.candidate.ratio
    monkeypatch.setattr(AttentionLaw, "hypotheses", widened(fits, "precision"))
    assert [cause.name for cause in diagnose(found.scene, judged).causes] == ["precision"]
    monkeypatch.setattr(AttentionLaw, "hypotheses", widened(1e3 * fits, "precision"))
    assert diagnose(found.scene, judged).causes == ()
