"""What the metadata of a GGUF file say of the model, in transformers' words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

from ..formats.gguf_file import list_tensors
from ..records import Locator
from .gguf_weights import PERMUTED

# Behind the name of the architecture.
_NAMES = {
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "block_count": "num_hidden_layers",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.layer_norm_epsilon": "layer_norm_eps",
    "attention.sliding_window": "sliding_window",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "expert_used_count": "num_experts_per_tok",
    "rope.freq_base": "rope_theta",
    "context_length": "max_position_embeddings",
    "vocab_size": "vocab_size",
}
# What llama.cpp computes for these, without saying so in the file.
_ACTIVATIONS = {"llama": "silu", "qwen2": "silu", "qwen3": "silu"}


def config_of(metadata: Mapping[str, Any], quantised: str | None) -> dict[str, Any]:
    """A config as transformers would have it, as far as the file says; `quantised` says how the
    weights are.
    """
    kind = metadata.get("general.architecture")
    found = {name: metadata.get(f"{kind}.{key}") for key, name in _NAMES.items()}
    said: dict[str, Any] = {
        name: value
        for name, value in found.items()
        if isinstance(value, (int, float)) and isfinite(value)
    }
    if kind in _ACTIVATIONS:
        said["hidden_act"] = _ACTIVATIONS[kind]
    if quantised is not None:
        said["quantization_config"] = {"quant_method": f"gguf: {quantised}"}
    return {"model_type": str(kind), **said} if kind else said


def gguf_config(path: str) -> dict[str, Any]:
    """The config that the metadata of a file amount to. Raises `RecordError`, `OSError`."""
    metadata, tensors = list_tensors(path)
    return config_of(metadata, quantised_words(tensors))


def interleaved_heads(metadata: Mapping[str, Any]) -> int | None:
    """Elements of a head, where the converter has put the rows of queries and keys into pairs;
    None where it has not.
    """
    kind = metadata.get("general.architecture")
    if kind not in PERMUTED:
        return None
    width, heads, size = (
        metadata.get(f"{kind}.{key}")
        for key in ("embedding_length", "attention.head_count", "attention.key_length")
    )
    if size is None and isinstance(width, int) and isinstance(heads, int) and heads > 0:
        size = width // heads
    return size if isinstance(size, int) and size > 0 and size % 2 == 0 else None


def quantised_words(tensors: Iterable[tuple[str, Locator | str]]) -> str | None:
    """How the weights are quantised, None where they are not: `Q8_0 (15 of 21 tensors)`."""
    counts: dict[str, int] = {}
    total = 0
    for _, place in tensors:
        total += 1
        kind = "other types" if isinstance(place, str) else place.key.partition("/")[0]
        if kind:
            counts[kind] = counts.get(kind, 0) + 1
    if not counts:
        return None
    return ", ".join(f"{kind} ({count} of {total} tensors)" for kind, count in counts.items())
