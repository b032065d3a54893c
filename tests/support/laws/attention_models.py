"""Small models of transformers whose attention is recorded, with and without a changed part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from layertui.compare.laws.attention.law import AttentionLaw
from layertui.compare.laws.evaluate import evaluations
from layertui.compare.laws.peers import Judged, Peers

from .law_checks import Tried, capture, tried

TOKENS = 24
_COMMON: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "max_position_embeddings": 128, "use_cache": False,
}  # fmt: skip
_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "qwen3": ("Qwen3", {}),
    "mistral": ("Mistral", {"sliding_window": 6}),
    "gemma2": ("Gemma2", {"sliding_window": 6, "query_pre_attn_scalar": 24}),
    "olmo2": ("Olmo2", {}),
    "phi3": ("Phi3", {"pad_token_id": 0}),
    "gemma3": ("Gemma3Text", {"sliding_window": 6, "query_pre_attn_scalar": 16}),
    "neox": ("GPTNeoX", {"rotary_pct": 0.25}),
    "gpt2": ("GPT2", {"n_embd": 64, "n_layer": 4, "n_head": 4, "n_positions": 128}),
    "bert": ("Bert", {}),
}
_PLAIN = {"num_key_value_heads": None, "head_dim": None}  # models without grouped heads


_HEADS = {"Bert": "Model", "GPT2": "LMHeadModel"}
_SHARPENED = ("q_proj", "k_proj", "qkv", "c_attn", "query", "key")


def model_of(
    kind: str, attention: str = "eager", dtype: torch.dtype = torch.float32, **more: Any
) -> Any:
    """A model with weights large enough for attention to be sharp in places."""
    name, own = _KINDS[kind]
    plain = _PLAIN if name in ("GPT2", "GPTNeoX", "Bert") else {}
    given = {k: v for k, v in {**_COMMON, **plain, **own, **more}.items() if v is not None}
    config = getattr(transformers, f"{name}Config")(**given)
    config._attn_implementation = attention
    torch.manual_seed(0)
    head = _HEADS.get(name, "ForCausalLM")
    model = getattr(transformers, name.removesuffix("Text") + head)(config).eval()
    for name_, parameter in model.named_parameters():
        if parameter.ndim == 2 and any(part in name_ for part in _SHARPENED):
            parameter.data *= 6
    return model.to(dtype)


def ids(batch: int = 1) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randint(1, 96, (batch, TOKENS))


def compared(
    folder: Path, reference: Any, candidate: Any, with_model: bool = True, **inputs: Any
) -> Tried:
    """Both models on the same tokens, with the reference's checkpoint or without."""
    given = inputs or {"input_ids": ids()}
    weights = folder / "weights"
    if with_model:
        reference.save_pretrained(weights)
    return tried(
        capture(reference, folder / "reference", **given),
        capture(candidate, folder / "candidate", **given), weights if with_model else None,
    )  # fmt: skip


def attention_of(found: Tried) -> list[Judged]:
    """Judgements of the attention law only, those of all steps."""
    return Peers(evaluations(found.scene, (AttentionLaw(),))).judged()


def layer(model: Any, number: int) -> Any:
    """A decoder layer of any of these models."""
    inner = getattr(model, "model", None) or getattr(model, "transformer", None) or model
    layers = getattr(inner, "layers", None) or getattr(inner, "h", None)
    return (layers if layers is not None else inner.encoder.layer)[number]


def wrapped(module: Any, change: Callable[[Any, dict[str, Any]], None]) -> None:
    """Change the keyword arguments of a module's code, behind what is recorded of them."""
    inner = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        change(module, kwargs)
        return inner(*args, **kwargs)

    module.forward = forward
