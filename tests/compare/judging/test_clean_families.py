"""Healthy models of some families, in a narrow dtype against float32: nothing diverges.

Their weights are random and few, which is where statistics have least to go by: queries look at all
keys alike, channels cancel, a decoder has two rows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layertui.capture import record
from layertui.compare.comparison import open_comparison

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

_BERT = {
    "vocab_size": 320, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 128, "max_position_embeddings": 64,
}  # fmt: skip


def electra() -> Any:
    """All queries look at all keys alike: their probabilities are rounded the same way. All tokens
    have one type: the rows of its embedding are the same.
    """
    config = transformers.ElectraConfig(embedding_size=32, **_BERT)
    return transformers.ElectraForMaskedLM(config)


def mpnet() -> Any:
    """A bias of positions of four heads, where sixteen may be tried."""
    return transformers.MPNetForMaskedLM(transformers.MPNetConfig(**_BERT))


def deberta() -> Any:
    """A channel of attention that cancels to a thirtieth of the others."""
    config = transformers.DebertaV2Config(
        relative_attention=True, pos_att_type=["p2c", "c2p"], **_BERT
    )
    return transformers.DebertaV2ForMaskedLM(config)


def marian() -> Any:
    """The decoder's two rows: factors fitted to them scatter more than their errors allow."""
    config = transformers.MarianConfig(
        vocab_size=320, d_model=64, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=128, decoder_ffn_dim=128, pad_token_id=1,
        eos_token_id=2, bos_token_id=0, decoder_start_token_id=2, max_position_embeddings=64,
    )  # fmt: skip
    return transformers.MarianMTModel(config)


@pytest.mark.parametrize("narrow", ["bfloat16", "float16"])
@pytest.mark.parametrize("build", [electra, mpnet, deberta, marian])
def test_rounding_is_no_divergence(tmp_path: Path, build: Callable[[], Any], narrow: str) -> None:
    random = torch.Generator().manual_seed(3)
    given = {"input_ids": torch.randint(4, 320, (1, 12), generator=random)}
    if build is marian:
        given["decoder_input_ids"] = torch.randint(4, 320, (1, 2), generator=random)
    torch.manual_seed(0)
    model = build().eval()
    sides = []
    for dtype in (torch.float32, getattr(torch, narrow)):
        side = tmp_path / str(dtype)
        with torch.no_grad(), record(model.to(dtype), side):
            model(**given)
        sides.append(str(side))
    comparison = open_comparison(*sides)
    assert comparison.measure(use_cache=False)
    assert comparison.first_divergence() is None
    assert comparison.exit_status() == 0
