"""Recipes: the layout steps that bring a record into its pair's common view.

Text form, steps joined by `|`, applied left to right:

    squeeze(0) | reshape(10, 4, 16) | transpose(0, 1)
    [:, 0:64]        index_select(0, [2, 0, 1])      rearrange("t (h d) -> h t d", h=4)
    shift(1, 0)      concat(-1, "layers.0.k_proj-output")      cast(bfloat16)

One parser, one printer: `parse_recipe(str(recipe)) == recipe`. Every step can say what shape it
makes without touching data, and, where it has one, give its inverse.
"""

from __future__ import annotations

import ast
import json
import re
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from keyword import iskeyword
from math import prod
from typing import TYPE_CHECKING, Any

from ...capture.dtypes import dtype_named
from ...capture.errors import RecordError

if TYPE_CHECKING:
    from ...capture.values import Array

Shape = tuple[int, ...]
Resolver = Callable[[str], "Array"]
_MOST_TEXT = 10_000
_MOST_AXES = 64  # numpy's own limit
_MOST_ELEMENTS = 2**60


class RecipeError(Exception):
    """A recipe that cannot be read or does not fit a shape; the message says it in words."""


def _axis(dim: int, rank: int, step: str) -> int:
    if not -rank <= dim < rank:
        raise RecipeError(f"{step}: no axis {dim} in a tensor of {rank} axes")
    return dim % rank


