"""Mistakes that people make when they bring a model to another framework, one function each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import RaggedLlama


@dataclass(frozen=True, slots=True)
class Fault:
    """`module` is the canonical name of the module where it must show, None where nothing may;
    `plant` changes a freshly built candidate in place.
    """

    name: str
    description: str
    module: str | None
    plant: Callable[[RaggedLlama], None]


def _nothing(_: RaggedLlama) -> None:
    pass


def _attention_scale(model: RaggedLlama) -> None:
    attention = model.layer(3).self_attn
    attention.scale = 1.0 / attention.head_dim


def _norm_eps(model: RaggedLlama) -> None:
    model.layer(2).post_attention_layernorm.epsilon = 1e-2


def _rope_theta(model: RaggedLlama) -> None:
    model.theta = 500000.0


def _swapped_gate_up(model: RaggedLlama) -> None:
    model.layer(2).mlp.fused.reverse()


def _gelu_for_silu(model: RaggedLlama) -> None:
    from torch.nn.functional import gelu

    for layer in model.every_layer():
        layer.mlp.activation = gelu


def _transposed_o_proj(model: RaggedLlama) -> None:
    o_proj = model.layer(4).self_attn.o_proj
    o_proj.weight = o_proj.weight.T.contiguous()


def _weight_scale(model: RaggedLlama) -> None:
    down = model.layer(3).mlp.down_proj
    down.weight = down.weight * 1.01


def _kv_head_order(model: RaggedLlama) -> None:
    attention = model.layer(1).self_attn
    attention.kv_head = [head % 2 for head in range(len(attention.kv_head))]


def _nan_row(model: RaggedLlama) -> None:
    def spoil(_: Any, __: Any, output: Any) -> Any:
        output = output.clone()
        output[7] = float("nan")
        return output

    model.layer(4).mlp.down_proj.register_forward_hook(spoil)


def _token_shift(model: RaggedLlama) -> None:
    model.embed_tokens.register_forward_hook(lambda _, __, output: output.roll(1, 0))


def _dropped_bias(model: RaggedLlama) -> None:
    projection = model.layer(2).self_attn.qkv_proj
    assert projection.bias is not None
    value = sum(model.layer(2).self_attn.widths[:2])
    projection.bias[value:] = 0


def _int4_weight(model: RaggedLlama) -> None:
    down = model.layer(1).mlp.down_proj
    groups = down.weight.float().unflatten(1, (-1, 32))
    step = groups.abs().amax(-1, keepdim=True) / 7
    down.weight = ((groups / step).round() * step).flatten(1).to(down.weight.dtype)


FAULTS: tuple[Fault, ...] = (
    Fault("none", "no fault, only a different order of summation", None, _nothing),
    Fault(
        "attention-scale", "layer 3 divides by head_dim, not by its square root",
        "layers.3.self_attn", _attention_scale,
    ),
    Fault(
        "norm-eps", "the second norm of layer 2 has an eps of 1e-2, not 1e-5",
        "layers.2.post_attention_layernorm", _norm_eps,
    ),
    Fault(
        "rope-theta", "rotary base 500000 instead of 10000", "layers.0.self_attn", _rope_theta
    ),
    Fault(
        "swapped-gate-up", "layer 2 swaps gate and up",
        "layers.2.mlp", _swapped_gate_up,
    ),
    Fault(
        "gelu-for-silu", "every MLP uses GELU instead of SiLU", "layers.0.mlp", _gelu_for_silu
    ),
    Fault(
        "transposed-o-proj", "the square o_proj of layer 4 was loaded transposed",
        "layers.4.self_attn.o_proj", _transposed_o_proj,
    ),
    Fault(
        "weight-scale", "down_proj of layer 3 is 1 % too large",
        "layers.3.mlp.down_proj", _weight_scale,
    ),
    Fault(
        "kv-head-order", "layer 1 repeats the key/value heads 0 1 0 1, not 0 0 1 1",
        "layers.1.self_attn", _kv_head_order,
    ),
    Fault(
        "nan-row", "down_proj of layer 4 leaves token 7 uninitialised",
        "layers.4.mlp.down_proj", _nan_row,
    ),
    Fault("token-shift", "embeddings are one token too late", "embed_tokens", _token_shift),
    Fault(
        "dropped-bias", "the bias of v_proj in layer 2 was not loaded",
        "layers.2.self_attn.v_proj", _dropped_bias,
    ),
    Fault(
        "int4-weight", "down_proj of layer 1 is quantised to 4 bits in groups of 32",
        "layers.1.mlp.down_proj", _int4_weight,
    ),
)  # fmt: skip

NAMES: tuple[str, ...] = tuple(fault.name for fault in FAULTS)


def fault_named(name: str) -> Fault:
    """Raises `KeyError` for a name that is not in `NAMES`."""
    for fault in FAULTS:
        if fault.name == name:
            return fault
    raise KeyError(name)
