"""What a pickle describes, looked through: containers, objects of classes that nobody here knows,
and in them what counts as a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ...errors import RecordError
from ..labelled import Labelled, in_two_lists, labelled
from .pickle_machine import DAMAGED, Instance, Pairs

_MOST_NODES = 1_000_000
_DEEPEST = 32
_WANTED = "only tensors and plain containers are read"
Found = list[tuple[tuple[str, ...], Any]]


class Refused(NamedTuple):
    """Something that cannot be read, where tensors may be."""

    why: str


class ArrayType:
    """`numpy.dtype('f4')`; its byte order comes with the state."""

    __slots__ = ("big_endian", "code")

    def __init__(self, code: str) -> None:
        self.code = code
        self.big_endian = False

    def set_state(self, state: Any) -> None:
        self.big_endian = type(state) is tuple and len(state) > 1 and state[1] == ">"


class Array:
    """A numpy array: `values` are `Bytes`, text (latin-1, as protocol 2 writes bytes) or, for an
    array of objects, a list.
    """

    __slots__ = ("dtype", "fortran", "shape", "values")

    def __init__(self) -> None:
        self.dtype: ArrayType | None = None
        self.shape: tuple[Any, ...] = ()
        self.fortran = False
        self.values: Any = None

    def set_state(self, state: Any) -> None:
        if type(state) is not tuple or len(state) != 5:
            raise RecordError(DAMAGED)
        _, shape, dtype, fortran, values = state
        if type(shape) is not tuple or type(dtype) is not ArrayType:
            raise RecordError(DAMAGED)
        self.shape, self.dtype, self.fortran, self.values = shape, dtype, fortran is True, values

    @property
    def of_objects(self) -> bool:
        return type(self.values) is list


def flatten(root: Any, is_tensor: Callable[[Any], bool], refuse: bool = False) -> Found:
    """Tensors in nested dicts, lists and tuples, in order, and with `refuse` a `Refused` for every
    object in which there may be some. Raises `RecordError` for nests that are too deep or, by
    repetition, too large.
    """
    found: Found = []
    waiting: Found = [((), root)]
    nodes = 0
    while waiting:
        path, node = waiting.pop()
        nodes += 1
        if nodes > _MOST_NODES or len(path) > _DEEPEST:
            raise RecordError("refused: containers are nested too deep or repeated too often")
        if is_tensor(node):
            found.append((path, node))
            continue
        if type(node) is Instance:
            node = _inside(node, is_tensor)
            if type(node) is Refused:
                if refuse:
                    found.append((path, node))
                continue
        if type(node) is Array:
            inside = _rows(node) if node.of_objects else []
            waiting.append((path, inside[0] if node.shape == () and inside else inside))
            continue
        inner = _named(node, is_tensor) or [((key,), value) for key, value in _children(node)]
        waiting.extend(((*path, *keys), value) for keys, value in inner[::-1])
    return found


def _named(node: Any, is_tensor: Callable[[Any], bool]) -> Labelled | None:
    """What a list or dictionary holds by the names that it says itself; None where it says none."""

    def holds(part: Any) -> bool:
        if type(part) is Pairs or type(part) not in (list, tuple):
            return is_tensor(part) or type(part) in _MAY_HOLD or isinstance(part, dict)
        return any(type(item) not in _PLAIN for item in part[:_LOOKED_AT])

    if isinstance(node, (dict, Pairs)):
        known = _as_dictionary(node)
        return in_two_lists(known, holds) if isinstance(known, dict) else None
    return labelled(map(_as_dictionary, node), holds) if type(node) in (list, tuple) else None


def _as_dictionary(node: Any) -> Any:
    """A small dictionary of any kind with its keys as text; anything else as it is."""
    if type(node) is Instance:
        node = node.pairs or fields_of(node) or node.made_of
    if isinstance(node, (dict, Pairs)) and len(node) <= _MOST_KEYS:
        return dict(_children(node))
    return None if isinstance(node, (dict, Pairs)) else node


def _rows(array: Array) -> list[Any]:
    """The items of an array of objects; those of a table row by row."""
    values, shape = array.values, array.shape
    if len(shape) != 2 or type(shape[1]) is not int or not 2 <= shape[1] <= _MOST_KEYS:
        return values
    if array.fortran or len(values) % shape[1]:
        return values
    return [values[at : at + shape[1]] for at in range(0, len(values), shape[1])]


def _children(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, (dict, Pairs)):
        pairs = list(node.items() if isinstance(node, dict) else node)
        for index, (key, value) in enumerate(pairs):
            yield _key(key, index), value
    elif type(node) in (list, tuple):
        for index, value in enumerate(node):
            yield str(index), value


def _key(key: Any, index: int) -> str:
    """A dictionary key as text; a tuple as its parts, as far as they are plain."""
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, (int, float)):
        return str(key)
    if type(key) is tuple and all(isinstance(part, (str, int, float)) for part in key):
        return ",".join(str(part) for part in key)
    return f"item {index}"


def _inside(instance: Instance, is_tensor: Callable[[Any], bool]) -> Any:
    """What an object holds: the items of a dictionary or list of its own kind, its fields, the
    members of a named tuple. `Refused` where that cannot be told.
    """
    if _is_module(instance):
        return Refused(
            f"refused: {_shown(instance.name)} is a module, not a tensor: save its state_dict(), "
            "or its output"
        )
    if instance.pairs:
        return instance.pairs
    if instance.entries:
        return instance.entries
    fields = fields_of(instance)
    if fields is not None:
        return fields
    if not instance.called and not instance.made_of:
        return Pairs()  # an object without fields
    if len(instance.made_of) == 1 and type(instance.made_of[0]) in (list, tuple, Pairs):
        return instance.made_of[0]
    holds = any(is_tensor(part) or type(part) in _MAY_HOLD for part in instance.made_of)
    if holds or not instance.called:
        return instance.made_of
    return Refused(f"refused: pickle wants {_shown(instance.name)}, {_WANTED}")


def fields_of(instance: Instance) -> Pairs | None:
    """Attributes: those of `__dict__`, of `__slots__`, or both. A distributed tensor is its local
    part.
    """
    state = instance.state
    parts = state if type(state) is tuple and len(state) == 2 else (state,)
    if not all(part is None or type(part) is Pairs for part in parts):
        return Pairs([("state", state)]) if type(state) in (list, tuple) else None
    fields = Pairs(pair for part in parts if part is not None for pair in part)
    if state is None:
        return None
    local = [value for key, value in fields if key == "_local_tensor"]
    return Pairs([("local", local[0])]) if local else fields


def _is_module(instance: Instance) -> bool:
    if type(instance.state) is not Pairs:
        return False
    keys = {key for key, _ in instance.state if type(key) is str}
    return {"_parameters", "_modules"} <= keys


def _shown(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name[:80])


_MAY_HOLD = (Array, Instance, Pairs, list, tuple)
_PLAIN = (str, int, float, bool, type(None))
_MOST_KEYS = 64  # of a dictionary that may describe one tensor, columns of a table of objects
_LOOKED_AT = 32  # items of a list that may be a shape
