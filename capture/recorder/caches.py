"""KV caches, taken apart into their tensors.

A cache is known by its shape, not by its class, which transformers has changed several times: a
list `layers` of objects with `keys` and `values` (since 4.54), lists `key_cache` and `value_cache`
(before), or an encoder-decoder pair of two caches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

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
    if hasattr(layer, "keys"):
        kept["keys"] = _tensor(layer.keys)
        kept["values"] = _tensor(getattr(layer, "values", None))
    kept.update(_states(layer))
    return kept


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


def _tensor(value: Any) -> torch.Tensor | None:
    return value if isinstance(value, torch.Tensor) else None


def only_layer(module: torch.nn.Module) -> int | None:
    """The one layer of a cache that `module` uses, by the `layer_idx` in it; None for several."""
    numbers: list[Any] = [getattr(inner, "layer_idx", None) for inner in module.modules()]
    found: set[int] = {number for number in numbers if isinstance(number, int)}
    return found.pop() if len(found) == 1 else None
