"""The whole of a tensor as a recipe over the parts that ranks have of it: no element is copied.

A node is a part as it lies in a file (`Leaf`), pieces of nodes side by side along one axis (`Cut`),
or nodes that are added up (`Total`). It is written into the key of a locator, so that any process
can read the whole (`joined_file`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from ..records import OF_RANKS, Locator

_MOST_PIECES = 1 << 16
_ADDED = ("float64", "float32", "float16", "bfloat16")
_DEEPEST = 8  # kinds of parallelism in one tensor

Shape = tuple[int, ...]
Piece = tuple[int, int, int]  # number of the node, first index along the axis, length


@dataclass(frozen=True, slots=True)
class Leaf:
    """The part of one rank."""

    locator: Locator

    @property
    def shape(self) -> Shape:
        return self.locator.shape

    @property
    def dtype(self) -> str:
        return self.locator.dtype


@dataclass(frozen=True, slots=True)
class Cut:
    """Pieces of nodes, one behind the other along `axis` (counted from the first)."""

    axis: int
    pieces: tuple[Piece, ...]
    nodes: tuple[Node, ...]

    @property
    def shape(self) -> Shape:
        first = self.nodes[0].shape
        size = sum(length for _, _, length in self.pieces)
        return (*first[: self.axis], size, *first[self.axis + 1 :])

    @property
    def dtype(self) -> str:
        return self.nodes[0].dtype


@dataclass(frozen=True, slots=True)
class Total:
    """The sum of nodes, rounded once to their dtype."""

    nodes: tuple[Node, ...]

    @property
    def shape(self) -> Shape:
        return self.nodes[0].shape

    @property
    def dtype(self) -> str:
        return self.nodes[0].dtype


Node = Leaf | Cut | Total


def concat(nodes: Sequence[Node], axis: int, copies: int = 1) -> Cut | None:
    """Nodes side by side; of `copies` neighbours that are the same the first. None where they do
    not fit together.
    """
    kept = nodes[::copies]
    at = _axis(kept, axis)
    if at is None or len(nodes) % copies:
        return None
    return Cut(at, tuple((n, 0, node.shape[at]) for n, node in enumerate(kept)), tuple(kept))


def without_end(node: Cut, count: int) -> Cut:
    """Without so many places at the end of its axis, of which the last piece has more."""
    *others, (number, first, length) = node.pieces
    return Cut(node.axis, (*others, (number, first, length - count)), node.nodes)


def split(
    nodes: Sequence[Node], axis: int, shares: Sequence[int], copies: Sequence[int] = ()
) -> Node | None:
    """Each node holds several quantities one behind the other, which are joined by quantity.

    `shares` are their sizes in a node, or the proportion of them; `copies` says of each how many
    neighbours have the same. None where the sizes do not fit.
    """
    at = _axis(nodes, axis)
    copies = copies or (1,) * len(shares)
    if at is None or any(len(nodes) % number for number in copies):
        return None
    pieces: list[Piece] = []
    begins = [0] * len(nodes)
    for share, number in zip(shares, copies, strict=True):
        for place, node in enumerate(nodes):
            length, rest = divmod(node.shape[at] * share, sum(shares))
            if rest:
                return None
            if place % number == 0:
                pieces.append((place, begins[place], length))
            begins[place] += length
    return Cut(at, tuple(pieces), tuple(nodes))


def zigzag(nodes: Sequence[Node], axis: int) -> Node | None:
    """Node r of N has the chunks r and 2N-1-r. None where chunks are not equally long."""
    at = _axis(nodes, axis)
    if at is None or len({node.shape[at] for node in nodes}) > 1 or nodes[0].shape[at] % 2:
        return None
    chunk = nodes[0].shape[at] // 2
    order = range(len(nodes))
    first: list[Piece] = [(n, 0, chunk) for n in order]
    second: list[Piece] = [(n, chunk, chunk) for n in reversed(order)]
    return Cut(at, (*first, *second), tuple(nodes))


def total(nodes: Sequence[Node]) -> Node | None:
    """The sum; None for shapes that differ, and for what is no floating-point number."""
    same = len({(node.shape, node.dtype) for node in nodes}) == 1
    return Total(tuple(nodes)) if same and nodes[0].dtype in _ADDED else None


def _axis(nodes: Sequence[Node], axis: int) -> int | None:
    """The axis counted from the first, where nodes agree in everything else."""
    rank = len(nodes[0].shape)
    at = axis + rank if axis < 0 else axis
    if not 0 <= at < rank:
        return None
    kinds = {(node.shape[:at], node.shape[at + 1 :], node.dtype) for node in nodes}
    return at if len(kinds) == 1 and prod(nodes[0].shape) else None


def locator_of(node: Node) -> Locator:
    """Where the whole is."""
    first = leaves(node)[0].locator
    key = json.dumps(_written(node), separators=(",", ":"))
    return replace(
        first, dtype=node.dtype, shape=node.shape, offset=0, strides=None, reader=OF_RANKS, key=key
    )


def node_of(locator: Locator) -> Node:
    """What a locator of this kind leads to. Raises `ValueError` for a key that is none."""
    try:
        node = _read(json.loads(locator.key), 0)
        if node.shape != locator.shape or node.dtype != locator.dtype:
            raise ValueError("another shape")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ValueError(f"damaged recipe of ranks: {str(error)[:100]}") from error
    return node


def leaves(node: Node) -> list[Leaf]:
    """The parts, in the order of the ranks."""
    return [node] if isinstance(node, Leaf) else [x for inner in node.nodes for x in leaves(inner)]


def as_node(locator: Locator) -> Node:
    """A part, which may be put together from parts itself."""
    return node_of(locator) if locator.of_ranks else Leaf(locator)


def part_locators(locator: Locator) -> list[Locator]:
    """The parts that a locator is put together from; itself where it is not."""
    if not locator.of_ranks:
        return [locator]
    return [leaf.locator for leaf in leaves(node_of(locator))]


def with_paths(locator: Locator, changed: Callable[[str], str]) -> Locator:
    """What is put together from the same parts by other paths."""
    key = locator_of(_with_paths(node_of(locator), changed)).key
    return replace(locator, path=changed(locator.path), key=key)


def _with_paths(node: Node, changed: Callable[[str], str]) -> Node:
    if isinstance(node, Leaf):
        return Leaf(replace(node.locator, path=changed(node.locator.path)))
    return replace(node, nodes=tuple(_with_paths(inner, changed) for inner in node.nodes))


def _written(node: Node) -> dict[str, Any]:
    if isinstance(node, Leaf):
        place = node.locator
        return {
            "path": place.path, "dtype": place.dtype, "shape": place.shape, "offset": place.offset,
            "strides": place.strides, "reader": place.reader, "key": place.key,
        }  # fmt: skip
    inner = [_written(one) for one in node.nodes]
    if isinstance(node, Total):
        return {"add": inner}
    return {"axis": node.axis, "pieces": node.pieces, "of": inner}


def _read(said: dict[str, Any], depth: int) -> Node:
    if depth > _DEEPEST:
        raise ValueError("too deep")
    if "path" in said:
        strides = said["strides"]
        return Leaf(Locator(
            said["path"], said["dtype"], tuple(said["shape"]), said["offset"],
            None if strides is None else tuple(strides), said["reader"], said["key"],
        ))  # fmt: skip
    nodes = tuple(_read(one, depth + 1) for one in said["add" if "add" in said else "of"])
    node = total(nodes) if "add" in said else _cut(said, nodes)
    if node is None:
        raise ValueError("parts that do not fit together")
    return node


def _cut(said: dict[str, Any], nodes: tuple[Node, ...]) -> Node:
    axis, pieces = int(said["axis"]), tuple((int(n), int(a), int(c)) for n, a, c in said["pieces"])
    if _axis(nodes, axis) is None or len(pieces) > _MOST_PIECES:
        raise ValueError("parts that do not fit together")
    if any(min(p) < 0 or p[1] + p[2] > nodes[p[0]].shape[axis] for p in pieces):
        raise ValueError("a piece reaches beyond its part")
    return Cut(axis, pieces, nodes)
