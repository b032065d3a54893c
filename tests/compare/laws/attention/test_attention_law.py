"""The law of attention against transformers' own modules and real captures of MAX."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from layertui.compare.laws.attention.form import Form, Material
from layertui.compare.laws.attention.law import AttentionLaw
from layertui.compare.laws.attention.math import rounded_alike
from layertui.compare.laws.attention.scores import Rounding
from layertui.compare.laws.evaluate import cases_of
from support.laws.attention_models import attention_of, compared, model_of
from support.laws.law_checks import tried


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", ["llama", "qwen3", "olmo2"])
def test_attention_of_transformers_keeps_to_the_law(
    tmp_path: Path, kind: str, attention: str, dtype: torch.dtype
) -> None:
    one, other = (model_of(kind, a, dtype) for a in ("eager", attention))
    found = attention_of(compared(tmp_path, one, other))
    assert len(found) == 4
    for judged in found:
        assert judged.trusted
        assert judged.excess is None
        assert judged.evaluation.fit.words["scale"] == "1/sqrt(16)"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("kind", "mask", "rotary"),
    [
        ("gpt2", "as recorded", "none"), ("bert", "none", "none"),
        ("neox", "as recorded", "half, recorded tables"),
        ("phi3", "as recorded", "half, recorded tables"),
        ("mistral", "as recorded", "half, recorded tables"),
        ("gemma3", "as recorded", "half, recorded tables"),
    ],
)  # fmt: skip
def test_attention_of_other_families_keeps_to_the_law(
    tmp_path: Path, kind: str, mask: str, rotary: str, dtype: torch.dtype
) -> None:
    one, other = (model_of(kind, a, dtype) for a in ("eager", "sdpa"))
    found = attention_of(compared(tmp_path, one, other))
    assert len(found) == 4
    for judged in found:
        assert judged.trusted
        assert judged.excess is None
        words = judged.evaluation.fit.words
        assert (words["mask"], words["rotary"]) == (mask, rotary)


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_without_a_checkpoint_the_heads_are_told_from_the_records(
    tmp_path: Path, kind: str
) -> None:
    found = attention_of(compared(tmp_path, model_of(kind), model_of(kind), with_model=False))
    assert len(found) == 4
    words = {j.evaluation.fit.words["heads"] for j in found}
    assert words == {"4 of 16, 2 key heads"}


@pytest.mark.parametrize("with_model", [True, False])
def test_what_layers_before_kept_to_comes_first_only_where_no_config_tells(
    tmp_path: Path, with_model: bool
) -> None:
    found = compared(tmp_path, model_of("llama"), model_of("llama"), with_model=with_model)
    evaluation = attention_of(found)[0].evaluation
    site, scene, law = evaluation.site, found.scene, AttentionLaw()
    (kept,) = scene.kept[law.name, site.kind]  # four layers of one form
    assert kept.words == evaluation.fit.words
    odd = replace(evaluation.fit.values["form"], scale=0.123)
    scene.kept[law.name, site.kind] = [replace(kept, values={**kept.values, "form": odd})]
    cases = cases_of(scene, law, evaluation)
    assert cases is not None
    scales = [fit.values["form"].scale for fit in islice(law.fit(scene, site, cases[0]), 2)]
    assert scales == ([0.25, 0.123] if with_model else [0.123, 0.25])


@pytest.mark.parametrize(
    ("name", "count", "most"),
    [
        ("llama-f32", 2, 2e-7), ("olmo2-f32", 2, 2e-7), ("qwen3-f32", 2, 2e-7),
        ("llama_steps-f32", 6, 2e-7), ("llama_batch_steps-f32", 6, 2e-7), ("llama-bf16", 2, 6e-3),
    ],
)  # fmt: skip
def test_fused_attention_of_max_keeps_to_the_law(
    real: Path, name: str, count: int, most: float
) -> None:
    found = attention_of(tried(real / name / "torch_dump", real / name / "max_dump"))
    assert len(found) == count
    for judged in found:
        assert judged.trusted
        assert judged.excess is None
        assert judged.evaluation.candidate.relative < most


@pytest.mark.parametrize("keys", [12, 13])
def test_probabilities_that_are_all_alike_are_rounded_alike(keys: int) -> None:
    """Of 12 keys, 1/12 in bfloat16 is 1.00195 times as much; of 13, 1/13 is 1.0029 times."""
    rows = np.zeros((keys, 8))
    places, sequence = np.arange(keys), np.zeros(keys, int)
    material = Material(rows, rows, rows, sequence, sequence, places, places)
    form = Form(heads=2, kv_heads=2, scale=0.5, mask="none")
    found = rounded_alike(form, material, Rounding(2.0**-8, 2.0**-8, 2.0**-8))
    as_torch = float(torch.tensor(1 / keys, dtype=torch.bfloat16)) * keys - 1
    assert found == pytest.approx(abs(as_torch), abs=1e-7)
