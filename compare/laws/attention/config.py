"""What a config.json says of attention: heads, scale, window, soft cap, ALiBi."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ....capture.values import Array
from ...weights.fused_weights import text_config
from .form import alibi_slopes

_LONGEST = 1 << 30  # tokens that a window may have
# T5 and its kin, whose initial weights stand in for a scale (Raffel et al., 2020).
_UNSCALED = ("t5", "mt5", "umt5", "longt5", "switch_transformers")
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)(?:\.|$)")
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads")
_KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num")
_ENCODERS = ("bert", "electra", "deberta", "mpnet", "vit", "clip_vision", "siglip_vision", "dino",
             "distilbert", "esm", "wav2vec", "hubert")  # fmt: skip


def head_counts(config: Mapping[str, Any]) -> tuple[int, int]:
    """Query heads and key heads; zeros where the config does not say."""
    config = text_config(config)
    heads = next((n for name in _HEADS if (n := _count(config.get(name)))), 0)
    kv_heads = next((n for name in _KV_HEADS if (n := _count(config.get(name)))), heads)
    if config.get("multi_query") is True and not config.get("new_decoder_architecture"):
        kv_heads = 1  # Falcon
    return heads, kv_heads if kv_heads and heads % kv_heads == 0 else heads


def _count(value: object, most: int = 4096) -> int:
    """A positive whole number of a config, else 0."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most:
        return value
    return 0


def config_scale(config: Mapping[str, Any], width: int) -> float:
    """What scores are multiplied by, for heads of `width` channels."""
    config = text_config(config)
    given = config.get("query_pre_attn_scalar")
    if isinstance(given, int | float) and given > 0:
        return float(given) ** -0.5
    given = config.get("attention_multiplier")
    if isinstance(given, int | float) and given > 0:
        return float(given)
    if config.get("scale_attn_weights") is False or config.get("model_type") in _UNSCALED:
        return 1.0
    return width**-0.5


def config_softcap(config: Mapping[str, Any]) -> float | None:
    """At what scores are softly capped."""
    given = text_config(config).get("attn_logit_softcapping")
    return float(given) if isinstance(given, int | float) and given > 0 else None


def config_slopes(config: Mapping[str, Any], heads: int) -> Array | None:
    """ALiBi's slopes where the config asks for them."""
    config = text_config(config)
    attention = config.get("attn_config")
    inner = attention.get("alibi") if isinstance(attention, Mapping) else None
    told = config.get("alibi") or inner or config.get("model_type") == "bloom"
    return alibi_slopes(heads) if told else None


def is_encoder(config: Mapping[str, Any], module: str) -> bool:
    """Whether the queries of an attention module see later tokens, too."""
    if config.get("is_encoder_decoder"):
        return "encoder" in module.split(".")
    config = text_config(config)
    kind = str(config.get("model_type", ""))
    return not config.get("is_decoder") and any(name in kind for name in _ENCODERS)


def config_window(config: Mapping[str, Any], module: str) -> int | None:
    """How many keys a query of this layer sees, by the config; None for all."""
    config = text_config(config)
    window = _count(config.get("sliding_window"), _LONGEST)
    if not window or config.get("use_sliding_window") is False:
        return None
    kinds, found = config.get("layer_types"), _LAYER.search(module)
    if isinstance(kinds, Sequence) and found is not None:
        number = int(found.group(1))
        if number < len(kinds) and "sliding" not in str(kinds[number]):
            return None
    return window
