"""Faults in the arithmetic of trained models: norms, functions, sums, precision, values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from small_models.fault_models import as_tf32

from .planted_weights import DOWN, INPUT_NORM, MLP_NORM, UP, O, V
from .planting import (
    LLAMA,
    Plant,
    Site,
    TrainedFault,
    after,
    attention,
    deviation,
    in_all,
    noise,
    output,
    weight,
)

FINAL = "model.norm"
ACT = "mlp.act_fn"


# Norms


def epsilon(path: str, value: float) -> Plant:
    def plant(site: Site) -> None:
        site.part(path).epsilon = value

    return plant


def _every_epsilon(value: float) -> Plant:
    """In both norms of a layer, and with the last layer in the final one."""

    def plant(site: Site) -> None:
        for path in (INPUT_NORM, MLP_NORM):
            epsilon(path, value)(site)
        site.model.model.norm.epsilon = value

    return plant


def centred(path: str, on: bool = True) -> Plant:
    def plant(site: Site) -> None:
        site.part(path).centred = on

    return plant


def missing(path: str) -> Plant:
    def plant(site: Site) -> None:
        site.part(path).forward = lambda x: x

    return plant


def final(plant: Callable[[Any], None]) -> Plant:
    return lambda site: plant(site.model.model.norm)


def _one(w: Tensor) -> Tensor:
    return torch.ones_like(w)


def _plus_one(w: Tensor) -> Tensor:
    return w + 1


def _set(name: str, value: Any) -> Callable[[Any], None]:
    return lambda module: setattr(module, name, value)


_SMALL = "less than the dtype's rounding where the mean square is large"
_PLUS_ONE = TrainedFault("norm-plus-1", ("weight-offset",), LLAMA + INPUT_NORM,
                         weight(INPUT_NORM, _plus_one), 0.5)  # fmt: skip
_KIND = TrainedFault("norm-centred", ("norm-kind",), LLAMA + MLP_NORM, centred(MLP_NORM), 0.6)
_IGNORED = TrainedFault("norm-weight-ignored", ("weight-ignored",), LLAMA + MLP_NORM,
                        weight(MLP_NORM, _one), 0.3)  # fmt: skip
_NORMS = (
    TrainedFault("eps-1e-6-all", ("eps",), LLAMA + INPUT_NORM, _every_epsilon(1e-6), 0.0, True,
                 bf16="below", why=_SMALL),
    TrainedFault("eps-0-first", ("eps",), LLAMA + INPUT_NORM, epsilon(INPUT_NORM, 0.0), 0.0,
                 bf16="below", why=_SMALL),
    TrainedFault("eps-1e-3", ("eps",), LLAMA + MLP_NORM, epsilon(MLP_NORM, 1e-3), 0.2,
                 bf16="below", why=_SMALL),
    TrainedFault("eps-1", ("eps",), LLAMA + INPUT_NORM, epsilon(INPUT_NORM, 1.0), 0.35),
    TrainedFault("eps-0.1-first", ("eps",), LLAMA + INPUT_NORM, epsilon(INPUT_NORM, 0.1), 0.0),
    TrainedFault("eps-1e-12-first", ("eps",), LLAMA + MLP_NORM, epsilon(MLP_NORM, 1e-12), 0.0,
                 bf16="below", why=_SMALL),
    _KIND,
    in_all(_KIND),
    TrainedFault("final-norm-centred", ("norm-kind",), FINAL, final(_set("centred", True)), 1.0),
    TrainedFault("norm-missing", ("norm-missing",), LLAMA + INPUT_NORM, missing(INPUT_NORM), 0.45),
    TrainedFault("final-norm-missing", ("norm-missing",), FINAL,
                 final(_set("forward", lambda x: x)), 1.0),
    _PLUS_ONE,
    in_all(_PLUS_ONE),
    TrainedFault("norm-minus-1", ("weight-offset",), LLAMA + MLP_NORM,
                 weight(MLP_NORM, lambda w: w - 1), 0.7),
    _IGNORED,
    in_all(_IGNORED, LLAMA + INPUT_NORM, plant=weight(INPUT_NORM, _one)),
    TrainedFault("final-norm-weight-ignored", ("weight-ignored",), FINAL,
                 final(lambda norm: setattr(norm, "weight", nn.Parameter(
                     torch.ones_like(norm.weight), requires_grad=False))), 1.0),
)  # fmt: skip


# Functions


def function(change: Callable[[Tensor], Tensor], path: str = ACT) -> Plant:
    def plant(site: Site) -> None:
        site.part(path).forward = change

    return plant


def gelu_tanh(x: Tensor) -> Tensor:
    return nn.functional.gelu(x, approximate="tanh")


def quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def _activation(name: str, change: Callable[[Tensor], Tensor], at: float) -> TrainedFault:
    return TrainedFault(name, ("activation",), LLAMA + ACT, function(change), at)


_FUNCTIONS = (
    _activation("gelu", nn.functional.gelu, 0.4),
    in_all(_activation("gelu", nn.functional.gelu, 0.0)),
    _activation("gelu-tanh", gelu_tanh, 0.7),
    _activation("quick-gelu", quick_gelu, 0.25),
    _activation("relu", torch.relu, 0.6),
    in_all(_activation("relu", torch.relu, 0.0)),
    _activation("relu-squared", lambda x: torch.relu(x).square(), 0.5),
    _activation("sigmoid", torch.sigmoid, 0.35),
    _activation("activation-none", lambda x: x, 0.8),
)


# Sums


def summed(
    skip: float = 1.0, attended: float = 1.0, second: float = 1.0, mlp: float = 1.0
) -> Plant:
    """A layer's two sums with factors: of its input, of attention, of the first sum, of the MLP."""

    def plant(site: Site) -> None:
        layer = site.layer

        def forward(hidden_states: Tensor, **more: Any) -> Tensor:
            first = skip * hidden_states + attended * _mixed(layer, hidden_states, more)
            return second * first + mlp * layer.mlp(layer.post_attention_layernorm(first))

        layer.forward = forward

    return plant


