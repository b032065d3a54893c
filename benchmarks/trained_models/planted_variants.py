"""Faults in what SmolLM2 has not: biases, norms of queries and keys, experts, a BERT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .planted_values import centred, epsilon, gelu_tanh, missing, quick_gelu
from .planted_weights import interleaved, of, rows, shuffled, swapped
from .planting import (
    BERT,
    LLAMA,
    Plant,
    Site,
    TrainedFault,
    after,
    in_all,
    new_weight,
    output,
    weight,
)

Q, K, V, O = (f"self_attn.{name}_proj" for name in "qkvo")  # noqa: E741
Q_NORM, K_NORM = "self_attn.q_norm", "self_attn.k_norm"


# Biases, norms by head


def _qwen3(
    name: str, cause: str, module: str, plant: Plant, at: float, **more: Any
) -> TrainedFault:
    return TrainedFault(name, (cause,), LLAMA + module, plant, at, base="qwen3", **more)


def _half_left_out(bias: Tensor) -> Tensor:
    bias = bias.clone()
    bias[bias.numel() // 2 :] = 0
    return bias


def _bias(path: str, change: Callable[[Tensor], Tensor]) -> Plant:
    return weight(path, change, "bias")


_DROPPED = _qwen3("bias-dropped-q", "bias", Q, _bias(Q, torch.zeros_like), 0.4)
_Q_EPSILON = _qwen3("q-norm-eps-1e-2", "eps", Q_NORM, epsilon(Q_NORM, 1e-2), 0.5, bf16="below",
                    why="the mean squares are above 1")  # fmt: skip
_QWEN3 = (
    _DROPPED,
    in_all(_DROPPED),
    _qwen3("bias-dropped-o", "bias", O, _bias(O, torch.zeros_like), 0.6),
    _qwen3("bias-half-applied-v", "bias", V, _bias(V, _half_left_out), 0.3),
    _qwen3("bias-twice-k", "bias", K, _bias(K, lambda b: 2 * b), 0.7),
    _Q_EPSILON,
    in_all(_Q_EPSILON, LLAMA + Q_NORM),
    _qwen3("q-norm-eps-5", "eps", Q_NORM, epsilon(Q_NORM, 5.0), 0.25),
    _qwen3("q-norm-missing", "norm-missing", Q_NORM, missing(Q_NORM), 0.55),
    _qwen3("k-norm-weight-ignored", "weight-ignored", K_NORM,
           weight(K_NORM, torch.ones_like), 0.35),
    _qwen3("k-norm-plus-1", "weight-offset", K_NORM, weight(K_NORM, lambda w: w + 1), 0.8),
    _qwen3("q-norm-centred", "norm-kind", Q_NORM, centred(Q_NORM), 0.2),
    _qwen3("q-k-norms-swapped", "other-weights", Q_NORM, swapped(Q_NORM, K_NORM), 0.45),
    _qwen3("k-rows-interleaved-biased", "row-order", K, weight(K, rows(interleaved)), 0.65),
)  # fmt: skip


# Experts

GATE, EXPERTS = "mlp.gate", "mlp.experts"


def _mixtral(name: str, module: str, plant: Plant, at: float, *also: str) -> TrainedFault:
    return TrainedFault(name, ("routing", *also), LLAMA + module, plant, at, base="mixtral")


def scores(change: Callable[[Tensor, int], tuple[Tensor, Tensor]]) -> Plant:
    """Other weights and choices of a router, of its logits `[tokens, experts]`."""

    def plant(site: Site) -> None:
        gate = site.layer.mlp.gate

        def forward(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            logits = nn.functional.linear(x.reshape(-1, x.shape[-1]), gate.weight)
            weights, chosen = change(logits.float(), gate.top_k)
            return logits, weights, chosen

        gate.forward = forward

    return plant


def _not_normalised(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    values, chosen = logits.softmax(-1).topk(count, -1)
    return values, chosen


def _sigmoid(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    values, chosen = logits.sigmoid().topk(count, -1)
    return values / values.sum(-1, keepdim=True), chosen


def _equal(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    values, chosen = logits.topk(count, -1)
    return torch.full_like(values, 1 / count), chosen


def _one_only(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The best expert, with the weight that is left when the other is dropped."""
    values, chosen = logits.topk(count, -1)
    return torch.cat([torch.ones_like(values[:, :1]), torch.zeros_like(values[:, 1:])], 1), chosen


