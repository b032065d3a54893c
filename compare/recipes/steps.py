"""The steps of recipes: each says what shape it makes, applies itself, and may have an inverse."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from .errors import RecipeError, axis_of, possible_shape

if TYPE_CHECKING:
    from ...capture.values import Array
    from .errors import Shape


Resolver = Callable[[str], "Array"]


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
        axis = axis_of(self.dim, len(shape), str(self))
        if shape[axis] != 1:
            raise RecipeError(f"{self}: axis {self.dim} of {list(shape)} is {shape[axis]}, not 1")
        return shape[:axis] + shape[axis + 1 :]

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        return array.reshape(self.shape(array.shape))

    def inverse(self, shape: Shape) -> Step:
        return Unsqueeze(axis_of(self.dim, len(shape), str(self)))


@dataclass(frozen=True, slots=True)
class Unsqueeze(Step):
    dim: int

    def __str__(self) -> str:
        return f"unsqueeze({self.dim})"

    def shape(self, shape: Shape) -> Shape:
        axis = axis_of(self.dim, len(shape) + 1, str(self))
        return possible_shape((*shape[:axis], 1, *shape[axis:]), str(self))

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        return array.reshape(self.shape(array.shape))

    def inverse(self, shape: Shape) -> Step:
        return Squeeze(axis_of(self.dim, len(shape) + 1, str(self)))


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
        return possible_shape(tuple(sizes), str(self))

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
        a, b = axis_of(self.first, rank, str(self)), axis_of(self.second, rank, str(self))
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
        order = [axis_of(axis, rank, str(self)) for axis in self.axes]
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
        axis_of(self.dim, len(shape), str(self))
        return shape

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        axis = axis_of(self.dim, array.ndim, str(self))
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
        axis_of(self.dim, len(shape), str(self))
        return shape

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        import numpy as np

        return np.roll(array, self.amount, axis_of(self.dim, array.ndim, str(self)))

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
        axis = axis_of(self.dim, len(shape), str(self))
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
        axis = axis_of(self.dim, len(shape), str(self))
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
        axis = axis_of(self.dim, len(shape), str(self))
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
            raise RecipeError(f"{self} has no inverse: it is not a permutation of its axis")
        return IndexSelect(self.dim, tuple(order.index(i) for i in range(size)))


@dataclass(frozen=True, slots=True)
class Concat(Step):
    """Join other records of the same side, by the names the dump has, behind this one."""

    dim: int
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"concat({self.dim}, {', '.join(quoted(name) for name in self.names)})"

    def shape(self, shape: Shape) -> Shape:
        raise RecipeError(f"{self}: its shape depends on the other records")

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        import numpy as np

        if resolve is None:
            raise RecipeError(f"{self}: the other records are not available here")
        axis = axis_of(self.dim, array.ndim, str(self))
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


def quoted(text: str) -> str:
    """A string as Python and JSON both read it; half surrogates (bytes of a file's name that are
    no UTF-8) are escaped.
    """
    quoted = json.dumps(text, ensure_ascii=False)
    return re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", quoted)
