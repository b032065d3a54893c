"""A paged cache of keys and values, filled by hand, for one attention layer.

Layout of the blocks (MAX 26.7): `[pages, 2 (keys, values), layers, page_size, kv_heads, head_dim]`;
a table says which pages a sequence has, in order. Keys are stored after the rotary embedding, as
transformers keeps them.
"""

from __future__ import annotations

# pyright: reportMissingImports=false
# The `max` package is optional.
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from max import tree
from max.driver import Buffer
from max.nn.kv_cache import KVCacheInputsPerDevice, MHAKVCacheParams
from max.nn.kv_cache.utils import padded_lut_cols

from .layers import RerunError
from .max_buffers import buffer_of, torch_dtype


@dataclass(frozen=True, slots=True)
class Past:
    """Keys and values of earlier tokens `[past_tokens, kv_heads, head_dim]`, ragged."""

    keys: torch.Tensor
    values: torch.Tensor
    offsets: tuple[int, ...]  # where each sequence begins, and the end


def cache_problem(params: Any) -> str:
    """Why a cache of this kind cannot be filled by hand; empty if it can."""
    if not isinstance(params, MHAKVCacheParams):
        return f"its cache ({type(params).__name__}) is not one of keys and values"
    if params.quantized_kv_cache:
        return "its cache is quantized"
    if params.per_layer_buffers or params.speculative_method is not None or params.n_devices != 1:
        return "its cache is spread over several buffers"
    return ""


def cache_types(params: Any) -> list[Any]:
    """The types of a cache's graph inputs."""
    return tree.leaves(params.get_symbolic_inputs())


def cache_value(params: Any, values: Any) -> Any:
    """A cache as layers take it, of graph values in the order of `cache_types`."""
    return tree.leaves(params.unflatten_kv_inputs(iter(values)), leaf=KVCacheInputsPerDevice)[0]


def cache_buffers(params: Any, offsets: tuple[int, ...], past: Past | None) -> list[Buffer]:
    """Buffers in the order of `cache_types`, for new tokens at `offsets` after those of `past`.

    The past is the same in every layer's place, so that the number of the layer does not matter.
    Raises `RerunError` when the past does not fit the cache or the new tokens.
    """
    new = np.diff(offsets)
    old = np.diff(past.offsets) if past is not None else np.zeros_like(new)
    if len(old) != len(new):
        raise RerunError(f"past_keys are of {len(old)} sequences, the inputs of {len(new)}")
    pages = [-(-int(total) // params.page_size) for total in old + new]
    count = sum(pages)
    table = np.full((len(new), padded_lut_cols(max(pages))), count, np.uint32)
    firsts = np.cumsum([0, *pages[:-1]])
    for row, (first, number) in enumerate(zip(firsts, pages, strict=True)):
        table[row, :number] = np.arange(first, first + number)
    # One page more than used: kernels may look at the padding of the table.
    blocks = torch.zeros(count + 1, *params.shape_per_block, dtype=torch_dtype(params.dtype))
    if past is not None:
        _fill(blocks, past, firsts, params)
    longest_new, longest = int(new.max()), int((old + new).max())
    key = params.resolve_attn_key(len(new), longest_new, longest)
    device = params.devices[0].to_device()
    filled = KVCacheInputsPerDevice(
        kv_blocks=buffer_of(blocks, params.devices[0]),
        cache_lengths=_numbers(old, np.uint32).to(device),
        lookup_table=Buffer.from_numpy(table).to(device),
        max_prompt_length=_numbers([longest_new], np.uint32),
        max_cache_length=_numbers([longest], np.uint32),
        page_stride=_numbers([-1], np.int64),  # pages lie packed
        attention_dispatch_metadata=key.pack_into_buffer(device, longest),
    )
    return tree.leaves(filled)


def _fill(blocks: torch.Tensor, past: Past, firsts: Any, params: Any) -> None:
    heads = (params.n_kv_heads_per_device, params.head_dim)
    for name, given in (("past_keys", past.keys), ("past_values", past.values)):
        if tuple(given.shape[1:]) != heads or len(given) != past.offsets[-1]:
            raise RerunError(
                f"{name} have shape {list(given.shape)}; the cache takes "
                f"{[past.offsets[-1], *heads]} (tokens, key-value heads, size of a head)"
            )
    size = params.page_size
    for row, first in enumerate(firsts):
        begin, end = past.offsets[row], past.offsets[row + 1]
        for page, at in enumerate(range(begin, end, size), start=int(first)):
            for side, given in enumerate((past.keys, past.values)):
                part = given[at : min(at + size, end)]
                blocks[page, side, :, : len(part)] = part.to(blocks.dtype)


def _numbers(values: Any, dtype: Any) -> Buffer:
    return Buffer.from_numpy(np.asarray(values, dtype))
