"""Faults in the weights of trained models: wrong ones, wrongly laid out, quantised, adapted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from small_models.quantising import (
    fp8,
    int4_groups,
    int8_tensor,
    mxfp4,
    nf4,
    rounded_rows,
)

from .builds import HEAD
from .planting import LLAMA, Change, Plant, Site, TrainedFault, in_all, new_weight, noise, weight

Q, K, V, O = (f"self_attn.{name}_proj" for name in "qkvo")  # noqa: E741
GATE, UP, DOWN = (f"mlp.{name}_proj" for name in ("gate", "up", "down"))
INPUT_NORM, MLP_NORM = "input_layernorm", "post_attention_layernorm"


# Layout


def interleaved(size: int) -> Tensor:
    """The order that turns halves of each head into pairs of neighbours."""
    within = torch.arange(HEAD).view(2, -1).T.reshape(-1)
    return (torch.arange(0, size, HEAD)[:, None] + within).reshape(-1)


def heads(order: list[int]) -> Tensor:
    """Whole heads in another order."""
    return torch.cat([torch.arange(head * HEAD, (head + 1) * HEAD) for head in order])


def rows(order: Callable[[int], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda w: w[order(w.shape[0])]


def columns(order: Callable[[int], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda w: w[:, order(w.shape[1])]


def shuffled(size: int) -> Tensor:
    return torch.randperm(size, generator=torch.Generator().manual_seed(3))


def both(*plants: Plant) -> Plant:
    def plant(site: Site) -> None:
        for one in plants:
            one(site)

    return plant


_LAYOUT = (
    TrainedFault("transposed-o", ("transposed",), LLAMA + O, weight(O, lambda w: w.T), 0.6),
    TrainedFault("transposed-q", ("transposed",), LLAMA + Q, weight(Q, lambda w: w.T), 0.15),
    TrainedFault("q-rows-interleaved", ("row-order",), LLAMA + Q,
                 weight(Q, rows(interleaved)), 0.3),
    TrainedFault("k-rows-interleaved", ("row-order",), LLAMA + K,
                 weight(K, rows(interleaved)), 0.75),
    TrainedFault("gate-rows-rolled", ("row-order",), LLAMA + GATE,
                 weight(GATE, lambda w: w.roll(1, 0)), 0.5),
    TrainedFault("up-rows-shuffled", ("row-order",), LLAMA + UP, weight(UP, rows(shuffled)), 0.25),
    TrainedFault("o-columns-interleaved", ("column-order",), LLAMA + O,
                 weight(O, columns(interleaved)), 0.35),
    TrainedFault("down-columns-shuffled", ("column-order",), LLAMA + DOWN,
                 weight(DOWN, columns(shuffled)), 0.8),
    TrainedFault("q-heads-reversed", ("head-order",), LLAMA + Q,
                 weight(Q, rows(lambda _: heads([8, 7, 6, 5, 4, 3, 2, 1, 0]))), 0.45),
    TrainedFault("v-heads-rolled", ("head-order",), LLAMA + V,
                 weight(V, rows(lambda _: heads([1, 2, 0]))), 0.55),
    TrainedFault("o-heads-swapped", ("head-order",), LLAMA + O,
                 weight(O, columns(lambda _: heads([0, 1, 2, 4, 3, 5, 6, 7, 8]))), 0.2),
)  # fmt: skip


# Weights of something else


def of(path: str, other: str, step: int = 0) -> Plant:
    """The weight of another projection, or of one in another layer."""

    def plant(site: Site) -> None:
        source = site.neighbour(step).part(other).weight
        new_weight(site.part(path), lambda _: source.float())

    return plant


def swapped(left: str, right: str) -> Plant:
    def plant(site: Site) -> None:
        one, two = site.part(left), site.part(right)
        one.weight, two.weight = two.weight, one.weight

    return plant


def _whole_layer(site: Site) -> None:
    """Every weight is the next layer's, as where a list of layers is read one off."""
    for path in (INPUT_NORM, Q, K, V, O, MLP_NORM, GATE, UP, DOWN):
        of(path, path, 1)(site)


def _shifted_layers(path: str) -> Plant:
    """Each layer's weight is the next one's, the last one's the first's."""

    def plant(site: Site) -> None:
        if site.number == 0:
            modules = [layer.get_submodule(path) for layer in site.layers]
            weights = [module.weight for module in modules]
            for module, other in zip(modules, weights[1:] + weights[:1], strict=True):
                module.weight = other

    return plant


