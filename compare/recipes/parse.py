"""Recipes read from their text form (see `recipe`)."""

from __future__ import annotations

import ast
import re
import threading
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ...capture.dtypes import dtype_named
from ...capture.errors import RecordError
from .adding import Add
from .errors import RecipeError
from .ranges import Ranges
from .rearrange import Rearrange
from .recipe import Recipe
from .steps import (
    Cast,
    Concat,
    Flip,
    IndexSelect,
    Permute,
    Reshape,
    Roll,
    Select,
    Shift,
    Slice,
    Squeeze,
    Transpose,
    Unsqueeze,
)

if TYPE_CHECKING:
    from .errors import Shape
    from .steps import Step


_MOST_TEXT = 10_000


@lru_cache(maxsize=4096)
def parse_recipe(text: str) -> Recipe:
    """Read a recipe's text form. Raises `RecipeError` with the step that is wrong."""
    if len(text) > _MOST_TEXT:
        raise RecipeError("a recipe of more than 10,000 characters")
    return Recipe(tuple(_parse_step(part) for part in _split(text)))


_PIECE = re.compile(r"""\"(?:\\.|[^"\\])*\"|'(?:\\.|[^'\\])*'|[^|]""", re.DOTALL)


def _split(text: str) -> list[str]:
    """The steps, cut at `|` outside quotes."""
    parts = [""]
    at = 0
    while at < len(text):
        found = _PIECE.match(text, at)
        if found is None:  # a `|`
            parts.append("")
            at += 1
        else:
            parts[-1] += found[0]
            at = found.end()
    if len(parts) == 1 and not parts[0].strip():
        return []
    return [part.strip() for part in parts]


_PARSING = threading.Lock()
_RANGE = re.compile(r"\d{1,18}:\d{1,18}", re.ASCII)


def _expression(text: str) -> ast.expr:
    """Python's own parser reads a step; what it warns of (`"\\d"`, `1or`) is nobody's business."""
    try:
        with _PARSING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise RecipeError(f"cannot read the step {text!r}") from None


def _parse_step(text: str) -> Step:
    if text.startswith("["):
        tree = _expression(f"x{text}")
    else:
        tree = _expression(text)
        if isinstance(tree, ast.Subscript):
            raise RecipeError(f"{text!r} is not a step such as squeeze(0) or [:, 0:64]")
    if isinstance(tree, ast.Subscript) and isinstance(tree.value, ast.Name):
        return Slice(_slice_entries(tree.slice, text))
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
        raise RecipeError(f"{text!r} is not a step such as squeeze(0) or [:, 0:64]")
    make = _MAKERS.get(tree.func.id)
    if make is None:
        raise RecipeError(f"unknown step {tree.func.id!r} (known: {', '.join(_MAKERS)}, [slices])")
    args = [_literal(arg, text) for arg in tree.args]
    named = {str(k.arg): _literal(k.value, text) for k in tree.keywords}
    try:
        return make(args, named)
    except (TypeError, ValueError, RecordError) as error:
        raise RecipeError(f"{text!r}: wrong arguments ({error})") from None


def _slice_entries(
    node: ast.expr, text: str
) -> tuple[int | tuple[int | None, int | None, int | None], ...]:
    nodes = node.elts if isinstance(node, ast.Tuple) else [node]
    if not nodes:
        raise RecipeError(f"{text!r}: expected an index or a slice")

    def whole(part: ast.expr | None) -> int | None:
        value = None if part is None else _literal(part, text)
        return None if value is None else _int(value)

    entries: list[int | tuple[int | None, int | None, int | None]] = []
    try:
        for item in nodes:
            if isinstance(item, ast.Slice):
                entries.append((whole(item.lower), whole(item.upper), whole(item.step)))
                if entries[-1] and entries[-1][2] == 0:  # type: ignore[index]
                    raise ValueError("a step of 0")
            else:
                entries.append(_int(_literal(item, text)))
    except ValueError as error:
        raise RecipeError(f"{text!r}: {error}") from None
    return tuple(entries)


def _literal(node: ast.expr, text: str) -> Any:
    """A number, name, string or list of numbers; names (`bfloat16`) stand for themselves."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError):
        raise RecipeError(f"cannot read an argument in {text!r}") from None


def _int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > 2**62:
        raise ValueError(f"{value!r} is not a whole number")
    return value


def _ints(values: Sequence[Any], count: int | None = None) -> tuple[int, ...]:
    if count is not None and len(values) != count:
        raise ValueError(f"{count} numbers expected")
    return tuple(_int(value) for value in values)


def _only(named: dict[str, Any]) -> None:
    if named:
        raise ValueError(f"unexpected {', '.join(named)}")


def _numbers(make: Callable[..., Step], count: int) -> Callable[[list[Any], dict[str, Any]], Step]:
    def maker(args: list[Any], named: dict[str, Any]) -> Step:
        _only(named)
        return make(*_ints(args, count))

    return maker


def _sizes(make: Callable[[Shape], Step]) -> Callable[[list[Any], dict[str, Any]], Step]:
    def maker(args: list[Any], named: dict[str, Any]) -> Step:
        _only(named)
        flat = args[0] if len(args) == 1 and isinstance(args[0], list | tuple) else args
        return make(_ints(flat))

    return maker


def _make_index_select(args: list[Any], named: dict[str, Any]) -> Step:
    _only(named)
    dim, indices = args
    if not isinstance(indices, list | tuple):
        raise ValueError("expected a list of indices")
    return IndexSelect(_int(dim), _ints(indices))


def _make_ranges(args: list[Any], named: dict[str, Any]) -> Step:
    _only(named)
    dim, *parts = args
    if not parts or not all(isinstance(part, str) and _RANGE.fullmatch(part) for part in parts):
        raise ValueError('expected ranges such as "0:5", "8:16"')
    ends = [part.split(":") for part in parts]
    return Ranges(_int(dim), tuple((_int(int(start)), _int(int(stop))) for start, stop in ends))


def _make_concat(args: list[Any], named: dict[str, Any]) -> Step:
    _only(named)
    dim, *names = args
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError("expected names of records")
    return Concat(_int(dim), tuple(names))


def _make_add(args: list[Any], named: dict[str, Any]) -> Step:
    _only(named)
    (name,) = args
    if not isinstance(name, str):
        raise ValueError("expected the name of a record in quotes")
    return Add(name)


def _make_cast(args: list[Any], named: dict[str, Any]) -> Step:
    _only(named)
    (name,) = args
    return Cast(dtype_named(str(name)).name)


def _make_rearrange(args: list[Any], named: dict[str, Any]) -> Step:
    (pattern,) = args
    if not isinstance(pattern, str):
        raise ValueError("expected a pattern in quotes")
    step = Rearrange(pattern, tuple((name, _int(size)) for name, size in named.items()))
    step.sides()
    return step


_MAKERS: dict[str, Callable[[list[Any], dict[str, Any]], Step]] = {
    "squeeze": _numbers(Squeeze, 1),
    "unsqueeze": _numbers(Unsqueeze, 1),
    "reshape": _sizes(Reshape),
    "transpose": _numbers(Transpose, 2),
    "permute": _sizes(Permute),
    "flip": _numbers(Flip, 1),
    "roll": _numbers(Roll, 2),
    "shift": _numbers(Shift, 2),
    "select": _numbers(Select, 2),
    "index_select": _make_index_select,
    "ranges": _make_ranges,
    "concat": _make_concat,
    "add": _make_add,
    "cast": _make_cast,
    "rearrange": _make_rearrange,
}
STEP_NAMES = tuple(_MAKERS)  # of the steps that are written as a call