def _mixed(layer: Any, hidden: Tensor, more: dict[str, Any]) -> Tensor:
    """Attention of a layer's input, called as transformers does."""
    names = ("attention_mask", "position_ids", "past_key_values", "use_cache")
    given = {name: more[name] for name in names if name in more}
    tables = more["position_embeddings"]
    normed = layer.input_layernorm(hidden)
    return layer.self_attn(hidden_states=normed, **given, position_embeddings=tables)[0]


def _of_normed(site: Site) -> None:
    """The second sum takes the norm's output in place of its input."""
    layer = site.layer

    def forward(hidden_states: Tensor, **more: Any) -> Tensor:
        mixed = _mixed(layer, hidden_states, more)
        normed = layer.post_attention_layernorm(hidden_states + mixed)
        return normed + layer.mlp(normed)

    layer.forward = forward


def _parallel(site: Site) -> None:
    """The MLP gets the layer's input, not the first sum."""
    layer = site.layer

    def forward(hidden_states: Tensor, **more: Any) -> Tensor:
        mixed = _mixed(layer, hidden_states, more)
        return hidden_states + mixed + layer.mlp(layer.post_attention_layernorm(hidden_states))

    layer.forward = forward


def _residual(name: str, plant: Plant, at: float) -> TrainedFault:
    return TrainedFault(name, ("residual",), LLAMA.rstrip("."), plant, at)


_SUMS = (
    _residual("attention-not-added", summed(attended=0.0), 0.4),
    _residual("input-not-added", summed(skip=0.0), 0.6),
    _residual("mlp-halved", summed(mlp=0.5), 0.25),
    _residual("mlp-not-added", summed(mlp=0.0), 0.7),
    _residual("residual-of-normed", _of_normed, 0.5),
    _residual("parallel-mlp", _parallel, 0.35),
    in_all(_residual("residual-factor", summed(attended=0.9, mlp=0.9), 0.0)),
)


# Precision


def _product(path: str, product: Callable[[Tensor, Tensor], Tensor]) -> Plant:
    def plant(site: Site) -> None:
        site.part(path).product = product

    return plant


def _bf16_product(x: Tensor, w: Tensor) -> Tensor:
    return nn.functional.linear(x.bfloat16(), w.bfloat16()).to(x.dtype)


