"""A Llama of transformers with one mistake in every layer, for `--factory faulty_llama:candidate`.

The model's path, which a factory is called with, is the dtype here.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
import transformers

IDS = [3, 40, 41, 42, 50, 60, 70, 71, 72, 90]

# Where each mistake is, and nowhere else; modules inside are right, modules around it wrong by it.
FAULTY = {
    "layers.0.self_attn": "attention scaled wrongly",
    "layers.1.self_attn": "rotary embedding turned the wrong way",
    "layers.2.input_layernorm": "eps of 1e-1 instead of 1e-5",
    "layers.3.mlp": "gate taken for up and up for gate",
    "layers.4.mlp.act_fn": "GELU instead of SiLU",
    "layers.5.self_attn.o_proj": "weight transposed",
    "layers.6.self_attn": "no causal mask",
    "layers.7": "second residual dropped",
    "layers.8.mlp.down_proj": "weight 10 % too large",
    "norm": "weight without the 1 that was added",
}


def reference(dtype: str | None = None) -> Any:
    config = transformers.LlamaConfig(
        vocab_size=320, hidden_size=64, intermediate_size=128, num_hidden_layers=9,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
        rms_norm_eps=1e-5, head_dim=16, tie_word_embeddings=False,
        attn_implementation="sdpa",  # pyright: ignore[reportCallIssue]
    )  # fmt: skip
    torch.manual_seed(0)
    model: Any = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.mul_(1.1 if "norm" in name else 4)
    return model.to(getattr(torch, dtype or "float32")).eval(), {"input_ids": torch.tensor([IDS])}


def candidate(dtype: str | None = None) -> Any:
    model, inputs = reference(dtype)
    layers = model.model.layers
    with torch.no_grad():
        layers[0].self_attn.scaling *= 1.5
        layers[1].self_attn.register_forward_pre_hook(_turned, with_kwargs=True)
        layers[2].input_layernorm.variance_epsilon = 1e-1
        layers[3].mlp.forward = MethodType(_swapped, layers[3].mlp)
        layers[4].mlp.act_fn = torch.nn.GELU()
        o_proj = layers[5].self_attn.o_proj
        o_proj.weight.copy_(o_proj.weight.T.clone())
        layers[6].self_attn.is_causal = False
        layers[7].register_forward_hook(_without_residual)
        layers[7].mlp.register_forward_hook(_remember)
        layers[8].mlp.down_proj.weight.mul_(1.1)
        model.model.norm.weight.sub_(1.0)
    return model, inputs


def _turned(_: Any, args: Any, kwargs: Any) -> Any:
    cos, sin = kwargs["position_embeddings"]
    return args, {**kwargs, "position_embeddings": (cos, -sin)}


def _swapped(mlp: Any, x: torch.Tensor) -> torch.Tensor:
    return mlp.down_proj(mlp.act_fn(mlp.up_proj(x)) * mlp.gate_proj(x))


def _remember(mlp: Any, _: Any, output: torch.Tensor) -> None:
    mlp.gave = output


def _without_residual(layer: Any, _: Any, __: torch.Tensor) -> torch.Tensor:
    return layer.mlp.gave
