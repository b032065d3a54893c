"""Faults to plant in the models of `fault_models`, each with who is to blame and what it is like.

`plant` changes a candidate in place, before it is recorded. `module` is the canonical name of the
culprit in a dump as torch has it; `in_max` the one in a MAX-like dump where that has no record of
it. `symptoms` are the names that are right, empty where none of them applies. `by_weights`: without
weights the product of wrong ones is like that of any others, and MAX records neither the inside of
an MLP nor more than one token behind the layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .fault_models import CoarseLinear

Hook = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Planted:
    name: str
    family: str
    module: str
    plant: Callable[[Any], None]
    symptoms: tuple[str, ...] = ()
    in_max: str | None = None
    max_symptoms: tuple[str, ...] | None = None  # where they are others in a MAX-like dump
    causes: tuple[str, ...] = ()
    layers: int = 6
    dtypes: tuple[str, ...] = ("f32", "bf16")  # in which there is anything to be seen
    by_weights: tuple[str, ...] = ()  # forms of dumps in which only the weights tell the cause


def _layer(model: Any, number: int) -> Any:
    return model.model.layers[number]


def _after(module: nn.Module, change: Hook) -> None:
    """Change what a module returns."""

    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (change(output[0]), *output[1:])
        return change(output)

    module.register_forward_hook(hook)


def _before(module: nn.Module, change: Hook) -> None:
    """Change what a module gets, as wrong code of its caller would."""
    module.register_forward_pre_hook(lambda _, args: (change(args[0]), *args[1:]))


def _norm_eps(model: Any) -> None:
    _layer(model, 2).post_attention_layernorm.epsilon = 0.05


def _norm_plus_one(model: Any) -> None:
    _layer(model, 3).input_layernorm.weight.data += 1


def _norm_weight_channel(model: Any) -> None:
    _layer(model, 3).input_layernorm.weight.data[11] *= 1.2


def _no_final_norm_weight(model: Any) -> None:
    model.model.norm.weight.data.fill_(1)


def _rope_theta(model: Any) -> None:
    rotary = model.model.rotary_emb
    size = rotary.inv_freq.numel()
    rotary.inv_freq = 500000.0 ** -(torch.arange(size) / size)


def _rope_positions(model: Any) -> None:
    rotary = model.model.rotary_emb
    inner = rotary.forward
    rotary.forward = lambda x, position_ids: inner(x, position_ids + 1 * (position_ids > 11))


def _interleaved_rope(model: Any) -> None:
    projection = _layer(model, 0).self_attn.q_proj
    order = _interleaved(projection.weight.shape[0])
    projection.weight.data = projection.weight.data[order]
    if projection.bias is not None:
        projection.bias.data = projection.bias.data[order]


def _interleaved(width: int, head: int = 16) -> Tensor:
    within = torch.arange(head).view(2, -1).T.reshape(-1)
    return (torch.arange(0, width, head)[:, None] + within).reshape(-1)


def _attention_scale(model: Any) -> None:
    _layer(model, 3).self_attn.scaling = 1.0 / 16


def _head_order(model: Any) -> None:
    def swap(x: Tensor) -> Tensor:
        return x.unflatten(-1, (4, 16))[..., [0, 2, 1, 3], :].flatten(-2)

    _before(_layer(model, 2).self_attn.o_proj, swap)


def _lost_head(model: Any) -> None:
    def zero(x: Tensor) -> Tensor:
        x = x.clone()
        x[..., 32:48] = 0
        return x

    _before(_layer(model, 4).self_attn.o_proj, zero)


def _mask_hole(model: Any) -> None:
    attention = _layer(model, 1).self_attn
    inner = attention.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        mask = kwargs["attention_mask"].clone()
        mask[..., 9, 10] = 0  # token 9 sees the one after it
        kwargs["attention_mask"] = mask
        return inner(*args, **kwargs)

    attention.forward = forward


def _no_mask(model: Any) -> None:
    attention = _layer(model, 3).self_attn
    inner = attention.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        kwargs["attention_mask"] = torch.zeros_like(kwargs["attention_mask"])
        return inner(*args, **kwargs)

    attention.forward = forward


def _gelu(model: Any) -> None:
    for layer in model.model.layers:
        layer.mlp.act_fn.forward = nn.functional.gelu


def _relu_late(model: Any) -> None:
    for layer in model.model.layers[3:]:
        layer.mlp.act_fn.forward = torch.relu


def _transposed(model: Any) -> None:
    projection = _layer(model, 4).self_attn.o_proj
    projection.weight.data = projection.weight.data.T.contiguous()


def _swapped_gate_up(model: Any) -> None:
    mlp = _layer(model, 2).mlp
    mlp.gate_proj.weight, mlp.up_proj.weight = mlp.up_proj.weight, mlp.gate_proj.weight


def _swapped_kv(model: Any) -> None:
    attention = _layer(model, 1).self_attn
    for name in ("weight", "bias"):
        left, right = getattr(attention.k_proj, name), getattr(attention.v_proj, name)
        setattr(attention.k_proj, name, right)
        setattr(attention.v_proj, name, left)


def _dropped_bias(model: Any) -> None:
    _layer(model, 2).self_attn.v_proj.bias.data.zero_()


def _weight_scale(model: Any) -> None:
    _layer(model, 3).mlp.down_proj.weight.data *= 1.01


def _embedding_scale(model: Any) -> None:
    _after(model.model.embed_tokens, lambda x: x * 8.0)


def _int4_weight(model: Any) -> None:
    weight = _layer(model, 1).mlp.down_proj.weight
    groups = weight.data.float().unflatten(1, (-1, 32))
    step = groups.abs().amax(-1, keepdim=True) / 7
    weight.data = ((groups / step).round() * step).flatten(1).to(weight.dtype)


def _tf32_in_one_layer(model: Any) -> None:
    attention = _layer(model, 0).self_attn
    for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
        projection.forward = CoarseLinear.forward.__get__(projection)


def _fp8_output(model: Any) -> None:
    module = _layer(model, 2).self_attn.o_proj
    _after(module, lambda x: x.to(torch.float8_e4m3fn).to(x.dtype))


def _int8_output(model: Any) -> None:
    def quantised(x: Tensor) -> Tensor:
        step = x.float().abs().max() / 127
        return ((x.float() / step).round() * step).to(x.dtype)

    _after(_layer(model, 3).mlp.down_proj, quantised)


def _clamped(model: Any) -> None:
    def clamp(x: Tensor) -> Tensor:
        limit = float(x.float().abs().flatten().quantile(0.995))
        return x.clamp(-limit, limit)

    _after(_layer(model, 2).mlp.down_proj, clamp)


def _fp16_overflow(model: Any) -> None:
    def overflow(x: Tensor) -> Tensor:
        factor = 90000.0 / float(x.float().abs().max())
        return ((x.float() * factor).half().float() / factor).to(x.dtype)

    _after(_layer(model, 4).mlp.down_proj, overflow)


def _nan_row(model: Any) -> None:
    def spoil(x: Tensor) -> Tensor:
        x = x.clone()
        x[:, 7] = math.nan
        return x

    _after(_layer(model, 4).mlp.down_proj, spoil)


def _token_shift(model: Any) -> None:
    _after(model.model.embed_tokens, lambda x: x.roll(1, 1))


def _last_token(model: Any) -> None:
    def spoil(x: Tensor) -> Tensor:
        x = x.clone()
        x[:, -1] *= 1.3
        return x

    _after(_layer(model, 3).self_attn.o_proj, spoil)


def _one_channel(model: Any) -> None:
    def spoil(x: Tensor) -> Tensor:
        x = x.clone()
        x[..., 17] += 0.5 * x.float().std().to(x.dtype)
        return x

    _after(_layer(model, 3).mlp.down_proj, spoil)


def _offset(model: Any) -> None:
    _after(_layer(model, 2).mlp.up_proj, lambda x: x + 0.3 * x.float().std().to(x.dtype))


def _missing_residual(model: Any) -> None:
    layer = _layer(model, 2)
    inner = layer.forward
    layer.forward = lambda hidden_states, *args, **kwargs: (
        inner(hidden_states, *args, **kwargs) - hidden_states
    )


def _attention_not_added(model: Any) -> None:
    layer = _layer(model, 3)
    seen: list[Tensor] = []
    layer.self_attn.register_forward_hook(lambda _, __, output: seen.append(output[0]))
    _before(layer.post_attention_layernorm, lambda x: x - seen.pop())


def _stale_mlp(model: Any) -> None:
    seen: list[Tensor] = []
    _layer(model, 2).mlp.down_proj.register_forward_hook(lambda _, __, output: seen.append(output))
    _after(_layer(model, 3).mlp.down_proj, lambda _: seen[-1])


def _constant(model: Any) -> None:
    _after(_layer(model, 4).self_attn.v_proj, torch.zeros_like)


def _sign_rows(model: Any) -> None:
    model.lm_head.weight.data[[40, 200]] *= -1


def _sign(model: Any) -> None:
    _layer(model, 3).self_attn.k_proj.weight.data *= -1
    bias = _layer(model, 3).self_attn.k_proj.bias
    if bias is not None:
        bias.data *= -1


def _q_norm_eps(model: Any) -> None:
    _layer(model, 0).self_attn.q_norm.epsilon = 0.02


def _router_order(model: Any) -> None:
    weight = _layer(model, 2).mlp.gate.weight
    weight.data = weight.data[[0, 1, 3, 2, 4, 5, 6, 7]]


def _experts_not_normalised(model: Any) -> None:
    _after(_layer(model, 3).mlp.experts, lambda x: x * 1.05)


def _sliding_window(model: Any) -> None:
    for layer in model.model.layers:
        attention = layer.self_attn
        inner = attention.forward

        def forward(*args: Any, inner: Any = inner, **kwargs: Any) -> Any:
            mask = kwargs["attention_mask"].clone()
            rows, columns = torch.meshgrid(
                torch.arange(mask.shape[-2]), torch.arange(mask.shape[-1]), indexing="ij"
            )
            mask[..., rows - columns >= 6] = torch.finfo(mask.dtype).min
            kwargs["attention_mask"] = mask
            return inner(*args, **kwargs)

        attention.forward = forward


_BOTH, _MAX = ("torch", "max"), ("max",)
FAULTS: tuple[Planted, ...] = (
    Planted("norm-eps", "llama", "layers.2.post_attention_layernorm", _norm_eps, causes=("eps",)),
    Planted("norm-weight-plus-1", "qwen2", "layers.3.input_layernorm", _norm_plus_one,
            causes=("weight-offset",)),
    Planted("norm-weight-channel", "llama", "layers.3.input_layernorm", _norm_weight_channel,
            ("region",)),
    Planted("no-final-norm-weight", "mistral", "norm", _no_final_norm_weight,
            causes=("weight-ignored",),
            by_weights=_MAX),
    Planted("rope-theta", "llama", "rotary_emb", _rope_theta, in_max="layers.0.self_attn",
            causes=("rope-base",)),
    Planted("rope-positions", "mistral", "rotary_emb", _rope_positions,
            in_max="layers.0.self_attn", causes=("positions",)),
    Planted("interleaved-rope", "llama", "layers.0.self_attn.q_proj", _interleaved_rope,
            ("permuted",), causes=("row-order",)),
    Planted("attention-scale", "qwen2", "layers.3.self_attn", _attention_scale,
            causes=("attention-scale",)),
    Planted("head-order", "mistral", "layers.2.self_attn", _head_order, ("permuted",),
            causes=("head-order",)),
    Planted("lost-head", "llama", "layers.4.self_attn", _lost_head, ("region",)),
    Planted("mask-hole", "llama", "layers.1.self_attn", _mask_hole, ("region",),
            causes=("attention-mask",)),
    Planted("no-mask", "qwen2", "layers.3.self_attn", _no_mask, causes=("attention-mask",)),
    Planted("sliding-window", "mistral", "layers.0.self_attn", _sliding_window,
            causes=("attention-mask",)),
    Planted("gelu-for-silu", "llama", "layers.0.mlp.act_fn", _gelu, in_max="layers.0.mlp",
            causes=("activation",),
            by_weights=_MAX),
    Planted("relu-from-layer-3", "qwen3", "layers.3.mlp.act_fn", _relu_late,
            in_max="layers.3.mlp", causes=("activation",),
            by_weights=_MAX),
    Planted("transposed-o-proj", "llama", "layers.4.self_attn.o_proj", _transposed,
            causes=("transposed",),
            by_weights=_BOTH),
    Planted("swapped-gate-up", "mistral", "layers.2.mlp.gate_proj", _swapped_gate_up,
            ("swapped",), in_max="layers.2.mlp", max_symptoms=(),
            causes=("swapped", "other-weights"),
            by_weights=_MAX),
    Planted("swapped-k-v", "llama", "layers.1.self_attn.k_proj", _swapped_kv, ("swapped",),
            causes=("swapped", "other-weights")),
    Planted("dropped-bias", "qwen2", "layers.2.self_attn.v_proj", _dropped_bias,
            ("offset", "missing-term"), causes=("bias",)),
    Planted("weight-scale", "llama", "layers.3.mlp.down_proj", _weight_scale, ("scale",),
            causes=("scale",)),
    Planted("embedding-scale", "qwen3", "embed_tokens", _embedding_scale, ("scale",),
            causes=("embedding", "scale")),
    Planted("int4-weight", "mistral", "layers.1.mlp.down_proj", _int4_weight,
            causes=("quantised",),
            by_weights=_BOTH),
    Planted("tf32-in-one-layer", "llama", "layers.0.self_attn.q_proj", _tf32_in_one_layer,
            dtypes=("f32",), causes=("precision",),
            by_weights=_BOTH),
    Planted("fp8-output", "llama", "layers.2.self_attn.o_proj", _fp8_output, ("cast",),
            causes=("cast", "quantised")),
    Planted("int8-output", "qwen2", "layers.3.mlp.down_proj", _int8_output, ("cast",),
            causes=("cast", "quantised")),
    Planted("clamped", "llama", "layers.2.mlp.down_proj", _clamped, ("clamp",), causes=("clamp",)),
    Planted("fp16-overflow", "mistral", "layers.4.mlp.down_proj", _fp16_overflow,
            ("cast", "nan")),
    Planted("nan-row", "llama", "layers.4.mlp.down_proj", _nan_row, ("nan",)),
    Planted("token-shift", "qwen2", "embed_tokens", _token_shift, ("shifted",),
            causes=("token-shift",)),
    Planted("last-token", "llama", "layers.3.self_attn.o_proj", _last_token, ("region",)),
    Planted("one-channel", "llama", "layers.3.mlp.down_proj", _one_channel,
            ("region", "offset", "missing-term"), causes=("bias",)),
    Planted("offset", "qwen3", "layers.2.mlp.up_proj", _offset, ("offset",),
            in_max="layers.2.mlp", max_symptoms=(), causes=("bias",),
            by_weights=_MAX),
    Planted("missing-residual", "llama", "layers.2", _missing_residual, ("missing-term",),
            causes=("residual",)),
    Planted("attention-not-added", "qwen2", "layers.3", _attention_not_added, ("missing-term",),
            causes=("residual",)),
    Planted("stale-mlp", "llama", "layers.3.mlp.down_proj", _stale_mlp, ("stale",),
            causes=("stale",)),
    Planted("zeroed-v", "mistral", "layers.4.self_attn.v_proj", _constant, ("constant",)),
    Planted("sign-of-two-rows", "llama", "lm_head", _sign_rows, ("sign", "region")),
    Planted("sign", "qwen2", "layers.3.self_attn.k_proj", _sign, ("sign",), causes=("scale",)),
    Planted("q-norm-eps", "qwen3", "layers.0.self_attn.q_norm", _q_norm_eps, causes=("eps",)),
    Planted("router-order", "mixtral", "layers.2.mlp.gate_proj", _router_order, ("permuted",),
            causes=("row-order", "routing")),
    Planted("experts-scale", "mixtral", "layers.3.mlp.experts", _experts_not_normalised,
            ("scale",), causes=("scale",)),
)  # fmt: skip
