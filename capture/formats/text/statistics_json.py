"""Statistics in JSON: a dictionary a tensor, by name or in a list, or a list a column."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from ...errors import RecordError
from ..labelled import NAMES
from .json_text import plain_text
from .statistic_words import MOST_RECORDS, TELLING, Described, text_of, word_of

_DEEPEST = 32
_WRAPPERS = ("stats", "statistics", "summary")  # keys that name nothing
_MOST_COLUMNS = 64
_Keys = tuple[str, ...]


def described_in(root: Any, most: int) -> list[Described]:
    """The statistics in a parsed JSON file, in order, and no more than `most`. A key that all of
    them stand under is left out, unless numbers follow it: `{"layers": {"layers.0.mlp": {...}}}`.

    Raises `RecordError` for more than there can be.
    """
    found = list(islice(_described(root), most))
    first = {each.keys[0] if len(each.keys) > 1 and not each.keys[1].isdecimal() else None
             for each in found}  # fmt: skip
    if len(first) > 1 or None in first or len({each.keys[1] for each in found}) < 2:
        return found
    return [replace(each, keys=each.keys[1:]) for each in found]


def _described(root: Any) -> Iterator[Described]:
    waiting: list[tuple[_Keys, Any, dict[str, Any]]] = [((), root, {})]
    if not isinstance(root, (dict, list)):
        return
    while waiting:
        keys, node, known = waiting.pop()
        if len(keys) > _DEEPEST:
            yield Described(keys, {}, problem="nested too deep")
            continue
        if len(node) > MOST_RECORDS:
            raise RecordError(f"statistics of more than {MOST_RECORDS} tensors")
        if isinstance(node, dict):
            columns = _rows(node)
            if columns is not None:
                node = columns
            else:
                said = {**known, **_statistics(node)}
                name = next((node[k] for k in NAMES if isinstance(node.get(k), str)), None)
                inner = (*keys, plain_text(name)) if name else keys
                if said.keys() & TELLING:
                    yield Described(inner, said, _step(node))
                    said = {}
                waiting.extend(
                    (inner if key in _WRAPPERS else (*inner, plain_text(key)), value, said)
                    for key, value in reversed(node.items()) if isinstance(value, (dict, list))
                )  # fmt: skip
        if isinstance(node, list):
            waiting.extend(reversed(list(_items(keys, node))))


def _items(keys: _Keys, items: list[Any]) -> Iterator[tuple[_Keys, Any, dict[str, Any]]]:
    for index, item in enumerate(items):
        if isinstance(item, dict):
            named = any(isinstance(item.get(key), str) for key in NAMES)
            number = next((item[k] for k in ("layer", "layer_idx") if type(item.get(k)) is int), -1)
            if 0 <= number < 1 << 31:
                yield (*keys, f"layer_{number}"), item, {}
            else:
                yield keys if named else (*keys, str(index)), item, {}
        elif isinstance(item, list) and len(item) == 2 and isinstance(item[1], dict):
            yield (*keys, plain_text(item[0])), item[1], {}


def _statistics(node: dict[str, Any]) -> dict[str, Any]:
    """What a dictionary says of one tensor, by word."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        word = word_of(key)
        if word is None or word in found:
            continue
        if word == "shape":
            if isinstance(value, str) or (isinstance(value, list) and len(value) <= _DEEPEST):
                found[word] = value
        elif word == "dtype":
            if isinstance(value, str):
                found[word] = value
        elif isinstance(value, bool) or (
            not isinstance(value, (dict, list)) and (value is None or text_of(value) is not None)
        ):
            found[word] = value
    return found


def _rows(node: dict[str, Any]) -> list[Any] | None:
    """A table by columns, as pandas writes it, row by row; None for anything else."""
    columns: dict[str, Any] = {k: v for k, v in node.items() if isinstance(v, (dict, list))}
    told = [key for key in columns if word_of(key) in TELLING]
    if not told or len(columns) > _MOST_COLUMNS:
        return None
    if not all(word_of(key) or key.lower() in (*NAMES, "step") for key in columns):
        return None  # a module that is called `norm`, among others
    first = columns[told[0]]
    if isinstance(first, list):
        length = len(first)
        if not all(isinstance(v, list) and len(v) == length for v in columns.values()):
            return None
        return [{key: values[at] for key, values in columns.items()} for at in range(length)]
    if not all(isinstance(values, dict) for values in columns.values()):
        return None
    if any(isinstance(value, (dict, list)) for value in first.values()):
        return None
    named = any(key in columns for key in NAMES)
    rows = [{key: values.get(at) for key, values in columns.items()} for at in first]
    return rows if named else [[at, row] for at, row in zip(first, rows, strict=True)]


def _step(node: dict[str, Any]) -> int | None:
    step = node.get("step")
    return step if type(step) is int and 0 <= step < 1 << 31 else None