def _tf32_product(x: Tensor, w: Tensor) -> Tensor:
    return nn.functional.linear(as_tf32(x), as_tf32(w))


def _narrow_sum(x: Tensor, w: Tensor) -> Tensor:
    """Adds up in bfloat16, sixteen products at a time."""
    total = torch.zeros(*x.shape[:-1], w.shape[0], dtype=torch.bfloat16)
    for part, row in zip(x.split(16, -1), w.split(16, -1), strict=True):
        total = total + nn.functional.linear(part, row).bfloat16()
    return total.to(x.dtype)


def _low_norm(path: str) -> Plant:
    """A norm whose every step is rounded to bfloat16."""

    def plant(site: Site) -> None:
        norm = site.part(path)

        def forward(x: Tensor) -> Tensor:
            low = x.bfloat16()
            root = (low.square().mean(-1, keepdim=True) + norm.epsilon).sqrt()
            return (low / root * norm.weight.bfloat16()).to(x.dtype)

        norm.forward = forward

    return plant


def _half_softmax(scores: Tensor) -> Tensor:
    return scores.bfloat16().softmax(-1).float()


def _precision(name: str, module: str, plant: Plant, at: float, **more: Any) -> TrainedFault:
    return TrainedFault(name, ("precision",), LLAMA + module, plant, at, **more)


_COARSE = "every product of a bfloat16 run is one"
_PRECISION = (
    _precision("bf16-product-down", DOWN, _product(DOWN, _bf16_product), 0.4, bf16="skipped",
               why=_COARSE),
    _precision("tf32-product-o", O, _product(O, _tf32_product), 0.6, bf16="skipped", why=_COARSE),
    _precision("narrow-sum-up", UP, _product(UP, _narrow_sum), 0.5),
    _precision("low-norm", INPUT_NORM, _low_norm(INPUT_NORM), 0.3, bf16="below",
               why="one or two roundings more"),
    _precision("low-softmax", "self_attn", attention(softmax=_half_softmax), 0.7, bf16="below",
               why="the reference rounds its scores as well"),
)  # fmt: skip


# Values


def _to_fp8(x: Tensor) -> Tensor:
    return x.to(torch.float8_e4m3fn).to(x.dtype)


def _to_bf16(x: Tensor) -> Tensor:
    return x.bfloat16().to(x.dtype)


def _to_int8(x: Tensor) -> Tensor:
    step = x.float().abs().amax(-1, keepdim=True) / 127
    return ((x.float() / step).round() * step).to(x.dtype)


def _overflow(x: Tensor) -> Tensor:
    """As in float16 with a factor: the largest become infinite."""
    factor = 90000.0 / float(x.float().abs().max())
    return ((x.float() * factor).half().float() / factor).to(x.dtype)


def clamped(share: float) -> Callable[[Tensor], Tensor]:
    def change(x: Tensor) -> Tensor:
        limit = float(x.float().abs().flatten().quantile(share))
        return x.clamp(-limit, limit)

    return change


_MASSIVE = 2  # the layer of SmolLM2 that makes the massive activation


def _massive_clamped(x: Tensor) -> Tensor:
    """Only the massive activation is above the limit."""
    limit = 30 * float(deviation(x))
    return x.clamp(-limit, limit)


def _stale(path: str) -> Plant:
    """What the layer before gave, left in a buffer."""

    def plant(site: Site) -> None:
        seen: list[Tensor] = []
        after(site.neighbour(-1).part(path), lambda x: seen.append(x) or x)
        after(site.part(path), lambda _: seen[-1])

    return plant


def _shift(path: str) -> Plant:
    def plant(site: Site) -> None:
        after(site.part(path), lambda x: x.roll(1, 1))

    return plant


def _swapped_inside(site: Site) -> None:
    """The function is applied to `up`, and `gate` multiplies."""
    mlp = site.layer.mlp
    mlp.forward = lambda x: mlp.down_proj(mlp.act_fn(mlp.up_proj(x)) * mlp.gate_proj(x))


def _mixed_heads(x: Tensor) -> Tensor:
    return x[:, :, [1, 0, 2, 3, 4, 5, 6, 8, 7]]


def _embedded(change: Callable[[Tensor], Tensor]) -> Plant:
    return lambda site: after(site.model.model.embed_tokens, change)


