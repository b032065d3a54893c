"""What configs call the numbers that laws have, and which of them a cause is about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..weights.fused_weights import HEAD_NAMES, KV_HEAD_NAMES, text_config

EPS_NAMES = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_eps", "norm_epsilon",
             "layernorm_epsilon", "eps")  # fmt: skip
FUNCTION_NAMES = ("hidden_act", "hidden_activation", "activation_function", "activation",
                  "ffn_act_fn", "hidden_act_fn")  # fmt: skip
EMBEDDING_FACTORS = ("embedding_multiplier", "scale_emb")
RESIDUAL_FACTORS = ("residual_multiplier", "scale_depth")

_BASES = ("rope_theta", "rotary_emb_base")
_PARTIAL = ("partial_rotary_factor", "rotary_pct", "rotary_dim")
_EXPERTS_USED = ("num_experts_per_tok", "moe_topk", "top_k", "num_experts_per_token")
_LOGIT_FACTORS = ("logit_scale", "output_multiplier_scale", "lm_head_multiplier", "logits_scaling")
_LOGIT_CAPS = ("final_logit_softcapping", "final_logits_soft_cap", "logits_soft_cap")

# Spellings of one number; it goes by the first of them.
_SYNONYMS = {
    name: names[0]
    for names in (EPS_NAMES, FUNCTION_NAMES, EMBEDDING_FACTORS, HEAD_NAMES, KV_HEAD_NAMES, _BASES,
                  _EXPERTS_USED, _LOGIT_CAPS)
    for name in names
}  # fmt: skip
_ROPE = "rope."  # in front of what describes a scaling of rotary positions
_ROPE_SECTIONS = ("rope_scaling.", "rope_parameters.")

_HEAD_COUNTS = (
    HEAD_NAMES[0],
    KV_HEAD_NAMES[0],
    "head_dim",
    "multi_query",
    "new_decoder_architecture",
)
_SCALES = ("query_pre_attn_scalar", "attention_multiplier", "scale_attn_weights", "head_dim")
_MASKS = ("sliding_window", "use_sliding_window", "layer_types", "max_window_layers",
          "attention_chunk_size", "is_decoder", "position_embedding_type")  # fmt: skip
_ALIBI = ("alibi", "attn_config.alibi", "attn_config.alibi_bias_max")
_ROTARY = (_BASES[0], "rope_local_base_freq", _ROPE, "original_max_position_embeddings")
_STYLE = (*_PARTIAL, "rope_interleave")
_ROUTING = (_EXPERTS_USED[0], "norm_topk_prob", "routed_scaling_factor", "n_group", "topk_group",
            "scoring_func", "n_shared_experts")  # fmt: skip
_RESIDUAL = (*RESIDUAL_FACTORS, "use_parallel_residual", "parallel_attn",
             "apply_residual_connection_post_layernorm")  # fmt: skip
_CAPS = ("attn_logit_softcapping", _LOGIT_CAPS[0])
_BIASES = ("attention_bias", "mlp_bias", "qkv_bias", "use_qkv_bias", "use_bias", "bias")
_QUANTISED = ("quantization_config.quant_method", "quantization_config.bits",
              "quantization_config.fmt", "quantization_config.group_size")  # fmt: skip

# Cause -> what a config says of it; names that end with a dot stand for all that begin so.
OF_CAUSES: dict[str, tuple[str, ...]] = {
    "eps": EPS_NAMES[:1], "activation": FUNCTION_NAMES[:1], "rope-base": _ROTARY,
    "rope-scaling": _ROTARY, "rope-style": _STYLE, "attention-scale": _SCALES,
    "attention-mask": _MASKS, "alibi": _ALIBI, "head-repetition": _HEAD_COUNTS,
    "head-order": _HEAD_COUNTS, "softcap": _CAPS, "routing": _ROUTING, "residual": _RESIDUAL,
    "embedding": EMBEDDING_FACTORS[:1], "logits-scale": _LOGIT_FACTORS,
    "clamp": ("swiglu_limit", "clip_qkv"), "bias": _BIASES, "quantised": _QUANTISED,
}  # fmt: skip
# Law -> the same, where no cause is known or it is not about a number of a config.
OF_LAWS: dict[str, tuple[str, ...]] = {
    "norm": EPS_NAMES[:1], "linear": (*_BIASES, *_QUANTISED), "activation": FUNCTION_NAMES[:1],
    "gated": (*FUNCTION_NAMES[:1], "swiglu_limit"),
    "gated-mlp": (*FUNCTION_NAMES[:1], "swiglu_limit", *_BIASES, *_QUANTISED),
    "experts": (*FUNCTION_NAMES[:1], *_ROUTING, *_QUANTISED), "routing": _ROUTING,
    "shared-experts": (*FUNCTION_NAMES[:1], *_QUANTISED), "convolution": (), "pooling": (),
    "layer-scale": (),
    "rotary tables": (*_ROTARY, *_STYLE),
    "attention-probabilities": (*_SCALES, *_MASKS, *_ALIBI, *_HEAD_COUNTS, *_CAPS[:1]),
    "attention-values": _HEAD_COUNTS,
    "attention": (*_SCALES, *_MASKS, *_ALIBI, *_HEAD_COUNTS, *_CAPS[:1], *_ROTARY, *_STYLE),
    "residual": _RESIDUAL, "embedding": EMBEDDING_FACTORS[:1],
    "embedding-sum": EMBEDDING_FACTORS[:1], "logits": (*_LOGIT_FACTORS, *_CAPS[1:]),
}  # fmt: skip


def names_of(law: str, causes: Iterable[str]) -> tuple[str, ...]:
    """What a config has to say of a layer with this law and these causes."""
    found: list[str] = []
    for cause in causes:
        found += OF_CAUSES.get(cause, ())
    return tuple(dict.fromkeys(found or OF_LAWS.get(law, ())))


def config_differences(
    reference: Mapping[str, Any], candidate: Mapping[str, Any], names: Iterable[str]
) -> Iterator[tuple[str, Any, Any]]:
    """What two configs say otherwise: its name, as the candidate's config has it where it has it,
    and both values, None where one does not say. Nothing of a config that is empty.
    """
    if not reference or not candidate:
        return
    wanted = tuple(names)
    ours, theirs = by_one_name(reference), by_one_name(candidate)
    for name in dict.fromkeys((*theirs, *ours)):
        if not any(name == w or (w.endswith(".") and name.startswith(w)) for w in wanted):
            continue
        _, left = ours.get(name, ("", None))
        spelling, right = theirs.get(name) or (ours[name][0], None)
        if left != right and not (_is_off(left) and _is_off(right)):
            yield spelling, left, right


def _is_off(value: Any) -> bool:
    """Whether nothing is said, or that something is not there."""
    return value is None or value is False


def by_one_name(config: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """Spelling and value by one name for all spellings; the first spelling counts. What says no
    more than that nothing is scaled is left out.
    """
    found: dict[str, tuple[str, Any]] = {}
    for spelling, value in _entries(text_config(config)):
        name = spelling
        for section in _ROPE_SECTIONS:
            if name.startswith(section):
                name = _ROPE + name.removeprefix(section)
        name = {_ROPE + "type": _ROPE + "rope_type"}.get(name, name)
        if name.removeprefix(_ROPE) in (*_BASES, *_PARTIAL):
            name = name.removeprefix(_ROPE)
        if value is not None and (name, value) != (_ROPE + "rope_type", "default"):
            found.setdefault(_SYNONYMS.get(name, name), (spelling, value))
    return found


def _entries(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and len(prefix) < 200:  # a limit for what nests without end
            yield from _entries(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
