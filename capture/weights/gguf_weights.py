"""Weights of a GGUF file under the names that transformers has for them, in its order of rows.

llama.cpp's converter turns the rows of each head of queries and keys of a llama from two halves
into pairs; here they are brought back when they are loaded. See `permute` in convert_hf_to_gguf.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import RecordError
from ..formats.gguf_file import list_tensors, with_heads
from ..records import Locator

# Of these the converter does so.
PERMUTED = ("llama", "llama-embed", "arcee", "deci", "granite", "granitemoe", "llada", "minicpm",
            "nanbeige", "smollm3", "xverse")  # fmt: skip
_ARCHITECTURES = ("llama", "qwen2", "qwen3")  # others may change more: gemma adds 1 to its norms
_NAMES = tuple((re.compile(pattern), name) for pattern, name in (
    (r"token_embd", "model.embed_tokens"),
    (r"output_norm", "model.norm"),
    (r"output", "lm_head"),
    (r"blk\.(\d+)\.attn_norm", r"model.layers.\1.input_layernorm"),
    (r"blk\.(\d+)\.attn_([qkv])", r"model.layers.\1.self_attn.\2_proj"),
    (r"blk\.(\d+)\.attn_([qk])_norm", r"model.layers.\1.self_attn.\2_norm"),
    (r"blk\.(\d+)\.attn_output", r"model.layers.\1.self_attn.o_proj"),
    (r"blk\.(\d+)\.ffn_norm", r"model.layers.\1.post_attention_layernorm"),
    (r"blk\.(\d+)\.ffn_(gate|up|down)", r"model.layers.\1.mlp.\2_proj"),
))  # fmt: skip
_HEADS = {"q": "attention.head_count", "k": "attention.head_count_kv"}
_ROTATED = re.compile(r"blk\.\d+\.attn_([qk])\.(?:weight|bias)")


def named_tensors(path: str) -> Iterator[tuple[str, Locator | str]]:
    """Each tensor with its place, or why it cannot be read. Raises `RecordError`, `OSError`."""
    header, tensors = list_tensors(path)
    kind = str(header.get("general.architecture", "?"))
    if kind not in _ARCHITECTURES:
        known = ", ".join(_ARCHITECTURES)
        raise RecordError(f"GGUF files of the architecture {kind!r} are not read, of {known} are")
    for name, place in tensors:
        module, _, last = name.rpartition(".")
        found = next((pattern.sub(new, module) for pattern, new in _NAMES
                      if pattern.fullmatch(module)), None)  # fmt: skip
        if found is None:
            yield name, "no name of transformers is known for it"
            continue
        rotated = _ROTATED.fullmatch(name)
        if rotated and kind in PERMUTED and not isinstance(place, str):
            heads = header.get(f"{kind}.{_HEADS[rotated[1]]}")
            heads = heads or header.get(f"{kind}.{_HEADS['q']}")
            place = _by_heads(place, heads)
        yield f"{found}.{last}", place


def _by_heads(place: Locator, heads: object) -> Locator | str:
    if type(heads) is not int or heads < 1 or place.shape[0] % (2 * heads):
        return "the order of its rows cannot be told"
    return with_heads(place, heads)