_EMBED = "model.embed_tokens"
_VALUES = (
    TrainedFault("output-fp8", ("cast", "quantised"), LLAMA + O, output(O, _to_fp8), 0.3),
    TrainedFault("output-bf16", ("cast", "precision"), LLAMA + V, output(V, _to_bf16), 0.5,
                 bf16="skipped", why="the run is in bfloat16"),
    TrainedFault("output-int8", ("cast", "quantised"), LLAMA + DOWN, output(DOWN, _to_int8), 0.6),
    TrainedFault("overflow", ("cast", "clamp"), LLAMA + DOWN, output(DOWN, _overflow), 0.45,
                 f32="seen", bf16="seen", why="infinite values say enough"),
    TrainedFault("clamped", ("clamp",), LLAMA + UP, output(UP, clamped(0.99)), 0.4),
    TrainedFault("massive-clamped", ("clamp",), LLAMA + DOWN, output(DOWN, _massive_clamped),
                 layer=_MASSIVE),
    TrainedFault("down-stale", ("stale",), LLAMA + DOWN, _stale(DOWN), 0.55),
    TrainedFault("embedding-shifted", ("token-shift",), _EMBED, _embedded(lambda x: x.roll(1, 1)),
                 0.0),
    TrainedFault("attention-shifted", ("token-shift",), LLAMA + O, _shift(O), 0.7),
    TrainedFault("embedding-scaled-output", ("embedding", "scale"), _EMBED,
                 _embedded(lambda x: x * math.sqrt(576)), 0.0),
    TrainedFault("mlp-inside-swapped", ("swapped",), LLAMA + "mlp", _swapped_inside, 0.35),
    TrainedFault("heads-mixed", ("head-order",), LLAMA + "self_attn",
                 attention(mixed=_mixed_heads), 0.65),
)  # fmt: skip


# What no known mistake explains: a cause that is named is a false one


def _noisy(share: float) -> Callable[[Tensor], Tensor]:
    def change(x: Tensor) -> Tensor:
        size = x.float().square().mean(-1, keepdim=True).sqrt()
        return (x.float() + share * size * noise(x.shape, 9)).to(x.dtype)

    return change


def _bent(x: Tensor) -> Tensor:
    """A bend of the larger values that no function in use has."""
    size = deviation(x)
    return (x.float() + 0.2 * size * (x.float() / size).sin().square()).to(x.dtype)


def _two_tokens(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, 20] = 0.6 * x[:, 20] + 0.5 * x[:, 31]
    return x


def _nan_row(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, 7] = math.nan
    return x


def _unknown(name: str, path: str, change: Callable[[Tensor], Tensor], at: float) -> TrainedFault:
    return TrainedFault(name, (), LLAMA + path, output(path, change), at, f32="seen", bf16="seen",
                        why="no name fits")  # fmt: skip


_UNKNOWN = (
    _unknown("noise-10-percent", O, _noisy(0.1), 0.4),
    _unknown("bent", UP, _bent, 0.6),
    _unknown("two-tokens-mixed", DOWN, _two_tokens, 0.5),
    _unknown("nan-row", DOWN, _nan_row, 0.3),
)

# Two of them at once


def _two(name: str, first: TrainedFault, second: TrainedFault) -> TrainedFault:
    return TrainedFault(name, first.causes, first.module, first.plant, first.at, also=(second,))


_DOUBLE = (
    _two("two-scale-and-gelu",
         TrainedFault("scale", ("scale",), LLAMA + V, weight(V, lambda w: 1.2 * w), 0.3),
         _activation("gelu", nn.functional.gelu, 0.7)),
    _two("two-transposed-and-mask",
         TrainedFault("transposed", ("transposed",), LLAMA + O, weight(O, lambda w: w.T), 0.2),
         TrainedFault("no-mask", ("attention-mask",), LLAMA + "self_attn",
                      attention(mask=torch.zeros_like), 0.6)),
)  # fmt: skip

VALUE_FAULTS = (
    *_NORMS, *_FUNCTIONS, *_SUMS, *_PRECISION, *_VALUES, *_UNKNOWN, *_DOUBLE,
)  # fmt: skip
