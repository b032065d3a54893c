"""Lists whose items say their own names: `[("layers.0.mlp", tensor), ...]`,
`[{"name": "layers.0.mlp", "tensor": tensor}, ...]`, and names and tensors in two lists of one
length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from .members import call_numbered

Labelled = list[tuple[tuple[str, ...], Any]]

NAMES = ("name", "layer", "module", "key", "label", "layer_name", "module_name", "tensor_name",
         "op", "node", "path", "tag", "id")  # fmt: skip
VALUES = ("tensor", "value", "values", "data", "array", "activation", "activations", "output",
          "outputs", "out", "result", "act", "t", "x")  # fmt: skip
_NUMBERS = ("layer", "layer_idx", "layer_id", "layer_index", "layer_number", "block")
_LISTS_OF_NAMES = ("names", "name", "keys", "layers", "layer_names", "modules", "module_names",
                   "labels")  # fmt: skip
_LONGEST_ITEM = 4  # parts of a tuple, tensors of a dictionary: more is no entry of a list
_MOST_KEYS = 64  # of a dictionary that describes one tensor
_MOST_STEPS = 1 << 31


def labelled(items: Iterable[Any], holds: Callable[[Any], bool]) -> Labelled | None:
    """What the items of a list hold, with the keys that they say themselves, in their order; None
    where not all of them do. `holds` tells what may be, or contain, a tensor.

    A name that comes again is the next call of its module: `mlp(2)`.
    """
    entries: list[tuple[tuple[str, ...], Labelled]] = []
    for item in items:
        entry = _entry(item, holds)
        if entry is None:
            return None
        entries.append(entry)
    paths = Counter(path for path, _ in entries)
    if not any(held for _, held in entries) or (len(paths) == 1 and len(entries) > 1):
        return None
    seen: Counter[tuple[str, ...]] = Counter()
    found: Labelled = []
    for path, held in entries:
        seen[path] += 1
        named = (*path[:-1], call_numbered(path[-1], seen[path])) if seen[path] > 1 else path
        found.extend(((*named, *keys), value) for keys, value in held)
    return found


def in_two_lists(known: dict[str, Any], holds: Callable[[Any], bool]) -> Labelled | None:
    """What a dictionary such as `{"names": [...], "tensors": [...]}` holds; None for any other."""
    names = next((known[key] for key in _LISTS_OF_NAMES if _all_text(known.get(key))), None)
    held = [value for value in known.values() if value is not names and holds(value)]
    if names is None or len(held) != 1 or type(held[0]) not in (list, tuple):
        return None
    if len(held[0]) != len(names):
        return None
    return labelled(list(zip(names, held[0], strict=True)), holds)


def _all_text(node: Any) -> bool:
    return type(node) in (list, tuple) and bool(node) and all(type(item) is str for item in node)


def _entry(
    item: Any, holds: Callable[[Any], bool]
) -> tuple[tuple[str, ...], Labelled] | None:  # fmt: skip
    """The name that an item of a list says, and what it holds."""
    if isinstance(item, dict):
        return _dictionary(item, holds) if len(item) <= _MOST_KEYS else None
    if type(item) not in (list, tuple) or not 2 <= len(item) <= _LONGEST_ITEM:
        return None
    name = next((part for part in item if type(part) is str and part.strip()), None)
    if name is None:
        return None
    held = [((str(index),), part) for index, part in enumerate(item) if holds(part)]
    return (name,), _alone(held, None)


def _dictionary(
    known: dict[str, Any], holds: Callable[[Any], bool]
) -> tuple[tuple[str, ...], Labelled] | None:
    name = next((known[key] for key in NAMES if type(known.get(key)) is str and known[key]), None)
    number = next((known[key] for key in _NUMBERS if type(known.get(key)) is int), None)
    if name is None and number is None:
        return None
    held = [((key,), value) for key, value in known.items() if holds(value)]
    if len(held) > _LONGEST_ITEM:
        return None
    layer = f"layer_{number}" if number is not None and 0 <= number < _MOST_STEPS else None
    path = (f"{layer}/{name}" if layer and name else name or layer or "",)
    step = known.get("step")
    if type(step) is int and 0 <= step < _MOST_STEPS:
        path = (f"step_{step}", *path)
    return path, _alone(held, VALUES)


def _alone(held: Labelled, values: tuple[str, ...] | None) -> Labelled:
    """The only thing that an item holds goes by the item's name, unless its key says more."""
    if len(held) == 1 and (values is None or held[0][0][0].lower() in values):
        return [((), held[0][1])]
    return held