def _possible(shape: Shape, step: str) -> Shape:
    """`shape`, unless no array can have it."""
    if len(shape) > _MOST_AXES:
        raise RecipeError(f"{step}: more than {_MOST_AXES} axes")
    if prod(max(size, 1) for size in shape) > _MOST_ELEMENTS:
        raise RecipeError(f"{step}: {list(shape)} is too large")
    return shape


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `shape` says what it makes of a shape; `apply` does it, by a view where it can."""

    def shape(self, shape: Shape) -> Shape:
        raise NotImplementedError

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        raise NotImplementedError

    def inverse(self, shape: Shape) -> Step:
        """The step that undoes this one on a tensor that had `shape` before it."""
        raise RecipeError(f"{self} has no inverse: it drops elements")


@dataclass(frozen=True, slots=True)
class Squeeze(Step):
    dim: int

    def __str__(self) -> str:
        return f"squeeze({self.dim})"

    def shape(self, shape: Shape) -> Shape:
        axis = _axis(self.dim, len(shape), str(self))
        if shape[axis] != 1:
            raise RecipeError(f"{self}: axis {self.dim} of {list(shape)} is {shape[axis]}, not 1")
        return shape[:axis] + shape[axis + 1 :]

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        return array.reshape(self.shape(array.shape))

    def inverse(self, shape: Shape) -> Step:
        return Unsqueeze(_axis(self.dim, len(shape), str(self)))


@dataclass(frozen=True, slots=True)
class Unsqueeze(Step):
    dim: int

    def __str__(self) -> str:
        return f"unsqueeze({self.dim})"

    def shape(self, shape: Shape) -> Shape:
        axis = _axis(self.dim, len(shape) + 1, str(self))
        return _possible((*shape[:axis], 1, *shape[axis:]), str(self))

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        return array.reshape(self.shape(array.shape))

    def inverse(self, shape: Shape) -> Step:
        return Squeeze(_axis(self.dim, len(shape) + 1, str(self)))


@dataclass(frozen=True, slots=True)
class Reshape(Step):
    sizes: Shape

    def __str__(self) -> str:
        return f"reshape({', '.join(map(str, self.sizes))})"

    def shape(self, shape: Shape) -> Shape:
        count = prod(shape)
        unknown = [i for i, size in enumerate(self.sizes) if size == -1]
        rest = prod(size for size in self.sizes if size != -1)
        if len(unknown) > 1 or any(size < -1 for size in self.sizes):
            raise RecipeError(f"{self}: at most one size may be -1, none below")
        sizes = list(self.sizes)
        if unknown:
            if rest == 0 or count % rest:
                raise RecipeError(f"{self}: {count} elements of {list(shape)} do not divide")
            sizes[unknown[0]] = count // rest
        if prod(sizes) != count:
            raise RecipeError(
                f"{self}: {list(shape)} has {count} elements, {sizes} has {prod(sizes)}"
            )
        return _possible(tuple(sizes), str(self))

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        return array.reshape(self.shape(array.shape))

    def inverse(self, shape: Shape) -> Step:
        return Reshape(shape)


@dataclass(frozen=True, slots=True)
class Transpose(Step):
    first: int
    second: int

    def __str__(self) -> str:
        return f"transpose({self.first}, {self.second})"

    def order(self, rank: int) -> list[int]:
        order = list(range(rank))
        a, b = _axis(self.first, rank, str(self)), _axis(self.second, rank, str(self))
        order[a], order[b] = order[b], order[a]
        return order

    def shape(self, shape: Shape) -> Shape:
        return tuple(shape[axis] for axis in self.order(len(shape)))

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        return array.transpose(self.order(array.ndim))

    def inverse(self, shape: Shape) -> Step:
        return self


@dataclass(frozen=True, slots=True)
class Permute(Step):
    axes: tuple[int, ...]

    def __str__(self) -> str:
        return f"permute({', '.join(map(str, self.axes))})"

    def order(self, rank: int) -> list[int]:
        order = [_axis(axis, rank, str(self)) for axis in self.axes]
        if sorted(order) != list(range(rank)):
            raise RecipeError(f"{self}: must name each of the {rank} axes once")
        return order

    def shape(self, shape: Shape) -> Shape:
        return tuple(shape[axis] for axis in self.order(len(shape)))

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        return array.transpose(self.order(array.ndim))

    def inverse(self, shape: Shape) -> Step:
        order = self.order(len(shape))
        return Permute(tuple(order.index(axis) for axis in range(len(order))))


@dataclass(frozen=True, slots=True)
class Flip(Step):
    dim: int

    def __str__(self) -> str:
        return f"flip({self.dim})"

    def shape(self, shape: Shape) -> Shape:
        _axis(self.dim, len(shape), str(self))
        return shape

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        axis = _axis(self.dim, array.ndim, str(self))
        return array[(slice(None),) * axis + (slice(None, None, -1),)]

    def inverse(self, shape: Shape) -> Step:
        return self


@dataclass(frozen=True, slots=True)
class Roll(Step):
    amount: int
    dim: int

    def __str__(self) -> str:
        return f"roll({self.amount}, {self.dim})"

    def shape(self, shape: Shape) -> Shape:
        _axis(self.dim, len(shape), str(self))
        return shape

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        import numpy as np

        return np.roll(array, self.amount, _axis(self.dim, array.ndim, str(self)))

    def inverse(self, shape: Shape) -> Step:
        return Roll(-self.amount, self.dim)


@dataclass(frozen=True, slots=True)
class Shift(Step):
    """Element i of this side is compared with element i - amount of the other; nothing wraps, so
    that this side loses its first `amount` (last, when negative) and the other its other end.
    """

    amount: int
    dim: int

    def __str__(self) -> str:
        return f"shift({self.amount}, {self.dim})"

    def cut(self, shape: Shape, amount: int) -> tuple[slice, ...]:
        axis = _axis(self.dim, len(shape), str(self))
        if abs(amount) >= shape[axis]:
            raise RecipeError(f"{self}: axis {self.dim} of {list(shape)} has too few elements")
        piece = slice(amount, None) if amount > 0 else slice(None, amount or None)
        return (slice(None),) * axis + (piece,)

    def shape(self, shape: Shape) -> Shape:
        return _sliced(shape, self.cut(shape, self.amount), str(self))

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        return array[self.cut(array.shape, self.amount)]


@dataclass(frozen=True, slots=True)
class Select(Step):
    dim: int
    index: int

    def __str__(self) -> str:
        return f"select({self.dim}, {self.index})"

    def key(self, shape: Shape) -> tuple[slice | int, ...]:
        axis = _axis(self.dim, len(shape), str(self))
        if not -shape[axis] <= self.index < shape[axis]:
            raise RecipeError(f"{self}: axis {self.dim} of {list(shape)} has no element there")
        return (slice(None),) * axis + (self.index,)

    def shape(self, shape: Shape) -> Shape:
        return _sliced(shape, self.key(shape), str(self))

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        return array[self.key(array.shape)]


@dataclass(frozen=True, slots=True)
class Slice(Step):
    """`[0:2, :, -1]`; each entry is an index or a `(start, stop, step)`."""

    entries: tuple[int | tuple[int | None, int | None, int | None], ...]

    def __str__(self) -> str:
        def one(entry: int | tuple[int | None, int | None, int | None]) -> str:
            if isinstance(entry, int):
                return str(entry)
            start, stop, step = ("" if part is None else str(part) for part in entry)
            return f"{start}:{stop}" + (f":{step}" if step else "")

        return f"[{', '.join(one(entry) for entry in self.entries)}]"

    def key(self) -> tuple[slice | int, ...]:
        return tuple(e if isinstance(e, int) else slice(*e) for e in self.entries)

    def shape(self, shape: Shape) -> Shape:
        return _sliced(shape, self.key(), str(self))

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        self.shape(array.shape)
        return array[self.key()]

    def inverse(self, shape: Shape) -> Step:
        whole = not any(isinstance(entry, int) for entry in self.entries)
        if whole and self.shape(shape) == shape:
            return self  # every axis as it is or reversed
        raise RecipeError(f"{self} has no inverse: it drops elements")


def _sliced(shape: Shape, key: Sequence[slice | int], step: str) -> Shape:
    if len(key) > len(shape):
        raise RecipeError(f"{step}: {len(key)} indices for {len(shape)} axes of {list(shape)}")
    sizes: list[int] = []
    for size, entry in zip(shape, key, strict=False):
        if isinstance(entry, slice):
            sizes.append(len(range(*entry.indices(size))))
        elif not -size <= entry < size:
            raise RecipeError(f"{step}: index {entry} is outside an axis of {size}")
    return (*sizes, *shape[len(key) :])


@dataclass(frozen=True, slots=True)
class IndexSelect(Step):
    dim: int
    indices: tuple[int, ...]

    def __str__(self) -> str:
        return f"index_select({self.dim}, [{', '.join(map(str, self.indices))}])"

    def shape(self, shape: Shape) -> Shape:
        axis = _axis(self.dim, len(shape), str(self))
        if any(not -shape[axis] <= index < shape[axis] for index in self.indices):
            raise RecipeError(f"{self}: an index is outside axis {self.dim} of {list(shape)}")
        return (*shape[:axis], len(self.indices), *shape[axis + 1 :])

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        import numpy as np

        self.shape(array.shape)
        return array.take(np.array(self.indices, np.intp), axis=self.dim)

    def inverse(self, shape: Shape) -> Step:
        self.shape(shape)
        size = shape[self.dim]
        order = [index % size for index in self.indices]
        if sorted(order) != list(range(size)):
            raise RecipeError(f"{self} has no inverse: it is no permutation of its axis")
        return IndexSelect(self.dim, tuple(order.index(i) for i in range(size)))


@dataclass(frozen=True, slots=True)
class Concat(Step):
    """Join other records of the same side, by the names the dump has, behind this one."""

    dim: int
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"concat({self.dim}, {', '.join(_quoted(name) for name in self.names)})"

    def shape(self, shape: Shape) -> Shape:
        raise RecipeError(f"{self}: its shape depends on the other records")

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        import numpy as np

        if resolve is None:
            raise RecipeError(f"{self}: the other records are not at hand here")
        axis = _axis(self.dim, array.ndim, str(self))
        others = [resolve(name) for name in self.names]
        try:
            return np.concatenate([array, *others], axis)
        except ValueError as error:
            raise RecipeError(f"{self}: {error}") from error

    def inverse(self, shape: Shape) -> Step:
        raise RecipeError(f"{self} has no inverse: it joins several records")


@dataclass(frozen=True, slots=True)
class Cast(Step):
    """Round to another dtype (to nearest even, as torch does), then compare as that dtype."""

    dtype: str

    def __str__(self) -> str:
        return f"cast({self.dtype})"

    def shape(self, shape: Shape) -> Shape:
        return shape

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        from .cast import cast

        return cast(array, self.dtype)

    def inverse(self, shape: Shape) -> Step:
        raise RecipeError(f"{self} has no inverse: it rounds")


@dataclass(frozen=True, slots=True)
class Rearrange(Step):
    """A pattern as einops has it, with the sizes that it cannot infer."""

    pattern: str
    sizes: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        extra = "".join(f", {name}={size}" for name, size in self.sizes)
        return f"rearrange({_quoted(self.pattern)}{extra})"

    def shape(self, shape: Shape) -> Shape:
        axes = self.axes(shape)
        _, right = self.sides()
        return _possible(tuple(prod(axes[name] for name in group) for group in right), str(self))

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        final, axes = self.shape(array.shape), self.axes(array.shape)
        left, right = ([n for group in side for n in group if n != "1"] for side in self.sides())
        _possible(tuple(axes[name] for name in left), str(self))
        split = array.reshape([axes[name] for name in left])
        return split.transpose([left.index(name) for name in right]).reshape(final)

    def inverse(self, shape: Shape) -> Step:
        left, _, right = self.pattern.partition("->")
        named = tuple((name, size) for name, size in self.axes(shape).items() if name != "1")
        if any(size == 0 for _, size in named):
            raise RecipeError(f"{self} has no inverse: there are no elements")
        return Rearrange(f"{right.strip()} -> {left.strip()}", named)

    def sides(self) -> tuple[list[list[str]], list[list[str]]]:
        """The groups of axes left and right of the arrow. Raises `RecipeError`."""
        left, arrow, right = self.pattern.partition("->")
        if not arrow or "..." in self.pattern:
            raise RecipeError(f'{self}: must be written "a b -> b a", without an ellipsis')
        groups = _groups(left, str(self)), _groups(right, str(self))
        names, others = (sorted(n for g in side for n in g if n != "1") for side in groups)
        if names != others or len(set(names)) != len(names):
            raise RecipeError(f"{self}: both sides must name the same axes, each once")
        given = [name for name, _ in self.sizes]
        if not set(given) <= set(names) or any(size < 1 for _, size in self.sizes):
            raise RecipeError(f"{self}: sizes must be of axes in the pattern, and above 0")
        return groups

    def axes(self, shape: Shape) -> dict[str, int]:
        """The size of every named axis in a tensor of `shape`. Raises `RecipeError`."""
        left, _ = self.sides()
        if len(left) != len(shape):
            raise RecipeError(f"{self}: {len(left)} axes on the left, {list(shape)} has others")
        axes: dict[str, int] = {**dict(self.sizes), "1": 1}
        for group, size in zip(left, shape, strict=True):
            unknown = [name for name in group if name not in axes]
            known = prod(axes[name] for name in group if name in axes)
            if len(unknown) > 1 or size % known or (not unknown and known != size):
                raise RecipeError(f"{self}: cannot split an axis of {size} of {list(shape)}")
            if unknown:
                axes[unknown[0]] = size // known
        return axes


def _groups(side: str, step: str) -> list[list[str]]:
    groups: list[list[str]] = []
    inside: list[str] | None = None
    for token in side.replace("(", " ( ").replace(")", " ) ").split():
        if token == "(" and inside is None:
            inside = []
        elif token == ")" and inside is not None:
            groups.append(inside)
            inside = None
        elif token in "()" or not (token == "1" or _is_axis_name(token)):
            raise RecipeError(f"{step}: unexpected {token!r}")
        elif inside is not None:
            inside.append(token)
        else:
            groups.append([token])
    if inside is not None:
        raise RecipeError(f"{step}: a parenthesis is not closed")
    return groups


def _is_axis_name(token: str) -> bool:
    """A name that can also stand before `=` in a recipe."""
    return token.isascii() and token.isidentifier() and not iskeyword(token)


def _quoted(text: str) -> str:
    """A string as Python and JSON both read it; half surrogates (bytes of a file's name that are
    no UTF-8) are escaped.
    """
    quoted = json.dumps(text, ensure_ascii=False)
    return re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", quoted)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A sequence of steps; empty leaves the record as it is."""

    steps: tuple[Step, ...] = ()

    def __str__(self) -> str:
        return " | ".join(map(str, self.steps))

    def shape(self, shape: Shape) -> Shape:
        """The shape that the steps make of `shape`; raises `RecipeError` where they do not fit."""
        for step in self.steps:
            shape = step.shape(shape)
        return shape

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        """The array in the pair's view, without copying where the steps allow it."""
        for step in self.steps:
            try:
                array = step.apply(array, resolve)
            except ValueError as error:
                raise RecipeError(f"{step}: {error}") from error
        return array

    def inverse(self, shape: Shape) -> Recipe:
        """The recipe back to a record of `shape`; raises `RecipeError` when a step has none."""
        undo: list[Step] = []
        for step in self.steps:
            undo.insert(0, step.inverse(shape))
            shape = step.shape(shape)
        return Recipe(tuple(undo))

    @property
    def layout(self) -> Recipe:
        """The steps that move elements. They may be applied to raw bits, before any `cast`, since
        rounding an element does not depend on where it stands.
        """
        return Recipe(tuple(step for step in self.steps if not isinstance(step, Cast)))

    @property
    def casts(self) -> tuple[str, ...]:
        """The dtypes that elements are rounded to, in order."""
        return tuple(step.dtype for step in self.steps if isinstance(step, Cast))