_OTHERS = (
    TrainedFault("gate-up-swapped", ("swapped", "other-weights"), LLAMA + GATE,
                 swapped(GATE, UP), 0.3),
    TrainedFault("k-v-swapped", ("swapped", "other-weights"), LLAMA + K, swapped(K, V), 0.5),
    TrainedFault("k-has-v", ("other-weights", "swapped"), LLAMA + K, of(K, V), 0.65),
    TrainedFault("up-has-gate", ("other-weights", "swapped"), LLAMA + UP, of(UP, GATE), 0.1),
    TrainedFault("norms-swapped", ("other-weights", "swapped"), LLAMA + INPUT_NORM,
                 swapped(INPUT_NORM, MLP_NORM), 0.4),
    TrainedFault("q-of-next-layer", ("other-layer",), LLAMA + Q, of(Q, Q, 1), 0.35),
    TrainedFault("down-of-layer-before", ("other-layer",), LLAMA + DOWN, of(DOWN, DOWN, -1), 0.7),
    TrainedFault("norm-of-next-layer", ("other-layer",), LLAMA + MLP_NORM,
                 of(MLP_NORM, MLP_NORM, 1), 0.55),
    TrainedFault("layer-of-next", ("other-layer",), LLAMA + INPUT_NORM, _whole_layer, 0.45),
    TrainedFault("up-shifted-all", ("other-layer",), LLAMA + UP, _shifted_layers(UP), 0.0, True),
)  # fmt: skip


# Factors, biases, adapters


def adapter(rank: int, share: float) -> Callable[[Tensor], Tensor]:
    """A matrix of low rank, `share` of the weight's size."""

    def change(w: Tensor) -> Tensor:
        left, right = noise((w.shape[0], rank), 1), noise((rank, w.shape[1]), 2)
        added = left @ right
        return w + added * (share * w.norm() / added.norm())

    return change


def added_bias(path: str, size: float) -> Plant:
    """A bias where the reference has none."""

    def plant(site: Site) -> None:
        module: Any = site.part(path)
        values = size * noise((module.weight.shape[0],), 5)
        module.bias = nn.Parameter(values.to(module.weight.dtype), requires_grad=False)

    return plant


def _scaled(factor: float) -> Callable[[Tensor], Tensor]:
    return lambda w: w * factor


_SCALE = TrainedFault("down-scale-1.01", ("scale",), LLAMA + DOWN, weight(DOWN, _scaled(1.01)))
_ADAPTER = TrainedFault("adapter-4-q", ("low-rank",), LLAMA + Q, weight(Q, adapter(4, 0.1)), 0.5)
_PARTS = (
    _SCALE,
    in_all(_SCALE),
    TrainedFault("v-scale-0.5", ("scale",), LLAMA + V, weight(V, _scaled(0.5)), 0.8),
    TrainedFault("k-sign", ("scale",), LLAMA + K, weight(K, _scaled(-1.0)), 0.25),
    TrainedFault("o-scale-1.003", ("scale",), LLAMA + O, weight(O, _scaled(1.003)), 0.6,
                 bf16="below", why="a third of a unit of rounding; a fit over rows may see it"),
    TrainedFault("bias-added-down", ("bias",), LLAMA + DOWN, added_bias(DOWN, 0.05), 0.5),
    TrainedFault("bias-added-k", ("bias",), LLAMA + K, added_bias(K, 0.3), 0.2),
    _ADAPTER,
    in_all(TrainedFault("adapter-8-v", ("low-rank",), LLAMA + V, weight(V, adapter(8, 0.1)))),
    TrainedFault("adapter-16-up", ("low-rank",), LLAMA + UP, weight(UP, adapter(16, 0.2)), 0.7),
)  # fmt: skip


# Quantised


def int8_activations(path: str) -> Plant:
    """A Linear that rounds what it gets to eight bits, with a scale for each token."""

    def plant(site: Site) -> None:
        module: Any = site.part(path)
        inner = module.product

        def product(x: Tensor, w: Tensor) -> Tensor:
            return inner(rounded_rows(x.float(), 127).to(x.dtype), w)

        module.product = product

    return plant


def _all_linear(change: Callable[[Tensor], Tensor]) -> Plant:
    return both(*(weight(path, change) for path in (Q, K, V, O, GATE, UP, DOWN)))


