"""KV caches, taken apart into their tensors.

A cache is known by its shape, not by its class, which transformers has changed several times: a
list `layers` of objects with `keys` and `values` (since 4.54), lists `key_cache` and `value_cache`
(before), or an encoder-decoder pair of two caches. Of a cache of a fixed size, what is filled is
taken: the rest is nothing that the model computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

_LENGTH = "cumulative_length"  # of a layer that was made for the longest text from the start
PAIR = ("self_attention_cache", "cross_attention_cache")


def is_pair(value: Any) -> bool:
    """True for a cache that is made of two: one for self attention, one for cross attention."""
    return all(hasattr(value, name) for name in PAIR)


def is_cache(value: Any) -> bool:
    """True for an object that keeps keys and values by layer."""
    layers = getattr(value, "layers", None)
    if isinstance(layers, list) and hasattr(value, "get_seq_length"):
        return all(hasattr(layer, "keys") or _states(layer) for layer in layers)
    return isinstance(getattr(value, "key_cache", None), list) and isinstance(
        getattr(value, "value_cache", None), list
    )


def layers_of(cache: Any) -> list[dict[str, Any]]:
    """What each layer keeps: `keys` and `values` (None while empty), and other tensors by name."""
    if isinstance(getattr(cache, "layers", None), list):
        return [_layer(layer) for layer in cache.layers]
    pairs = zip(cache.key_cache, cache.value_cache, strict=False)
    return [{"keys": _tensor(key), "values": _tensor(value)} for key, value in pairs]


def _layer(layer: Any) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    filled = _filled(layer)
    if hasattr(layer, "keys"):
        kept["keys"] = _tensor(layer.keys, filled)
        kept["values"] = _tensor(getattr(layer, "values", None), filled)
    states = _states(layer)
    if filled is not None:
        states.pop(_LENGTH, None)
    kept.update(states)
    return kept


def _filled(layer: Any) -> int | None:
    """How many positions of a layer of a fixed size are filled; None where all are, and while a
    CUDA graph is captured, which must not be waited for.
    """
    length = getattr(layer, _LENGTH, None)
    if not isinstance(getattr(layer, "max_cache_len", None), int) or length is None:
        return None
    if isinstance(length, torch.Tensor):
        if length.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            return None
        if length.numel() != 1 or length.is_meta:
            return None
    return int(length)


def _states(layer: Any) -> dict[str, torch.Tensor]:
    """Other tensors of a layer: its length, convolution and recurrent states."""
    return dict(_named_tensors(layer))


def _named_tensors(layer: Any) -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in getattr(layer, "__dict__", {}).items():
        if name in ("keys", "values"):
            continue
        if isinstance(value, torch.Tensor):
            yield name, value
        elif isinstance(value, dict):
            for key, inner in value.items():
                if isinstance(inner, torch.Tensor):
                    yield f"{name}_{key}", inner


def _tensor(value: Any, filled: int | None = None) -> torch.Tensor | None:
    """Keys or values, without the positions behind those that are filled; None while empty."""
    if not isinstance(value, torch.Tensor):
        return None
    if filled is None or value.dim() < 2 or filled >= value.shape[-2]:
        return value
    return value[..., :filled, :] if filled else None


def only_layer(module: torch.nn.Module) -> int | None:
    """The one layer of a cache that `module` uses, by the `layer_idx` in it; None for several."""
    numbers: list[Any] = [getattr(inner, "layer_idx", None) for inner in module.modules()]
    found: set[int] = {number for number in numbers if isinstance(number, int)}
    return found.pop() if len(found) == 1 else None
