"""Faults between the projections of trained attention: angles, scores, masks, heads, caches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .builds import HEAD, rotate_half
from .planting import LLAMA, Plant, Site, TrainedFault, attention, in_all, outside

ROTARY = "model.rotary_emb"
SELF = LLAMA + "self_attn"
BASE = 100000.0  # of SmolLM2's angles
Rotate = Callable[[Tensor, Tensor, Tensor], Tensor]


# Rotary angles of the whole model: the module's tables are wrong


def frequencies(base: float) -> Tensor:
    return base ** -(torch.arange(0, HEAD, 2) / HEAD)


def _tables(change: Callable[[Tensor], Tensor], factor: float = 1.0) -> Plant:
    def plant(site: Site) -> None:
        rotary = site.model.model.rotary_emb
        rotary.inv_freq = change(rotary.inv_freq.float())
        rotary.attention_scaling = factor

    return plant


def _yarn(scale: float, original: int = 64) -> Callable[[Tensor], Tensor]:
    """YaRN (Peng and others, 2023): high frequencies stay, low ones are divided, a ramp between."""

    def at(rotations: float) -> float:
        turns = math.log(original / (rotations * 2 * math.pi))
        return HEAD * turns / (2 * math.log(BASE))

    low, high = max(math.floor(at(32.0)), 0), min(math.ceil(at(1.0)), HEAD - 1)
    ramp = ((torch.arange(HEAD // 2) - low) / max(high - low, 1e-3)).clamp(0, 1)
    return lambda f: f / scale * ramp + f * (1 - ramp)


def _llama3(factor: float = 8.0, original: int = 256) -> Callable[[Tensor], Tensor]:
    """Llama 3.1's scaling, its low and high frequency factors 1 and 4."""

    def change(f: Tensor) -> Tensor:
        turns = original * f / (2 * math.pi)
        smooth = ((turns - 1) / 3).clamp(0, 1)
        return f / factor * (1 - smooth) + f * smooth

    return change


def _positions(change: Callable[[Tensor], Tensor]) -> Plant:
    """The module gets the right positions and takes others."""

    def plant(site: Site) -> None:
        rotary = site.model.model.rotary_emb
        inner = rotary.forward
        rotary.forward = lambda x, position_ids: inner(x, change(position_ids))

    return plant


def _in_decoding(positions: Tensor) -> Tensor:
    return positions - 1 if positions.shape[-1] == 1 else positions


def _from_zero(positions: Tensor) -> Tensor:
    return torch.arange(positions.shape[-1]).expand_as(positions)


_GLOBAL = (
    TrainedFault("rope-base-10000", ("rope-base",), ROTARY,
                 _tables(lambda _: frequencies(10000.0)), 0.0),
    TrainedFault("rope-base-500000", ("rope-base",), ROTARY,
                 _tables(lambda _: frequencies(500000.0)), 0.0),
    TrainedFault("rope-linear-2", ("rope-scaling",), ROTARY, _tables(lambda f: f / 2), 0.0),
    TrainedFault("rope-linear-1.1", ("rope-scaling",), ROTARY, _tables(lambda f: f / 1.1), 0.0),
    TrainedFault("rope-ntk-4", ("rope-scaling", "rope-base"), ROTARY,
                 _tables(lambda _: frequencies(BASE * 4 ** (HEAD / (HEAD - 2)))), 0.0),
    TrainedFault("rope-yarn-4", ("rope-scaling",), ROTARY,
                 _tables(_yarn(4.0), 0.1 * math.log(4.0) + 1), 0.0),
    TrainedFault("rope-llama3-8", ("rope-scaling",), ROTARY, _tables(_llama3()), 0.0),
    TrainedFault("rope-direction", ("rope-direction",), ROTARY, _tables(lambda f: -f), 0.0),
    TrainedFault("positions-from-12", ("positions",), ROTARY,
                 _positions(lambda p: p + (p > 11)), 0.0),
    TrainedFault("positions-all-off-by-one", ("positions",), ROTARY,
                 _positions(lambda p: p + 1), 0.0),
    TrainedFault("positions-start-again", ("positions",), ROTARY,
                 _positions(lambda p: p % 20), 0.0),
    TrainedFault("positions-left-padding", ("positions",), ROTARY, _positions(_from_zero), 0.0,
                 scene="padded"),
    TrainedFault("positions-decode", ("positions",), ROTARY, _positions(_in_decoding), 0.0,
                 scene="decode"),
)  # fmt: skip


# Rotary angles in one attention: the tables are right, their use is not


def with_tables(change: Callable[[Tensor], Tensor]) -> Rotate:
    """Tables of its own: `change` of the frequencies, at the positions that count from 0."""

    def rotate(x: Tensor, cos: Tensor, _: Tensor) -> Tensor:
        angles = torch.arange(x.shape[-2])[:, None] * change(frequencies(BASE))
        angles = torch.cat([angles, angles], -1)[None]
        return rotate_half(x, angles.cos().to(cos.dtype), angles.sin().to(cos.dtype))

    return rotate


