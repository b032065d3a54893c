"""Where the parts of a joined parameter lie: rows of queries, keys and values, of experts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from ...capture.dtypes import DTYPES
from ...capture.weights import Parameter
from .weight import Weight

# What configs call the number of heads, of queries and of keys and values.
HEAD_NAMES = ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads")
KV_HEAD_NAMES = ("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num")
EXPERT_PARTS = ("gate_proj", "up_proj", "down_proj")

_QUERIES, _KEYS, _VALUES, _BOTH = "q_proj", "k_proj", "v_proj", "kv_proj"
# Models whose `query_key_value` has the rows head by head: `_split_heads` and the like in their
# files in transformers/models. Falcon has them by groups of queries that share keys and values.
_BY_HEAD = frozenset({"gpt_neox", "gpt_neox_japanese", "bloom", "persimmon"})
_BY_GROUP = frozenset({"falcon"})
# Models whose stacked experts are stored [experts, in, out], gate and up in turns.
_EXPERTS_IN_TURNS = frozenset({"gpt_oss"})


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a config that describes the language model: `text_config` where there is one."""
    text = config.get("text_config")
    return text if isinstance(text, dict) else config


def head_counts(config: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """Heads of queries, heads of keys and values, size of a head; None where a config does not
    tell.
    """
    text = text_config(config)
    heads = _number(text, *HEAD_NAMES)
    hidden = _number(text, "hidden_size", "n_embd", "d_model")
    if heads is None:
        return None
    size = _number(text, "head_dim") or (hidden // heads if hidden else None)
    if size is None:
        return None
    shared = _number(text, *KV_HEAD_NAMES)
    if text.get("multi_query") is True and not text.get("new_decoder_architecture"):
        shared = 1
    return heads, shared or heads, size


def part_widths(
    parts: Sequence[str], shape: tuple[int, ...], recorded: Sequence[int | None],
    config: Mapping[str, Any],
) -> list[int] | None:  # fmt: skip
    """How many rows each of `parts` (ends of module names) has in a joined parameter of `shape`:
    as the captures recorded their outputs, as the config counts heads, or equal where the matrix
    has as many times as many outputs as inputs. None where that does not add up.
    """
    rows = shape[0]
    known = [width for width in recorded if width is not None]
    if len(known) == len(parts) - 1 and sum(known) < rows:
        known = [rows - sum(known) if width is None else width for width in recorded]
    if len(known) == len(parts) and sum(known) == rows:
        return known
    last = [part.rpartition(".")[2] for part in parts]
    if set(last) == {"gate_proj", "up_proj"} and rows % 2 == 0:
        return [rows // 2] * 2
    counted = _by_heads(last, config)
    if counted is not None and sum(counted) == rows:
        return counted
    equal = last == [_QUERIES, _KEYS, _VALUES] and len(shape) == 2 and rows == 3 * shape[1]
    return [rows // 3] * 3 if equal else None


def _by_heads(last: list[str], config: Mapping[str, Any]) -> list[int] | None:
    counts = head_counts(config)
    if counts is None:
        return None
    heads, shared, size = counts
    rows = {
        _QUERIES: heads * size, _KEYS: shared * size, _VALUES: shared * size,
        _BOTH: 2 * shared * size,
    }  # fmt: skip
    return [rows[name] for name in last] if all(name in rows for name in last) else None


def head_rows(name: str, part: str, rows: int, config: Mapping[str, Any]) -> list[slice] | None:
    """The rows of one of q_proj, k_proj and v_proj in a joined parameter that has them head by
    head; None for one that has all queries first, then all keys, then all values.
    """
    kind = text_config(config).get("model_type")
    counts = head_counts(config)
    last = part.rpartition(".")[2]
    if "query_key_value" not in name or counts is None or last not in (_QUERIES, _KEYS, _VALUES):
        return None
    heads, shared, size = counts
    if kind in _BY_HEAD:
        shared = heads
    elif kind not in _BY_GROUP or shared == 1:  # one head of keys and values: all queries first
        return None
    if rows != (heads + 2 * shared) * size or heads % shared:
        return None
    queries = heads // shared
    first = {_QUERIES: 0, _KEYS: queries, _VALUES: queries + 1}[last]
    count = queries if last == _QUERIES else 1
    group = (queries + 2) * size
    return [
        slice(at * group + first * size, at * group + (first + count) * size)
        for at in range(shared)
    ]


def expert_part(
    stack: Parameter, stored: str, number: int, part: str, config: Mapping[str, Any]
) -> Weight | None:
    """One expert's matrix [out, in] of a stack of all experts' `stored` (`gate_up_proj`, or the
    part itself).
    """
    place = stack.locator
    wrong = not place.in_place or place.strides is not None or len(place.shape) != 3
    if wrong or not 0 <= number < place.shape[0]:
        return None
    size = prod(place.shape[1:]) * DTYPES[place.dtype].itemsize
    matrix = replace(place, shape=place.shape[1:], offset=place.offset + number * size)
    in_turns = text_config(config).get("model_type") in _EXPERTS_IN_TURNS
    whole = Weight(Parameter(stack.name, matrix), transposed=in_turns)
    if stored == part:
        return whole
    if stored != "gate_up_proj" or part == "down_proj" or whole.shape[0] % 2:
        return None
    half, second = whole.shape[0] // 2, part == "up_proj"
    rows = slice(int(second), None, 2) if in_turns else slice(half * second, half * (1 + second))
    return replace(whole, rows=rows)


def _number(config: Mapping[str, Any], *names: str) -> int | None:
    """The first of these entries that is a whole number above 0."""
    for name in names:
        value = config.get(name)
        if type(value) is int and value > 0:
            return value
    return None