def _least(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    values, chosen = logits.topk(count, -1, largest=False)
    return values.softmax(-1), chosen


def _experts_rolled(site: Site) -> None:
    for name in ("gate_up_proj", "down_proj"):
        new_weight(site.layer.mlp.experts, lambda w: w.roll(1, 0), name)


_UNSCALED = _mixtral("routing-not-normalised", GATE, scores(_not_normalised), 0.3)
_MIXTRAL = (
    _UNSCALED,
    in_all(_UNSCALED),
    _mixtral("routing-sigmoid", GATE, scores(_sigmoid), 0.5),
    _mixtral("routing-equal-weights", GATE, scores(_equal), 0.6),
    _mixtral("routing-top-1", GATE, scores(_one_only), 0.4),
    _mixtral("routing-least", GATE, scores(_least), 0.7),
    _mixtral("experts-rolled", EXPERTS, _experts_rolled, 0.45),
    TrainedFault("router-rows", ("row-order", "routing"), LLAMA + GATE,
                 weight(GATE, lambda w: w[[0, 2, 1, 3]]), 0.25, base="mixtral"),
    TrainedFault("experts-scaled", ("scale",), LLAMA + EXPERTS,
                 output(EXPERTS, lambda x: 1.05 * x), 0.55, base="mixtral"),
)  # fmt: skip


# BERT

QUERY, KEY, VALUE = (f"attention.self.{name}" for name in ("query", "key", "value"))
ATTENTION, DENSE = "attention.self", "attention.output.dense"
NORM, LAST_NORM = "attention.output.LayerNorm", "output.LayerNorm"
UP, DOWN, ACT = "intermediate.dense", "output.dense", "intermediate.intermediate_act_fn"


def _bert(name: str, cause: str, module: str, plant: Plant, at: float, **more: Any) -> TrainedFault:
    return TrainedFault(name, (cause,), BERT + module, plant, at, base="bert", **more)


def _scaling(factor: float) -> Plant:
    def plant(site: Site) -> None:
        site.layer.attention.self.scaling *= factor

    return plant


def _padding_seen(site: Site) -> None:
    inner = site.layer.attention.self
    forward = inner.forward
    inner.forward = lambda x, attention_mask, *args, **more: forward(
        x, torch.zeros_like(attention_mask), *args, **more
    )


def _first_heads(x: Tensor) -> Tensor:
    heads = x.unflatten(-1, (12, -1))
    return heads[..., [1, 0, *range(2, 12)], :].flatten(-2)


def _no_sum(site: Site) -> None:
    inner = site.layer.output
    inner.forward = lambda x, _: inner.LayerNorm(inner.dropout(inner.dense(x)))


def _no_token_types(site: Site) -> None:
    after(site.model.embeddings.token_type_embeddings, torch.zeros_like)


def _positions_late(site: Site) -> None:
    new_weight(site.model.embeddings.position_embeddings, lambda w: w.roll(1, 0))


def _function(change: Callable[[Tensor], Tensor]) -> Plant:
    def plant(site: Site) -> None:
        site.part(ACT).forward = change

    return plant


_TANH = _bert("bert-gelu-tanh", "activation", ACT, _function(gelu_tanh), 0.4, bf16="below",
              why="the two functions differ by less than a unit of rounding")  # fmt: skip
_EMBEDDINGS = "embeddings."
_BERT = (
    _TANH,
    in_all(_TANH),
    _bert("bert-relu", "activation", ACT, _function(torch.relu), 0.6),
    _bert("bert-quick-gelu", "activation", ACT, _function(quick_gelu), 0.2),
    _bert("bert-eps-1e-5", "eps", NORM, epsilon(NORM, 1e-5), 0.4, bf16="below",
          why="a hundred-thousandth of the mean square"),
    _bert("bert-eps-0.1", "eps", LAST_NORM, epsilon(LAST_NORM, 0.1), 0.8),
    _bert("bert-norm-not-centred", "norm-kind", NORM, centred(NORM, False), 0.6),
    _bert("bert-norm-weight-ignored", "weight-ignored", LAST_NORM,
          weight(LAST_NORM, torch.ones_like), 0.2),
    _bert("bert-norm-bias-dropped", "bias", NORM, _bias(NORM, torch.zeros_like), 0.8),
    _bert("bert-bias-dropped-up", "bias", UP, _bias(UP, torch.zeros_like), 0.4),
    _bert("bert-bias-dropped-v", "bias", VALUE, _bias(VALUE, torch.zeros_like), 0.6),
    _bert("bert-q-transposed", "transposed", QUERY, weight(QUERY, lambda w: w.T), 0.2),
    _bert("bert-v-of-next-layer", "other-layer", VALUE, of(VALUE, VALUE, 1), 0.4),
    _bert("bert-k-has-v", "other-weights", KEY, of(KEY, VALUE), 0.8),
    _bert("bert-down-rows-shuffled", "row-order", DOWN, weight(DOWN, rows(shuffled)), 0.6),
    _bert("bert-scale", "attention-scale", ATTENTION, _scaling(1.25), 0.4),
    _bert("bert-padding-seen", "attention-mask", ATTENTION, _padding_seen, 0.2, scene="padded"),
    _bert("bert-heads", "head-order", DENSE,
          weight(DENSE, lambda w: _first_heads(w)), 0.6),
    _bert("bert-residual", "residual", "output", _no_sum, 0.4),
    TrainedFault("bert-no-token-types", ("embedding", "norm-missing", "scale"),
                 _EMBEDDINGS + "token_type_embeddings", _no_token_types, 0.0, base="bert",
                 f32="seen", bf16="seen", why="zeros: several names fit"),
    TrainedFault("bert-positions-late", ("positions", "embedding", "token-shift", "row-order"),
                 _EMBEDDINGS + "position_embeddings", _positions_late, 0.0, base="bert"),
)  # fmt: skip

VARIANT_FAULTS = (*_QWEN3, *_MIXTRAL, *_BERT)