def rotate_pairs(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Neighbouring channels turn together."""
    order = torch.arange(HEAD).view(2, -1).T.reshape(-1)
    back = order.argsort()
    return rotate_half(x[..., back], cos, sin)[..., order]


def rotate_part(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Only the first half of a head's channels turn, by the fastest angles."""
    turned, rest = x.chunk(2, -1)
    part = torch.cat([torch.arange(HEAD // 4)] * 2)
    return torch.cat([rotate_half(turned, cos[..., part], sin[..., part]), rest], -1)


def rotate_back(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return rotate_half(x, cos, -sin)


def rotate_late(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Each token but the first has the position before its own."""
    late = [torch.cat([table[:, :1], table[:, :-1]], 1) for table in (cos, sin)]
    return rotate_half(x, *late)


_LOCAL = (
    TrainedFault("rope-base-one-layer", ("rope-base",), SELF,
                 attention(rotate=with_tables(lambda _: frequencies(10000.0))), 0.3),
    TrainedFault("rope-linear-one-layer", ("rope-scaling",), SELF,
                 attention(rotate=with_tables(lambda f: f / 4)), 0.7),
    TrainedFault("rope-pairs", ("rope-style",), SELF, attention(rotate=rotate_pairs), 0.5),
    in_all(TrainedFault("rope-pairs", ("rope-style",), SELF, attention(rotate=rotate_pairs))),
    TrainedFault("rope-part", ("rope-style",), SELF, attention(rotate=rotate_part), 0.2),
    TrainedFault("rope-none", ("rope-style", "rope-scaling", "positions"), SELF,
                 attention(rotate=lambda x, *_: x), 0.6),
    TrainedFault("rope-direction-one-layer", ("rope-direction",), SELF,
                 attention(rotate=rotate_back), 0.45),
    TrainedFault("rope-direction-keys", ("rope-direction",), SELF,
                 attention(rotate_keys=rotate_back), 0.8),
    TrainedFault("positions-keys-late", ("positions",), SELF,
                 attention(rotate_keys=rotate_late), 0.35),
)  # fmt: skip


# Scores


def alibi(slope: float = 1.0) -> Callable[[Tensor], Tensor]:
    """Press and others, 2022: a head takes its own slope times the distance off."""

    def change(scores: Tensor) -> Tensor:
        count, queries, keys = scores.shape[1:]
        slopes = 2.0 ** (-8.0 * torch.arange(1, count + 1) / count)
        places = torch.arange(keys - queries, keys)[:, None] - torch.arange(keys)
        return scores - slope * slopes[:, None, None] * places

    return change


def capped(limit: float) -> Callable[[Tensor], Tensor]:
    return lambda scores: limit * (scores / limit).tanh()


def with_sinks(level: float) -> Callable[[Tensor], Tensor]:
    """A head has a score more, of no value: the weights sum to less than one."""

    def change(scores: Tensor) -> Tensor:
        sinks = torch.linspace(level - 1, level + 1, scores.shape[1])[:, None, None]
        sinks = sinks.expand(scores.shape[0], -1, scores.shape[2], 1)
        return torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]

    return change


def tiled(x: Tensor, times: int) -> Tensor:
    """Key and value heads repeat as a whole: 0 1 2 0 1 2."""
    return x.repeat(1, times, 1, 1)


def _scale(factor: float) -> Plant:
    return attention(scale=factor / math.sqrt(HEAD))


_CAP, _SINKS, _ALIBI = (
    TrainedFault("softcap-20", ("softcap",), SELF, attention(scores=capped(20.0)), 0.3),
    TrainedFault("sinks", ("sinks",), SELF, attention(softmax=with_sinks(2.0)), 0.4),
    TrainedFault("alibi", ("alibi",), SELF, attention(scores=alibi()), 0.6),
)
_TILED = TrainedFault("kv-heads-tiled", ("head-repetition",), SELF, attention(repeat=tiled), 0.5)
_TENTH = TrainedFault("attention-scale-1.1", ("attention-scale",), SELF, _scale(1.1), 0.55)
_SCORES = (
    TrainedFault("attention-scale-twice", ("attention-scale",), SELF, _scale(0.125), 0.25),
    TrainedFault("attention-scale-none", ("attention-scale",), SELF, _scale(8.0), 0.7),
    TrainedFault("attention-scale-of-hidden", ("attention-scale",), SELF, _scale(1 / 3), 0.1),
    _TENTH,
    in_all(_TENTH),
    _CAP,
    TrainedFault("softcap-5", ("softcap",), SELF, attention(scores=capped(5.0)), 0.65),
    in_all(TrainedFault("softcap-50", ("softcap",), SELF, attention(scores=capped(50.0)),
                        bf16="below", why="the scores are far below the cap")),
    TrainedFault("softcap-logits", ("softcap",), "lm_head",
                 outside(lambda model: model.lm_head.register_forward_hook(
                     lambda _, __, logits: capped(15.0)(logits.float()).to(logits.dtype))), 0.0),
    _SINKS,
    in_all(_SINKS),
    _ALIBI,
    in_all(TrainedFault("alibi-quarter", ("alibi",), SELF, attention(scores=alibi(0.25)))),
    _TILED,
    in_all(_TILED),
)  # fmt: skip


# Masks


BLOCKED = torch.finfo(torch.float32).min


def _places(mask: Tensor) -> Tensor:
    """How far behind the query each key is."""
    queries, keys = mask.shape[-2:]
    return torch.arange(keys - queries, keys)[:, None] - torch.arange(keys)


def window(size: int) -> Callable[[Tensor], Tensor]:
    return lambda mask: mask.masked_fill(_places(mask) >= size, BLOCKED)


def _hole(mask: Tensor) -> Tensor:
    """Token 30 does not see the five before it."""
    mask = mask.clone()
    mask[..., 30, 25:30] = BLOCKED
    return mask


def _ahead(mask: Tensor) -> Tensor:
    """Every token sees the one behind it as well."""
    return mask.masked_fill(_places(mask) == -1, 0.0)


def _not_itself(mask: Tensor) -> Tensor:
    own = _places(mask) == 0
    own[0, 0] = False  # the first has nothing else
    return mask.masked_fill(own, BLOCKED)


def _chunks(mask: Tensor) -> Tensor:
    at = torch.arange(mask.shape[-1]) // 16
    return mask.masked_fill(at[:, None] != at, BLOCKED)


def _no_padding(mask: Tensor) -> Tensor:
    return torch.zeros_like(mask).masked_fill(_places(mask) < 0, BLOCKED)


def _mask(name: str, change: Callable[[Tensor], Tensor], at: float, **more: Any) -> TrainedFault:
    return TrainedFault(name, ("attention-mask",), SELF, attention(mask=change), at, **more)


_MASKS = (
    _mask("mask-none", torch.zeros_like, 0.5),
    in_all(_mask("mask-none", torch.zeros_like, 0.0)),
    _mask("mask-window-16", window(16), 0.3),
    in_all(_mask("mask-window-24", window(24), 0.0)),
    _mask("mask-window-4", window(4), 0.75),
    _mask("mask-hole", _hole, 0.4),
    _mask("mask-one-ahead", _ahead, 0.6),
    _mask("mask-not-itself", _not_itself, 0.2),
    _mask("mask-chunks-16", _chunks, 0.55),
    _mask("mask-padding-seen", _no_padding, 0.35, scene="padded"),
)


# Caches


def _old(x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Change what earlier calls left, in calls of one token."""
    return torch.cat([change(x[:, :, :-1]), x[:, :, -1:]], 2)


class _Counted:
    """Gets the keys and values of all steps, at each call; the first call is that of the prompt."""

    def __init__(self, change: Callable[[Tensor], Tensor], keys: bool, values: bool) -> None:
        self.change, self.which, self.calls = change, (keys, values), 0

    def __call__(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        if self.calls == 1:
            return keys, values
        left, right = (
            _old(x, self.change) if wrong else x
            for x, wrong in zip((keys, values), self.which, strict=True)
        )
        return left, right


def _cache(change: Callable[[Tensor], Tensor], keys: bool = True, values: bool = True) -> Plant:
    def plant(site: Site) -> None:
        site.layer.self_attn.change(cache=_Counted(change, keys, values))

    return plant


def _lost(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, :, 20:28] = 0
    return x


def _stale(x: Tensor) -> Tensor:
    """The last entry was never written: it holds the one before."""
    return torch.cat([x[:, :, :-1], x[:, :, -2:-1]], 2)


def _fp8(x: Tensor) -> Tensor:
    return x.to(torch.float8_e4m3fn).to(x.dtype)


def _cached(name: str, plant: Plant, at: float, *also: str) -> TrainedFault:
    return TrainedFault(name, ("kv-cache", *also), SELF, plant, at, scene="decode")


_CACHES = (
    _cached("cache-block-lost", _cache(_lost), 0.4),
    in_all(_cached("cache-block-lost", _cache(_lost), 0.0)),
    _cached("cache-stale", _cache(_stale), 0.6),
    _cached("cache-values-rolled", _cache(lambda x: x.roll(1, 2), keys=False), 0.25),
    _cached("cache-keys-rolled", _cache(lambda x: x.roll(1, 2), values=False), 0.7),
    _cached("cache-heads-rolled", _cache(lambda x: x.roll(1, 1)), 0.5),
    _cached("cache-fp8", _cache(_fp8), 0.3, "quantised", "cast"),
)

ATTENTION_FAULTS = (*_GLOBAL, *_LOCAL, *_SCORES, *_MASKS, *_CACHES)