def _among(change: Change, path: str, other: Change) -> Plant:
    """Every projection of every layer is changed, but for one that has another change."""

    def plant(site: Site) -> None:
        source = site.part(path).weight
        for number in range(len(site.layers)):
            _all_linear(change)(Site(site.model, number))
        new_weight(site.part(path), lambda _: other(source.float()))

    return plant


def quantised(name: str, path: str, change: Callable[[Tensor], Tensor], at: float) -> TrainedFault:
    return TrainedFault(name, ("quantised",), LLAMA + path, weight(path, change), at)


def int4_rows(w: Tensor) -> Tensor:
    return rounded_rows(w, 7)


def int8_rows(w: Tensor) -> Tensor:
    return rounded_rows(w, 127)


def int4_zero_128(w: Tensor) -> Tensor:
    return int4_groups(w, 128, zero_point=True)


_QUANTISED = (
    quantised("int8-rows-down", DOWN, int8_rows, 0.35),
    quantised("int8-tensor-q", Q, int8_tensor, 0.6),
    quantised("int4-rows-gate", GATE, int4_rows, 0.2),
    quantised("int4-groups-32-up", UP, lambda w: int4_groups(w, 32), 0.8),
    quantised("int4-zero-128-down", DOWN, int4_zero_128, 0.55),
    quantised("nf4-64-o", O, lambda w: nf4(w, 64), 0.45),
    quantised("fp8-tensor-v", V, fp8, 0.3),
    quantised("fp8-rows-down", DOWN, lambda w: fp8(w, by_row=True), 0.75),
    quantised("mxfp4-k", K, mxfp4, 0.15),
    TrainedFault("int8-activations-down", ("quantised",), LLAMA + DOWN, int8_activations(DOWN),
                 0.5),
    # A model that is quantised as a whole is healthy (see the clean pairs): here one layer is not
    # quantised as the others are, or has another fault besides.
    TrainedFault("int4-among-int8", ("quantised",), LLAMA + DOWN,
                 _among(int8_rows, DOWN, int4_rows), 0.4),
    TrainedFault("scale-among-int8", ("scale",), LLAMA + Q,
                 _among(int8_rows, Q, lambda w: 1.03 * int8_rows(w)), 0.7),
    TrainedFault("transposed-among-nf4", ("transposed",), LLAMA + O,
                 _among(lambda w: nf4(w, 64), O, lambda w: nf4(w.T.contiguous(), 64)), 0.5),
)  # fmt: skip


# The table of tokens and the last projection


def _embedding_rows(site: Site) -> None:
    """Two tokens of the text have each other's rows."""
    left, right = (int(site.model.text_ids[0, place]) for place in (5, 9))

    def change(w: Tensor) -> Tensor:
        w = w.clone()
        w[[left, right]] = w[[right, left]]
        return w

    new_weight(site.model.model.embed_tokens, change)


def _embedding(change: Callable[[Tensor], Tensor]) -> Plant:
    return lambda site: new_weight(site.model.model.embed_tokens, change)


def _logits(change: Callable[[Tensor], Tensor]) -> Plant:
    return lambda site: new_weight(site.model.lm_head, change)


_EMBED, _HEAD = "model.embed_tokens", "lm_head"
_OUTER = (
    TrainedFault("embedding-x-24", ("embedding", "scale"), _EMBED, _embedding(_scaled(24.0)), 0.0),
    TrainedFault("embedding-x-0.9", ("embedding", "scale"), _EMBED, _embedding(_scaled(0.9)), 0.0),
    TrainedFault("embedding-two-rows", ("embedding",), _EMBED, _embedding_rows, 0.0),
    TrainedFault("embedding-row-off-by-one", ("embedding",), _EMBED,
                 _embedding(lambda w: w.roll(1, 0)), 0.0),
    TrainedFault("logits-halved", ("logits-scale", "scale"), _HEAD, _logits(_scaled(0.5)), 0.0),
    TrainedFault("logits-x-1.02", ("logits-scale", "scale"), _HEAD, _logits(_scaled(1.02)), 0.0),
    TrainedFault("lm-head-int8", ("quantised",), _HEAD, _logits(int8_rows), 0.0),
)  # fmt: skip

WEIGHT_FAULTS = (*_LAYOUT, *_OTHERS, *_PARTS, *_QUANTISED, *_OUTER)