def views(
    reference: Recipe, candidate: Recipe, ref: Array, cand: Array,
    resolve_ref: Resolver | None = None, resolve_cand: Resolver | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """Both sides in the pair's view; a shift on one side takes the other end off the other."""
    left = reference.apply(ref, resolve_ref)
    right = candidate.apply(cand, resolve_cand)
    for step in trailing_shifts(reference):
        right = right[step.cut(right.shape, -step.amount)]
    for step in trailing_shifts(candidate):
        left = left[step.cut(left.shape, -step.amount)]
    return left, right


def view_shapes(
    reference: Recipe, candidate: Recipe, ref: Shape, cand: Shape
) -> tuple[Shape, Shape]:
    """The shapes that `views` makes of two shapes. Raises `RecipeError`."""
    left, right = reference.shape(ref), candidate.shape(cand)
    for step in trailing_shifts(reference):
        right = _sliced(right, step.cut(right, -step.amount), str(step))
    for step in trailing_shifts(candidate):
        left = _sliced(left, step.cut(left, -step.amount), str(step))
    return left, right


def trailing_shifts(recipe: Recipe) -> list[Shift]:
    """The shifts of a recipe. They must be its last layout steps: the other side is cut in the
    pair's view, where steps behind a shift would have moved its axis elsewhere.
    """
    steps = recipe.layout.steps
    shifts = [step for step in steps if isinstance(step, Shift)]
    if list(steps[len(steps) - len(shifts) :]) != shifts:
        raise RecipeError("shift: must stand behind all other layout steps")
    return shifts


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
        raise RecipeError(f"{text!r}: an index or a slice wanted")

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
        raise ValueError(f"{count} numbers wanted")
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
        raise ValueError("a list of indices wanted")
    return IndexSelect(_int(dim), _ints(indices))


def _make_concat(args: list[Any], named: dict[str, Any]) -> Step:
    _only(named)
    dim, *names = args
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError("names of records wanted")
    return Concat(_int(dim), tuple(names))


def _make_cast(args: list[Any], named: dict[str, Any]) -> Step:
    _only(named)
    (name,) = args
    return Cast(dtype_named(str(name)).name)


def _make_rearrange(args: list[Any], named: dict[str, Any]) -> Step:
    (pattern,) = args
    if not isinstance(pattern, str):
        raise ValueError("a pattern in quotes wanted")
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
    "concat": _make_concat,
    "cast": _make_cast,
    "rearrange": _make_rearrange,
}
