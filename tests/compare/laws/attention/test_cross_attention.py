"""Attention of a decoder to its encoder: other tokens than its own, kept from the first step on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from layertui.capture import record  # noqa: E402
from layertui.compare.comparison import Comparison, open_comparison  # noqa: E402

IDS = [[3, 5, 7, 9, 11, 13, 2], [4, 6, 8, 2, 1, 1, 1]]
MASK = [[1] * 7, [1, 1, 1, 1, 0, 0, 0]]
PLACES = {
    "bart": "model.decoder.layers.1.encoder_attn",
    "t5": "decoder.block.1.layer.1.EncDecAttention",
}


def built(kind: str, dtype: str = "float32") -> Any:
    torch.manual_seed(0)
    if kind == "t5":
        config = transformers.T5Config(
            vocab_size=64, d_model=64, d_kv=16, d_ff=128, num_layers=2,
            num_heads=4, decoder_start_token_id=0,
        )  # fmt: skip
        model = transformers.T5ForConditionalGeneration(config)
    else:
        config = transformers.BartConfig(
            vocab_size=64, d_model=64, encoder_layers=1, decoder_layers=2,
            encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=128,
            decoder_ffn_dim=128, max_position_embeddings=64, attn_implementation="eager",
        )  # fmt: skip
        model = transformers.BartForConditionalGeneration(config)
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(4.0 if weight.ndim == 2 else 1.0)
    return model.to(getattr(torch, dtype)).eval()


def ignoring_padding(attention: Any, name: str) -> None:
    forward = attention.forward
    attention.forward = lambda *args, **kwargs: forward(*args, **{**kwargs, name: None})


def compared(tmp_path: Path, *models: Any) -> Comparison:
    """Greedy generation by both, two tokens behind a padded batch."""
    for side, model in zip(("reference", "candidate"), models, strict=True):
        with record(model, tmp_path / side), torch.no_grad():
            model.generate(
                input_ids=torch.tensor(IDS), attention_mask=torch.tensor(MASK), do_sample=False,
                num_beams=1, min_new_tokens=2, max_new_tokens=2,
            )  # fmt: skip
    comparison = open_comparison(str(tmp_path / "reference"), str(tmp_path / "candidate"))
    assert comparison.measure(use_cache=False)
    return comparison


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_padding_that_a_decoder_sees_is_named(kind: str, tmp_path: Path) -> None:
    wrong = built(kind)
    attention = wrong.get_submodule(PLACES[kind])
    ignoring_padding(attention, "attention_mask" if kind == "bart" else "mask")
    first = compared(tmp_path, built(kind), wrong).first_divergence()
    assert first is not None
    layers = "decoder.layers.1" + (".layers.1" if kind == "t5" else "")
    assert first.module == f"{layers}.{PLACES[kind].rpartition('.')[2]}"
    assert first.causes is not None
    assert [cause.name for cause in first.causes] == ["attention-mask"]
    assert "padding is not hidden" in first.causes[0].text


def test_another_scale_of_a_decoder_s_scores_is_named(tmp_path: Path) -> None:
    wrong = built("bart")
    wrong.get_submodule(PLACES["bart"]).scaling *= 1.3
    first = compared(tmp_path, built("bart"), wrong).first_divergence()
    assert first is not None and first.module == "decoder.layers.1.encoder_attn"
    assert first.causes is not None
    assert [cause.name for cause in first.causes] == ["attention-scale"]


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_clean_runs_keep_to_the_laws(kind: str, tmp_path: Path) -> None:
    """Also where one token is generated again and again: without positions all of its steps are
    alike, up to rounding in the reference, bit by bit in bfloat16.
    """
    comparison = compared(tmp_path, built(kind), built(kind, "bfloat16"))
    assert comparison.exit_status() == 0, comparison.first_divergence()
    name = PLACES[kind].rpartition(".")[2]
    states = {
        law.state for row in comparison.rows
        if (law := comparison.law_row(row.index)) is not None and law.module.endswith(name)
    }  # fmt: skip
    assert states == {"keeps"}
