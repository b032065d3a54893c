"""Numbers as JSON (`.json`) and as JSON lines (`.jsonl`, `.ndjson`).

    {"layers.0.mlp": [[0.1, 0.2]], "norm": {"shape": [1, 2], "data": [3.0, 4.0]}}
    {"name": "layers.0.mlp", "step": 1, "values": [[0.1, 0.2]]}           one a line, or in a list

Nested lists are the shape; a flat list beside `shape` is in C order. `null` counts as NaN.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

from ...dtypes import DTYPES, dtype_named
from ...errors import RecordError
from ...files import FoundFile
from ...records import Locator, Record
from ...storage import first_bytes
from ..context import Context
from ..extents import checked_shape
from ..labelled import labelled
from ..members import named_member, named_record, place_members
from .json_text import parsed, plain_text

if TYPE_CHECKING:
    from ...values import Array

_PEEK = 1 << 16
_OWN = "layertui.json"  # `run_metadata.METADATA`, which formats do not import
_NUMBERS = re.compile(
    rb"\[\s*(?:-?\d[\d.eE+-]*|null|NaN|-?Infinity)\s*[,\]]|\[\s*(?:true|false)\s*,"
)
_SETTINGS = re.compile(r"(?:^|[/._-])(?:config|index|tokenizer\w*|vocab|special_tokens_map)$")
_VALUES = ("values", "value", "data", "tensor", "array", "output", "activation", "activations")
_NAMES = ("name", "key", "layer", "module", "label")
_DESCRIBES = re.compile(
    r"(?:\w*_)?(?:shapes?|sizes?|dims?|dimensions|strides?)", re.IGNORECASE
)  # fmt: skip
_DEEPEST = 32


def recognise(found: FoundFile, context: Context) -> bool:
    """JSON with a list of numbers near its beginning, that is no model's config or index. A `.txt`
    may be a list as Python prints it.
    """
    if found.problem is not None or _SETTINGS.search(found.stem):
        return False
    try:
        head = first_bytes(found.path, _PEEK)
    except OSError:
        return False
    if found.suffix == ".txt" and not head.lstrip().startswith((b"[", b"{")):
        return False
    return _NUMBERS.search(head) is not None


def set_aside(found: FoundFile) -> str | None:
    """JSON among tensor files describes them, as a rule; what layertui itself wrote always does."""
    if found.name.rpartition("/")[2] == _OWN:
        return None
    return f"{found.name}: its numbers are skipped, since there are tensor files"


def list_records(found: FoundFile, context: Context) -> list[Record]:
    """A record for each array, in the order of the file. Raises `RecordError`, `OSError`."""
    arrays = list(_arrays_of(found.path))
    if not arrays:
        raise RecordError("holds no list of numbers")
    plain = named_record(found, found.stem)
    placed = place_members([a.keys for a in arrays], [a.step for a in arrays])
    records: list[Record] = []
    for index, (array, (key, step)) in enumerate(zip(arrays, placed, strict=True)):
        if array.keys:
            single = len(arrays) == 1
            record = named_member(plain, key, None, alone=context.alone, single=single, step=step)
        else:
            record = replace(plain)
            record.step = record.step if step is None else step
        try:
            dtype, shape = array.described()
            record.locator = Locator(found.path, dtype, shape, reader="json", key=str(index))
            record.dtype, record.shape = dtype, shape
        except RecordError as error:
            record.error = str(error)
        record.key = key or str(index)
        records.append(record)
    return records


def read_header(record: Record) -> list[Record]:
    """Nothing is left to do: `list_records` gives complete records."""
    return [record]


def load_values(locator: Locator) -> Array:
    """One array of the file. Raises `RecordError`, `OSError`."""
    import numpy as np

    for index, array in enumerate(_arrays_of(locator.path)):
        if str(index) == locator.key:
            if array.described() != (locator.dtype, locator.shape):
                break
            flat = list(_leaves(array.values))
            if DTYPES[locator.dtype].kind == "float":
                flat = [float("nan") if value is None else value for value in flat]
            try:
                values = np.array(flat, DTYPES[locator.dtype].storage)
            except (ValueError, OverflowError, TypeError) as error:
                raise RecordError(f"a value is not a number of {locator.dtype}") from error
            return values.reshape(locator.shape)
    raise RecordError("the file has changed since it was listed")


@dataclass(frozen=True, slots=True)
class _Array:
    """An array of the file as it stands there; `shape` and `dtype` where the file says them."""

    keys: tuple[str, ...]
    values: list[Any]
    shape: Any = None
    dtype: Any = None
    step: int | None = None

    def described(self) -> tuple[str, tuple[int, ...]]:
        """Dtype and shape; raises `RecordError` where the lists are no array."""
        shape = _shape_of(self.values)
        kinds = {type(value) for value in _leaves(self.values)}
        dtype = _dtype_of(kinds)
        if isinstance(self.dtype, str):
            said = dtype_named(self.dtype)
            if said.kind != "float":
                dtype = said.name
            elif said.itemsize == 8:
                dtype = "float64"
        if self.shape is not None:
            said_shape = checked_shape(self.shape, DTYPES[dtype].itemsize)
            if prod(said_shape) != prod(shape):
                raise RecordError(f"{prod(shape)} values, the shape says {list(said_shape)}")
            shape = said_shape
        return dtype, checked_shape(shape, DTYPES[dtype].itemsize)


def _dtype_of(kinds: set[type]) -> str:
    if not kinds <= {int, float, bool, type(None)}:
        raise RecordError("a list of something other than numbers")
    if kinds == {bool}:
        return "bool"
    return "int64" if kinds == {int} else "float32"


def _shape_of(values: Any) -> tuple[int, ...]:
    shape: list[int] = []
    level = [values]
    while level and type(level[0]) is list:
        sizes = {len(item) if type(item) is list else -1 for item in level}
        if len(sizes) != 1 or len(shape) > _DEEPEST:
            raise RecordError("the lists have different lengths: not an array")
        shape.append(sizes.pop())
        level = [inner for item in level for inner in item]
    return tuple(shape)


def _leaves(values: Any) -> Iterator[Any]:
    level = values
    while level and any(type(item) is list for item in level):
        level = [x for item in level for x in (item if type(item) is list else [item])]
    yield from level


def _arrays_of(path: str) -> Iterator[_Array]:
    """Every list of numbers, with the keys that lead to it. Raises `RecordError`, `OSError`."""
    lines = path.lower().endswith((".jsonl", ".ndjson"))
    root = parsed(path, lines)
    waiting: list[tuple[tuple[str, ...], Any]] = [((), root)]
    apart = lines and _no_key_twice(root)
    while waiting:
        keys, node = waiting.pop()
        if len(keys) > _DEEPEST:
            raise RecordError("nested too deep")
        if isinstance(node, list) and not _holds_objects(node):
            named = labelled(node, _is_list) if node and isinstance(node[0], list) else None
            if named is not None:
                waiting.extend(
                    ((*keys, *map(plain_text, path)), value) for path, value in reversed(named)
                )
            elif node:
                yield _Array(keys, node)
            continue
        if isinstance(node, dict) and (found := _described(keys, node)) is not None:
            yield found
            continue
        items = node.items() if isinstance(node, dict) else enumerate(node)
        inner = []
        for key, value in items:
            if isinstance(value, (dict, list)) and not _is_metadata(key, value):
                named = isinstance(node, list) and isinstance(value, dict) and _is_entry(value)
                whole = keys if named or (apart and node is root) else (*keys, plain_text(key))
                inner.append((whole, value))
        waiting.extend(reversed(inner))


def _is_list(value: Any) -> bool:
    return type(value) is list


def _is_metadata(key: Any, value: Any) -> bool:
    """True for `"shape": [1, 8, 32]` and its like: a few whole numbers that describe a tensor."""
    return (
        isinstance(key, str) and _DESCRIBES.fullmatch(key) is not None and isinstance(value, list)
        and len(value) <= _DEEPEST and all(type(size) is int for size in value)
    )  # fmt: skip


def _no_key_twice(lines: list[Any]) -> bool:
    """True where each line has tensors of its own; else a line is a step."""
    keys = [key for line in lines if isinstance(line, dict) for key in line]
    return len(set(keys)) == len(keys)


def _holds_objects(node: list[Any]) -> bool:
    return any(isinstance(item, dict) for item in node)


def _is_entry(node: dict[str, Any]) -> bool:
    named = any(isinstance(node.get(key), str) for key in _NAMES)
    return named and any(isinstance(node.get(key), list) for key in _VALUES)


def _described(keys: tuple[str, ...], node: dict[str, Any]) -> _Array | None:
    """An object that describes one array: `{"name": ..., "shape": ..., "data": [...]}`."""
    values = next((node[key] for key in _VALUES if isinstance(node.get(key), list)), None)
    if values is None or _holds_objects(values):
        return None
    if not ({"shape", "dtype"} & node.keys() or _is_entry(node)):
        return None
    name = next((node[key] for key in _NAMES if isinstance(node.get(key), str)), None)
    step = node.get("step")
    return _Array(
        (*keys, plain_text(name)) if name else keys, values, node.get("shape"), node.get("dtype"),
        step if type(step) is int and 0 <= step < 1 << 31 else None,
    )  # fmt: skip
