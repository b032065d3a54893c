"""The step `rearrange`: axes split, joined and moved by name, as einops has it."""

from __future__ import annotations

from dataclasses import dataclass
from keyword import iskeyword
from math import prod
from typing import TYPE_CHECKING

from .errors import RecipeError, possible_shape
from .steps import Step, quoted

if TYPE_CHECKING:
    from ...capture.values import Array
    from .errors import Shape
    from .steps import Resolver


@dataclass(frozen=True, slots=True)
class Rearrange(Step):
    """A pattern as einops has it, with the sizes that it cannot infer."""

    pattern: str
    sizes: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        extra = "".join(f", {name}={size}" for name, size in self.sizes)
        return f"rearrange({quoted(self.pattern)}{extra})"

    def shape(self, shape: Shape) -> Shape:
        axes = self.axes(shape)
        _, right = self.sides()
        return possible_shape(
            tuple(prod(axes[name] for name in group) for group in right), str(self)
        )

    def apply(self, array: Array, resolve: Resolver | None = None) -> Array:
        final, axes = self.shape(array.shape), self.axes(array.shape)
        left, right = ([n for group in side for n in group if n != "1"] for side in self.sides())
        possible_shape(tuple(axes[name] for name in left), str(self))
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
